//! What a verdict rested on, detector by detector: for whoever asks why.

use serde::{Deserialize, Serialize};

use super::verdict::{Band, Detector, VOTE};
use crate::series::Timestamp;

/// The evidence behind the verdict on one metric at one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The check.
    pub at: Timestamp,
    /// Where the metric was expected.
    pub band: Option<Band>,
    /// What is strange about it where that is no distance from what is expected, in words.
    pub state: Option<String>,
    /// One a detector that was ready, in the order of [`Detector::ALL`].
    pub evidence: Vec<Evidence>,
}

/// What one detector said of the target, and of one of its metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who says so.
    pub detector: Detector,
    /// Its weight in the vote.
    pub weight: f64,
    /// Its confidence in the target's anomaly, 0–1.
    pub confidence: f64,
    /// Its confidence in the metric's, 0–1.
    pub metric_confidence: f64,
    /// −log₁₀ of the tail probability of the target's row among normal ones: 3 is one in a thousand.
    pub surprisal: f64,
    /// The surprisal from which on it votes.
    pub threshold: f64,
    /// The metric's distance from expected in its sigmas, where it knows one.
    pub deviation_sigma: Option<f64>,
    /// The metric's raw scores, before calibration.
    pub looks: Vec<RawScore>,
    /// The metrics it means, most meant first; the shares of all metrics sum to 1.
    pub attribution: Vec<(String, f64)>,
}

/// One way in which a detector looked at the metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawScore {
    /// The way.
    pub look: String,
    /// Checks that the values it looked at are means of; 1 for the values themselves.
    pub smoothing: usize,
    /// Normal values or rows it compared with or looked at.
    pub window: usize,
    /// The raw score, in the detector's own unit: sigmas, path depth or reconstruction error.
    pub score: f64,
    /// −log₁₀ of its tail probability.
    pub surprisal: f64,
}

impl Evidence {
    /// Whether it voted.
    pub fn voted(&self) -> bool {
        self.confidence >= VOTE
    }
}
