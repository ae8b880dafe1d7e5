//! Keeps what outlives the process. The engine's thread hands out what there is to keep; a thread of its own writes it.
//!
//! Incidents alone are written by the engine's thread, before anybody is told of them: that takes a fraction of a
//! millisecond, and whatever kills the process then, no incident is lost.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use super::heart::Message;
use crate::engine::Engine;
use crate::engine::held::Taken;
use crate::engine::kept::{Incidents, KeptTarget};
use crate::series::Labels;
use crate::state::{Directory, Error, Known, Loaded};
use crate::supervisor::{Pulse, Task};
use crate::telemetry::Telemetry;
use crate::telemetry::log::Damper;

/// How often everything is written: with the time that takes, no more than 30 s are ever lost.
pub(super) const EVERY: Duration = Duration::from_secs(25);
/// Nor is it written more often than this where incidents move.
const SOON: Duration = Duration::from_secs(5);
/// When the files of a target that is watched no more are removed.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);
/// Repeated lines are said this often.
const REPEAT: Duration = Duration::from_mins(5);

/// What the writing thread is told. One state waits at most; while one does, the next is left out.
enum Job {
    State(Vec<KeptTarget>, Incidents),
    /// The incidents just written are to be brought to the disk.
    Settle,
}

/// Who keeps the state of one engine.
pub(super) struct Keeper {
    directory: Arc<Directory>,
    jobs: SyncSender<Job>,
    writer: JoinHandle<()>,
    reports: Reports,
    /// When the last state was handed out.
    last: Instant,
}

#[derive(Clone)]
struct Reports {
    path: PathBuf,
    telemetry: Telemetry,
    damper: Damper,
}

impl Reports {
    fn written(&self, what: &str, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => self.telemetry.state_written(Some(unix_now())),
            Err(error) => {
                self.telemetry.state_written(None);
                if self.damper.may_say(what) {
                    tracing::error!(
                        path = %self.path.display(), what, %error,
                        "state not written (storage.path); it is kept in memory only until it can be"
                    );
                }
            }
        }
    }
}

/// Opens the directory and reads it; what was damaged is said. The directory of another process is an error.
pub(super) fn open(path: &Path, telemetry: &Telemetry) -> Result<(Arc<Directory>, Loaded), Error> {
    let directory = Directory::open(path)?;
    let loaded = directory.load();
    for damaged in &loaded.damaged {
        telemetry.state_damaged();
        tracing::error!(
            file = %damaged.file.display(), error = %damaged.why,
            "state set aside as *.damaged; what it held is lost, the rest goes on"
        );
    }
    Ok((Arc::new(directory), loaded))
}

impl Keeper {
    pub(super) fn start(directory: Arc<Directory>, path: &Path, telemetry: &Telemetry) -> io::Result<Self> {
        let reports =
            Reports { path: path.to_owned(), telemetry: telemetry.clone(), damper: Damper::new(REPEAT) };
        let (jobs, inbox) = sync_channel(1);
        let (shared, own) = (Arc::clone(&directory), reports.clone());
        let writer = std::thread::Builder::new().name("state".to_owned()).spawn(move || {
            let tasks = own.telemetry.tasks.clone();
            tasks.keep_thread(Task::State, |pulse| write(&shared, &inbox, &own, pulse));
        })?;
        Ok(Self { directory, jobs, writer, reports, last: Instant::now() })
    }

    /// An incident has moved: it is known to the system when this returns. What it is told from is kept soon, for an
    /// incident goes on only beside what was normal before it.
    pub(super) fn transition(&mut self, engine: &mut Engine) {
        if self.last.elapsed() > SOON {
            self.state(engine);
        }
        let outcome = self.directory.write_incidents(&engine.incidents());
        if outcome.is_ok() {
            // While a state waits to be written, its incidents are brought to the disk with it.
            let _ = self.jobs.try_send(Job::Settle);
        }
        self.reports.written("incidents", outcome);
    }

    /// Models have taken effect: when is noted for whoever replays this run.
    pub(super) fn taken(&self, taken: &[Taken]) {
        self.reports.written("when fits took effect", self.directory.note_fits(taken));
    }

    /// Hands out everything there is to keep.
    pub(super) fn state(&mut self, engine: &mut Engine) {
        let began = Instant::now();
        self.last = began;
        let state = Job::State(engine.keep(), engine.incidents());
        self.reports.telemetry.state_paused(began.elapsed());
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(state)
            && self.reports.damper.may_say("busy")
        {
            tracing::warn!(path = %self.reports.path.display(), "state left out: the one before is still being written");
        }
    }

    /// The last state; everything is written when this returns.
    pub(super) fn finish(self, engine: &mut Engine) {
        let Self { jobs, writer, .. } = self;
        let last = Job::State(engine.keep(), engine.incidents());
        if jobs.send(last).is_err() {
            tracing::error!("the last state is not written: its thread has ended. Please report it");
        }
        drop(jobs);
        let _ = writer.join();
    }
}

/// Has the engine hand out its state now and then.
pub(super) async fn remind(messages: &mpsc::WeakSender<Message>, pulse: &Pulse) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pulse.busy();
    loop {
        pulse.idle();
        ticks.tick().await;
        pulse.busy();
        let Some(messages) = messages.upgrade() else { return };
        if messages.send(Message::Keep).await.is_err() {
            return;
        }
    }
}

fn write(directory: &Directory, jobs: &Receiver<Job>, reports: &Reports, pulse: &Pulse) {
    let mut known = Known::default();
    while let Ok(job) = jobs.recv() {
        pulse.busy();
        match job {
            Job::Settle => reports.written("incidents", directory.settle_incidents()),
            Job::State(targets, incidents) => {
                for target in &targets {
                    reports.written("windows", directory.write_target(target, &mut known));
                }
                reports.written("incidents", directory.write_settled(&incidents));
                let labels: Vec<Labels> = targets.iter().map(|target| target.about.labels.clone()).collect();
                reports.written("targets that are gone", directory.forget_others(&labels, FORGOTTEN));
            }
        }
        pulse.idle();
    }
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}
