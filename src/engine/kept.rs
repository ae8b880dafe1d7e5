//! What the engine knows, to be kept over a restart.
//!
//! Handing it out shares the large buffers and copies the rest, so that the engine pauses for a few milliseconds only;
//! how it is written is somebody else's affair.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::detect::ensemble::Learned;
use crate::detect::training_history::Remembered;
use crate::incident::Incident;
use crate::incident::machine::Machine;
use crate::series::{Labels, Timestamp};
use crate::signal::Definition;
use crate::window::FrozenTable;

use super::snapshot::IncidentKey;

/// One target.
pub struct KeptTarget {
    /// Whose it is, and what does not fit into a table.
    pub about: About,
    /// Raw series.
    pub window: Vec<FrozenTable>,
    /// The normal past of its metrics.
    pub past: Remembered,
    /// What was learned from that; `None` where it cannot be read any more.
    pub learned: Option<Learned>,
}

/// What is known of a target beside tables and models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Final labels.
    pub labels: Labels,
    /// The signals, in their order.
    pub signals: Vec<Definition>,
    /// Time between checks.
    pub interval: Duration,
    /// One a metric: position of its signal, the labels left on its output once there was one, and when it was last seen.
    pub metrics: Vec<(usize, Option<Labels>, Timestamp)>,
    /// Regular checks so far.
    pub checks: u64,
    /// The last check.
    pub last_check: Option<Timestamp>,
    /// The last verdict.
    pub last_verdict: Option<Timestamp>,
    /// The last scrape.
    pub last_scrape: Option<Timestamp>,
    /// Samples taken in, lines rejected, and series that found no room, so far.
    pub counts: [u64; 3],
    /// One a signal: impossible values so far.
    #[serde(default)]
    pub out_of_bounds: Vec<u64>,
    /// Counters so far that were read wrongly.
    #[serde(default)]
    pub glitches: u64,
}

/// Every incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Incidents {
    /// Time of the last check.
    pub at: Timestamp,
    /// Those under way.
    pub standing: Vec<Standing>,
    /// Those that have ended, newest first.
    pub ended: Vec<Incident>,
    /// How many there were.
    pub opened: Vec<(IncidentKey, u64)>,
}

/// An incident under way, pending or firing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The target's final labels.
    pub target: Labels,
    /// `metric_name` and further labels.
    pub metric: Labels,
    /// Whether it stands for the target's anomaly.
    pub leads: bool,
    /// Where it stands.
    pub machine: Machine,
}

/// How a target goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// As if nothing had happened.
    Whole,
    /// With its windows, and what can be learned from the rows that are remembered.
    Relearned,
    /// With its windows only: its signals or the interval are others by now.
    Windows,
}
