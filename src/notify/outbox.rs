//! What one Alertmanager is owed: a queue of its own, what it has been told, and when to try again.
//!
//! No clock and no I/O: whoever drives it says what time it is and how an attempt went.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::level::{Level, Posted, Step};
use super::pause::Pause;
use super::retry::{Again, Failure, Kind};
use crate::series::Timestamp;

/// Alerts that wait at most; of more the oldest are dropped and counted.
pub const QUEUE: usize = 10_000;
/// Alerts in one request.
pub const BATCH: usize = 256;
/// Requests that may be refused one after the other before the next one waits: eight halvings find one alert in a batch, so
/// four bad ones are found at once, and whoever refuses everything is not asked for each alert in turn.
const REFUSALS: u32 = 32;

/// How alerts are sent again, and how life is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What has not changed is told again after this.
    pub resend: Duration,
    /// Asked whether it lives when it has said nothing for this long; `None` where nobody depends on it.
    pub probe: Option<Duration>,
}

/// The state of one Alertmanager.
#[derive(Debug)]
pub struct Outbox {
    pace: Pace,
    told: HashMap<u64, Told>,
    /// Keys in the order they came, and the newest alert of each: what is overtaken while it waits is not sent.
    order: VecDeque<u64>,
    waiting: HashMap<u64, Arc<Posted>>,
    under_way: Vec<Arc<Posted>>,
    /// Most alerts of the next request: fewer after one was refused whole, until the alert that it was refused for is alone.
    most: usize,
    /// Keys that were refused alone; they are asked for alone again, so that they spoil no other.
    refused: HashSet<u64>,
    /// Requests in a row that were.
    refusals: u32,
    is_probing: bool,
    pause: Pause,
    /// The last attempt to tell it something failed, whatever it says of its health.
    is_failing: bool,
    asked_at: Timestamp,
    /// Number of the level that was taken last.
    round: u64,
    /// Alerts older than this may have been told by whoever ran before.
    began: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    starts_at: Timestamp,
    resolved: bool,
    /// When it was put into the queue last.
    at: Timestamp,
    round: u64,
}

impl Outbox {
    /// One that owes nothing yet.
    pub fn new(pace: Pace, now: Timestamp) -> Self {
        Self {
            pace,
            told: HashMap::new(),
            order: VecDeque::new(),
            waiting: HashMap::new(),
            under_way: Vec::new(),
            most: BATCH,
            refused: HashSet::new(),
            refusals: 0,
            is_probing: false,
            pause: Pause::default(),
            is_failing: false,
            asked_at: now,
            round: 0,
            began: now,
        }
    }

    /// Queues what is new and what is due again. Returns how many had to be dropped for it.
    pub fn take(&mut self, level: &Level) -> usize {
        self.round += 1;
        let (now, round, before) = (level.at, self.round, self.order.len());
        let mut added = 0;
        for case in level.cases.iter().rev() {
            let told_of = |step: &&Step| !case.lapses || step.ended_at.is_none();
            for step in case.steps.iter().filter(told_of) {
                let resolved = step.ended_at.is_some();
                let told = self.told.get_mut(&step.key);
                let is_due = match &told {
                    Some(told) if told.starts_at == case.started_at && told.resolved == resolved => {
                        now.since(told.at) >= self.pace.resend
                    }
                    Some(_) => true,
                    // An end is told only to whom the start was, by us or by whoever ran before.
                    None => !resolved || case.started_at < self.began,
                };
                if !is_due {
                    if let Some(told) = told {
                        told.round = round;
                    }
                    continue;
                }
                self.told.insert(step.key, Told { starts_at: case.started_at, resolved, at: now, round });
                added += usize::from(self.put(level.posted(case, step)));
            }
        }
        self.told.retain(|_, told| told.round == round);
        self.refused.retain(|key| self.told.contains_key(key));
        let dropped = (before + added).saturating_sub(QUEUE);
        for _ in 0..dropped {
            self.drop_oldest();
        }
        dropped
    }

    /// Whether it is one more than before.
    fn put(&mut self, alert: Arc<Posted>) -> bool {
        let key = alert.key;
        let is_new = self.waiting.insert(key, alert).is_none();
        if is_new {
            self.order.push_back(key);
        }
        is_new
    }

    /// What was dropped was not told: as the level still holds it, it is told again when it is due.
    fn drop_oldest(&mut self) {
        if let Some(key) = self.order.pop_front() {
            self.waiting.remove(&key);
        }
    }

    /// The next request, if one may be begun.
    pub fn next_batch(&mut self, now: Timestamp) -> Option<Vec<Arc<Posted>>> {
        if !self.under_way.is_empty() || self.order.is_empty() || !self.pause.is_over(now) {
            return None;
        }
        let is_alone = self.refused.contains(&self.order[0]);
        let spoils = |key: &u64| self.refused.contains(key);
        let before = if is_alone { 1 } else { self.order.iter().position(spoils).unwrap_or(usize::MAX) };
        let keys: Vec<u64> = self.order.drain(..self.order.len().min(self.most).min(before)).collect();
        self.under_way = keys.iter().filter_map(|key| self.waiting.remove(key)).collect();
        self.asked_at = now;
        Some(self.under_way.clone())
    }

    /// Whether to ask now if it lives.
    pub fn next_probe(&mut self, now: Timestamp) -> bool {
        let is_due = self.pace.probe.is_some_and(|every| now.since(self.asked_at) >= every);
        let may = is_due && !self.is_probing && self.under_way.is_empty();
        if may {
            (self.is_probing, self.asked_at) = (true, now);
        }
        may
    }

    /// How the request under way went. Returns how many alerts were taken and how many failed, and whether it lives.
    pub fn answered(&mut self, outcome: &Result<(), Failure>, now: Timestamp) -> (usize, usize, bool) {
        let batch = std::mem::take(&mut self.under_way);
        let count = batch.len();
        let Err(failure) = outcome else {
            (self.pause, self.is_failing) = (Pause::default(), false);
            (self.most, self.refusals) = ((self.most * 2).min(BATCH), 0);
            for alert in &batch {
                self.refused.remove(&alert.key);
            }
            return (count, 0, true);
        };
        if is_about_alerts(failure) {
            // It listens at least.
            self.is_failing = false;
            self.refusals += 1;
            let may_go_on = self.refusals < REFUSALS;
            self.pause = if may_go_on { Pause::default() } else { self.pause.next(Again::Later, now) };
            if count > 1 {
                self.most = count.div_ceil(2);
                self.put_back(batch);
                return (0, 0, true);
            }
            // It will be told again when everything is.
            self.refused.extend(batch.first().map(|alert| alert.key));
            return (0, count, true);
        }
        if failure.again == Again::Never {
            // They will be told again when everything is; whoever does not let us in is not to be relied on.
            (self.is_failing, self.pause) = (true, self.pause.next(Again::Later, now));
            return (0, count, false);
        }
        self.is_failing = true;
        self.pause = self.pause.next(failure.again, now);
        self.put_back(batch);
        (0, count, false)
    }

    /// First in the queue again. What has been overtaken meanwhile is not told any more.
    fn put_back(&mut self, batch: Vec<Arc<Posted>>) {
        for alert in batch.into_iter().rev() {
            if self.told.contains_key(&alert.key) && !self.waiting.contains_key(&alert.key) {
                self.order.push_front(alert.key);
                self.waiting.insert(alert.key, alert);
            }
        }
    }

    /// How being asked for life went; whether it may be relied on.
    pub fn probed(&mut self, lives: bool) -> bool {
        self.is_probing = false;
        lives && !self.is_failing
    }

    /// When something may be to do, beside new levels.
    pub fn due(&self) -> Option<Timestamp> {
        if !self.under_way.is_empty() {
            return None;
        }
        let probe = self.pace.probe.filter(|_| !self.is_probing).map(|every| self.asked_at + every);
        let send = (!self.order.is_empty()).then(|| self.pause.until());
        probe.into_iter().chain(send).min()
    }

    /// Alerts that wait or are under way.
    pub fn len(&self) -> usize {
        self.order.len() + self.under_way.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing can be done for it at the moment.
    pub fn is_stuck(&self, now: Timestamp) -> bool {
        self.under_way.is_empty() && !self.pause.is_over(now)
    }

    /// The wall clock was set by so many milliseconds: what was reckoned by it is moved with it.
    pub fn shift(&mut self, millis: i64) {
        let moved = |at: Timestamp| Timestamp::from_millis(at.millis().saturating_add(millis));
        self.asked_at = moved(self.asked_at);
        self.pause.shift(millis);
        self.told.values_mut().for_each(|told| told.at = moved(told.at));
    }
}

/// Whether an Alertmanager took exception to what was in the request, and not to who asks: a smaller one may be taken.
pub fn is_about_alerts(failure: &Failure) -> bool {
    failure.kind == Kind::Refused && matches!(failure.status, Some(400 | 413 | 422))
}

#[cfg(test)]
mod tests;
