//! What one native channel has been told, and what it should be told next.
//!
//! One message when an incident fires, one when it rises, and one when it ends, the last only where a firing went. No
//! clock and no I/O: whoever drives it says what time it is and how an attempt went.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::alert::{Alert, fingerprint};
use super::level::{Case, Level};
use super::nflog::Record;
use super::pause::Pause;
use super::retry::{Again, Failure, Kind};
use super::throttle::Throttle;
use crate::detect::verdict::Severity;
use crate::series::{Labels, Timestamp};

/// Incidents remembered as told; of more the oldest are forgotten and their end is not told.
const MOST: usize = 10_000;

/// What a channel is told of one incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Identifies the incident.
    pub key: u64,
    /// The labels behind `key`.
    pub identity: Labels,
    /// What it has reached.
    pub severity: Severity,
    /// Whether it has ended.
    pub resolved: bool,
    /// Its alerts, mildest first; never empty.
    pub alerts: Vec<Alert>,
}

/// How a channel is told.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Names the channel in the notification log; the same after a restart.
    pub place: String,
    /// Whether ends are told.
    pub sends_resolved: bool,
    /// No second message about one incident and severity within this.
    pub throttle: Duration,
    /// How long an incident that was told before a restart may be missing before it counts as ended.
    pub missing_for: Duration,
}

/// The state of one channel.
#[derive(Debug)]
pub struct Ledger {
    rules: Rules,
    throttle: Throttle,
    told: HashMap<u64, Told>,
    /// Held back by the throttle.
    held: HashSet<(u64, Timestamp)>,
    /// Refused for good.
    refused: HashSet<(u64, Timestamp, Severity, bool)>,
    /// Messages, by incident and whether it has ended, that could not be taken when they were last tried: they come after
    /// the others, so that one that is never taken holds back none.
    put_off: HashSet<(u64, bool)>,
    plan: VecDeque<Step>,
    under_way: Option<Arc<Message>>,
    pause: Pause,
    began: Timestamp,
    unlogged: Vec<Record>,
    /// When a message that is held back may go.
    release: Option<Timestamp>,
}

/// A firing that arrived and whose end has not been told.
#[derive(Clone, Debug)]
struct Told {
    severity: Severity,
    started_at: Timestamp,
    fired_at: Timestamp,
    message: Arc<Message>,
    /// By whoever ran before.
    before: bool,
    missing_since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Tell that the case at this position of the level fires.
    Fire(usize),
    /// Tell the end of what was told under this key, as the case at this position says, if there is one.
    End(u64, Option<usize>),
}

impl Ledger {
    /// One that goes on where `log` ends.
    pub fn new(rules: Rules, log: &[Record], now: Timestamp) -> Self {
        let throttle = Throttle::new(rules.throttle);
        let mut told = HashMap::new();
        for record in log.iter().filter(|record| record.place == rules.place) {
            record.told_at.iter().for_each(|(severity, at)| throttle.told(record.key, *severity, *at));
            if let Some(message) = record.message() {
                let (severity, started_at, fired_at) = (record.severity, record.started_at, record.fired_at);
                let known =
                    Told { severity, started_at, fired_at, message, before: true, missing_since: None };
                told.insert(record.key, known);
            }
        }
        Self {
            rules,
            throttle,
            told,
            held: HashSet::new(),
            refused: HashSet::new(),
            put_off: HashSet::new(),
            plan: VecDeque::new(),
            under_way: None,
            pause: Pause::default(),
            began: now,
            unlogged: Vec::new(),
            release: None,
        }
    }

    /// Plans what to tell of `level`; `takes` says whether a firing case is this channel's affair now. Returns how many
    /// messages were given up because what was held back has ended.
    pub fn take(&mut self, level: &Level, takes: impl Fn(&Case) -> bool) -> usize {
        self.release = None;
        let (mut seen, mut fires, mut ends) = (HashSet::new(), Vec::new(), Vec::new());
        let mut still_held = HashSet::new();
        let (mut refused, mut firing) = (HashSet::new(), HashSet::new());
        for (at, case) in level.cases.iter().enumerate() {
            if !seen.insert(case.key) {
                continue;
            }
            refused.extend(
                self.refused.iter().filter(|known| known.0 == case.key && known.1 == case.started_at),
            );
            self.adopt(case);
            if case.ended_at.is_none() {
                firing.insert((case.key, case.started_at));
            }
            let told = self.told.get_mut(&case.key);
            let is_other = told.as_ref().is_some_and(|told| told.started_at != case.started_at);
            if let Some(told) = told {
                told.missing_since = None;
                if is_other || case.ended_at.is_some() {
                    ends.push(Step::End(case.key, (!is_other).then_some(at)));
                    continue;
                }
            }
            let is_told = self.told.get(&case.key).is_some_and(|told| told.severity >= case.severity);
            if case.ended_at.is_some() || is_told || !takes(case) {
                continue;
            }
            match self.throttle.held_until(case.key, case.severity, level.at) {
                Some(until) => {
                    still_held.insert((case.key, case.started_at));
                    self.release = Some(self.release.map_or(until, |at| at.min(until)));
                }
                None => fires.push((std::cmp::Reverse(case.severity), case.started_at, at)),
            }
        }
        self.refused = refused;
        ends.extend(self.missing(&seen, level.at));
        fires.sort_unstable();
        // Ends first: they are short of nothing, and a channel that was told of the old may be told of the new then.
        self.plan = ends.into_iter().chain(fires.into_iter().map(|(.., at)| Step::Fire(at))).collect();
        self.put_off.retain(|(key, _)| seen.contains(key) || self.told.contains_key(key));
        self.plan.make_contiguous().sort_by_key(|step| {
            self.put_off.contains(&match step {
                Step::Fire(at) => (level.cases[*at].key, false),
                Step::End(key, _) => (*key, true),
            })
        });
        let given_up = self.held.iter().filter(|held| !firing.contains(held)).count();
        self.held = still_held;
        given_up
    }

    /// An incident that began anew only because we did is the one that was told before.
    fn adopt(&mut self, case: &Case) {
        let Some(told) = self.told.get_mut(&case.key).filter(|told| told.before) else { return };
        if told.started_at != case.started_at && case.started_at >= self.began && case.ended_at.is_none() {
            told.started_at = case.started_at;
            self.unlogged.push(Record::firing(
                &self.rules.place,
                &told.message,
                told.started_at,
                told.fired_at,
            ));
        }
        told.before = false;
    }

    /// What was told and is in the level no more. After a restart the level may need a while to be whole.
    fn missing(&mut self, seen: &HashSet<u64>, now: Timestamp) -> Vec<Step> {
        let mut over = Vec::new();
        for (key, told) in self.told.iter_mut().filter(|(key, _)| !seen.contains(key)) {
            let since = *told.missing_since.get_or_insert(now);
            if !told.before || now.since(since) >= self.rules.missing_for {
                over.push(Step::End(*key, None));
            }
        }
        over
    }

    /// The next message, if one may be sent now.
    pub fn next(&mut self, level: &Level, now: Timestamp) -> Option<Arc<Message>> {
        if self.under_way.is_some() || !self.pause.is_over(now) {
            return None;
        }
        while let Some(step) = self.plan.pop_front() {
            let Some(message) = self.message(step, level) else { continue };
            // What was under way when the plan was made may have arrived since.
            if !message.resolved
                && self.told.get(&message.key).is_some_and(|told| told.severity >= message.severity)
            {
                continue;
            }
            if message.resolved && !self.rules.sends_resolved {
                self.forget(message.key, now);
                continue;
            }
            if self.refused.contains(&refusal(&message)) {
                if message.resolved {
                    self.forget(message.key, now);
                }
                continue;
            }
            let message = Arc::new(message);
            self.under_way = Some(Arc::clone(&message));
            return Some(message);
        }
        None
    }

    fn message(&self, step: Step, level: &Level) -> Option<Message> {
        let of_case = |case: &Case, severity: Severity| Message {
            key: case.key,
            identity: case.identity.clone(),
            severity,
            resolved: case.ended_at.is_some(),
            alerts: case.steps.iter().map(|step| level.alert(case, step)).collect(),
        };
        match step {
            Step::Fire(at) => level.cases.get(at).map(|case| of_case(case, case.severity)),
            Step::End(key, at) => {
                let told = self.told.get(&key)?;
                let case = at.and_then(|at| level.cases.get(at));
                Some(case.map_or_else(|| told.message.ended(level.at), |case| of_case(case, case.severity)))
            }
        }
    }

    /// How the message under way went; what is to be remembered of it is in [`Self::unlogged`] then.
    pub fn answered(&mut self, outcome: &Result<(), Failure>, now: Timestamp) {
        let Some(message) = self.under_way.take() else { return };
        match outcome {
            Ok(()) => {
                self.pause = Pause::default();
                self.arrived(&message, now);
            }
            Err(failure) if failure.again == Again::Never => {
                self.pause = Pause::default();
                self.refused.insert(refusal(&message));
            }
            Err(failure) => {
                self.pause = self.pause.next(failure.again, now);
                if failure.kind == Kind::Unavailable {
                    self.put_off.insert((message.key, message.resolved));
                }
            }
        }
    }

    fn arrived(&mut self, message: &Arc<Message>, now: Timestamp) {
        self.put_off.remove(&(message.key, message.resolved));
        if message.resolved {
            self.forget(message.key, now);
            return;
        }
        self.throttle.told(message.key, message.severity, now);
        let started_at = message.started_at();
        let told = Told {
            severity: message.severity,
            started_at,
            fired_at: now,
            message: Arc::clone(message),
            before: false,
            missing_since: None,
        };
        self.told.insert(message.key, told);
        self.unlogged.push(Record::firing(&self.rules.place, message, started_at, now));
        if self.told.len() > MOST
            && let Some(oldest) = self.told.iter().min_by_key(|(_, told)| told.fired_at).map(|(key, _)| *key)
        {
            self.forget(oldest, now);
        }
    }

    fn forget(&mut self, key: u64, now: Timestamp) {
        if let Some(told) = self.told.remove(&key) {
            self.unlogged.push(Record::ended(&self.rules.place, key, told.severity, told.fired_at, now));
        }
    }

    /// What the notification log does not hold yet.
    pub fn unlogged(&mut self) -> Vec<Record> {
        let records = std::mem::take(&mut self.unlogged);
        let with_stamps = |record: Record| {
            let told_at = self.throttle.told_at(record.key);
            record.with(told_at)
        };
        records.into_iter().map(with_stamps).collect()
    }

    /// When something may be to do, beside new levels.
    pub fn due(&self) -> Option<Timestamp> {
        if self.under_way.is_some() {
            return None;
        }
        let send = (!self.plan.is_empty()).then(|| self.pause.until());
        send.into_iter().chain(self.release).min()
    }

    /// Messages that wait or are under way.
    pub fn len(&self) -> usize {
        self.plan.len() + usize::from(self.under_way.is_some())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing can be done for it at the moment.
    pub fn is_stuck(&self, now: Timestamp) -> bool {
        self.under_way.is_none() && !self.pause.is_over(now)
    }

    /// The wall clock was set by so many milliseconds.
    pub fn shift(&mut self, millis: i64) {
        self.pause.shift(millis);
    }
}

impl Message {
    /// The firing of one alert.
    pub fn of_alert(alert: &Alert, severity: Severity) -> Self {
        let identity = alert.labels.without(|name| name == "severity");
        let (key, alerts) = (fingerprint(&identity), vec![alert.clone()]);
        Self { key, identity, severity, resolved: false, alerts }
    }

    /// Its end at `now`.
    #[must_use]
    pub fn ended(&self, now: Timestamp) -> Self {
        let mut message = self.clone();
        message.resolved = true;
        for alert in message.alerts.iter_mut().filter(|alert| !alert.resolved) {
            (alert.resolved, alert.ends_at) = (true, now.max(alert.starts_at));
        }
        message
    }

    /// When the incident began.
    pub fn started_at(&self) -> Timestamp {
        self.alerts.iter().map(|alert| alert.starts_at).min().unwrap_or_default()
    }

    /// The alert that speaks for all: the worst.
    pub fn worst(&self) -> &Alert {
        &self.alerts[self.alerts.len() - 1]
    }
}

fn refusal(message: &Message) -> (u64, Timestamp, Severity, bool) {
    (message.key, message.started_at(), message.severity, message.resolved)
}

#[cfg(test)]
mod tests;
