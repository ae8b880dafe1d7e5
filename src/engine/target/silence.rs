//! Why there is no value where one could be.

use super::read::bounds;
use super::{Slot, Target};
use crate::engine::Setup;
use crate::series::Labels;
use crate::setting::short;
use crate::window::SeriesRef;

/// Of one series of a signal whose others have values.
const SILENT: &str = "this series has no value now";

impl Target {
    /// Of an output that had a value once, or whose signal has none at all.
    pub(super) fn why_no_value(&self, slot: &Slot, setup: &Setup) -> Option<String> {
        if let Some(value) = slot.impossible {
            let possible = bounds(&setup.signals[slot.signal].0);
            return Some(format!("its value, {}, is impossible: min and max allow {possible}", short(value)));
        }
        let of_signal = self.no_data[slot.signal].clone();
        of_signal.or_else(|| slot.output.is_some().then(|| SILENT.to_owned()))
    }

    /// Of a signal without any value.
    pub(super) fn why_silent(&self, setup: &Setup, signal: usize) -> String {
        if let Some(failure) = self.health.as_ref().and_then(|health| health.failure.as_ref()) {
            return format!("the scrape failed: {failure}");
        }
        let (view, selectors) = (self.window.view(), setup.signals[signal].1.selectors());
        let is_wanted = |labels: &Labels| selectors.iter().any(|selector| selector.wants(labels));
        let is_exposed = |series: SeriesRef| {
            let column = view.series(series);
            column.len().checked_sub(1).is_some_and(|last| column.get(last).is_some())
        };
        let series = view.select(is_wanted);
        let why = if series.is_empty() {
            "none of its series is exposed"
        } else if series.iter().any(|(_, series)| is_exposed(*series)) {
            "its range is not filled yet, or its value is not a number"
        } else {
            "none of its series is exposed any more"
        };
        why.to_owned()
    }
}
