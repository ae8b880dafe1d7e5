//! Incidents in words, and by what name they are asked for.

use crate::detect::verdict::Detector;
use crate::engine::snapshot::Snapshot;
use crate::incident::{Incident, Reason};
use crate::setting::short;

/// A name for an incident that stays the same through a restart.
pub(super) fn id(incident: &Incident) -> String {
    let whose = format!("{}{}", incident.target, incident.metric);
    format!("{}-{:08x}", incident.started_at.millis(), crc32fast::hash(whose.as_bytes()))
}

/// The detector for people.
pub(super) fn detector(detector: Detector) -> &'static str {
    match detector {
        Detector::IsolationForest => "isolation forest",
        Detector::LstmAutoencoder => "LSTM autoencoder",
        Detector::Zscore => "z-score",
        Detector::SeasonalEsd => "seasonal ESD",
    }
}

/// `cpu_usage 97 %, expected 21 %; isolation forest 0.93, z-score 0.97`.
pub(super) fn summary(incident: &Incident, snapshot: &Snapshot) -> String {
    let unit = unit(incident, snapshot);
    let with_unit = |value: f64| format!("{}{}{unit}", short(value), if unit.is_empty() { "" } else { " " });
    let mut text = format!("{} {}", incident.metric_name(), with_unit(incident.value));
    if let Some(expected) = incident.expected {
        text.push_str(", expected ");
        if let Some((lower, _)) = band(incident) {
            text.push_str(&short(lower));
            text.push('–');
        }
        text.push_str(&with_unit(band(incident).map_or(expected, |(_, upper)| upper)));
    }
    let votes: Vec<String> =
        incident.votes().map(|(who, c)| format!("{} {}", detector(who), hundredths(c))).collect();
    if !votes.is_empty() {
        text.push_str("; ");
        text.push_str(&votes.join(", "));
    }
    text
}

/// Two decimals, and never 1.00 for what is less.
pub(super) fn hundredths(confidence: f64) -> String {
    format!("{:.2}", (confidence * 100.0).floor() / 100.0)
}

fn unit(incident: &Incident, snapshot: &Snapshot) -> String {
    let targets = snapshot.targets.iter().filter(|target| target.labels == incident.target);
    let metric = targets.flat_map(|target| &target.metrics).find(|metric| metric.labels == incident.metric);
    metric.map(|metric| metric.unit.clone()).unwrap_or_default()
}

/// Where the value was expected to be at the worst check.
fn band(incident: &Incident) -> Option<(f64, f64)> {
    let band = incident.explanation.as_ref()?.band?;
    Some((band.lower, band.upper))
}

/// How it stands with an incident.
pub(super) fn standing(reason: Reason) -> &'static str {
    match reason {
        Reason::OverThreshold | Reason::Persisted => "firing",
        Reason::Escalated => "firing, and worse than at first",
        Reason::Lapsed => "went back before it was one",
        Reason::Recovered => "recovered",
        Reason::Adapted => "new normal, not recovered",
        Reason::NoData => "ended for want of data",
        Reason::Reconfigured => "ended by a change of the configuration",
    }
}
