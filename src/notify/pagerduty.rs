//! PagerDuty, by its Events API v2.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Notifier;
use super::counters::Endpoint;
use super::http::{Poster, Source};
use super::ledger::Message;
use super::message::{Worded, Wording, cut};
use super::retry::{Failure, Kind};
use crate::setting::{Secret, rfc3339};

/// Where events go.
pub const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Tells a PagerDuty service.
#[derive(Debug)]
pub struct PagerDuty {
    /// Where to.
    pub to: Poster,
    /// The integration's routing key.
    pub key: Source,
    /// How messages are worded.
    pub wording: Arc<Wording>,
}

impl Notifier for PagerDuty {
    fn endpoint(&self) -> &Endpoint {
        &self.to.endpoint
    }

    fn tell<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, Failure>> {
        async move {
            let key = self.key.read().await.map_err(|error| Failure::new(Kind::Settings, error))?;
            let event = event(message, &self.wording.word(message), &key);
            self.to.post_with(&event, &[key]).await
        }
        .boxed()
    }
}

fn event(message: &Message, worded: &Worded, key: &Secret) -> Value {
    let mut event = json!({
        "routing_key": key.reveal(),
        "event_action": if message.resolved { "resolve" } else { "trigger" },
        // The same for all of an incident, and after a restart.
        "dedup_key": format!("dwcp-anomaly/{:016x}", message.key),
    });
    if message.resolved {
        return event;
    }
    let alert = message.worst();
    let label = |name: &str| alert.labels.get(name).unwrap_or_default();
    event["client"] = "dwcp-anomaly".into();
    event["client_url"] = alert.generator_url.as_str().into();
    let links = [(alert.generator_url.as_str(), "the metric"), (alert.annotation("runbook_url"), "runbook")];
    let links = links.iter().filter(|(href, _)| !href.is_empty());
    event["links"] = links.map(|(href, text)| json!({"href": href, "text": text})).collect();
    event["payload"] = json!({
        "summary": cut(&worded.title, 1024),
        "source": if label("instance").is_empty() { "dwcp-anomaly" } else { label("instance") },
        // Its severities are critical, error, warning and info; ours are among them.
        "severity": message.severity.name(),
        "timestamp": rfc3339(alert.starts_at),
        "component": label("metric_name"),
        "group": label("job"),
        "class": label("alertname"),
        "custom_details": {"text": worded.text, "labels": alert.labels, "annotations": alert.annotations},
    });
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::verdict::Severity;
    use crate::notify::message::tests::message;

    #[test]
    fn an_event_is_one_of_version_2_and_its_key_stays_for_the_resolve() {
        let worded = Worded { title: "x".repeat(2000), text: "text".to_owned() };
        let key = Secret::new("rk");
        let trigger = event(&message(Severity::Critical, None), &worded, &key);
        let resolve = event(&message(Severity::Critical, Some(120)), &worded, &key);
        assert_eq!(
            (&trigger["event_action"], &resolve["event_action"]),
            (&"trigger".into(), &"resolve".into())
        );
        assert_eq!(trigger["dedup_key"], resolve["dedup_key"]);
        assert_eq!(trigger["routing_key"], "rk");
        let payload = &trigger["payload"];
        assert_eq!(payload["summary"].as_str().unwrap().chars().count(), 1024);
        assert_eq!(
            (&payload["severity"], &payload["source"], &payload["component"], &payload["timestamp"]),
            (
                &"critical".into(),
                &"web1:9100".into(),
                &"cpu_usage".into(),
                &"1970-01-01T00:01:40.000Z".into()
            )
        );
        assert!(
            trigger["links"]
                .as_array()
                .unwrap()
                .iter()
                .all(|link| !link["href"].as_str().unwrap().is_empty())
        );
    }
}
