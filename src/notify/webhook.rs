//! Any webhook, with the payload of Alertmanager's, version 4.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Notifier;
use super::alert::{Alert, fingerprint};
use super::counters::Endpoint;
use super::http::Poster;
use super::ledger::Message;
use super::retry::Failure;
use crate::series::Labels;
use crate::setting::rfc3339;

/// Tells a webhook.
#[derive(Debug)]
pub struct Webhook {
    /// Where to.
    pub to: Poster,
    /// Name of the receiver in the payload.
    pub receiver: String,
    /// The sidecar's own page.
    pub external_url: String,
}

impl Notifier for Webhook {
    fn endpoint(&self) -> &Endpoint {
        &self.to.endpoint
    }

    fn tell<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, Failure>> {
        async move { self.to.post(&payload(message, &self.receiver, &self.external_url)).await }.boxed()
    }
}

fn payload(message: &Message, receiver: &str, external_url: &str) -> Value {
    let group = message.worst().labels.without(|name| name == "severity");
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{group}"),
        "truncatedAlerts": 0,
        "status": message.status(),
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": common(message.alerts.iter().map(|alert| alert.labels.iter().collect())),
        "commonAnnotations": common(message.alerts.iter().map(|alert| {
            alert.annotations.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
        })),
        "externalURL": external_url,
        "alerts": message.alerts.iter().map(of_alert).collect::<Vec<_>>(),
    })
}

fn of_alert(alert: &Alert) -> Value {
    json!({
        "status": if alert.resolved { "resolved" } else { "firing" },
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(alert.starts_at),
        // Go's zero time: it has no end yet.
        "endsAt": if alert.resolved { rfc3339(alert.ends_at) } else { "0001-01-01T00:00:00Z".to_owned() },
        "generatorURL": alert.generator_url,
        "fingerprint": format!("{:016x}", fingerprint(&alert.labels)),
    })
}

/// What all of them have alike.
fn common<'a>(mut all: impl Iterator<Item = BTreeMap<&'a str, &'a str>>) -> Labels {
    let mut common = all.next().unwrap_or_default();
    all.for_each(|other| common.retain(|name, value| other.get(name) == Some(value)));
    Labels::new(common)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::verdict::Severity;
    use crate::notify::message::tests::message;

    #[test]
    fn a_payload_has_the_shape_that_alertmanager_sends() {
        let firing = payload(&message(Severity::Warning, None), "ops", "http://web1:10091");
        // As recorded from Alertmanager 0.25.
        let names = [
            "receiver",
            "status",
            "alerts",
            "groupLabels",
            "commonLabels",
            "commonAnnotations",
            "externalURL",
            "version",
            "groupKey",
            "truncatedAlerts",
        ];
        assert_eq!(firing.as_object().unwrap().len(), names.len());
        assert!(names.iter().all(|name| firing.get(name).is_some()), "{firing}");
        let names = ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"];
        let alert = &firing["alerts"][0];
        assert_eq!(alert.as_object().unwrap().len(), names.len());
        assert!(names.iter().all(|name| alert.get(name).is_some()), "{alert}");
        assert_eq!((&firing["version"], &alert["endsAt"]), (&"4".into(), &"0001-01-01T00:00:00Z".into()));
        assert_eq!(
            firing["groupKey"],
            r#"{}:{alertname="DwcpAnomaly", cluster="c1", instance="web1:9100", job="node", metric_name="cpu_usage"}"#
        );
        let resolved = payload(&message(Severity::Warning, Some(120)), "ops", "");
        assert_eq!(
            (&resolved["status"], &resolved["alerts"][0]["endsAt"]),
            (&"resolved".into(), &"1970-01-01T00:02:00.000Z".into())
        );
    }
}
