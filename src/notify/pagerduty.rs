//! PagerDuty, by its Events API v2.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Notifier;
use super::counters::Endpoint;
use super::http::{Poster, Source};
use super::ledger::Message;
use super::message::{LONGEST_LINK, Worded, Wording, cut};
use super::retry::{Failure, Kind};
use crate::setting::{Secret, rfc3339};

/// Where events go.
pub const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Bytes of an event that are taken; PagerDuty refuses one of more than 512 KB whole.
const MOST_BYTES: usize = 512_000;

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
            let event = fitting(event(message, &self.wording.word(message), &key));
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
    let links = [(alert.generator_url.as_str(), "the metric"), (alert.annotation("runbook_url"), "runbook")];
    let is_whole = |href: &str| !href.is_empty() && href.len() <= LONGEST_LINK;
    let links = links.iter().filter(|(href, _)| is_whole(href));
    if is_whole(&alert.generator_url) {
        event["client_url"] = alert.generator_url.as_str().into();
    }
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

/// The event within what PagerDuty takes: the longest texts of its payload are cut first, and if it has too many of them,
/// the labels and annotations are left out.
fn fitting(mut event: Value) -> Value {
    for longest in [8192, 512, 64] {
        if size(&event) <= MOST_BYTES {
            return event;
        }
        shorten(&mut event["payload"], longest);
    }
    if size(&event) > MOST_BYTES {
        let details = &mut event["payload"]["custom_details"];
        *details = json!({"text": details["text"], "cut": "its labels and annotations are more than PagerDuty takes"});
    }
    event
}

fn size(event: &Value) -> usize {
    event.to_string().len()
}

fn shorten(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) => *text = cut(text, longest),
        Value::Array(parts) => parts.iter_mut().for_each(|part| shorten(part, longest)),
        Value::Object(parts) => parts.values_mut().for_each(|part| shorten(part, longest)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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

    #[test]
    fn an_event_is_cut_to_what_is_taken_and_stays_the_same_incident() {
        let texts = |count: usize, length: usize| -> BTreeMap<String, String> {
            (0..count).map(|n| (format!("text_{n}"), "\u{e9}\n".repeat(length / 3))).collect()
        };
        for (annotations, is_whole, has_labels) in [
            (texts(10, 300), true, true),
            (texts(1, 3_000_000), false, true),
            (texts(500, 5_000), false, true),
            (texts(60_000, 30), false, false),
        ] {
            let mut message = message(Severity::Critical, None);
            let alert = message.alerts.last_mut().unwrap();
            alert.annotations.extend(annotations);
            alert.generator_url = format!("http://web1/{}", "x".repeat(5000));
            let worded = Worded { title: "title".to_owned(), text: "text".to_owned() };
            let whole = event(&message, &worded, &Secret::new("rk"));
            let sent = fitting(whole.clone());
            assert!(size(&sent) <= MOST_BYTES, "{}", size(&sent));
            assert_eq!(sent == whole, is_whole);
            assert_eq!(sent["payload"]["custom_details"]["labels"].is_object(), has_labels);
            for name in ["routing_key", "dedup_key", "event_action"] {
                assert_eq!(sent[name], whole[name], "{name}");
            }
            assert_eq!((&sent["payload"]["summary"], &sent["client_url"]), (&"title".into(), &Value::Null));
        }
    }
}
