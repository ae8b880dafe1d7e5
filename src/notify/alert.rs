//! Alerts as Alertmanager takes them, from a snapshot.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;

use crate::detect::verdict::Severity;
use crate::engine::snapshot::{Snapshot, TargetSnapshot};
use crate::incident::Incident;
use crate::series::{Labels, Timestamp};
use crate::setting::{rfc3339, short};

/// How long an ended alert is still told.
const RESOLVED_FOR: Duration = Duration::from_mins(15);
/// How long an alert of a shared node is good for: two tellings may be lost.
const SHARED_FOR: Duration = Duration::from_secs(45);
/// Labels of a pod, which an alert of its node does not bear.
const POD_LABELS: [&str; 5] = ["pod", "container", "namespace", "pod_uid", "pod_ip"];

/// What alerts say about their sender.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Put on every alert, under the alert's own labels.
    pub external_labels: BTreeMap<String, String>,
    /// The sidecar's own page, without a slash at the end.
    pub external_url: String,
    /// A firing alert is good for four times this after it was told.
    pub heartbeat: Duration,
    /// Others report the same nodes. An end told by one of them ends the other's alert, which then flaps with every
    /// telling; so nobody tells one, and alerts end by themselves.
    pub shared_nodes: bool,
}

/// One alert of `POST /api/v2/alerts`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// What identifies it; never a changing number.
    pub labels: BTreeMap<String, String>,
    /// What it says.
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339.
    pub starts_at: String,
    /// RFC 3339; in the future while it fires.
    pub ends_at: String,
    /// Opens the metric in the sidecar's page.
    #[serde(rename = "generatorURL")]
    pub generator_url: String,
    /// Whether it has ended.
    #[serde(skip)]
    pub resolved: bool,
}

/// Every alert that should be known at `now`: those that fire, and those that ended in the last 15 minutes.
pub fn alerts(snapshot: &Snapshot, now: Timestamp, identity: &Identity) -> Vec<Alert> {
    let targets: HashMap<&Labels, &TargetSnapshot> =
        snapshot.targets.iter().map(|t| (&t.labels, &**t)).collect();
    let mut alerts: Vec<Alert> = Vec::new();
    for incident in snapshot.incidents.iter() {
        let target = targets.get(&incident.target).copied();
        alerts.extend(of_incident(incident, target, now, identity));
    }
    // Of two incidents with one label set the newer speaks: the first, as they come newest first.
    let mut known = std::collections::HashSet::new();
    alerts.retain(|alert| known.insert(alert.labels.clone()));
    alerts
}

/// One alert for each severity the incident has had: the last as the incident stands, those before it superseded.
fn of_incident(
    incident: &Incident,
    target: Option<&TargetSnapshot>,
    now: Timestamp,
    identity: &Identity,
) -> Vec<Alert> {
    let is_shared = identity.shared_nodes && target.is_none_or(|target| target.node_scope);
    let good_for = if is_shared { SHARED_FOR } else { identity.heartbeat * 4 };
    let mut alerts = Vec::new();
    for (at, (severity, _)) in incident.severities.iter().enumerate() {
        if *severity < Severity::Warning {
            continue;
        }
        let next = incident.severities.get(at + 1);
        let ended = next.map(|(_, since)| *since).or(incident.ended_at);
        if ended.is_some_and(|ended| is_shared || now.since(ended) > RESOLVED_FOR) {
            continue;
        }
        let mut alert = alert(incident, *severity, target, identity);
        alert.resolved = ended.is_some();
        alert.ends_at = rfc3339(ended.unwrap_or(now + good_for));
        if let Some((by, _)) = next {
            alert.annotations.insert("superseded_by".to_owned(), by.name().to_owned());
        }
        alerts.push(alert);
    }
    alerts
}

fn alert(
    incident: &Incident,
    severity: Severity,
    target: Option<&TargetSnapshot>,
    identity: &Identity,
) -> Alert {
    let node_scope = target.is_none_or(|target| target.node_scope);
    let mut labels = identity.external_labels.clone();
    let of_target = incident.target.iter().filter(|(name, _)| !(node_scope && POD_LABELS.contains(name)));
    labels.extend(of_target.chain(incident.metric.iter()).map(|(n, v)| (n.to_owned(), v.to_owned())));
    labels.insert("alertname".to_owned(), "DwcpAnomaly".to_owned());
    labels.insert("severity".to_owned(), severity.name().to_owned());
    Alert {
        annotations: annotations(incident, target, identity, &labels),
        starts_at: rfc3339(incident.started_at),
        ends_at: String::new(),
        generator_url: format!(
            "{}/?metric={}&instance={}",
            identity.external_url,
            encode(incident.metric_name()),
            encode(incident.target.get("instance").unwrap_or_default())
        ),
        labels,
        resolved: false,
    }
}

fn annotations(
    incident: &Incident,
    target: Option<&TargetSnapshot>,
    identity: &Identity,
    labels: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let name = incident.metric_name();
    let metric =
        target.and_then(|target| target.metrics.iter().find(|metric| metric.labels == incident.metric));
    let unit = metric.map(|metric| metric.unit.as_str()).unwrap_or_default();
    let with_unit =
        |value: f64| if unit.is_empty() { short(value) } else { format!("{} {unit}", short(value)) };
    let instance = labels.get("instance").map(String::as_str).unwrap_or_default();
    let expected = incident.expected.map(with_unit);
    let instead = expected.as_ref().map(|e| format!(", expected {e}")).unwrap_or_default();
    let votes: Vec<String> =
        incident.votes().map(|(detector, c)| format!("{}={}", detector.name(), short(c))).collect();
    let runbook = metric.and_then(|metric| metric.runbook_url.clone());
    let also = if incident.also.is_empty() {
        String::new()
    } else {
        format!(" Also anomalous: {}.", incident.also.join(", "))
    };
    let description = format!(
        "{name} on {instance} is {} sigma from what is normal: {}{instead}. Detectors: {}.{also}",
        short(incident.worst.deviation_sigma),
        with_unit(incident.value),
        votes.join(", "),
    );
    let mut annotations = BTreeMap::from([
        (
            "summary".to_owned(),
            format!("{name} on {instance} is anomalous: {}{instead}", with_unit(incident.value)),
        ),
        ("description".to_owned(), description),
        ("value".to_owned(), short(incident.value)),
        ("score".to_owned(), short(incident.worst.score)),
        ("confidence".to_owned(), short(incident.worst.confidence)),
        ("deviation_sigma".to_owned(), short(incident.worst.deviation_sigma)),
        ("models".to_owned(), votes.join(", ")),
        ("also".to_owned(), incident.also.join(", ")),
        ("reason".to_owned(), incident.reason.name().to_owned()),
        (
            "runbook_url".to_owned(),
            runbook.unwrap_or_else(|| format!("{}/runbook/{}", identity.external_url, encode(name))),
        ),
    ]);
    if let Some(expected) = incident.expected {
        annotations.insert("expected".to_owned(), short(expected));
    }
    annotations.retain(|_, text| !text.is_empty());
    annotations
}

fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::verdict::Assessment;
    use crate::incident::Reason;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn incident(severities: &[(Severity, i64)], ended: Option<i64>) -> Incident {
        Incident {
            target: Labels::new([("instance", "web1:9100"), ("job", "node"), ("pod", "web-0")]),
            metric: Labels::new([("metric_name", "cpu_usage")]),
            severities: severities.iter().map(|(s, t)| (*s, at(*t))).collect(),
            started_at: at(severities[0].1),
            ended_at: ended.map(at),
            reason: Reason::Persisted,
            value: 97.123,
            expected: Some(5.5),
            worst: Assessment {
                score: 0.912_345,
                confidences: [None, None, Some(0.95), Some(0.9)],
                confidence: 0.925,
                deviation_sigma: 38.0,
            },
            also: vec!["memory_usage".to_owned()],
            explanation: None,
        }
    }

    fn alerts_of(incidents: Vec<Incident>, now: i64) -> Vec<Alert> {
        alerts_where(false, incidents, now)
    }

    fn alerts_where(shared_nodes: bool, incidents: Vec<Incident>, now: i64) -> Vec<Alert> {
        let identity = Identity {
            external_labels: BTreeMap::from([("cluster".to_owned(), "c1".to_owned())]),
            external_url: "http://web1:10091".to_owned(),
            heartbeat: Duration::from_mins(1),
            shared_nodes,
        };
        alerts(&Snapshot { incidents: incidents.into(), ..Snapshot::default() }, at(now), &identity)
    }

    #[test]
    fn a_firing_incident_is_an_alert_whose_end_lies_ahead() {
        let alerts = alerts_of(vec![incident(&[(Severity::Critical, 100)], None)], 130);
        let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
        let labels: Vec<(&str, &str)> = alert.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let expect = [
            ("alertname", "DwcpAnomaly"),
            ("cluster", "c1"),
            ("instance", "web1:9100"),
            ("job", "node"),
            ("metric_name", "cpu_usage"),
            ("severity", "critical"),
        ];
        assert_eq!(labels, expect, "the node's alert bears no pod");
        assert_eq!(
            (alert.starts_at.as_str(), alert.ends_at.as_str()),
            ("1970-01-01T00:01:40.000Z", "1970-01-01T00:06:10.000Z")
        );
        assert_eq!(alert.annotations["value"], "97.1");
        assert_eq!(alert.annotations["models"], "zscore=0.95, seasonal_esd=0.9");
        assert_eq!(alert.annotations["runbook_url"], "http://web1:10091/runbook/cpu_usage");
        assert_eq!(alert.generator_url, "http://web1:10091/?metric=cpu_usage&instance=web1%3A9100");
        for name in ["summary", "description", "expected", "score", "confidence", "deviation_sigma", "also"] {
            assert!(alert.annotations.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_risen_severity_resolves_the_old_label_set_and_keeps_the_start() {
        let alerts =
            alerts_of(vec![incident(&[(Severity::Warning, 100), (Severity::Critical, 120)], None)], 130);
        let told: Vec<_> = alerts.iter().map(|a| (a.labels["severity"].as_str(), a.resolved)).collect();
        assert_eq!(told, [("warning", true), ("critical", false)]);
        assert_eq!(alerts[0].annotations["superseded_by"], "critical");
        assert!(alerts.iter().all(|alert| alert.starts_at == "1970-01-01T00:01:40.000Z"));
        assert_eq!(alerts[0].ends_at, "1970-01-01T00:02:00.000Z");
    }

    #[test]
    fn where_others_report_the_same_node_an_alert_is_short_lived_and_no_end_is_told() {
        let risen = incident(&[(Severity::Warning, 100), (Severity::Critical, 120)], None);
        let alerts = alerts_where(true, vec![risen], 130);
        let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
        assert_eq!(alert.labels["severity"], "critical");
        assert_eq!(alert.ends_at, "1970-01-01T00:02:55.000Z");
        assert!(alerts_where(true, vec![incident(&[(Severity::Warning, 100)], Some(120))], 130).is_empty());
    }

    #[test]
    fn info_is_not_alerted_and_an_end_is_told_for_fifteen_minutes() {
        assert!(alerts_of(vec![incident(&[(Severity::Info, 100)], None)], 130).is_empty());
        let ended = |now| alerts_of(vec![incident(&[(Severity::Warning, 100)], Some(200))], now);
        assert_eq!(ended(1100).len(), 1);
        assert!(ended(1100)[0].resolved);
        assert!(ended(1101).is_empty());
    }

    #[test]
    fn when_it_comes_back_the_old_end_is_not_told_over_the_new_start() {
        let (new, old) =
            (incident(&[(Severity::Warning, 300)], None), incident(&[(Severity::Warning, 100)], Some(200)));
        let alerts = alerts_of(vec![new, old], 320);
        assert_eq!(alerts.iter().map(|alert| alert.resolved).collect::<Vec<_>>(), [false]);
    }
}
