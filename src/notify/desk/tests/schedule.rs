//! What happens in a seeded schedule, and what a channel may have been told in it: in virtual time, and in
//! tests/real/schedules.rs against real Alertmanagers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Incident, Severity, Timestamp};

const HOSTS: u64 = 4;

/// Faults, rises and ends of incidents, and what befalls whoever tells of them and whoever is told.
pub(super) struct Schedule {
    random: Pcg64Mcg,
    receivers: u64,
    template: Incident,
    /// Newest first.
    pub(super) incidents: Vec<Incident>,
}

/// What befalls others than the hosts.
pub(super) enum Event {
    /// An outage of Alertmanagers begins or ends.
    Outage,
    /// The sidecar is killed and begins anew.
    Restart,
    /// The receiver at this position becomes slow, or quick again.
    Slow(usize),
}

impl Schedule {
    /// Nothing has happened yet. Incidents will be like `template` but for their host and their times.
    pub(super) fn new(seed: u64, receivers: usize, template: Incident) -> Self {
        let random = Pcg64Mcg::seed_from_u64(seed);
        Self { random, receivers: receivers as u64, template, incidents: Vec::new() }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    /// One step: mostly nothing.
    pub(super) fn happen(&mut self, now: Timestamp) -> Option<Event> {
        match self.below(40) {
            0..=3 => self.fault(now),
            4..=5 => self.rise(now),
            6..=8 => self.end(now),
            9 => return Some(Event::Outage),
            10 => return Some(Event::Restart),
            11..=12 => return Some(Event::Slow(self.below(self.receivers) as usize)),
            _ => {}
        }
        None
    }

    fn fault(&mut self, now: Timestamp) {
        let host = format!("host{}", self.below(HOSTS));
        let fires = |known: &Incident| known.ended_at.is_none() && host_of(known) == host;
        if !self.incidents.iter().any(fires) {
            let severity = [Severity::Info, Severity::Warning, Severity::Critical][self.below(3) as usize];
            let incident = Incident {
                target: self.template.target.with([("instance", host.as_str())]),
                severities: vec![(severity, now)],
                started_at: now,
                ..self.template.clone()
            };
            self.incidents.insert(0, incident);
        }
    }

    fn rise(&mut self, now: Timestamp) {
        if let Some(incident) = self.incidents.iter_mut().find(|incident| incident.ended_at.is_none()) {
            let next = match incident.severity() {
                Severity::Info => Severity::Warning,
                _ => Severity::Critical,
            };
            if next != incident.severity() {
                incident.severities.push((next, now));
            }
        }
    }

    fn end(&mut self, now: Timestamp) {
        let firing: Vec<usize> =
            (0..self.incidents.len()).filter(|n| self.incidents[*n].ended_at.is_none()).collect();
        if !firing.is_empty() {
            let which = firing[self.below(firing.len() as u64) as usize];
            self.incidents[which].ended_at = Some(now);
        }
    }
}

pub(super) fn host_of(incident: &Incident) -> &str {
    incident.target.get("instance").unwrap()
}

/// A message that a channel got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) at: Timestamp,
    pub(super) host: String,
    pub(super) start: Timestamp,
    pub(super) severity: Severity,
    pub(super) resolved: bool,
}

/// Nothing twice, nothing within `throttle`, no end without a start, and an end for each start. Returns the host and
/// start of each incident that was told.
pub(super) fn check_channel<'a>(
    got: &'a [Got],
    incidents: &[Incident],
    throttle: Duration,
    place: &str,
) -> HashSet<(&'a str, Timestamp)> {
    let say = |what: &str| format!("{place}: {what}: {got:?}");
    let mut firing: HashMap<(&str, Timestamp), Vec<Severity>> = HashMap::new();
    let mut ended = HashSet::new();
    let mut last: HashMap<(&str, Severity), Timestamp> = HashMap::new();
    for Got { at, host, start, severity, resolved } in got {
        let key = (host.as_str(), *start);
        if *resolved {
            assert!(firing.contains_key(&key), "{}", say("an end without a start"));
            assert!(ended.insert(key), "{}", say("two ends"));
            continue;
        }
        let known = firing.entry(key).or_default();
        assert!(known.iter().all(|before| before < severity), "{}", say("told twice"));
        known.push(*severity);
        if let Some(before) = last.insert((host, *severity), *at) {
            assert!(at.since(before) >= throttle, "{}", say("within the throttle"));
        }
    }
    for incident in incidents {
        let key = (host_of(incident), incident.started_at);
        if firing.contains_key(&key) {
            assert_eq!(ended.contains(&key), incident.ended_at.is_some(), "{}", say("an end for each start"));
        }
    }
    firing.into_keys().collect()
}
