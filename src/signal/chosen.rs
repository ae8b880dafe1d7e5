//! Which series of a window each selector of a plan has chosen.

use super::memo::Memo;
use super::plan::Plan;
use super::selector::Selector;
use crate::series::{Labels, METRIC_NAME};
use crate::window::{SeriesRef, WindowView};

/// The series each selector has chosen, and the label sets made of them; remembered until the set of series changes.
#[derive(Debug, Default)]
pub struct Selections {
    generation: Option<u64>,
    /// On every series, as if it were exposed so.
    pub(super) target: Labels,
    pub(super) chosen: Vec<Choice>,
    pub(super) memo: Memo,
}

/// What one selector has chosen, in the order of labels.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) series: Vec<Chosen>,
    /// Whether all bear the same name, so that they differ without it.
    pub(super) of_one_name: bool,
}

#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) labels: Labels,
    /// Without the metric name.
    pub(super) bare: Labels,
    pub(super) series: SeriesRef,
}

impl Selections {
    /// For series of a target with these labels: selectors match them too.
    pub fn of(target: &Labels) -> Self {
        Self { target: target.clone(), ..Self::default() }
    }

    pub(super) fn refresh(&mut self, plan: &Plan, window: WindowView<'_>) {
        if self.generation == Some(window.generation()) {
            return;
        }
        self.chosen = plan.selectors.iter().map(|selector| choose(selector, window, &self.target)).collect();
        self.memo.forget();
        self.generation = Some(window.generation());
    }
}

fn choose(selector: &Selector, window: WindowView<'_>, target: &Labels) -> Choice {
    let chosen = |(labels, series): (Labels, SeriesRef)| {
        let bare = labels.without(|name| name == METRIC_NAME);
        Chosen { labels, bare, series }
    };
    let found = window.choose(|labels| selector.chosen_of(labels, target));
    let series: Vec<Chosen> = found.into_iter().map(chosen).collect();
    let of_one_name = series.windows(2).all(|two| two[0].labels.name() == two[1].labels.name());
    Choice { series, of_one_name }
}
