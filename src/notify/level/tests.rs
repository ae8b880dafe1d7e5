use super::*;
use crate::detect::verdict::Assessment;
use crate::incident::Reason;
use crate::notify::outbox::{Outbox, Pace};

pub(in crate::notify) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

pub(in crate::notify) fn incident(
    instance: &str,
    severities: &[(Severity, i64)],
    ended: Option<i64>,
) -> Incident {
    Incident {
        target: Labels::new([("instance", instance), ("job", "node"), ("pod", "web-0")]),
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

pub(in crate::notify) fn identity() -> Arc<Identity> {
    Arc::new(Identity {
        external_labels: Labels::new([("cluster", "c1")]),
        rules: Vec::new(),
        external_url: "http://web1:10091".to_owned(),
        heartbeat: Duration::from_mins(1),
        shared_nodes: false,
    })
}

pub(in crate::notify) fn level(incidents: Vec<Incident>, now: i64) -> Level {
    let snapshot = Snapshot { incidents: incidents.into(), ..Snapshot::default() };
    Level::new(Arc::new(snapshot), &[], identity(), &mut Namer::default(), at(now))
}

fn alerts_of(incidents: Vec<Incident>, now: i64) -> Vec<Alert> {
    let level = level(incidents, now);
    level.cases.iter().flat_map(|case| case.steps.iter().map(|step| level.alert(case, step))).collect()
}

#[test]
fn a_firing_incident_is_an_alert_whose_end_lies_ahead() {
    let alerts = alerts_of(vec![incident("web1:9100", &[(Severity::Critical, 100)], None)], 130);
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    let labels: Vec<(&str, &str)> = alert.labels.iter().collect();
    let expect = [
        ("alertname", "DwcpAnomaly"),
        ("cluster", "c1"),
        ("instance", "web1:9100"),
        ("job", "node"),
        ("metric_name", "cpu_usage"),
        ("severity", "critical"),
    ];
    assert_eq!(labels, expect, "the node's alert bears no pod");
    let json: serde_json::Value = serde_json::to_value(alert).unwrap();
    assert_eq!(
        (json["startsAt"].as_str().unwrap(), json["endsAt"].as_str().unwrap()),
        ("1970-01-01T00:01:40.000Z", "1970-01-01T00:06:10.000Z")
    );
    assert_eq!(json["generatorURL"], "http://web1:10091/?metric=cpu_usage&instance=web1%3A9100");
    assert_eq!(alert.annotation("value"), "97.1");
    assert_eq!(alert.annotation("models"), "zscore=0.95, seasonal_esd=0.9");
    assert_eq!(alert.annotation("runbook_url"), "http://web1:10091/runbook/cpu_usage");
    for name in ["summary", "description", "expected", "score", "confidence", "deviation_sigma", "also"] {
        assert!(alert.annotations.contains_key(name), "{name}");
    }
}

#[test]
fn no_alert_ends_before_it_begins_however_the_clock_was_set() {
    use Severity::{Critical, Warning};
    for severities in
        [&[(Critical, 1000)][..], &[(Warning, 1000), (Critical, 1010)], &[(Warning, 1010), (Critical, 1000)]]
    {
        for ended in [None, Some(990), Some(1020)] {
            for now in [1, 500, 1005, 1030] {
                for alert in alerts_of(vec![incident("web1:9100", severities, ended)], now) {
                    let told = format!("{severities:?} {ended:?} at {now}: {alert:?}");
                    assert!(alert.starts_at <= alert.ends_at && alert.starts_at <= at(now), "{told}");
                    assert_eq!(alert.resolved, alert.ends_at <= at(now), "{told}");
                }
            }
        }
    }
}

#[test]
fn a_risen_severity_resolves_the_old_label_set_and_keeps_the_start() {
    let severities = [(Severity::Warning, 100), (Severity::Critical, 120)];
    let alerts = alerts_of(vec![incident("web1:9100", &severities, None)], 130);
    let told: Vec<_> = alerts.iter().map(|a| (a.severity().name(), a.resolved)).collect();
    assert_eq!(told, [("warning", true), ("critical", false)]);
    assert_eq!(alerts[0].annotation("superseded_by"), "critical");
    assert!(alerts.iter().all(|alert| alert.starts_at == at(100)));
    assert_eq!(alerts[0].ends_at, at(120));
}

#[test]
fn info_is_not_alerted_and_an_end_is_told_for_fifteen_minutes() {
    assert!(alerts_of(vec![incident("a", &[(Severity::Info, 100)], None)], 130).is_empty());
    let ended = |now| alerts_of(vec![incident("a", &[(Severity::Warning, 100)], Some(200))], now);
    assert_eq!(ended(1100).len(), 1);
    assert!(ended(1100)[0].resolved);
    assert!(ended(1101).is_empty());
}

#[test]
fn when_it_comes_back_the_old_end_is_not_told_over_the_new_start() {
    let new = incident("a", &[(Severity::Warning, 300)], None);
    let old = incident("a", &[(Severity::Warning, 100)], Some(200));
    let alerts = alerts_of(vec![new, old], 320);
    assert_eq!(alerts.iter().map(|alert| alert.resolved).collect::<Vec<_>>(), [false]);
}

#[test]
fn relabelling_changes_what_is_told_but_not_which_incident_it_is() {
    let rules: Vec<crate::notify::relabel::Config> = yaml_serde::from_str(
        "[{regex: instance, action: labeldrop}, {source_labels: [cluster], regex: c2, action: drop}]",
    )
    .unwrap();
    let rules: Vec<Rule> = rules.iter().map(|rule| rule.compile().unwrap()).collect();
    let told = |cluster: &str, rules: Vec<Rule>| {
        let identity =
            Identity { external_labels: Labels::new([("cluster", cluster)]), rules, ..Identity::default() };
        let incidents = ["a", "b"].map(|instance| incident(instance, &[(Severity::Warning, 100)], None));
        let snapshot = Snapshot { incidents: incidents.into(), ..Snapshot::default() };
        Level::new(Arc::new(snapshot), &[], Arc::new(identity), &mut Namer::default(), at(130))
    };
    assert_eq!(told("c1", rules.clone()).cases.len(), 1, "one label set is one alert");
    assert_eq!(told("c1", Vec::new()).cases.len(), 2);
    assert!(told("c2", rules).cases.is_empty());
}

#[test]
fn what_another_sidecar_hands_in_is_told_as_it_came_and_grouped_by_incident() {
    let alert = |severity: &str, ends: i64| {
        Arc::new(Alert {
            labels: Labels::new([("alertname", "X"), ("instance", "far"), ("severity", severity)]),
            annotations: std::collections::BTreeMap::new(),
            starts_at: at(50),
            ends_at: at(ends),
            generator_url: "http://far/".to_owned(),
            resolved: false,
        })
    };
    let relayed = [alert("warning", 90), alert("critical", 400)];
    let level = Level::new(Arc::default(), &relayed, identity(), &mut Namer::default(), at(100));
    let [case] = level.cases.as_slice() else { panic!("{level:?}") };
    assert_eq!((case.severity, case.ended_at, case.started_at), (Severity::Critical, None, at(50)));
    let told: Vec<_> = case.steps.iter().map(|step| level.alert(case, step).generator_url).collect();
    assert_eq!(told, ["http://far/", "http://far/"]);
}

#[test]
fn alerts_of_a_shared_node_end_by_themselves() {
    let shared = Arc::new(Identity { shared_nodes: true, ..Identity::clone(&identity()) });
    let level = |ended| {
        let incidents = vec![incident("a", &[(Severity::Warning, 5), (Severity::Critical, 9)], ended)];
        let snapshot = Snapshot { incidents: incidents.into(), ..Snapshot::default() };
        Level::new(Arc::new(snapshot), &[], Arc::clone(&shared), &mut Namer::default(), at(20))
    };
    let pace = Pace { resend: Duration::from_secs(15), probe: None };
    let told = |ended| {
        let mut outbox = Outbox::new(pace, at(0));
        outbox.take(&level(None));
        let first = outbox.next_batch(at(20)).unwrap();
        outbox.answered(&Ok(()), at(20));
        outbox.take(&level(ended));
        (first, outbox.next_batch(at(30)))
    };
    let (first, after) = told(Some(15));
    let [posted] = first.as_slice() else { panic!("{first:?}: the milder one's end is not told") };
    let json: serde_json::Value = serde_json::from_str(&posted.json).unwrap();
    assert_eq!(json["labels"]["severity"], "critical");
    assert_eq!(json["endsAt"], "1970-01-01T00:01:05.000Z", "45 s after it was told");
    assert_eq!(after, None, "its end is not told");
}

#[test]
fn what_is_mild_here_can_be_told_as_what_it_is_to_another_reporter_of_the_node() {
    let worse = |severity, shared_nodes| {
        let identity = Arc::new(Identity { shared_nodes, ..Identity::clone(&identity()) });
        let snapshot =
            Snapshot { incidents: vec![incident("a", &[(severity, 5)], None)].into(), ..Snapshot::default() };
        let level = Level::new(Arc::new(snapshot), &[], identity, &mut Namer::default(), at(20));
        let posted = level.posted(&level.cases[0], &level.cases[0].steps[0]);
        let worse = posted.worse.as_ref()?;
        Some((posted.json.to_string(), worse.json.to_string(), worse.labels.clone()))
    };
    let (mild, told, labels) = worse(Severity::Warning, true).unwrap();
    assert_eq!(labels.get("severity"), Some("critical"));
    assert_eq!(told, mild.replace(r#""severity":"warning""#, r#""severity":"critical""#));
    assert_eq!(worse(Severity::Critical, true), None, "it cannot be worse");
    assert_eq!(worse(Severity::Warning, false), None, "nobody else reports it");
}
