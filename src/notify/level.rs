//! What should be known at a moment: every incident that fires, and those that ended a short while ago.
//!
//! Alerts are a level: it follows from a snapshot alone, so a lost request loses nothing. Labels are worked out once an
//! incident and severity; what an alert says only when it is sent.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::alert::{self, Alert, NAME, fingerprint};
use super::relabel::{Rule, relabel};
use crate::detect::verdict::Severity;
use crate::engine::snapshot::{Snapshot, TargetSnapshot};
use crate::incident::Incident;
use crate::series::{Labels, Timestamp};

/// How long an ended alert is still told.
pub const RESOLVED_FOR: Duration = Duration::from_mins(15);
/// How long an alert of a shared node is good for: two tellings may be lost.
const SHARED_FOR: Duration = Duration::from_secs(45);
/// Labels of a pod, which an alert of its node does not bear.
const POD_LABELS: [&str; 5] = ["pod", "container", "namespace", "pod_uid", "pod_ip"];

/// What alerts say about their sender.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Put on every alert, under the alert's own labels.
    pub external_labels: Labels,
    /// Change the labels on the way out.
    pub rules: Vec<Rule>,
    /// The sidecar's own page, without a slash at the end.
    pub external_url: String,
    /// A firing alert is good for four times this after it was told.
    pub heartbeat: Duration,
    /// Others report the same nodes. An end told by one of them ends the other's alert, which then flaps with every
    /// telling; so nobody tells Alertmanager one, and alerts end by themselves.
    pub shared_nodes: bool,
}

/// One incident: an alert at each of its severities, of which only the last may fire.
#[derive(Debug)]
pub struct Case {
    /// Identifies it among incidents, whatever its severity and however alerts are relabelled.
    pub key: u64,
    /// The labels behind `key`.
    pub identity: Labels,
    /// The severity it has reached.
    pub severity: Severity,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its alerts, mildest first; without those that are relabelled away or long over.
    pub steps: Vec<Step>,
    /// Whether its alerts end by themselves, and their ends are not told.
    pub lapses: bool,
    of: Origin,
}

/// One alert of a case.
#[derive(Debug)]
pub struct Step {
    /// Of its labels.
    pub key: u64,
    /// As Alertmanager will know it.
    pub labels: Labels,
    /// When it ended, or was superseded.
    pub ended_at: Option<Timestamp>,
    superseded_by: Option<Severity>,
    /// Its labels at the worst severity, where another may report that.
    worse: Option<Labels>,
    posted: OnceLock<Arc<Posted>>,
}

/// An alert as it lies in a queue.
#[derive(Debug, PartialEq, Eq)]
pub struct Posted {
    /// Of its labels.
    pub key: u64,
    /// When it began.
    pub starts_at: Timestamp,
    /// Whether it has ended.
    pub resolved: bool,
    /// One object of the request's list; thousands may wait.
    pub json: Box<str>,
    /// What is told instead to whom another has told the worse.
    pub worse: Option<Box<Worse>>,
}

/// An alert of a shared node as those tell it to whom it is worse.
///
/// The milder would otherwise be news when the worse lapses, though it is the same fault and only another's view of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Worse {
    /// As Alertmanager would know it.
    pub labels: Labels,
    /// One object of the request's list.
    pub json: Box<str>,
}

#[derive(Debug)]
enum Origin {
    /// The position in the snapshot.
    Own(usize),
    /// What another sidecar handed in, by step.
    Relayed(Vec<Arc<Alert>>),
}

/// The level at one moment.
#[derive(Debug, Default)]
pub struct Level {
    /// When.
    pub at: Timestamp,
    /// Newest first.
    pub cases: Vec<Case>,
    targets: HashMap<Labels, usize>,
    snapshot: Arc<Snapshot>,
    identity: Arc<Identity>,
}

/// Works out labels, once for each incident and severity.
#[derive(Debug, Default)]
pub struct Namer {
    known: HashMap<(Labels, Labels), Names>,
    /// Number of the level that was named last.
    round: u64,
}

/// Labels and their fingerprints.
#[derive(Debug)]
struct Names {
    /// Of the case.
    case: (u64, Labels),
    /// Of its alert at each severity; `None` where that is relabelled away.
    alerts: Vec<(Severity, Option<(u64, Labels)>)>,
    round: u64,
}

impl Level {
    /// The level that `snapshot` and what other sidecars handed in come to at `now`.
    pub fn new(
        snapshot: Arc<Snapshot>,
        relayed: &[Arc<Alert>],
        identity: Arc<Identity>,
        namer: &mut Namer,
        now: Timestamp,
    ) -> Self {
        let targets: HashMap<Labels, usize> =
            snapshot.targets.iter().enumerate().map(|(at, target)| (target.labels.clone(), at)).collect();
        namer.round += 1;
        let mut cases: Vec<Case> = Vec::new();
        for (position, incident) in snapshot.incidents.iter().enumerate() {
            let node_scope = targets.get(&incident.target).is_none_or(|at| snapshot.targets[*at].node_scope);
            let lapses = node_scope && identity.shared_nodes;
            let key = (incident.target.clone(), incident.metric.clone());
            let names = namer.known.entry(key).or_insert_with(|| Names::of_case(incident));
            names.round = namer.round;
            let case = names.case.clone();
            let mut label = |severity| {
                names.of_alert(severity, || identity.label(incident, severity, node_scope)).cloned()
            };
            let Some(mut own) = Case::own(position, incident, case, &mut label, now) else { continue };
            own.lapses = lapses;
            if lapses && let Some(step) = own.steps.last_mut() {
                let worst = label(Severity::Critical).filter(|(key, _)| *key != step.key);
                step.worse = worst.map(|(_, labels)| labels);
            }
            cases.push(own);
        }
        namer.known.retain(|_, names| names.round == namer.round);
        cases.extend(Case::relayed(relayed, now));
        // Of two alerts with one label set the newer speaks: the first, as they come newest first.
        let mut known = HashSet::with_capacity(cases.len());
        cases.iter_mut().for_each(|case| case.steps.retain(|step| known.insert(step.key)));
        cases.retain(|case| !case.steps.is_empty());
        Self { at: now, cases, targets, snapshot, identity }
    }

    /// What `step` says: of a firing alert, that it is good for a while from now on.
    pub fn alert(&self, case: &Case, step: &Step) -> Alert {
        let incident = match &case.of {
            Origin::Own(position) => &self.snapshot.incidents[*position],
            Origin::Relayed(alerts) => {
                let said = alerts.iter().find(|alert| alert.labels == step.labels);
                return said.map_or_else(|| Alert::clone(&alerts[0]), |said| Alert::clone(said));
            }
        };
        let target: Option<&TargetSnapshot> =
            self.targets.get(&incident.target).map(|at| &*self.snapshot.targets[*at]);
        let mut annotations = alert::annotations(incident, target, &self.identity.external_url);
        if let Some(by) = step.superseded_by {
            annotations.insert("superseded_by".to_owned(), by.name().to_owned());
        }
        let good_for = if case.lapses { SHARED_FOR } else { self.identity.heartbeat * 4 };
        // Where the clock was set back since: nobody takes an alert that ends before it begins, and one whose end lies
        // ahead still fires.
        let ended_at = step.ended_at.map(|ended| ended.min(self.at));
        let starts_at = case.started_at.min(ended_at.unwrap_or(self.at));
        Alert {
            labels: step.labels.clone(),
            annotations,
            starts_at,
            ends_at: ended_at.unwrap_or(self.at + good_for),
            generator_url: alert::generator_url(incident, &self.identity.external_url),
            resolved: step.ended_at.is_some(),
        }
    }

    /// The same for a queue; written once, however many queues it lies in.
    pub fn posted(&self, case: &Case, step: &Step) -> Arc<Posted> {
        let write = || {
            let alert = self.alert(case, step);
            let worse = step.worse.as_ref().map(|labels| {
                let alert = Alert { labels: labels.clone(), ..alert.clone() };
                Box::new(Worse { labels: labels.clone(), json: json(&alert) })
            });
            let (starts_at, resolved) = (case.started_at, alert.resolved);
            Arc::new(Posted { key: step.key, starts_at, resolved, json: json(&alert), worse })
        };
        Arc::clone(step.posted.get_or_init(write))
    }
}

impl Posted {
    /// `alert`, written.
    pub fn of(alert: &Alert) -> Self {
        let (starts_at, resolved) = (alert.starts_at, alert.resolved);
        Self { key: fingerprint(&alert.labels), starts_at, resolved, json: json(alert), worse: None }
    }
}

fn json(alert: &Alert) -> Box<str> {
    // Text and times always can be written.
    serde_json::to_string(alert).unwrap_or_default().into_boxed_str()
}

impl Names {
    fn of_case(incident: &Incident) -> Self {
        let labels = Labels::new(incident.target.iter().chain(incident.metric.iter()));
        Self { case: (fingerprint(&labels), labels), alerts: Vec::with_capacity(1), round: 0 }
    }

    fn of_alert(
        &mut self,
        severity: Severity,
        label: impl FnOnce() -> Option<(u64, Labels)>,
    ) -> Option<&(u64, Labels)> {
        let known = self.alerts.iter().position(|(of, _)| *of == severity);
        let at = known.unwrap_or_else(|| {
            self.alerts.push((severity, label()));
            self.alerts.len() - 1
        });
        self.alerts[at].1.as_ref()
    }
}

impl Step {
    fn new(
        (key, labels): (u64, Labels),
        ended_at: Option<Timestamp>,
        superseded_by: Option<Severity>,
    ) -> Self {
        Self { key, labels, ended_at, superseded_by, worse: None, posted: OnceLock::new() }
    }
}

impl Case {
    /// The case of an incident of ours, unless all of it is too mild or too old.
    fn own(
        position: usize,
        incident: &Incident,
        (key, identity): (u64, Labels),
        label: &mut dyn FnMut(Severity) -> Option<(u64, Labels)>,
        now: Timestamp,
    ) -> Option<Self> {
        let mut steps = Vec::with_capacity(1);
        for (at, (severity, _)) in incident.severities.iter().enumerate() {
            let next = incident.severities.get(at + 1);
            let ended = next.map(|(_, since)| *since).or(incident.ended_at);
            let is_over = ended.is_some_and(|ended| now.since(ended) > RESOLVED_FOR);
            if *severity < Severity::Warning || is_over {
                continue;
            }
            let known = label(*severity);
            steps.extend(known.map(|known| Step::new(known, ended, next.map(|(by, _)| *by))));
        }
        if steps.is_empty() {
            return None;
        }
        Some(Self {
            key,
            identity,
            severity: incident.severity(),
            started_at: incident.started_at,
            ended_at: incident.ended_at,
            steps,
            lapses: false,
            of: Origin::Own(position),
        })
    }

    /// The cases of what other sidecars handed in: alerts that differ in severity only are one.
    fn relayed(alerts: &[Arc<Alert>], now: Timestamp) -> Vec<Self> {
        let mut by_case: HashMap<Labels, Vec<Arc<Alert>>> = HashMap::new();
        for alert in alerts {
            let identity = alert.labels.without(|name| name == "severity");
            by_case.entry(identity).or_default().push(Arc::clone(alert));
        }
        let mut cases: Vec<Self> =
            by_case.into_iter().map(|(identity, alerts)| Self::of_relayed(identity, alerts, now)).collect();
        cases.sort_by_key(|case| (std::cmp::Reverse(case.started_at), case.key));
        cases
    }

    fn of_relayed(identity: Labels, mut alerts: Vec<Arc<Alert>>, now: Timestamp) -> Self {
        alerts.sort_by_key(|alert| alert.severity());
        let end = |alert: &Alert| (alert.ends_at <= now).then_some(alert.ends_at);
        let fires = alerts.iter().rev().find(|alert| end(alert).is_none());
        let (severity, ended_at) = match fires {
            Some(alert) => (alert.severity(), None),
            None => (alerts[alerts.len() - 1].severity(), alerts.iter().map(|alert| alert.ends_at).max()),
        };
        let step = |alert: &Arc<Alert>| {
            Step::new((fingerprint(&alert.labels), alert.labels.clone()), end(alert), None)
        };
        Self {
            key: fingerprint(&identity),
            identity,
            severity,
            started_at: alerts.iter().map(|alert| alert.starts_at).min().unwrap_or(now),
            ended_at,
            steps: alerts.iter().map(step).collect(),
            lapses: false,
            of: Origin::Relayed(alerts),
        }
    }
}

impl Identity {
    /// An alert to try the way with; `None` where it is relabelled away.
    pub fn test_alert(&self, host: &str, severity: Severity, now: Timestamp) -> Option<Alert> {
        let own = [
            ("alertname", NAME),
            ("metric_name", "test"),
            ("severity", severity.name()),
            ("instance", host),
            ("job", "dwcp-anomaly"),
            ("test", "true"),
        ];
        let labels = relabel(&self.rules, Labels::new(self.external_labels.iter().chain(own)))?;
        let annotations = [
            ("summary", format!("test alert of the sidecar on {host}")),
            ("description", "Somebody tries whether alerts arrive. Nothing is wrong.".to_owned()),
        ];
        Some(Alert {
            labels,
            annotations: annotations.into_iter().map(|(name, text)| (name.to_owned(), text)).collect(),
            starts_at: now,
            ends_at: now + self.heartbeat,
            generator_url: format!("{}/", self.external_url),
            resolved: false,
        })
    }

    /// The labels of an incident's alert and their fingerprint; `None` where they are relabelled away.
    fn label(&self, incident: &Incident, severity: Severity, node_scope: bool) -> Option<(u64, Labels)> {
        let of_target = incident.target.iter().filter(|(name, _)| !(node_scope && POD_LABELS.contains(name)));
        let own = [("alertname", NAME), ("severity", severity.name())];
        let pairs = self.external_labels.iter().chain(of_target).chain(incident.metric.iter()).chain(own);
        let labels = relabel(&self.rules, Labels::new(pairs))?;
        Some((fingerprint(&labels), labels))
    }
}

#[cfg(test)]
pub(super) mod tests;
