//! Alerts that other sidecars hand in, to be told as our own are: so that in a fleet only a few need secrets.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

use super::alert::{Alert, fingerprint, time};
use super::level::RESOLVED_FOR;
use super::relabel::is_label_name;
use crate::series::{Labels, Timestamp};

/// Held at most; of more the newest are refused.
const MOST: usize = 10_000;
/// Bytes that all of them may take: one alert may be as large as a request.
const MOST_BYTES: usize = 8 << 20;
/// An alert without an end is good for so long.
const RESOLVE_TIMEOUT: Duration = Duration::from_mins(5);

/// What was handed in; cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay {
    held: Arc<Mutex<Held>>,
    /// Whether nobody is there to be told.
    is_deaf: Arc<AtomicBool>,
    changes: watch::Sender<()>,
}

/// By fingerprint, with about the bytes that all take.
#[derive(Debug, Default)]
struct Held {
    alerts: HashMap<u64, Arc<Alert>>,
    bytes: usize,
}

impl Held {
    /// Takes one in, if there is a place for it. One that is known and grew beyond the bytes is refused too: what was said
    /// of it before stays.
    fn put(&mut self, alert: Alert) -> bool {
        let key = fingerprint(&alert.labels);
        let before = self.alerts.get(&key).map(|alert| weight(alert));
        let bytes = self.bytes - before.unwrap_or_default() + weight(&alert);
        if bytes > MOST_BYTES || before.is_none() && self.alerts.len() >= MOST {
            return false;
        }
        self.alerts.insert(key, Arc::new(alert));
        self.bytes = bytes;
        true
    }

    fn forget(&mut self, labels: &Labels) {
        let gone = self.alerts.remove(&fingerprint(labels));
        self.bytes -= gone.map_or(0, |alert| weight(&alert));
    }

    fn forget_before(&mut self, now: Timestamp) {
        self.alerts.retain(|_, alert| now.since(alert.ends_at) <= RESOLVED_FOR);
        self.bytes = self.alerts.values().map(|alert| weight(alert)).sum();
    }
}

/// About the bytes that an alert takes.
fn weight(alert: &Alert) -> usize {
    let annotations = alert.annotations.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let pair = |(name, value): (&str, &str)| 64 + name.len() + value.len();
    256 + alert.generator_url.len() + alert.labels.iter().chain(annotations).map(pair).sum::<usize>()
}

impl Default for Relay {
    fn default() -> Self {
        Self { held: Arc::default(), is_deaf: Arc::default(), changes: watch::Sender::new(()) }
    }
}

/// Why nothing, or not all, is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Nobody would be told.
    Deaf,
    /// What is wrong with it.
    Wrong(String),
}

/// An alert as others post it: times may be left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HandedIn {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    ends_at: Option<String>,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

impl HandedIn {
    fn alert(self, now: Timestamp) -> Result<Alert, String> {
        let read = |text: Option<String>| match text {
            Some(text) => time(&text)
                .map(Some)
                .ok_or_else(|| format!("{text:?} is no time of RFC 3339 up to the year 9999")),
            None => Ok(None),
        };
        // Go's zero time is none.
        let given = |at: &Timestamp| at.millis() > 0;
        let (starts_at, ends_at) = (read(self.starts_at)?.filter(given), read(self.ends_at)?.filter(given));
        let starts_at = starts_at.unwrap_or_else(|| ends_at.map_or(now, |ends| ends.min(now)));
        let ends_at = ends_at.unwrap_or(now + RESOLVE_TIMEOUT);
        if ends_at < starts_at {
            return Err("start time must be before end time".to_owned());
        }
        if let Some(name) = self.labels.keys().find(|name| !is_label_name(name)) {
            return Err(format!("invalid label set: invalid name {name:?}"));
        }
        let labels = Labels::new(self.labels);
        if labels.is_empty() {
            return Err("at least one label pair required".to_owned());
        }
        let (annotations, generator_url) = (self.annotations, self.generator_url);
        Ok(Alert { labels, annotations, starts_at, ends_at, generator_url, resolved: ends_at <= now })
    }
}

impl Relay {
    /// Takes in the body of a `POST /api/v2/alerts`. As with Alertmanager, what is sound in it is taken, whatever else is
    /// not.
    ///
    /// # Errors
    /// What is wrong, or that there is no place.
    pub fn hand_in(&self, body: &[u8], now: Timestamp) -> Result<(), NotTaken> {
        if self.is_deaf.load(Ordering::Relaxed) {
            return Err(NotTaken::Deaf);
        }
        self.read(body, now).map_err(NotTaken::Wrong)
    }

    /// Whether anybody is there to be told of what is handed in.
    pub fn has_listeners(&self, has: bool) {
        self.is_deaf.store(!has, Ordering::Relaxed);
    }

    fn read(&self, body: &[u8], now: Timestamp) -> Result<(), String> {
        let posted: Vec<HandedIn> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut wrong = Vec::new();
        let read = posted.into_iter().map(|posted| posted.alert(now));
        let sound: Vec<Alert> =
            read.filter_map(|read| read.map_err(|error| wrong.push(error)).ok()).collect();
        let refused = self.take(sound);
        if refused > 0 {
            wrong.push(format!(
                "no place for {refused} alerts: at most {MOST} are held, of {} MiB together",
                MOST_BYTES >> 20
            ));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Takes `alerts` in; of each label set the last word counts. Returns how many there was no place for.
    pub fn take(&self, alerts: Vec<Alert>) -> usize {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = 0;
        for alert in alerts {
            refused += usize::from(!held.put(alert));
        }
        drop(held);
        self.changes.send_replace(());
        refused
    }

    /// What should be known of them at `now`: an alert that is not handed in again ends by itself.
    pub fn alerts(&self, now: Timestamp) -> Vec<Arc<Alert>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.forget_before(now);
        let with_end = |alert: &Arc<Alert>| {
            if alert.resolved || alert.ends_at > now {
                return Arc::clone(alert);
            }
            Arc::new(Alert { resolved: true, ..Alert::clone(alert) })
        };
        held.alerts.values().map(with_end).collect()
    }

    /// Lets go of what is not `sound`, which may be poison to whoever tells it.
    pub fn keep_only(&self, sound: impl Fn(&Arc<Alert>) -> bool) {
        let held = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Arc<Alert>> = held().alerts.values().cloned().collect();
        for alert in all.iter().filter(|alert| !sound(alert)) {
            tracing::error!(labels = %alert.labels, "an alert handed in cannot be told and is dropped; please report it");
            held().forget(&alert.labels);
        }
    }

    /// Changes whenever something is handed in.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Labels;

    fn alert(name: &str, ends: i64) -> Alert {
        Alert {
            labels: Labels::new([("alertname", name)]),
            annotations: std::collections::BTreeMap::new(),
            starts_at: Timestamp::from_millis(1),
            ends_at: Timestamp::from_millis(ends * 1000),
            generator_url: String::new(),
            resolved: false,
        }
    }

    #[test]
    fn the_last_word_counts_and_what_is_said_no_more_ends() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let relay = Relay::default();
        assert_eq!(relay.take(vec![alert("a", 100), alert("b", 50), alert("a", 200)]), 0);
        let told = |now| {
            let mut told: Vec<(String, bool)> = relay
                .alerts(at(now))
                .iter()
                .map(|alert| (alert.labels.get("alertname").unwrap().to_owned(), alert.resolved))
                .collect();
            told.sort();
            told
        };
        assert_eq!(told(60), [("a".to_owned(), false), ("b".to_owned(), true)]);
        assert_eq!(told(50 + 901), [("a".to_owned(), true)]);
        assert_eq!(told(200 + 901), []);
    }

    #[test]
    fn what_alertmanager_takes_is_taken_and_what_it_refuses_refused() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        for (body, problem) in [
            (r#"[{"labels": {"a": "b"}, "startsAt": "2023-11-14T22:00:00.000Z"}]"#, ""),
            (
                r#"[{"labels": {"a": "b"}, "startsAt": "0001-01-01T00:00:00.000Z", "endsAt": "0001-01-01T00:00:00.000Z"}]"#,
                "",
            ),
            ("[]", ""),
            (r#"[{"labels": {}}]"#, "at least one label pair required"),
            (r#"[{"labels": {"a": ""}}]"#, "at least one label pair required"),
            (r#"[{"labels": {"1bad": "x"}}]"#, "invalid name"),
            (
                r#"[{"labels": {"a": "b"}, "startsAt": "2023-11-14T22:00:00Z", "endsAt": "2023-11-14T21:00:00Z"}]"#,
                "start time must be before end time",
            ),
            (
                r#"[{"labels": {"a": "b"}, "endsAt": "9999-12-31T23:59:59-01:00"}]"#,
                "\"9999-12-31T23:59:59-01:00\" is no time of RFC 3339 up to the year 9999",
            ),
            (r#"[{"labels": {"a": "b"}, "endsAt": "2023-11-14T22:00:00+99:99"}]"#, "+99:99\" is no time"),
            (r#"{"labels": {}}"#, "expected a sequence"),
        ] {
            let answer = Relay::default().read(body.as_bytes(), now);
            assert_eq!(answer.is_ok(), problem.is_empty(), "{body}");
            assert!(answer.err().unwrap_or_default().contains(problem), "{body}");
        }
    }

    #[test]
    fn nothing_is_taken_in_where_nobody_would_be_told() {
        let (relay, now) = (Relay::default(), Timestamp::from_millis(1_700_000_000_000));
        let body = br#"[{"labels": {"a": "b"}}]"#;
        relay.has_listeners(false);
        assert_eq!(relay.hand_in(body, now), Err(NotTaken::Deaf));
        assert!(relay.alerts(now).is_empty());
        relay.has_listeners(true);
        assert_eq!(relay.hand_in(body, now), Ok(()));
        assert_eq!(relay.hand_in(b"{", now).map_err(|why| why == NotTaken::Deaf), Err(false));
    }

    #[test]
    fn only_so_many_are_held() {
        let relay = Relay::default();
        let many = (0..MOST + 5).map(|n| alert(&n.to_string(), 100)).collect();
        assert_eq!(relay.take(many), 5);
        assert_eq!(relay.take(vec![alert("1", 200)]), 0, "known ones are heard");
    }

    #[test]
    fn only_so_many_bytes_are_held_and_what_ends_makes_room() {
        let relay = Relay::default();
        let large = |name: &str, ends| {
            let annotations = [("description".to_owned(), "x".repeat(1 << 20))].into();
            Alert { annotations, ..alert(name, ends) }
        };
        let refused: usize = (0..150).map(|n| relay.take(vec![large(&n.to_string(), 100)])).sum();
        assert_eq!(150 - refused, (MOST_BYTES >> 20) - 1);
        assert_eq!(relay.take(vec![large("0", 100)]), 0, "in its own place");
        assert_eq!(relay.take(vec![alert("small", 2000)]), 0);
        let later = Timestamp::from_millis(1_100_000);
        assert_eq!(relay.alerts(later).len(), 1);
        assert_eq!(relay.take(vec![large("200", 2000)]), 0);
    }
}
