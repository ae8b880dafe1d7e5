//! Slack, by an incoming webhook.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Notifier;
use super::counters::Endpoint;
use super::http::Poster;
use super::ledger::Message;
use super::message::{LONGEST_LINK, Worded, Wording, cut};
use super::retry::{Failure, Kind};
use crate::detect::verdict::Severity;
use crate::setting::told;

/// Tells a Slack channel.
#[derive(Debug)]
pub struct Slack {
    /// Where to.
    pub to: Poster,
    /// Instead of the webhook's own channel, where Slack still allows it.
    pub channel: String,
    /// How messages are worded.
    pub wording: Arc<Wording>,
}

impl Notifier for Slack {
    fn endpoint(&self) -> &Endpoint {
        &self.to.endpoint
    }

    fn tell<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, Failure>> {
        async move {
            let answer = self.to.post(&payload(message, &self.wording.word(message), &self.channel)).await?;
            // Slack may refuse in the body of a good answer.
            match serde_json::from_str::<Value>(&answer) {
                Ok(said) if said["ok"] == false => Err(Failure::new(Kind::Refused, told(&answer, &[]))),
                _ => Ok(answer),
            }
        }
        .boxed()
    }
}

fn payload(message: &Message, worded: &Worded, channel: &str) -> Value {
    let color = match (message.resolved, message.severity) {
        (true, _) => "good",
        (false, Severity::Critical) => "danger",
        (false, _) => "warning",
    };
    let title = cut(&worded.title, 300);
    let mut payload = json!({
        "username": "dwcp-anomaly",
        "attachments": [{
            "fallback": escape(&title),
            "color": color,
            "title": escape(&title),
            // A part of an address leads nowhere.
            "title_link": Some(&message.worst().generator_url).filter(|url| url.len() <= LONGEST_LINK),
            "text": escape(&cut(&worded.text, 3000)),
            "ts": message.worst().starts_at.millis() / 1000,
        }],
    });
    if !channel.is_empty() {
        payload["channel"] = channel.into();
    }
    payload
}

/// The three characters that Slack gives a meaning.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::tests::message;

    #[test]
    fn a_payload_is_one_of_slacks_incoming_webhooks() {
        let worded = Worded { title: "a & b".to_owned(), text: "<c>".to_owned() };
        for (severity, ended, color) in [
            (Severity::Warning, None, "warning"),
            (Severity::Critical, None, "danger"),
            (Severity::Critical, Some(120), "good"),
        ] {
            let payload = payload(&message(severity, ended), &worded, "#ops");
            let attachment = &payload["attachments"][0];
            assert_eq!(
                (&payload["channel"], &attachment["color"], &attachment["title"], &attachment["text"]),
                (&"#ops".into(), &color.into(), &"a &amp; b".into(), &"&lt;c&gt;".into())
            );
            assert_eq!(attachment["ts"], 100);
        }
        assert!(payload(&message(Severity::Warning, None), &worded, "").get("channel").is_none());
    }
}
