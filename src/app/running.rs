//! The tasks of one configuration: who scrapes, who probes and who tells.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::heart::Message;
use super::{App, QUEUE, start};
use crate::config::Config;
use crate::scrape::{self, Job};
use crate::series::Labels;
use crate::supervisor::{Pulse, Task, Tasks};

/// The tasks of one configuration.
pub(super) struct Running {
    stop_scrapers: CancellationToken,
    scrapers: JoinSet<()>,
    stop_senders: CancellationToken,
    senders: JoinSet<()>,
    tasks: Tasks,
}

impl Running {
    pub(super) fn new(tasks: Tasks) -> Self {
        Self {
            stop_scrapers: CancellationToken::new(),
            scrapers: JoinSet::new(),
            stop_senders: CancellationToken::new(),
            senders: JoinSet::new(),
            tasks,
        }
    }

    /// Keeps a task until scrapers are to stop.
    fn keep<S, F>(&mut self, task: Task, state: S, run: F)
    where
        S: Send + 'static,
        F: for<'a> FnMut(&'a mut S, &'a Pulse) -> BoxFuture<'a, ()> + Send + 'static,
    {
        let (tasks, stop) = (self.tasks.clone(), self.stop_scrapers.clone());
        self.scrapers.spawn(async move { tasks.keep(task, stop, state, run).await });
    }
}

impl App {
    pub(super) fn start_scrapers(
        &self,
        config: &Config,
        targets: Vec<(Labels, watch::Receiver<bool>)>,
        wanted: &start::Selected,
        messages: &mpsc::Sender<Message>,
        running: &mut Running,
    ) {
        let timeout = config.scrape.timeout.0.min(config.check_interval.0);
        let (scraped, inbox) = mpsc::channel(QUEUE);
        for (target, (entry, (labels, pending))) in config.scrape.targets.iter().zip(targets).enumerate() {
            let wanted = wanted.of(&labels);
            let job = Job {
                target,
                labels,
                interval: config.check_interval.0,
                timeout,
                max_body_size: config.scrape.max_body_size.0 as usize,
                pending,
                clock: self.clock.clone(),
            };
            let (url, redirects) = (entry.url.clone(), config.scrape.follow_redirects);
            let (wanted, limits) = (Arc::new(wanted), config.scrape.limits(entry));
            let (scraped, stop) = (scraped.clone(), running.stop_scrapers.clone());
            running.keep(Task::Scrape, (), move |(), pulse| {
                pulse.busy();
                pulse.idle();
                let Some(exporter) = start::exporter(&url, timeout, redirects) else {
                    return std::future::ready(()).boxed();
                };
                let reader = crate::exposition::Reader::new(Arc::clone(&wanted) as _).within(limits);
                scrape::run(job.clone(), exporter, reader, scraped.clone(), stop.clone()).boxed()
            });
        }
        // It ends with the last scraper.
        drop(scraped);
        let told = |scraped| Message::Scraped(Box::new(scraped));
        running.keep(Task::Scrape, (inbox, messages.clone()), move |(inbox, messages), _| {
            hand_on(inbox, messages, told).boxed()
        });
    }

    pub(super) fn start_prober(
        &self,
        config: &Config,
        wanted: start::Selected,
        messages: &mpsc::Sender<Message>,
        running: &mut Running,
    ) {
        if config.probe.targets.is_empty() {
            return;
        }
        // A round that waits for the engine holds up the next one, which is left out then.
        let (rounds, inbox) = mpsc::channel(1);
        let (config, clock, wanted) = (config.clone(), self.clock.clone(), Arc::new(wanted));
        let stop = running.stop_scrapers.clone();
        running.keep(Task::Probe, (), move |(), pulse| {
            pulse.busy();
            pulse.idle();
            let Some(prober) = start::prober(&config, &clock) else {
                return std::future::ready(()).boxed();
            };
            prober.run(Arc::clone(&wanted) as _, rounds.clone(), stop.clone()).boxed()
        });
        let told = |round| Message::Probed(Box::new(round));
        running.keep(Task::Probe, (inbox, messages.clone()), move |(inbox, messages), _| {
            hand_on(inbox, messages, told).boxed()
        });
    }

    pub(super) fn start_senders(&mut self, config: &Config, running: &mut Running) {
        let (counters, snapshots) = (self.telemetry.alerts.clone(), self.snapshots.clone());
        let stop = running.stop_senders.clone();
        let senders = (&running.tasks, &mut running.senders);
        self.telling.start(config, &self.external_url, counters, snapshots, stop, senders);
    }

    pub(super) async fn end_scrapers(&mut self) {
        if let Some(running) = &mut self.running {
            running.stop_scrapers.cancel();
            while running.scrapers.join_next().await.is_some() {}
        }
    }

    /// Senders say their last and end; a receiver that hangs is not waited for longer than a request may take.
    pub(super) async fn end_senders(&mut self) {
        if let Some(running) = &mut self.running {
            running.stop_senders.cancel();
            let ended = async { while running.senders.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_secs(12), ended).await;
        }
    }
}

/// Hands to the engine what comes.
async fn hand_on<T>(
    inbox: &mut mpsc::Receiver<T>,
    messages: &mpsc::Sender<Message>,
    told: impl Fn(T) -> Message,
) {
    while let Some(next) = inbox.recv().await {
        if messages.send(told(next)).await.is_err() {
            return;
        }
    }
}
