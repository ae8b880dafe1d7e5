//! From signals to a verdict: four detectors, one calibration, one weighted vote.

pub mod alert_rate;
pub mod calibrate;
mod component;
pub mod config;
pub mod drift;
pub mod early_shift;
pub mod effect_filter;
pub mod ensemble;
pub mod esd;
pub mod evidence;
pub mod expectation;
pub mod fit_tasks;
pub mod isolation;
pub mod learning_gate;
pub mod lstm;
pub mod model_set;
pub mod priors;
pub mod rare_state;
pub mod recurrence;
pub mod robust;
pub mod season;
pub mod seasonal_esd;
pub mod shadow;
pub mod shape;
pub mod surprisal;
mod timescale;
pub mod training_history;
pub mod training_set;
pub mod trend;
pub mod verdict;
pub mod vote;
pub mod zscore;

use surprisal::Raw;

/// Something that can be fitted on the normal past. A detector that was not fitted is of another type than its model,
/// so that it cannot be asked for a score.
pub trait Fit {
    /// What it is fitted on.
    type TrainingSet: ?Sized;
    /// What comes of it.
    type Model;

    /// The fitted model; `None` where the past does not suffice for one. Deterministic.
    fn fit(&self, training_set: &Self::TrainingSet) -> Option<Self::Model>;
}

/// A fitted model: tells how unusual a row is, in numbers of its own that only the calibration compares.
pub trait Scorer {
    /// What it looks at.
    type Row<'a>;
    /// What it works in; reused.
    type Buffers: Default;

    /// Scores `row` into `raw`.
    fn score(&self, row: Self::Row<'_>, buffers: &mut Self::Buffers, raw: &mut Raw);
}
