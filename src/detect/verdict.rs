//! What is said about a target at one check, and in which words.

use serde::{Deserialize, Serialize};

/// The detectors, in the order of the vote. `name` is the value of the label `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Isolation forest over the vector of signals.
    IsolationForest,
    /// LSTM autoencoder over the vector's recent course.
    LstmAutoencoder,
    /// Rolling z-score of each metric.
    Zscore,
    /// Seasonal hybrid ESD of each metric.
    SeasonalEsd,
}

impl Detector {
    /// All of them, in the order of the vote.
    pub const ALL: [Self; 4] =
        [Self::IsolationForest, Self::LstmAutoencoder, Self::Zscore, Self::SeasonalEsd];

    /// Number of detectors.
    pub const COUNT: usize = Self::ALL.len();

    /// As in the label `model_type` and the keys of the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IsolationForest => "isolation_forest",
            Self::LstmAutoencoder => "lstm_autoencoder",
            Self::Zscore => "zscore",
            Self::SeasonalEsd => "seasonal_esd",
        }
    }

    /// Position in [`Detector::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One number for each detector; `None` from one that is disabled, not ready or without data.
pub type PerDetector<T> = [Option<T>; Detector::COUNT];

/// How bad an anomaly is. Info is counted and logged, not alerted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a line.
    Info,
    /// Worth a look.
    Warning,
    /// Worth a page.
    Critical,
}

impl Severity {
    /// From the mildest to the worst.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// As in the label `severity`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What the vote says of one metric, or of the target as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// Σ weight × confidence ÷ Σ weight over the detectors that are ready; 0–1.
    pub score: f64,
    /// Each ready detector's calibrated confidence; 0–1.
    pub confidences: PerDetector<f64>,
    /// Weighted mean confidence of the detectors that voted; 0 when none did.
    pub confidence: f64,
    /// Largest distance from expected over the detectors that voted, in residual scales; 0–38.
    pub deviation_sigma: f64,
}

impl Assessment {
    /// Detectors whose confidence reached the voting line.
    pub fn votes(&self) -> impl Iterator<Item = (Detector, f64)> + '_ {
        let voted = |d: &Detector| self.confidences[d.index()].filter(|c| *c >= VOTE);
        Detector::ALL.into_iter().filter_map(move |d| Some((d, voted(&d)?)))
    }
}

/// A detector votes at this confidence.
pub const VOTE: f64 = 0.5;

/// Where a metric is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// The value expected.
    pub expected: f64,
    /// Lower end of what is normal.
    pub lower: f64,
    /// Upper end of what is normal.
    pub upper: f64,
}
