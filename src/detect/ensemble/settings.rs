//! How an ensemble judges.

use std::sync::Arc;
use std::time::Duration;

use super::super::priors::Priors;
use super::super::season::Period;
use super::super::vote::{CANONICAL_THRESHOLD, CANONICAL_WEIGHTS, Weights};
use super::super::{isolation, lstm};
use super::fusion::CANONICAL;

/// How the ensemble judges.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Weights of the vote; 0 for a detector that is switched off.
    pub weights: Weights,
    /// A target or metric is anomalous when its score exceeds this.
    pub threshold: f64,
    /// Values in the rolling z-score's window.
    pub zscore_window: usize,
    /// Distance the z-score's confidence is scaled by, in sigmas; the larger, the less sure it is.
    pub zscore_threshold: f64,
    /// How the forest grows.
    pub isolation: isolation::Params,
    /// Tail probability the forest's confidence is scaled by; the smaller, the less sure it is.
    pub contamination: f64,
    /// How the autoencoder is fitted.
    pub lstm: lstm::Recipe,
    /// Seasons to look for.
    pub period: Period,
    /// Percent of the ESD window that may be outliers.
    pub max_anomalies: f64,
    /// A level held this long is the new normal.
    pub adapt_after: Duration,
    /// False alerts a day that the calibration is fit to.
    pub false_alerts_per_day: f64,
    /// Time between checks.
    pub interval: Duration,
    /// Checks over the threshold that open an incident.
    pub open_after: usize,
    /// Rows after which models are retrained.
    pub retrain_every: u64,
    /// What is known of machines in general.
    pub priors: Arc<Priors>,
    /// Rows remembered for fits; `None` for as many as a few megabytes hold.
    pub remember: Option<usize>,
}

impl Settings {
    /// Whether every knob is at its default or turned to quieter, so that there is no incident that there would not be
    /// otherwise. A detector that is switched off is no knob.
    pub fn is_quiet(&self) -> bool {
        let usual =
            self.weights.iter().zip(CANONICAL_WEIGHTS).all(|(own, usual)| *own == 0.0 || *own == usual);
        usual
            && self.threshold >= CANONICAL_THRESHOLD
            && self.zscore_threshold >= CANONICAL.zscore_threshold
            && self.contamination <= CANONICAL.contamination
    }
}
