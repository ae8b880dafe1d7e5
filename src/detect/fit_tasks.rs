//! Fits that run elsewhere than the engine, and what they yield.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::isolation::{self, Isolation, windows};
use super::lstm::{self, Autoencoder, Course};
use super::season::{Period, Season};
use super::shadow::{self, Retrained, Retraining};
use super::surprisal::Raw;
use super::training_history::Tiers;
use super::training_set::{Scale, TrainingSet};
use super::{Fit, Scorer};
use crate::series::Timestamp;
use crate::window::Frozen;

/// Checks between asking for a fit and its effect, at least: as long as a fit takes no longer, how long it took changes
/// nothing.
pub const DELAY: u64 = 30;

/// The kinds of fits; in this order those that were asked for at one check take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Of the forest.
    IsolationForest,
    /// Of the autoencoder.
    LstmAutoencoder,
    /// Of every metric's season.
    Seasons,
    /// Of everything, to be tried against what is in use.
    Retraining,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::IsolationForest, Self::LstmAutoencoder, Self::Seasons, Self::Retraining];

    /// As in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IsolationForest => "isolation_forest",
            Self::LstmAutoencoder => "lstm_autoencoder",
            Self::Seasons => "seasons",
            Self::Retraining => "retraining",
        }
    }

    /// Whether it takes seconds of computing, and others should not have to wait for several of them.
    pub const fn is_long(self) -> bool {
        matches!(self, Self::LstmAutoencoder | Self::Retraining)
    }
}

/// A fit to be run elsewhere.
pub enum Task {
    /// Of the forest.
    Isolation(Rows, isolation::Params),
    /// Of the autoencoder.
    Lstm(Rows, lstm::Recipe),
    /// Of every metric's season.
    Seasons(Tiers, Period),
    /// Of everything, to be tried against what is in use.
    Retrain(Rows, Box<Retraining>),
}

/// What a fit is run on.
pub struct Rows {
    /// The rows, shared.
    pub table: Frozen,
    /// Which metrics form the vector.
    pub in_vector: Vec<bool>,
    /// Times that are left out.
    pub excluded: Vec<(Timestamp, Timestamp)>,
    /// Smallest spread that matters, one a metric.
    pub least: Vec<f64>,
    /// Time between checks.
    pub interval: Duration,
    /// For each timescale, the values its trailing mean is of.
    pub smoothings: Vec<usize>,
    /// Whether the last rows are held back to calibrate the model on.
    pub hold_out: bool,
}

/// What a fit has yielded.
pub enum Model {
    /// A forest for each timescale, `None` where the rows did not suffice; and for every metric its scale and its bins.
    Isolation(Option<Vec<Fitted<Isolation>>>, Vec<(Scale, Option<Drift>)>),
    /// An autoencoder for each timescale.
    Lstm(Option<Vec<Fitted<Autoencoder>>>),
    /// One a metric.
    Seasons(Vec<Option<Arc<Season>>>),
    /// What the trial of new models came to; `None` where the rows did not suffice.
    Retrained(Option<Box<Retrained>>),
}

/// A model, the newest row it was fitted on, and its scores of normal rows that it was not fitted on.
pub struct Fitted<M> {
    /// The model.
    pub model: M,
    /// Newest row that it knows or has scored.
    pub at: Timestamp,
    /// For each component that the model makes, in the order of time; empty if nothing was held back.
    pub held_out: Vec<Vec<Raw>>,
}

/// Share of the rows that a model is fitted on, where the rest is held back.
pub(super) const FIT: f64 = 0.7;
/// Scores of held-back rows, at most.
const MOST_SCORES: usize = 2048;
/// Rows that came while a forest was fitted, at most, and the rows before them that their shapes look back on.
const MOST_SINCE: usize = 64;
const BEFORE: usize = windows::MOST_ROWS;
/// A jump forward of more intervals than this is a gap in time.
pub const GAP: u32 = 4;

impl Model {
    /// Which fit it has come of.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Isolation(..) => Kind::IsolationForest,
            Self::Lstm(_) => Kind::LstmAutoencoder,
            Self::Seasons(_) => Kind::Seasons,
            Self::Retrained(_) => Kind::Retraining,
        }
    }
}

impl Task {
    /// What is fitted.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Isolation(..) => Kind::IsolationForest,
            Self::Lstm(..) => Kind::LstmAutoencoder,
            Self::Seasons(..) => Kind::Seasons,
            Self::Retrain(..) => Kind::Retraining,
        }
    }

    /// Runs the fit; calls `pause` between slices of a few milliseconds. Deterministic.
    pub fn run(self, pause: &mut dyn FnMut()) -> Model {
        match self {
            Self::Isolation(rows, params) => {
                let training_set = rows.training_set();
                let scale = |metric| Scale::of(training_set.column(metric)).unwrap_or_default();
                let scales = (0..training_set.width())
                    .map(|metric| (scale(metric), Drift::of(training_set.column(metric))))
                    .collect();
                let fit = |training_set: TrainingSet| {
                    let (fitted, held) = rows.split(training_set);
                    pause();
                    let model = params.fit(&fitted)?;
                    pause();
                    let first = fitted.len();
                    // Shapes look back on the rows before.
                    let training_set = fitted.join(held);
                    let held_out = isolation_scores(&model, &training_set, first);
                    Some(Fitted { model, at: training_set.newest()?, held_out })
                };
                Model::Isolation(rows.timescales(&training_set).map(fit).collect(), scales)
            }
            Self::Lstm(rows, recipe) => {
                let training_set = rows.training_set();
                let fit = |training_set: TrainingSet| {
                    let (fitted, held) = rows.split(training_set);
                    let model = recipe.fit_in_slices(&fitted, pause)?;
                    let held_out = vec![course_scores(&model, &held, pause)];
                    Some(Fitted { model, at: held.newest().or(fitted.newest())?, held_out })
                };
                Model::Lstm(rows.timescales(&training_set).map(fit).collect())
            }
            Self::Seasons(tiers, period) => {
                let season = |metric| {
                    pause();
                    tiers.season(metric, &period)
                };
                Model::Seasons((0..tiers.width()).map(season).collect())
            }
            Self::Retrain(rows, retraining) => {
                Model::Retrained(retraining.run(&rows.newest(shadow::ROWS), pause).map(Box::new))
            }
        }
    }
}

impl Rows {
    fn training_set(&self) -> TrainingSet {
        self.newest(usize::MAX)
    }

    fn newest(&self, rows: usize) -> TrainingSet {
        let longest_step = (self.interval * GAP).as_millis() as i64;
        TrainingSet::of(&self.table, rows, self.in_vector.clone(), longest_step)
            .without(&self.excluded)
            .with_least(self.least.clone())
    }

    /// What a forest scores the rows that came after `since` and before `until`, a few dozen at most, at one of the timescales.
    pub(super) fn scores_between(
        &self,
        since: Timestamp,
        until: Option<Timestamp>,
        timescale: usize,
        model: &Isolation,
    ) -> Vec<Vec<Raw>> {
        let last = Timestamp::from_millis(i64::MAX);
        let training_set = self.newest(MOST_SINCE + BEFORE + self.smoothings[timescale]);
        let training_set = until.map_or(training_set.clone(), |until| training_set.without(&[(until, last)]));
        let training_set = if self.smoothings[timescale] > 1 {
            training_set.smoothed(self.smoothings[timescale])
        } else {
            training_set
        };
        let first =
            (0..training_set.len()).find(|row| training_set.at(*row) > since).unwrap_or(training_set.len());
        isolation_scores(model, &training_set, first.max(training_set.len().saturating_sub(MOST_SINCE)))
    }

    fn timescales<'a>(&'a self, training_set: &'a TrainingSet) -> impl Iterator<Item = TrainingSet> + 'a {
        let at_timescale = |n: &usize| if *n > 1 { training_set.smoothed(*n) } else { training_set.clone() };
        self.smoothings.iter().map(at_timescale)
    }

    fn split(&self, training_set: TrainingSet) -> (TrainingSet, TrainingSet) {
        let rows = training_set.len();
        training_set.split(if self.hold_out { (rows as f64 * FIT) as usize } else { rows })
    }
}

/// Every so manieth row, so that there are no more than [`MOST_SCORES`].
fn stride(training_set: &TrainingSet) -> usize {
    training_set.len().div_ceil(MOST_SCORES).max(1)
}

/// Of the two components that the voter makes.
fn isolation_scores(model: &Isolation, training_set: &TrainingSet, from: usize) -> Vec<Vec<Raw>> {
    vec![forest_scores(model, training_set, from), window_scores(model, training_set, from)]
}

/// Rows of a training set as a course.
fn course(training_set: &TrainingSet, rows: Range<usize>) -> VecDeque<Vec<Option<f64>>> {
    rows.map(|row| training_set.row(row).to_vec()).collect()
}

fn window_scores(model: &Isolation, training_set: &TrainingSet, from: usize) -> Vec<Raw> {
    let Some(windows) = &model.windows else { return Vec::new() };
    let mut window = Vec::new();
    let score = |row: usize| {
        let before = course(training_set, row.saturating_sub(windows::MOST_ROWS)..row);
        let mut raw = Raw::default();
        windows.score(&Course { before: &before, last: training_set.row(row) }, &mut window, &mut raw);
        raw
    };
    (from..training_set.len()).step_by(stride(training_set)).map(score).collect()
}

fn forest_scores(model: &Isolation, training_set: &TrainingSet, from: usize) -> Vec<Raw> {
    let shapes: Vec<_> = (0..training_set.width()).map(|metric| training_set.shapes(metric)).collect();
    let mut buffers = isolation::Buffers::default();
    let score = |row: usize| {
        let row: Vec<_> = shapes.iter().map(|shapes| shapes[row]).collect();
        let mut raw = Raw::default();
        model.score(&row, &mut buffers, &mut raw);
        raw
    };
    (from..training_set.len()).step_by(stride(training_set)).map(score).collect()
}

fn course_scores(model: &Autoencoder, training_set: &TrainingSet, pause: &mut dyn FnMut()) -> Vec<Raw> {
    let mut buffers = lstm::Buffers::default();
    let starts = training_set.windows(model.steps());
    let score = |start: &usize| {
        let last = start + model.steps() - 1;
        let before = course(training_set, *start..last);
        let mut raw = Raw::default();
        model.score(Course { before: &before, last: training_set.row(last) }, &mut buffers, &mut raw);
        pause();
        raw
    };
    starts.iter().step_by(stride(training_set)).map(score).collect()
}
