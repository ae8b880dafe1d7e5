//! Runs the desk: hears levels, carries its errands, each in a task of its own, and tells it how they went.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use moka::sync::Cache;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Notifier;
use super::alert::now;
use super::alertmanager::Alertmanager;
use super::counters::Endpoint as Place;
use super::desk::{Desk, Errand, Report};
use super::discovery::Endpoint;
use super::level::Posted;
use super::message::cut;
use super::nflog::Log;
use super::outbox::is_about_alerts;
use super::relay::Relay;
use super::retry::{Failure, Kind};
use crate::engine::snapshot::Snapshot;
use crate::series::Timestamp;
use crate::supervisor::{Pulse, Task, Tasks};

/// A level is heard at least this often, so that nothing is due unnoticed,
const AT_LEAST: Duration = Duration::from_secs(1);
/// and no more often than this, however many targets are judged.
const AT_MOST: Duration = Duration::from_millis(100);
/// No wait is shorter: what has become due may need a new level first.
const SHORTEST: Duration = Duration::from_millis(20);
/// At the end, for what is still to be told.
const GRACE: Duration = Duration::from_secs(10);
/// A wall clock that differs so much from the steady one has been set.
const STEP: i64 = 2000;

/// Everything that tells people.
pub struct Courier {
    /// Who is told what.
    pub desk: Desk,
    /// The native channels, in the order that the desk knows them in.
    pub channels: Vec<Arc<dyn Notifier>>,
    /// Where what arrived is remembered.
    pub log: Log,
    /// What other sidecars hand in.
    pub relay: Relay,
}

impl Courier {
    /// Tells until the snapshots end or `stop` is called, and then what is left, for a while. After a panic it goes on with
    /// all it owes; alerts handed in that are poison are dropped then.
    pub async fn run(
        self,
        tasks: &Tasks,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        found: watch::Receiver<Vec<Endpoint>>,
        stop: CancellationToken,
    ) {
        let round = Round::new(self, snapshots, found, stop.clone());
        tasks.keep(Task::Alerts, stop, round, |round, pulse| round.run(pulse).boxed()).await;
    }
}

/// A courier on the way: everything that it needs again after a panic.
struct Round {
    courier: Courier,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    found: watch::Receiver<Vec<Endpoint>>,
    stop: CancellationToken,
    relayed: watch::Receiver<()>,
    alertmanagers: Clients,
    said: Said,
    clock: Clock,
    /// To be begun.
    errands: Vec<Errand>,
    under_way: JoinSet<Report>,
    has_begun: bool,
    /// When it ends, whatever is left to tell.
    deadline: Option<Instant>,
}

impl Round {
    fn new(
        courier: Courier,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        found: watch::Receiver<Vec<Endpoint>>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            relayed: courier.relay.changes(),
            courier,
            snapshots,
            found,
            stop,
            alertmanagers: Clients::default(),
            said: Said::default(),
            clock: Clock::new(),
            errands: Vec::new(),
            under_way: JoinSet::new(),
            has_begun: false,
            deadline: None,
        }
    }

    async fn run(&mut self, pulse: &Pulse) {
        if std::mem::replace(&mut self.has_begun, true) {
            let desk = &self.courier.desk;
            self.courier.relay.keep_only(|alert| desk.can_tell(alert, now()));
        }
        self.meet(now());
        let mut heard: Option<Instant> = None;
        let mut is_news = true;
        loop {
            pulse.busy();
            let at = self.now();
            let pause = if is_news { AT_MOST } else { AT_LEAST };
            if heard.is_none_or(|heard| heard.elapsed() >= pause) || self.deadline.is_some() {
                let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
                let relayed = self.courier.relay.alerts(at);
                self.courier.desk.hear(snapshot, &relayed, at);
                (heard, is_news) = (Some(Instant::now()), false);
            }
            self.courier.remember().await;
            self.courier.desk.add_errands(&mut self.errands, at);
            for errand in std::mem::take(&mut self.errands) {
                self.courier.carry(errand, &self.alertmanagers, &self.said, &mut self.under_way);
            }
            let is_over = |deadline| Instant::now() >= deadline || self.courier.desk.is_idle(at);
            if self.deadline.is_some_and(is_over) {
                return;
            }
            let since = heard.map(|heard| heard.elapsed()).unwrap_or_default();
            let wait = if is_news { AT_MOST } else { AT_LEAST }.saturating_sub(since);
            let due = self.courier.desk.due().map_or(wait, |due| due.since(at).min(wait));
            pulse.idle();
            tokio::select! {
                changed = self.snapshots.changed(), if self.deadline.is_none() => {
                    is_news = true;
                    if changed.is_err() {
                        self.deadline = Some(Instant::now() + GRACE);
                    }
                }
                Ok(()) = self.relayed.changed() => is_news = true,
                Ok(()) = self.found.changed() => {
                    self.meet(at);
                    is_news = true;
                }
                Some(report) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                    // A task neither panics, as what it runs is caught, nor is it aborted.
                    if let Ok(report) = report {
                        let at = self.now();
                        self.courier.desk.report(&report, at);
                    }
                }
                () = tokio::time::sleep(due.max(SHORTEST)) => {}
                () = self.stop.cancelled(), if self.deadline.is_none() => {
                    self.deadline = Some(Instant::now() + GRACE);
                }
            }
        }
    }

    /// Takes up the Alertmanagers that there are now.
    fn meet(&mut self, at: Timestamp) {
        self.alertmanagers.take(&self.found.borrow_and_update());
        self.courier.desk.know(self.alertmanagers.urls(), at);
    }

    /// The wall clock; when it was set, the desk is told.
    fn now(&mut self) -> Timestamp {
        let (at, set_by) = self.clock.read();
        if set_by.abs() > STEP {
            tracing::info!(milliseconds = set_by, "the clock was set");
            self.courier.desk.shift(set_by);
        }
        at
    }
}

impl Courier {
    fn carry(&self, errand: Errand, alertmanagers: &Clients, said: &Said, under_way: &mut JoinSet<Report>) {
        let said = said.clone();
        match errand {
            Errand::Post(url, batch) => {
                let Some(client) = alertmanagers.get(&url) else { return };
                under_way.spawn(async move {
                    let (outcome, took) = timed(client.post(&batch)).await;
                    match &outcome {
                        Ok(()) => said.forget(&url),
                        // A request of several is made smaller.
                        Err(failure) if is_about_alerts(failure) => {
                            if let [alert] = batch.as_slice() {
                                said.refused(&url, alert, failure);
                            }
                        }
                        Err(failure) => said.warn("alertmanager", &url, failure, batch.len()),
                    }
                    Report::Posted(url, outcome, took)
                });
            }
            Errand::Probe(url) => {
                let Some(client) = alertmanagers.get(&url) else { return };
                under_way.spawn(async move {
                    let lives = std::panic::AssertUnwindSafe(client.lives()).catch_unwind().await;
                    Report::Probed(url, lives.unwrap_or(false))
                });
            }
            Errand::Tell(at, message) => {
                let Some(channel) = self.channels.get(at).cloned() else { return };
                under_way.spawn(async move {
                    let (outcome, took) = timed(channel.tell(&message)).await;
                    let outcome = outcome.map(drop);
                    let Place { notifier, endpoint } = channel.endpoint();
                    match &outcome {
                        Ok(()) => {
                            said.forget(endpoint);
                            let what = if message.resolved { "resolved" } else { "firing" };
                            let incident = message.identity.to_string();
                            tracing::info!(notifier, what, incident, "told");
                        }
                        Err(failure) => said.warn(notifier, endpoint, failure, 1),
                    }
                    Report::Told(at, outcome, took)
                });
            }
        }
    }

    /// Writes down what arrived before anything else is told.
    async fn remember(&mut self) {
        let records = self.desk.unlogged();
        if records.is_empty() {
            return;
        }
        let log = self.log.clone();
        let written = tokio::task::spawn_blocking(move || log.append(&records)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(
                error,
                "the notification log is not written; after a restart people may be told again"
            );
        }
    }
}

/// Why each endpoint fails, as it was said of late: attempts are made each second, and a line a minute says as much.
#[derive(Clone)]
struct Said(Cache<String, &'static str>);

impl Default for Said {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(1000).time_to_live(Duration::from_mins(1)).build())
    }
}

impl Said {
    fn warn(&self, notifier: &str, endpoint: &str, failure: &Failure, alerts: usize) {
        let reason = failure.kind.name();
        if self.0.get(endpoint) != Some(reason) {
            self.0.insert(endpoint.to_owned(), reason);
            tracing::warn!(notifier, endpoint, alerts, reason, error = %failure, "alerts not delivered");
        }
    }

    /// One alert alone was.
    fn refused(&self, endpoint: &str, alert: &Posted, failure: &Failure) {
        let (key, reason) = (format!("{endpoint} {:016x}", alert.key), failure.kind.name());
        if self.0.get(&key) != Some(reason) {
            self.0.insert(key, reason);
            let alert = cut(&alert.json, 500);
            tracing::warn!(endpoint, alert, error = %failure, "an alertmanager refuses this alert; it gets the others");
        }
    }

    /// It takes them again, so that the next failure is news.
    fn forget(&self, endpoint: &str) {
        self.0.invalidate(endpoint);
    }
}

/// The outcome and how long it took; a panic is a failure like others.
async fn timed<T>(work: impl Future<Output = Result<T, Failure>>) -> (Result<T, Failure>, Duration) {
    let began = Instant::now();
    let outcome = std::panic::AssertUnwindSafe(work).catch_unwind().await;
    let outcome =
        outcome.unwrap_or_else(|_| Err(Failure::new(Kind::Broken, "telling it panicked; please report it")));
    (outcome, began.elapsed())
}

/// Clients by address; one that is still wanted as it was is kept, with its connections.
#[derive(Default)]
struct Clients(HashMap<String, Arc<Alertmanager>>);

impl Clients {
    fn take(&mut self, endpoints: &[Endpoint]) {
        let mut before = std::mem::take(&mut self.0);
        for endpoint in endpoints {
            let known = before.remove(&endpoint.url).filter(|known| known.endpoint() == endpoint);
            let client = known.unwrap_or_else(|| Arc::new(Alertmanager::new(endpoint.clone())));
            self.0.insert(endpoint.url.clone(), client);
        }
    }

    fn get(&self, url: &str) -> Option<Arc<Alertmanager>> {
        self.0.get(url).cloned()
    }

    fn urls(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The wall clock, watched by the steady one.
struct Clock {
    wall: Timestamp,
    steady: Instant,
}

impl Clock {
    fn new() -> Self {
        Self { wall: now(), steady: Instant::now() }
    }

    /// The time, and by how many milliseconds the clock was set since it was read last.
    fn read(&mut self) -> (Timestamp, i64) {
        let (wall, steady) = (now(), Instant::now());
        let passed = (steady - self.steady).as_millis() as i64;
        let set_by = wall.millis() - self.wall.millis() - passed;
        (self.wall, self.steady) = (wall, steady);
        (wall, set_by)
    }
}

#[cfg(test)]
mod tests;
