//! Who is told what and when: a queue for each Alertmanager, a ledger for each native channel, and the failover between
//! them.
//!
//! Synchronous and without a clock, so that schedules of faults can be played through in virtual time. It hands out
//! errands, at most one for each receiver at a time, so that one that hangs holds up no other; whoever runs them reports.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::alert::Alert;
use super::alertmanager;
use super::counters::{Counters, Endpoint};
use super::ledger::{Ledger, Message, Rules};
use super::level::{Case, Identity, Level, Namer, Posted};
use super::nflog::Record;
use super::outbox::{Outbox, Pace};
use super::retry::Failure;
use crate::detect::verdict::Severity;
use crate::engine::snapshot::Snapshot;
use crate::series::{Labels, Timestamp};

/// Receivers of an alert with these labels.
pub type Routes = dyn Fn(&Labels) -> Vec<String> + Send + Sync;

/// Something to be done for one receiver.
#[derive(Clone, Debug)]
pub enum Errand {
    /// Tell an Alertmanager these.
    Post(String, Vec<Arc<Posted>>),
    /// Ask an Alertmanager if it lives.
    Probe(String),
    /// Tell a native channel, by its position.
    Tell(usize, Arc<Message>),
}

/// How an errand went.
#[derive(Clone, Debug)]
pub enum Report {
    /// What the Alertmanager at this address said, and after how long.
    Posted(String, Result<(), Failure>, Duration),
    /// Whether the Alertmanager at this address lives.
    Probed(String, bool),
    /// What the channel at this position said, and after how long.
    Told(usize, Result<(), Failure>, Duration),
}

/// A native channel, as the desk knows it.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Counts are kept under this.
    pub endpoint: Endpoint,
    /// How it is told.
    pub rules: Rules,
    /// Of which incidents.
    pub takes: Takes,
}

/// Which incidents are a channel's affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Those that have reached this.
    AtLeast(Severity),
    /// Those that the routing tree sends to this receiver.
    RoutedTo(String),
}

/// What holds for the whole desk.
pub struct Setting {
    /// What alerts say about their sender.
    pub identity: Arc<Identity>,
    /// How Alertmanagers are told.
    pub pace: Pace,
    /// Whether any are configured, be they known or not.
    pub has_alertmanagers: bool,
    /// How long none of them has answered before native channels speak.
    pub failover_after: Duration,
    /// Receivers of a firing case.
    pub route: Box<Routes>,
}

/// The state of all.
pub struct Desk {
    setting: Setting,
    counters: Counters,
    namer: Namer,
    level: Level,
    outboxes: BTreeMap<String, Outbox>,
    channels: Vec<(Channel, Ledger)>,
    /// When an Alertmanager answered last.
    answered_at: Timestamp,
}

impl Desk {
    /// One that goes on where `log` ends.
    pub fn new(
        setting: Setting,
        channels: Vec<Channel>,
        log: &[Record],
        counters: Counters,
        now: Timestamp,
    ) -> Self {
        let with_ledger = |channel: Channel| {
            counters.know(&channel.endpoint);
            let ledger = Ledger::new(channel.rules.clone(), log, now);
            (channel, ledger)
        };
        Self {
            channels: channels.into_iter().map(with_ledger).collect(),
            setting,
            counters,
            namer: Namer::default(),
            level: Level::default(),
            outboxes: BTreeMap::new(),
            answered_at: now,
        }
    }

    /// There are these Alertmanagers now. What a known one is owed stays; a new one is told everything.
    pub fn know<'a>(&mut self, urls: impl Iterator<Item = &'a str>, now: Timestamp) {
        let mut before = std::mem::take(&mut self.outboxes);
        for url in urls {
            let outbox = before.remove(url).unwrap_or_else(|| Outbox::new(self.setting.pace, now));
            self.counters.know(&endpoint(url));
            self.outboxes.insert(url.to_owned(), outbox);
        }
        before.keys().for_each(|url| self.counters.forget(&endpoint(url)));
    }

    /// Takes in what should be known now.
    pub fn hear(&mut self, snapshot: Arc<Snapshot>, relayed: &[Arc<Alert>], now: Timestamp) {
        let identity = Arc::clone(&self.setting.identity);
        // What was written for the old one is let go before the new one is written.
        self.level = Level::default();
        self.level = Level::new(snapshot, relayed, identity, &mut self.namer, now);
        for (url, outbox) in &mut self.outboxes {
            let dropped = outbox.take(&self.level);
            self.counters.dropped(&endpoint(url), dropped);
            self.counters.queue(&endpoint(url), outbox.len());
        }
        let speaks = self.natives_speak(now);
        let route = &self.setting.route;
        for (channel, ledger) in &mut self.channels {
            let dropped = ledger.take(&self.level, |case| speaks && channel.takes.case(case, &**route));
            self.counters.dropped(&channel.endpoint, dropped);
        }
        self.channels.iter().for_each(|(channel, _)| self.show_queue(&channel.endpoint));
    }

    /// Channels may have one endpoint: those of several mailboxes, or of several receivers at one host.
    fn show_queue(&self, endpoint: &Endpoint) {
        let there = self.channels.iter().filter(|(channel, _)| channel.endpoint == *endpoint);
        self.counters.queue(endpoint, there.map(|(_, ledger)| ledger.len()).sum());
    }

    /// Whether no Alertmanager does.
    fn natives_speak(&self, now: Timestamp) -> bool {
        !self.setting.has_alertmanagers || now.since(self.answered_at) >= self.setting.failover_after
    }

    /// What is to be begun now.
    pub fn errands(&mut self, now: Timestamp) -> Vec<Errand> {
        let mut errands = Vec::new();
        self.add_errands(&mut errands, now);
        errands
    }

    /// The same at the end of `errands`: where one of them panics, those before it are not lost.
    pub fn add_errands(&mut self, errands: &mut Vec<Errand>, now: Timestamp) {
        for (url, outbox) in &mut self.outboxes {
            if let Some(batch) = outbox.next_batch(now) {
                errands.push(Errand::Post(url.clone(), batch));
            } else if outbox.next_probe(now) {
                errands.push(Errand::Probe(url.clone()));
            }
        }
        for (at, (_, ledger)) in self.channels.iter_mut().enumerate() {
            errands.extend(ledger.next(&self.level, now).map(|message| Errand::Tell(at, message)));
        }
    }

    /// Whether `alert` can be told to anybody: telling it, alone, does not panic.
    pub fn can_tell(&self, alert: &Arc<Alert>, now: Timestamp) -> bool {
        let tell = || {
            let (identity, alone) = (Arc::clone(&self.setting.identity), std::slice::from_ref(alert));
            let level = Level::new(Arc::default(), alone, identity, &mut Namer::default(), now);
            for case in &level.cases {
                case.steps.iter().for_each(|step| drop(Posted::of(&level.alert(case, step))));
                self.channels.iter().for_each(|(channel, _)| {
                    channel.takes.case(case, &*self.setting.route);
                });
            }
        };
        catch_unwind(AssertUnwindSafe(tell)).is_ok()
    }

    /// How an errand went.
    pub fn report(&mut self, report: &Report, now: Timestamp) {
        match report {
            Report::Posted(url, outcome, took) => {
                let Some(outbox) = self.outboxes.get_mut(url) else { return };
                let (sent, failed, lives) = outbox.answered(outcome, now);
                self.counters.tried(&endpoint(url), sent, failed, *took);
                self.counters.queue(&endpoint(url), outbox.len());
                self.heard_of_one(lives, now);
            }
            Report::Probed(url, lives) => {
                let may_be_relied_on = self.outboxes.get_mut(url).is_some_and(|outbox| outbox.probed(*lives));
                self.heard_of_one(may_be_relied_on, now);
            }
            Report::Told(at, outcome, took) => {
                let Some((channel, ledger)) = self.channels.get_mut(*at) else { return };
                ledger.answered(outcome, now);
                let sent = usize::from(outcome.is_ok());
                let endpoint = channel.endpoint.clone();
                self.counters.tried(&endpoint, sent, 1 - sent, *took);
                self.show_queue(&endpoint);
            }
        }
    }

    fn heard_of_one(&mut self, lives: bool, now: Timestamp) {
        if lives {
            self.answered_at = now;
        }
    }

    /// What the notification log does not hold yet.
    pub fn unlogged(&mut self) -> Vec<Record> {
        self.channels.iter_mut().flat_map(|(_, ledger)| ledger.unlogged()).collect()
    }

    /// When something may be to do, beside new levels.
    pub fn due(&self) -> Option<Timestamp> {
        let outboxes = self.outboxes.values().filter_map(Outbox::due);
        outboxes.chain(self.channels.iter().filter_map(|(_, ledger)| ledger.due())).min()
    }

    /// Whether all that can be told has been.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.outboxes.values().all(|outbox| outbox.is_empty() || outbox.is_stuck(now))
            && self.channels.iter().all(|(_, ledger)| ledger.is_empty() || ledger.is_stuck(now))
    }

    /// The wall clock was set by so many milliseconds: what was reckoned by it is moved with it.
    pub fn shift(&mut self, millis: i64) {
        self.answered_at = Timestamp::from_millis(self.answered_at.millis().saturating_add(millis));
        self.outboxes.values_mut().for_each(|outbox| outbox.shift(millis));
        self.channels.iter_mut().for_each(|(_, ledger)| ledger.shift(millis));
    }
}

impl Takes {
    fn case(&self, case: &Case, route: &Routes) -> bool {
        // The last step is the worst, and the one that fires.
        case.steps.last().is_some_and(|step| self.labels(&step.labels, case.severity, route))
    }

    /// Whether `alert` is the channel's affair.
    pub fn alert(&self, alert: &Alert, severity: Severity, route: &Routes) -> bool {
        self.labels(&alert.labels, severity, route)
    }

    fn labels(&self, labels: &Labels, severity: Severity, route: &Routes) -> bool {
        match self {
            Self::AtLeast(least) => severity >= *least,
            Self::RoutedTo(receiver) => route(labels).contains(receiver),
        }
    }
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint { notifier: alertmanager::NOTIFIER, endpoint: url.to_owned() }
}

#[cfg(test)]
mod tests;
