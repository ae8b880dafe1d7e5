//! The engine's thread: takes messages one by one, steps the engine, publishes what it shows.

mod said;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::fits::Fits;
use super::keeper::{self, Keeper};
use super::rest::Rest;
use crate::detect::fit_tasks::{Model, Task};
use crate::detect::model_set::ModelSet;
use crate::detect::shadow::{FAULTS, Retrained};
use crate::engine::kept::Restored;
use crate::engine::noticed::Noticed;
use crate::engine::snapshot::{Snapshot, TargetSnapshot};
use crate::engine::{Engine, Event, Fit, Health, Memories, Setup, Step, Unanswerable};
use crate::scrape::Scraped;
use crate::series::{Batch, Labels};
use crate::serve::DetectRequest;
use crate::state::Loaded;
use crate::supervisor::{self, Pulse};
use crate::telemetry::Telemetry;
use crate::telemetry::log::Damper;

/// What the engine is told.
pub(super) enum Message {
    Scraped(Box<Scraped>),
    /// A round of probes, which every target's signals may read.
    Probed(Box<Batch>),
    Fitted(Box<Fit<Model>>),
    /// With a place for each target to say whether an incident of it is pending, and one for that it was taken up.
    Reconfigure(Box<Setup>, Vec<watch::Sender<bool>>, oneshot::Sender<()>),
    Detect(DetectRequest),
    /// A model set from the store, with its version.
    Models(Box<ModelSet>, String),
    /// What a Prometheus remembers of a target.
    Recall(Box<Recalled>),
    /// What was kept when the process ended last; from here on it is kept again.
    Restore(Box<Restore>),
    /// It is time to keep everything.
    Keep,
    /// Memory is short: so many bytes are used, and so many may be.
    Shed {
        used: u64,
        limit: u64,
    },
}

/// What a Prometheus remembers of a target: the newest rows, and five-minute means of a longer time.
pub(super) struct Recalled {
    pub(super) target: Labels,
    pub(super) rows: Memories,
    pub(super) means: Memories,
}

/// What was kept, who keeps it from here on, and a place for the targets that go on with what they had learned.
pub(super) struct Restore {
    pub(super) loaded: Loaded,
    pub(super) keeper: Keeper,
    pub(super) restored: oneshot::Sender<Vec<Labels>>,
}

/// Checks after which a rate over four intervals has filled.
const FILLED: u32 = 6;
/// Repeated lines are said this often.
const REPEAT: Duration = Duration::from_mins(5);

/// The engine's thread, to be waited for.
pub(super) struct Heart {
    ended: oneshot::Receiver<()>,
}

impl Heart {
    pub(super) async fn join(self) {
        // An error is the thread's end as well.
        let _ = self.ended.await;
    }
}

/// Starts the engine; it ends when the last sender of messages is gone.
pub(super) fn spawn(
    mut inbox: mpsc::Receiver<Message>,
    asked: mpsc::Receiver<DetectRequest>,
    back: mpsc::WeakSender<Message>,
    show: watch::Sender<Arc<Snapshot>>,
    telemetry: Telemetry,
    keep: mpsc::Sender<Kept>,
) -> Result<Heart, String> {
    let fitted = back.clone();
    let tasks = telemetry.tasks.clone();
    let fits = Fits::start(&tasks, move |job, rest: &mut Rest| fit(job, rest, &fitted, &keep))?;
    let (end, ended) = oneshot::channel();
    let own = tasks.clone();
    std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            let mut heart = Beating {
                engine: None,
                show,
                telemetry,
                fits,
                damper: Damper::new(REPEAT),
                pending: Vec::new(),
                checks: Vec::new(),
                keeper: None,
            };
            // A message that the engine panics at is gone; what it had learned stays.
            own.keep_thread(supervisor::Task::Engine, |pulse| {
                while let Some(message) = inbox.blocking_recv() {
                    pulse.busy();
                    heart.beat(message);
                    pulse.idle();
                }
                heart.finish();
            });
            drop(end);
        })
        .map_err(|error| error.to_string())?;
    let (keeping, own) = (back.clone(), tasks.clone());
    tokio::spawn(async move {
        let (task, stop) = (supervisor::Task::State, CancellationToken::new());
        own.keep(task, stop, keeping, |keeping, pulse| keeper::remind(keeping, pulse).boxed()).await;
    });
    tokio::spawn(async move {
        let (task, stop) = (supervisor::Task::Detect, CancellationToken::new());
        let state = (asked, back);
        tasks.keep(task, stop, state, |(asked, back), pulse| hand_on(asked, back, pulse).boxed()).await;
    });
    Ok(Heart { ended })
}

/// Hands questions to the engine.
async fn hand_on(asked: &mut mpsc::Receiver<DetectRequest>, back: &mpsc::WeakSender<Message>, pulse: &Pulse) {
    pulse.idle();
    while let Some(request) = asked.recv().await {
        pulse.busy();
        let Some(messages) = back.upgrade() else { return };
        if messages.send(Message::Detect(request)).await.is_err() {
            return;
        }
        pulse.idle();
    }
}

/// Runs one fit; whether the engine is still there.
fn fit(
    Fit { target, asked, what }: Fit<Task>,
    rest: &mut Rest,
    back: &mpsc::WeakSender<Message>,
    keep: &mpsc::Sender<Kept>,
) -> bool {
    let (began, kind) = (Instant::now(), what.kind());
    let what = what.run(&mut || rest.pause());
    tracing::debug!(%target, model = kind.name(), asked, took = ?began.elapsed(), "fitted");
    if let Model::Retrained(retrained) = &what {
        tell(&target, retrained.as_deref(), keep);
    }
    let Some(messages) = back.upgrade() else { return false };
    messages.blocking_send(Message::Fitted(Box::new(Fit { target, asked, what }))).is_ok()
}

/// Says what a retraining came to, and hands the models to whoever keeps them.
fn tell(target: &Labels, retrained: Option<&Retrained>, keep: &mpsc::Sender<Kept>) {
    let Some(retrained) = retrained else {
        tracing::info!(%target, "not retrained: too few normal rows to try new models on");
        return;
    };
    let (new, current, is_better) = (retrained.new, retrained.current, retrained.is_better());
    tracing::info!(
        %target,
        new_incidents = new.incidents,
        current_incidents = current.incidents,
        new_caught = new.caught,
        current_caught = current.caught,
        of = FAULTS,
        "{}",
        if is_better { "retrained: the new models are taken" } else { "retrained: the new models are worse and kept aside" }
    );
    let kept = Kept { target: target.clone(), set: retrained.set.clone(), is_better };
    if keep.try_send(kept).is_err() {
        tracing::warn!(%target, "the retrained models are not kept: the store is still busy with others");
    }
}

/// Retrained models to be kept.
pub(super) struct Kept {
    pub(super) target: Labels,
    pub(super) set: ModelSet,
    /// Whether they are in use; otherwise they lie aside.
    pub(super) is_better: bool,
}

struct Beating {
    engine: Option<Engine>,
    show: watch::Sender<Arc<Snapshot>>,
    telemetry: Telemetry,
    fits: Fits<Task>,
    damper: Damper,
    pending: Vec<watch::Sender<bool>>,
    /// Checks of each target so far, up to the one at which what has no data is told.
    checks: Vec<u32>,
    /// Who keeps what outlives the process; nobody, where all is kept in memory.
    keeper: Option<Keeper>,
}

impl Beating {
    fn beat(&mut self, message: Message) {
        match message {
            Message::Scraped(scraped) => self.scraped(*scraped),
            Message::Probed(batch) => self.probed(&batch),
            Message::Fitted(fit) => self.fitted(*fit),
            Message::Reconfigure(setup, pending, taken) => {
                self.checks = vec![0; pending.len()];
                self.pending = pending;
                self.reconfigure(setup);
                // Whoever asked may have left.
                let _ = taken.send(());
            }
            Message::Detect(request) => self.detect(request),
            Message::Models(set, version) => self.adopt(&set, &version),
            Message::Recall(recalled) => self.recall(*recalled),
            Message::Restore(restore) => self.restore(*restore),
            Message::Keep => self.keep(),
            Message::Shed { used, limit } => self.shed(used, limit),
        }
    }

    fn restore(&mut self, Restore { loaded, keeper, restored: reply }: Restore) {
        let Some(engine) = &mut self.engine else { return };
        let began = Instant::now();
        let (targets, incidents) = (loaded.targets, loaded.incidents);
        let standing = incidents.standing.len();
        let restore = std::panic::AssertUnwindSafe(|| engine.restore(targets, incidents));
        let restored = std::panic::catch_unwind(restore).unwrap_or_else(|_| {
            tracing::error!("restoring the state panicked; starting without. Please report it");
            Vec::new()
        });
        for (target, how) in &restored {
            let how = match how {
                Restored::Whole => "goes on where it was",
                Restored::Relearned => {
                    "goes on with its windows; what was learned is of another version and was learned anew"
                }
                Restored::Windows => {
                    "goes on with its windows; its signals are others now and are learned anew"
                }
            };
            tracing::info!(%target, incidents = standing, took = ?began.elapsed(), "restored: {how}");
        }
        let known = restored.into_iter().filter(|(_, how)| *how != Restored::Windows);
        // Whoever asked may have left.
        let _ = reply.send(known.map(|(target, _)| target).collect());
        self.keeper = Some(keeper);
        self.publish();
    }

    fn keep(&mut self) {
        if let (Some(keeper), Some(engine)) = (&mut self.keeper, &mut self.engine) {
            keeper.state(engine);
        }
    }

    fn shed(&mut self, used: u64, limit: u64) {
        let Some(engine) = &mut self.engine else { return };
        let (used, limit) = (used >> 20, limit >> 20);
        match engine.shed() {
            Some(what) => {
                self.telemetry.memory_shed(engine.shed_level());
                tracing::warn!(
                    used_mib = used,
                    limit_mib = limit,
                    what = what.name(),
                    "memory is short: given up to stay below the limit (limits.memory, or that of the control group)"
                );
                self.publish();
            }
            None if self.damper.may_say("memory") => {
                tracing::error!(
                    used_mib = used,
                    limit_mib = limit,
                    "memory is short, and nothing is left to give up; raise the limit"
                );
            }
            None => {}
        }
    }

    /// Everything that was to be judged has been.
    fn finish(&mut self) {
        if let (Some(keeper), Some(engine)) = (self.keeper.take(), &mut self.engine) {
            keeper.finish(engine);
        }
    }

    fn adopt(&mut self, set: &ModelSet, version: &str) {
        let Some(engine) = &mut self.engine else { return };
        let refused = engine.adopt(set, version);
        for (target, reason) in &refused {
            tracing::error!(%target, version, reason, "models not taken up; those in use stay");
        }
        let targets = engine.targets() - refused.len();
        if targets > 0 {
            tracing::info!(version, targets, "models taken up");
        }
        self.publish();
    }

    fn recall(&mut self, Recalled { target, rows, means }: Recalled) {
        let Some(engine) = &mut self.engine else { return };
        let began = Instant::now();
        let count = rows.times.len();
        let learned =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| engine.recall(&target, &rows, &means)));
        match learned {
            Ok(learned) => {
                tracing::info!(%target, rows = count, learned, took = ?began.elapsed(), "the past is remembered");
            }
            Err(_) => {
                tracing::error!(%target, "remembering the past panicked; it starts without. Please report it");
            }
        }
        self.publish();
    }

    fn reconfigure(&mut self, setup: Box<Setup>) {
        match &self.engine {
            Some(_) => self.step(Event::Reconfigure(setup)),
            None => self.engine = Some(Engine::new(*setup)),
        }
        let before = self.show.borrow().clone();
        self.publish();
        let now = self.show.borrow();
        let stays = |labels: &Labels| now.targets.iter().any(|target| target.labels == *labels);
        let labels = before.targets.iter().map(|target| &target.labels);
        labels.filter(|labels| !stays(labels)).for_each(|labels| self.telemetry.left(labels));
        self.fits.keep_only(stays);
    }

    fn probed(&mut self, batch: &Batch) {
        let targets = self.engine.as_ref().map_or(0, Engine::targets);
        for target in 0..targets {
            self.guarded(target, |heart| heart.step(Event::Batch(target, batch.clone(), None)));
        }
    }

    fn fitted(&mut self, fit: Fit<Model>) {
        let is_its = |shown: &Arc<TargetSnapshot>| shown.labels == fit.target;
        let target = self.show.borrow().targets.iter().position(is_its);
        match target {
            Some(target) => self.guarded(target, |heart| heart.step(Event::Install(fit))),
            None => self.step(Event::Install(fit)),
        }
    }

    /// Does what concerns one target; if that panics, the target starts over.
    fn guarded(&mut self, target: usize, work: impl FnOnce(&mut Self)) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!(
                target,
                "judging a target panicked; it starts over, the others go on. Please report it"
            );
            self.engine.iter_mut().for_each(|engine| engine.restart(target));
        }
    }

    fn scraped(&mut self, scraped: Scraped) {
        let Scraped { target, batch, failure, page, ended, confirms } = scraped;
        self.report(target, failure.as_ref(), &page);
        let at = batch.at;
        let failure = failure.map(|failure| failure.to_string());
        let health = Health { failure, exposed: page.exposed, rejected: page.rejected };
        let check = if confirms { Event::Confirm(target, at) } else { Event::Tick(target, at) };
        self.guarded(target, |heart| {
            heart.step(Event::Batch(target, batch, Some(health)));
            heart.step(check);
        });
        self.publish();
        self.tell_missing(target);
        if let (Some(pending), Some(engine)) = (self.pending.get(target), &self.engine) {
            pending.send_replace(engine.is_pending(target));
        }
        if let Some(shown) = self.show.borrow().targets.get(target) {
            self.telemetry.judged(&shown.labels, ended.elapsed());
        }
    }

    fn step(&mut self, event: Event) {
        let Some(engine) = &mut self.engine else { return };
        let Step { changes, tasks, taken, noticed } = engine.step(event);
        changes.iter().for_each(said::moved);
        taken.iter().for_each(said::taken);
        for Noticed { target, metric, what } in &noticed {
            tracing::warn!(%target, metric = metric.get("metric_name"), "{what}");
        }
        if let Some(keeper) = self.keeper.as_ref().filter(|_| !taken.is_empty()) {
            keeper.taken(&taken);
        }
        if let Some(keeper) = self.keeper.as_mut().filter(|_| !changes.is_empty()) {
            keeper.transition(engine);
        }
        for task in tasks {
            self.fits.ask(task.what.kind(), task);
        }
    }

    fn publish(&self) {
        if let Some(engine) = &self.engine {
            self.show.send_replace(Arc::new(engine.snapshot()));
        }
    }

    /// Once rates should have filled, says which signals have no data and why.
    fn tell_missing(&mut self, target: usize) {
        let Some(checks) = self.checks.get_mut(target).filter(|checks| **checks < FILLED) else { return };
        *checks += 1;
        if *checks < FILLED {
            return;
        }
        let snapshot = self.show.borrow().clone();
        let Some(target) = snapshot.targets.get(target) else { return };
        let instance = target.labels.get("instance").unwrap_or_default();
        for metric in &target.metrics {
            if let Some(reason) = &metric.no_data {
                tracing::info!(
                    instance,
                    signal = metric.name(),
                    reason,
                    "signal has no data; it is not judged"
                );
            }
        }
    }

    fn detect(&self, request: DetectRequest) {
        let values: Option<&HashMap<String, f64>> = request.values.as_ref();
        let answer = match &self.engine {
            Some(engine) => engine.detect(request.target.as_deref(), values),
            None => Err(Unanswerable::NotYet("no configuration is loaded".to_owned())),
        };
        // Whoever asked may have left.
        let _ = request.reply.send(answer);
    }

    /// A failing target is reported when it begins to fail, and again every few minutes.
    fn report(
        &self,
        target: usize,
        failure: Option<&crate::scrape::Failure>,
        page: &crate::exposition::Page,
    ) {
        let snapshot = self.show.borrow().clone();
        let Some(shown) = snapshot.targets.get(target) else { return };
        let instance = shown.labels.get("instance").unwrap_or_default();
        let (down, lines) = (format!("{} down", shown.labels), format!("{} lines", shown.labels));
        match failure {
            Some(failure) => {
                self.telemetry.scrape_failed(instance, failure.kind());
                if self.damper.may_say(&down) {
                    tracing::warn!(instance, url = %shown.url, error = %failure, "scrape failed");
                }
            }
            None if shown.up == Some(false) => {
                self.damper.forget(&down);
                tracing::info!(instance, url = %shown.url, "scrape succeeds again");
            }
            None => {}
        }
        if let Some((line, fault)) = page.first_rejected
            && failure.is_none()
            && self.damper.may_say(&lines)
        {
            tracing::warn!(instance, line, error = %fault, rejected = page.rejected, "malformed lines; the rest was kept");
        }
        if page.duplicates > 0 && self.damper.may_say(&format!("{instance} duplicates")) {
            tracing::warn!(
                instance,
                duplicates = page.duplicates,
                "samples of one series given twice; the first counts"
            );
        }
    }
}
