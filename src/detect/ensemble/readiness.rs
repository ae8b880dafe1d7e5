//! Who votes, what those who do not are waiting for, and how old what they know is.

use super::super::component::Component;
use super::super::verdict::Detector;
use super::super::zscore;
use super::fitting::{FOREST_ROWS, lstm_rows};
use super::{Ensemble, Settings};
use crate::series::Timestamp;

/// Values before which no baseline is judged by.
const FEWEST_VALUES: usize = 2 * zscore::FEWEST;
/// Scores before which a forest has no say: the tail of fewer calls nothing unlikely, and would outvote those who know.
pub(super) const FEWEST_SCORES: usize = 30;

/// Rows from which on a detector votes, where nothing is known from before and its fits are in time; `None` for one that
/// is off.
pub fn votes_at(detector: Detector, settings: &Settings) -> Option<u64> {
    let rows = match detector {
        Detector::IsolationForest => FOREST_ROWS,
        Detector::LstmAutoencoder => lstm_rows(settings),
        Detector::Zscore | Detector::SeasonalEsd => FEWEST_VALUES as u64,
    };
    (settings.weights[detector.index()] > 0.0).then_some(rows)
}

impl Ensemble {
    pub(super) fn is_on(&self, detector: Detector) -> bool {
        self.settings.weights[detector.index()] > 0.0
    }

    /// Whether a detector votes.
    pub fn is_ready(&self, detector: Detector) -> bool {
        let timescale = &self.timescales[0];
        let is_calibrated = |component: Component| timescale.normal[component.index()].is_ready();
        self.is_on(detector)
            && match detector {
                Detector::IsolationForest => {
                    timescale.normal[Component::Isolation.index()].scores() >= FEWEST_SCORES
                }
                Detector::LstmAutoencoder => is_calibrated(Component::Lstm) && timescale.has_course(),
                // Calibrated by a training they still have to know where the metrics are now.
                Detector::Zscore => is_calibrated(Component::Z) && timescale.values() >= FEWEST_VALUES,
                Detector::SeasonalEsd => is_calibrated(Component::Esd) && timescale.values() >= FEWEST_VALUES,
            }
    }

    /// What a detector waits for, while it does not vote.
    pub fn waits_for(&self, detector: Detector) -> Option<String> {
        if self.is_ready(detector) {
            return None;
        }
        let rows = self.history.rows();
        Some(match detector {
            Detector::IsolationForest if self.timescales[0].isolation.is_some() => {
                let scores = self.timescales[0].normal[Component::Isolation.index()].scores();
                format!("{scores} of {FEWEST_SCORES} scores")
            }
            Detector::IsolationForest => first_fit(rows, FOREST_ROWS),
            Detector::LstmAutoencoder => first_fit(rows, lstm_rows(&self.settings)),
            Detector::Zscore | Detector::SeasonalEsd => {
                format!("{} of {FEWEST_VALUES} values", self.timescales[0].values())
            }
        })
    }

    /// The newest row a detector's model has learned from.
    pub fn trained_at(&self, detector: Detector) -> Option<Timestamp> {
        self.trained_at[detector.index()]
    }

    /// How far a metric has drifted from what the models were fitted on.
    pub fn drift(&self, metric: usize) -> Option<f64> {
        self.watched.get(metric)?.drift.as_ref()?.index()
    }

    /// Checks in a row at which a metric was outside its band, on a side that matters; whatever the vote said of it.
    pub fn outside(&self, metric: usize) -> u32 {
        self.watched.get(metric).map_or(0, |watched| watched.outside)
    }

    /// Version of the model set in use, where it came from a store.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// What is waited for until a first fit has taken effect, which is when there are `first` rows, or later if it is late.
fn first_fit(rows: u64, first: u64) -> String {
    if rows < first { format!("{rows} of {first} rows") } else { "its first fit".to_owned() }
}
