//! One anomaly of one metric, from its first check over the threshold to its end.

pub mod config;
pub mod machine;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::detect::evidence::Explanation;
use crate::detect::verdict::{Assessment, Detector, Severity};
use crate::series::{Labels, Timestamp};

/// Why an incident moved from one state to the next; reused in logs, labels, annotations and the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The score went over the threshold.
    OverThreshold,
    /// It stayed over it for as many checks as asked.
    Persisted,
    /// It went back under before that.
    Lapsed,
    /// It worsened.
    Escalated,
    /// It stayed under the threshold long enough.
    Recovered,
    /// The level was held so long that it is the new normal: not recovered.
    Adapted,
    /// The target or the signal disappeared and did not come back in time.
    NoData,
    /// The signal was taken out of the configuration, or detection was switched off.
    Reconfigured,
}

impl Reason {
    /// As in logs, annotations and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OverThreshold => "over_threshold",
            Self::Persisted => "persisted",
            Self::Lapsed => "lapsed",
            Self::Escalated => "escalated",
            Self::Recovered => "recovered",
            Self::Adapted => "adapted",
            Self::NoData => "no_data",
            Self::Reconfigured => "reconfigured",
        }
    }
}

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Over the threshold, not yet for long enough.
    Pending,
    /// An incident.
    Firing,
    /// Ended.
    Resolved,
}

/// An incident that fires or has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The target's final labels.
    pub target: Labels,
    /// `metric_name` and the labels left on the signal's output.
    pub metric: Labels,
    /// The severities it has had and since when, mildest first; never empty.
    pub severities: Vec<(Severity, Timestamp)>,
    /// First check over the threshold.
    pub started_at: Timestamp,
    /// When it ended; `None` while it fires.
    pub ended_at: Option<Timestamp>,
    /// Why it is as it is: persisted or escalated while firing, or how it ended.
    pub reason: Reason,
    /// The metric's value at its worst check.
    pub value: f64,
    /// The value expected then.
    pub expected: Option<f64>,
    /// The vote at its worst check.
    pub worst: Assessment,
    /// Names of the target's other metrics that were anomalous beside it.
    pub also: Vec<String>,
    /// What the vote at its worst check rested on.
    pub explanation: Option<Arc<Explanation>>,
}

impl Incident {
    /// The severity it has reached.
    pub fn severity(&self) -> Severity {
        self.severities.last().map_or(Severity::Info, |(severity, _)| *severity)
    }

    /// The metric's name.
    pub fn metric_name(&self) -> &str {
        self.metric.get("metric_name").unwrap_or_default()
    }

    /// Wall time was set back to `at`: nothing that has happened lies ahead of that.
    pub fn step_back(&mut self, at: Timestamp) {
        let started = self.started_at.min(at);
        self.started_at = started;
        self.severities.iter_mut().for_each(|(_, since)| *since = (*since).min(at));
        self.ended_at = self.ended_at.map(|ended| ended.min(at).max(started));
    }

    /// Detectors that voted at its worst check, with their confidence.
    pub fn votes(&self) -> impl Iterator<Item = (Detector, f64)> + '_ {
        self.worst.votes()
    }
}
