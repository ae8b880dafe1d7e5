//! What the engine shows of itself after each step: everything that `/metrics`, the API and the notifiers read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::detect::verdict::{Assessment, Band, Detector, PerDetector, Severity};
use crate::incident::Incident;
use crate::series::{Labels, Timestamp};
use crate::setting::Address;

/// The state of everything after one step. Immutable; shared by reference.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Time of the step.
    pub at: Timestamp,
    /// `check_interval`.
    pub interval: Duration,
    /// Whether detection is switched on.
    pub enabled: bool,
    /// `detector.ensemble_threshold`.
    pub threshold: f64,
    /// The targets, in the order of the configuration.
    pub targets: Vec<Arc<TargetSnapshot>>,
    /// Incidents that fire, and ended ones of the last 24 h (bounded), newest first.
    pub incidents: Arc<[Incident]>,
    /// Incidents so far: by target, metric, severity and detector (`None` is the ensemble).
    pub opened: Arc<HashMap<IncidentKey, u64>>,
}

/// What a count of incidents is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IncidentKey {
    /// The target's final labels.
    pub target: Labels,
    /// `metric_name` and further labels of the metric.
    pub metric: Labels,
    /// Severity when it opened, or the one it rose to.
    pub severity: Severity,
    /// A detector that voted, or `None` for the ensemble.
    pub detector: Option<Detector>,
}

/// One target.
#[derive(Clone, Debug, Serialize)]
pub struct TargetSnapshot {
    /// Final labels: instance, job and the configured ones.
    pub labels: Labels,
    /// What is scraped.
    pub url: Address,
    /// Whether alerts about it are the node's rather than a pod's.
    pub node_scope: bool,
    /// Whether the last scrape succeeded; `None` before the first.
    pub up: Option<bool>,
    /// Why the last scrape failed, in words.
    pub failure: Option<String>,
    /// When the last scrape began.
    pub last_scrape: Option<Timestamp>,
    /// Samples the last scrape exposed.
    pub samples: u64,
    /// Samples exposed so far.
    pub processed: u64,
    /// Lines rejected so far.
    pub rejected: u64,
    /// Raw series held in the window.
    pub series: usize,
    /// Bytes the window's buffers take.
    pub window_bytes: usize,
    /// Samples refused so far because the window was full.
    pub refused: u64,
    /// Values so far that are impossible by `min` and `max`, by the signal's name.
    pub out_of_bounds: Vec<(String, u64)>,
    /// Counters so far that fell by less than a tenth, and were taken for read wrongly.
    pub glitches: u64,
    /// Samples refused so far because their own timestamps lie too far ahead.
    pub ahead: u64,
    /// The detectors, in the order of [`Detector::ALL`].
    pub detectors: [DetectorStatus; Detector::COUNT],
    /// The vote over the whole target; `None` while no detector is ready or no metric has data.
    pub assessment: Option<Assessment>,
    /// When there last was one; `None` before the first, and while detection is switched off.
    pub last_verdict: Option<Timestamp>,
    /// The metric the vote means, when the target is anomalous.
    pub consensus: Option<Labels>,
    /// Incidents at warning or above opened in the last 24 h ÷ `false_alerts_per_day`.
    pub budget_used: f64,
    /// One for each signal output, and one for each signal without any.
    pub metrics: Vec<MetricSnapshot>,
}

/// One detector of one target.
#[derive(Clone, Debug, Serialize)]
pub struct DetectorStatus {
    /// Which.
    pub detector: Detector,
    /// Whether the configuration wants it.
    pub enabled: bool,
    /// Its weight in the vote.
    pub weight: f64,
    /// Whether it votes.
    pub ready: bool,
    /// What it waits for, while it does not: `12 of 30 values`.
    pub waiting_for: Option<String>,
    /// When the model in use was fitted.
    pub trained_at: Option<Timestamp>,
    /// Version of the model in use, where there is one.
    pub model_version: Option<String>,
}

/// One metric of one target.
#[derive(Clone, Debug, Serialize)]
pub struct MetricSnapshot {
    /// `metric_name` and the labels left on the signal's output.
    pub labels: Labels,
    /// As configured.
    pub unit: String,
    /// The signal's value now; `None` is no data.
    pub value: Option<f64>,
    /// Why there is no value, in words.
    pub no_data: Option<String>,
    /// Where it is expected to be, once a detector knows.
    pub band: Option<Band>,
    /// Checks in a row at which it was outside its band, on a side that matters; whatever the vote said of it.
    pub outside: u32,
    /// The vote on it; `None` while nobody can vote or there is no value.
    pub assessment: Option<Assessment>,
    /// How strange it is, without a threshold and without bounds, 0 and up: what ranks. `None` where there is no vote.
    pub strength: Option<f64>,
    /// Severity of the incident that fires for it.
    pub firing: Option<Severity>,
    /// Population stability index of its last day against the training; `None` without models or too early.
    pub drift: Option<f64>,
    /// A link for the people it concerns, where the configuration gives one.
    pub runbook_url: Option<String>,
}

/// The answer to being asked for a verdict now.
#[derive(Clone, Debug, Serialize)]
pub struct Detection {
    /// The target's final labels.
    pub target: Labels,
    /// The check whose windows were used.
    pub at: Timestamp,
    /// Whether the score exceeds the threshold.
    pub anomalous: bool,
    /// What a verdict like this would be.
    pub severity: Severity,
    /// The metric the vote means.
    pub consensus: Option<Labels>,
    /// The vote; `None` while no detector is ready.
    pub assessment: Option<Assessment>,
    /// One a metric.
    pub metrics: Vec<MetricSnapshot>,
}

impl MetricSnapshot {
    /// The metric's name.
    pub fn name(&self) -> &str {
        self.labels.get("metric_name").unwrap_or_default()
    }

    /// Each ready detector's confidence in this metric.
    pub fn confidences(&self) -> PerDetector<f64> {
        self.assessment.map(|a| a.confidences).unwrap_or_default()
    }
}
