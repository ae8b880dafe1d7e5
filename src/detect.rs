//! From signals to a verdict: four detectors, one calibration, one weighted vote.

pub mod budget;
pub mod calibrate;
pub mod config;
pub mod drift;
pub mod early_shift;
pub mod esd;
pub mod evidence;
pub mod expectation;
pub mod fits;
pub mod gate;
pub mod guard;
pub mod isolation;
pub mod lstm;
pub mod memory;
pub mod model_set;
mod pace;
pub mod panel;
mod part;
pub mod past;
pub mod priors;
pub mod rare_state;
pub mod robust;
pub mod season;
pub mod seasonal_esd;
pub mod shadow;
pub mod shape;
pub mod surprise;
pub mod trend;
pub mod verdict;
pub mod vote;
pub mod zscore;

use surprise::Raw;

/// Something that can be fitted on the normal past. A detector that was not fitted is of another type than its model,
/// so that it cannot be asked for a score.
pub trait Fit {
    /// What it is fitted on.
    type Past: ?Sized;
    /// What comes of it.
    type Model;

    /// The fitted model; `None` where the past does not suffice for one. Deterministic.
    fn fit(&self, past: &Self::Past) -> Option<Self::Model>;
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
