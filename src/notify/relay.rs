//! Alerts that other sidecars hand in, to be told as our own are: so that in a fleet only a few need secrets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::alert::{Alert, fingerprint};
use super::level::RESOLVED_FOR;
use crate::series::Timestamp;

/// Held at most; of more the newest are refused.
const MOST: usize = 10_000;

/// What was handed in; cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay {
    held: Arc<Mutex<HashMap<u64, Arc<Alert>>>>,
    changes: watch::Sender<()>,
}

impl Default for Relay {
    fn default() -> Self {
        Self { held: Arc::default(), changes: watch::Sender::new(()) }
    }
}

impl Relay {
    /// Takes `alerts` in; of each label set the last word counts. Returns how many there was no place for.
    pub fn take(&self, alerts: Vec<Alert>, now: Timestamp) -> usize {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = 0;
        for mut alert in alerts {
            let key = fingerprint(&alert.labels);
            let is_known = held.contains_key(&key);
            let ends = alert.ends_at;
            alert.resolved = ends <= now;
            if is_known || held.len() < MOST {
                held.insert(key, Arc::new(alert));
            } else {
                refused += 1;
            }
        }
        drop(held);
        self.changes.send_replace(());
        refused
    }

    /// What should be known of them at `now`: an alert that is not handed in again ends by itself.
    pub fn alerts(&self, now: Timestamp) -> Vec<Arc<Alert>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, alert| now.since(alert.ends_at) <= RESOLVED_FOR);
        let with_end = |alert: &Arc<Alert>| {
            if alert.resolved || alert.ends_at > now {
                return Arc::clone(alert);
            }
            Arc::new(Alert { resolved: true, ..Alert::clone(alert) })
        };
        held.values().map(with_end).collect()
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
        assert_eq!(relay.take(vec![alert("a", 100), alert("b", 50), alert("a", 200)], at(10)), 0);
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
    fn only_so_many_are_held() {
        let relay = Relay::default();
        let many = (0..MOST + 5).map(|n| alert(&n.to_string(), 100)).collect();
        assert_eq!(relay.take(many, Timestamp::from_millis(1)), 5);
        assert_eq!(relay.take(vec![alert("1", 200)], Timestamp::from_millis(1)), 0, "known ones are heard");
    }
}
