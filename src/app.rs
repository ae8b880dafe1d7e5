//! The sidecar as a whole: wires tasks and channels, starts, reloads and stops them.
//!
//! Scrapers and the prober → bounded channel → engine on a thread of its own → snapshots in a `watch`, read by the server and the
//! notifiers. Fits run on threads of their own, by turns, and come back to the engine as events. At the end only the scrapers and the
//! server are told to stop; the rest ends when its channel closes.

mod begin;
mod ceiling;
mod fits;
mod heart;
mod keeper;
mod past;
mod rest;
mod running;
mod settings;
mod start;
pub(crate) mod telling;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, Overlay, Problems, Sources};
use crate::detect::fit_tasks::GAP;
use crate::engine::Setup;
use crate::engine::snapshot::Snapshot;
use crate::scrape;
use crate::serve::{self, Given, Guard, ReloadRequest, SettingsRequest, SettingsView, WebConfig};
use crate::supervisor::{Pulse, Task};
use crate::telemetry::{self, Telemetry};
use begin::Storage;
use heart::Message;
use past::Models;
use running::Running;
use telling::Telling;

pub use start::{NODE_EXPORTER, Quick, find_target, in_container, setup};
pub use telling::{Trial, test_alert};

/// Everything that is decided before anything runs.
pub struct Start {
    /// Where the configuration comes from, now and at each reload.
    pub sources: Sources,
    /// What was read there; `None` to run degraded until it can be.
    pub config: Option<Config>,
    /// What was set while an earlier process ran.
    pub overlay: Overlay,
    /// Who listens, as soon as somebody can.
    pub listener: BoxFuture<'static, TcpListener>,
    /// The port that it listens at.
    pub port: u16,
    /// Goes on without what cannot be had rather than ending.
    pub is_lenient: bool,
    /// The host's name for loopback and embedded targets.
    pub host: String,
    /// Without a slash at the end.
    pub external_url: String,
    /// Who may change anything.
    pub guard: Guard,
    /// TLS, users and headers of the listener.
    pub web: WebConfig,
    /// Target that the quick start has found.
    pub quick_target: Option<String>,
    /// Gives free memory to the system.
    pub give_back: fn(),
}

/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Scrapes waiting for the engine; when full, scrapers wait.
const QUEUE: usize = 64;

/// Runs until `stop`. Everything that was begun has ended when this returns.
pub async fn run(start: Start, stop: CancellationToken) -> Result<(), String> {
    Box::pin(run_with(Telemetry::new(), start, stop)).await
}

async fn run_with(
    (telemetry, registry): (Telemetry, Registry),
    start: Start,
    stop: CancellationToken,
) -> Result<(), String> {
    // From here on SIGHUP is a wish, not the end.
    let hangup = start::Hangup::new();
    let seen = start.sources.file.as_deref().and_then(content);
    let was_blank = start.config.is_some() && start.sources.is_blank();
    let (messages, inbox) = mpsc::channel(QUEUE);
    let (show, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let (detect, asked) = mpsc::channel(16);
    let (reload, reloads) = mpsc::channel(4);
    let (change_settings, changes) = mpsc::channel(4);
    let (show_settings, settings) = watch::channel(Arc::default());
    // Retraining takes longer than keeping: a second set that waits is one too many already.
    let (keep, kept) = mpsc::channel(2);
    let mut app = App {
        telemetry: telemetry.clone(),
        sources: start.sources,
        overlay: start.overlay,
        settings: show_settings,
        host: start.host,
        port: start.port,
        external_url: start.external_url,
        quick_target: start.quick_target,
        snapshots: snapshots.clone(),
        running: None,
        seen: [seen, None],
        routes: String::new(),
        was_blank,
        taken: None,
        is_between: false,
        models: None,
        storage: None,
        telling: Telling::default(),
        clock: Clock::default(),
        is_new: true,
        memory_limit: Arc::default(),
    };
    let tasks = telemetry.tasks.clone();
    let looked_after = (Arc::clone(&app.memory_limit), messages.downgrade());
    tokio::spawn(ceiling::keep(tasks.clone(), looked_after, start.give_back));
    if app.overlay.was_damaged() {
        app.telemetry.state_damaged();
    }
    if let Some(config) = &start.config {
        match app.open_storage(config).await {
            Err(error) if start.is_lenient => app.do_without_storage(config, &error),
            opened => opened?,
        }
    }
    let ready = Arc::new(AtomicBool::new(false));
    let (relay, logins) = (app.telling.relay.clone(), telemetry.clone());
    let given = Given {
        snapshot: snapshots,
        own: Arc::new(move || telemetry::write(&registry)),
        detect,
        reload,
        change_settings,
        settings,
        guard: Arc::new(start.guard),
        web: Arc::new(start.web),
        ready: Arc::clone(&ready),
        tasks: tasks.clone(),
        started: Instant::now(),
        failed_login: Arc::new(move |reason| logins.login_failed(reason)),
        relay: Arc::new(move |body| telling::hand_in(&relay, body)),
    };
    let heart = heart::spawn(inbox, asked, messages.downgrade(), show, telemetry.clone(), keep)?;
    app.telemetry.reloaded(start.config.is_some(), unix_now());
    let serving = CancellationToken::new();
    let (listener, ending) = (start.listener, serving.clone());
    let server = tokio::spawn(async move {
        tokio::select! {
            listener = listener => serve::run(listener, given, ending.clone()).await,
            () = ending.cancelled() => {}
        }
    });
    // The past of the targets may take seconds: alive at once, ready then.
    let is_loaded = start.config.is_some();
    let asked = Asked { reloads, hangup, changes, kept };
    let watch = async {
        app.take_up(start.config, &messages).await;
        ready.store(is_loaded, Ordering::Relaxed);
        tasks
            .keep(Task::Config, stop.clone(), (&mut app, asked), |(app, asked), pulse| {
                app.watch_config(asked, &messages, &ready, pulse).boxed()
            })
            .await;
    };
    // Heard whatever is waited for: the past, a validation, a receiver.
    tokio::select! {
        () = stop.cancelled() => {}
        () = watch => {}
    }
    tracing::info!("stopping");
    app.end_scrapers().await;
    drop(messages);
    heart.join().await;
    app.end_senders().await;
    serving.cancel();
    server.await.map_err(|error| error.to_string())
}

/// What the app is asked for while it runs.
struct Asked {
    reloads: mpsc::Receiver<ReloadRequest>,
    hangup: start::Hangup,
    changes: mpsc::Receiver<SettingsRequest>,
    /// Retrained models to be kept.
    kept: mpsc::Receiver<heart::Kept>,
}

/// What is done without a configuration: nothing.
fn idle() -> Config {
    Config { enabled: false, signals: Vec::new(), ..Config::default() }
}

struct App {
    telemetry: Telemetry,
    sources: Sources,
    overlay: Overlay,
    settings: watch::Sender<Arc<SettingsView>>,
    host: String,
    port: u16,
    external_url: String,
    quick_target: Option<String>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    running: Option<Running>,
    /// What the file and the alertmanager.yml held when they were last read.
    seen: [Option<Vec<u8>>; 2],
    /// The alertmanager.yml in force; empty for none.
    routes: String,
    /// The file had nothing in it when it was last taken up.
    was_blank: bool,
    /// The configuration that runs; without one it idles.
    taken: Option<Config>,
    /// A configuration is being taken up; seen after a panic, the tasks of neither run.
    is_between: bool,
    models: Option<Models>,
    /// What is kept where; `None` until a configuration has told.
    storage: Option<Storage>,
    telling: Telling,
    /// What samples are stamped by, through all configurations.
    clock: Clock,
    /// Nothing has been judged yet.
    is_new: bool,
    /// Bytes; 0 for no limit.
    memory_limit: Arc<AtomicU64>,
}

/// Tells the engine of a configuration. If it panics, with what it had before, it is told once more.
async fn configure(setup: &Setup, pending: &[watch::Sender<bool>], messages: &mpsc::Sender<Message>) {
    for _ in 0..2 {
        let (reply, taken) = oneshot::channel();
        // The channel outlives this call, so the engine always hears of it.
        let _ = messages.send(Message::Reconfigure(Box::new(setup.clone()), pending.to_vec(), reply)).await;
        if taken.await.is_ok() {
            return;
        }
    }
    tracing::error!(
        "the engine panics at this configuration and goes on with the one before; please report it"
    );
}

impl App {
    /// Tells the engine of a configuration and starts what it asks for; without one it idles.
    async fn take_up(&mut self, config: Option<Config>, messages: &mpsc::Sender<Message>) {
        self.is_between = true;
        let next = config.clone();
        let is_degraded = config.is_none();
        let mut config = config.unwrap_or_else(idle);
        self.watch_quick_target(&mut config);
        self.show_settings(&config, is_degraded);
        if self.routes != config.alert.alertmanager_config {
            self.routes.clone_from(&config.alert.alertmanager_config);
            self.seen[1] = content(Path::new(&self.routes));
        }
        let mut setup = start::setup(&config, &self.host, self.port);
        let limit = ceiling::limit(config.limits.memory.map(|limit| limit.0), Path::new("/")).unwrap_or(0);
        self.telemetry.memory_limit(limit);
        self.memory_limit.store(limit, Ordering::Relaxed);
        ceiling::bound_windows(&mut setup, limit);
        if !is_degraded {
            start::announce(&config, &setup);
        }
        tracing::info!(page = %self.external_url, metrics = %format!("{}/metrics", self.external_url), "serving");
        let wanted = start::wanted(&setup);
        self.end_scrapers().await;
        self.end_senders().await;
        let labels: Vec<_> = setup.targets.iter().map(|target| target.labels.clone()).collect();
        self.telemetry.watches(&labels, &self.external_url);
        let known = setup.clone();
        let (pending, told): (Vec<_>, Vec<_>) = labels.iter().map(|_| watch::channel(false)).unzip();
        configure(&setup, &pending, messages).await;
        if !is_degraded && std::mem::take(&mut self.is_new) {
            let is_whole = self.begin(&config, known.clone(), messages).await;
            start::expect(&config, is_whole);
        }
        self.models.insert(Models::new(&config, known.targets.len() == 1)).look(messages).await;
        let mut running = Running::new(self.telemetry.tasks.clone());
        let targets = labels.into_iter().zip(told).collect();
        self.clock.follow_gaps_of(config.check_interval.0 * GAP);
        self.start_scrapers(&config, targets, &wanted, messages, &mut running);
        self.start_prober(&config, wanted, messages, &mut running);
        self.start_senders(&config, &mut running);
        self.running = Some(running);
        (self.taken, self.is_between) = (next, false);
    }

    /// Adds what the quick start has found, where nothing else is to be watched.
    fn watch_quick_target(&self, config: &mut Config) {
        if let Some(url) = self.quick_target.as_ref().filter(|_| config.scrape.targets.is_empty()) {
            config.scrape.targets.push(scrape::config::Target::new(url));
        }
    }

    /// Reloads when asked, when told by a signal, and when the file has changed; until it is dropped. After a panic on the way
    /// to another configuration it goes back to the one before.
    async fn watch_config(
        &mut self,
        Asked { reloads, hangup, changes, kept }: &mut Asked,
        messages: &mpsc::Sender<Message>,
        ready: &AtomicBool,
        pulse: &Pulse,
    ) {
        pulse.busy();
        if self.is_between {
            tracing::error!("a configuration was not taken up whole; the one before is taken up again");
            self.telemetry.reloaded(false, unix_now());
            self.take_up(self.taken.clone(), messages).await;
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pulse.idle();
            let (asked, reason) = tokio::select! {
                Some(reply) = reloads.recv() => (Some(reply), "asked for"),
                () = hangup.recv() => (None, "SIGHUP"),
                Some(request) = changes.recv() => {
                    pulse.busy();
                    self.change_settings(request, messages, ready).await;
                    continue;
                }
                Some(kept) = kept.recv() => {
                    self.models.iter_mut().for_each(|models| models.keep(&kept));
                    continue;
                }
                _ = look.tick() => (None, "file changed"),
            };
            pulse.busy();
            if reason == "file changed" && !self.has_changed() {
                if let Some(models) = &mut self.models {
                    models.look(messages).await;
                }
                continue;
            }
            let outcome = self.reload(reason, messages).await;
            if outcome.is_ok() {
                ready.store(true, Ordering::Relaxed);
            }
            if let Some(reply) = asked {
                // Whoever asked may have left.
                let _ = reply.send(outcome.map_err(|problems| problems.to_string()));
            }
        }
    }

    /// Validates a change, keeps it, answers and takes it up: all of it or nothing.
    async fn change_settings(
        &mut self,
        SettingsRequest { change, mut reply }: SettingsRequest,
        messages: &mpsc::Sender<Message>,
        ready: &AtomicBool,
    ) {
        let validated = tokio::select! {
            () = reply.closed() => return,
            validated = self.validate(change) => validated,
        };
        let validated = match validated {
            Ok(validated) => validated,
            // Whoever asked may have left.
            Err(refused) => return drop(reply.send(Err(refused))),
        };
        if let Some(config) = self.commit(validated, reply) {
            self.telemetry.reloaded(true, unix_now());
            ready.store(true, Ordering::Relaxed);
            self.take_up(Some(config), messages).await;
        }
    }

    fn has_changed(&mut self) -> bool {
        let content = [self.sources.file.as_deref().and_then(content), content(Path::new(&self.routes))];
        let changed = content != self.seen;
        // A bad file is reported once, not every time it is looked at.
        self.seen = content;
        changed
    }

    /// Fails if the file had something in it and has nothing now: it was cut short, and nobody means to end it all so.
    fn not_emptied(&self) -> Result<(), Problems> {
        if self.was_blank || !self.sources.is_blank() {
            return Ok(());
        }
        let file = self.sources.file.as_deref().unwrap_or(Path::new("")).display();
        Err(Problems(vec![format!(
            "{file}: is empty and was not; write it anew, or restart to go on without (enabled: false ends detection)"
        )]))
    }

    async fn reload(&mut self, reason: &str, messages: &mpsc::Sender<Message>) -> Result<(), Problems> {
        // Before it is read: what is written meanwhile is seen at the next look.
        self.has_changed();
        let emptied = self.not_emptied();
        let (sources, known) = (self.sources.clone(), self.overlay.clone());
        let outcome =
            tokio::task::spawn_blocking(move || emptied.and_then(|()| sources.load_whole(&known))).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Problems(vec!["reading the configuration panicked; please report it".to_owned()]))
        });
        self.telemetry.reloaded(outcome.is_ok(), unix_now());
        match outcome {
            Ok((config, overlay)) => {
                tracing::info!(reason, "configuration reloaded");
                self.was_blank = self.sources.is_blank();
                if overlay.was_damaged() {
                    self.telemetry.state_damaged();
                }
                self.overlay = overlay;
                if let Err(error) = self.open_storage(&config).await {
                    self.do_without_storage(&config, &error);
                }
                self.take_up(Some(config), messages).await;
                Ok(())
            }
            Err(problems) => {
                for problem in &problems.0 {
                    tracing::error!(reason, problem, "configuration not reloaded; the running one stays");
                }
                Err(problems)
            }
        }
    }
}

/// What a file holds; `None` where it cannot be read.
fn content(file: &Path) -> Option<Vec<u8>> {
    std::fs::read(file).ok()
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}
