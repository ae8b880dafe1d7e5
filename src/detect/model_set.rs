//! Everything an ensemble has learned, as one piece that can be kept and taken up elsewhere.
//!
//! The bytes are those of postcard: the same models give the same bytes.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert_rate::AlertRateThreshold;
use super::component::Component;
use super::drift::Drift;
use super::isolation::Isolation;
use super::lstm::Autoencoder;
use super::season::Season;
use super::surprisal::Normal;
use super::verdict::Detector;
use crate::series::Timestamp;

/// Models with their calibrations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelSet {
    /// Names of the metrics, in the order of the vector.
    pub metrics: Vec<String>,
    /// Time between checks.
    pub interval: Duration,
    /// Oldest row remembered.
    pub since: Timestamp,
    /// Newest row learned from.
    pub at: Timestamp,
    /// Rows learned from.
    pub rows: u64,
    /// One a timescale.
    pub(super) timescales: Vec<TimescaleSet>,
    /// One a metric.
    pub(super) seasons: Vec<Option<Arc<Season>>>,
    pub(super) alert_rate: AlertRateThreshold,
    /// One a metric.
    pub(super) drifts: Vec<Option<Drift>>,
}

/// What was learned at one timescale.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TimescaleSet {
    pub(super) smoothing: usize,
    pub(super) isolation: Option<Arc<Isolation>>,
    pub(super) lstm: Option<Arc<Autoencoder>>,
    /// One a component.
    pub(super) normal: Vec<Normal>,
    /// One a metric.
    pub(super) spreads: Vec<f64>,
}

impl ModelSet {
    /// As bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(self).map_err(|error| error.to_string())
    }

    /// From bytes; what is wrong with them, if they are none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|error| format!("is no model set of this version: {error}"))
    }

    /// The same with the fitted models of `new`, and what normal rows score with these: the rest is known for longer.
    #[must_use]
    pub fn with_models_of(&self, new: Self) -> Self {
        let mut set = self.clone();
        (set.at, set.rows) = (new.at, new.rows);
        for (timescale, new) in set.timescales.iter_mut().zip(new.timescales) {
            for component in Component::ALL.into_iter().filter(|component| component.is_fitted()) {
                timescale.normal[component.index()].clone_from(&new.normal[component.index()]);
            }
            (timescale.isolation, timescale.lstm, timescale.spreads) = (new.isolation, new.lstm, new.spreads);
        }
        set
    }

    /// Detectors that have a model in it.
    pub fn detectors(&self) -> Vec<Detector> {
        let has = |detector: &Detector| match detector {
            Detector::IsolationForest => {
                self.timescales.iter().any(|timescale| timescale.isolation.is_some())
            }
            Detector::LstmAutoencoder => self.timescales.iter().any(|timescale| timescale.lstm.is_some()),
            Detector::SeasonalEsd => self.seasons.iter().any(Option::is_some),
            Detector::Zscore => false,
        };
        Detector::ALL.into_iter().filter(has).collect()
    }

    /// Why an ensemble of these metrics, checked so often, cannot use it; names the remedy.
    pub fn misfit(&self, metrics: &[String], interval: Duration) -> Option<String> {
        if self.metrics != metrics {
            return Some(format!(
                "it was trained on the signals {}, the configuration has {}; train on what is configured",
                self.metrics.join(", "),
                metrics.join(", ")
            ));
        }
        (self.interval != interval).then(|| {
            format!(
                "it was trained on a row every {:?}, the configuration checks every {interval:?}; set check_interval or train anew",
                self.interval
            )
        })
    }
}
