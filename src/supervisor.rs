//! Keeps long-lived tasks alive: one that panics is begun again after a while, and whoever asks for health hears of it.
//!
//! What a task needs again after a panic is its state, which is held here while the task is down. What it had in hand when
//! it panicked is gone with that run, so that an input that is poison is not taken up twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio_util::sync::CancellationToken;

/// Before a task is begun again for the first time; doubled each time,
const FIRST: Duration = Duration::from_millis(100);
/// up to this,
const LONGEST: Duration = Duration::from_secs(10);
/// and forgotten by a task that has run so long.
const SOUND: Duration = Duration::from_mins(1);
/// A task that is busy with one thing for longer is stuck: no request, no scrape and no writing to a disk takes so long.
const STUCK: Duration = Duration::from_mins(2);

/// What runs for as long as the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Tells Alertmanagers and native channels.
    Alerts,
    /// Looks for Alertmanagers.
    Discovery,
    /// Takes up configurations, settings and models.
    Config,
    /// Hands questions for verdicts to the engine.
    Detect,
    /// Judges.
    Engine,
    /// Fits models.
    Fit,
    /// Looks after the memory limit.
    Memory,
    /// Keeps the page current.
    Page,
    /// Probes.
    Probe,
    /// Scrapes.
    Scrape,
    /// Takes connections.
    Server,
    /// Writes what outlives the process.
    State,
}

impl Task {
    /// All of a sidecar.
    pub const ALL: [Self; 12] = [
        Self::Alerts,
        Self::Discovery,
        Self::Config,
        Self::Detect,
        Self::Engine,
        Self::Fit,
        Self::Memory,
        Self::Page,
        Self::Probe,
        Self::Scrape,
        Self::Server,
        Self::State,
    ];

    /// As the label `task` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Discovery => "discovery",
            Self::Config => "config",
            Self::Detect => "detect",
            Self::Engine => "engine",
            Self::Fit => "fit",
            Self::Memory => "memory",
            Self::Page => "page",
            Self::Probe => "probe",
            Self::Scrape => "scrape",
            Self::Server => "server",
            Self::State => "state",
        }
    }
}

/// A series of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Named {
    task: &'static str,
}

/// How often each task was begun again.
pub type Restarts = Family<Named, Counter>;

/// The tasks of one process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    restarts: Restarts,
    lives: Mutex<Vec<Weak<Life>>>,
    /// They panic at their next pulse.
    #[cfg(test)]
    trips: Mutex<std::collections::HashSet<Task>>,
}

/// One task that runs; of scrapers and fits there are several.
#[derive(Debug)]
struct Life {
    task: Task,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// It waits for something to do.
    Idle,
    /// It has been doing one thing since then.
    Busy(Instant),
    /// It has panicked and is begun again later.
    Down,
}

/// By which a task says whether it has something in hand, so that one that is stuck is known.
#[derive(Debug)]
pub struct Pulse {
    life: Arc<Life>,
    #[cfg(test)]
    tasks: Tasks,
}

impl Pulse {
    /// It begins something that ends.
    pub fn busy(&self) {
        self.life.set(State::Busy(Instant::now()));
        #[cfg(test)]
        self.tasks.trip(self.life.task);
    }

    /// It waits for what may never come.
    pub fn idle(&self) {
        self.life.set(State::Idle);
    }
}

impl Life {
    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// What is wrong with it.
    fn problem(&self) -> Option<String> {
        let name = self.task.name();
        match *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Down => Some(format!("task {name} has panicked and is begun again soon")),
            State::Busy(since) if since.elapsed() > STUCK => {
                Some(format!("task {name} has been stuck for {} s", since.elapsed().as_secs()))
            }
            State::Busy(_) | State::Idle => None,
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        let restarts = Restarts::default();
        // They begin at 0, so that `increase()` sees the first one.
        for task in Task::ALL {
            drop(restarts.get_or_create(&Named { task: task.name() }));
        }
        Self(Arc::new(Inner {
            restarts,
            lives: Mutex::default(),
            #[cfg(test)]
            trips: Mutex::default(),
        }))
    }
}

impl Tasks {
    /// Restarts by task, for a registry.
    pub fn restarts(&self) -> Restarts {
        self.0.restarts.clone()
    }

    /// Tasks that are down or stuck, and how; empty where all are well.
    pub fn problems(&self) -> Vec<String> {
        let mut lives = self.0.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.retain(|life| life.strong_count() > 0);
        let mut problems: Vec<String> =
            lives.iter().filter_map(Weak::upgrade).filter_map(|life| life.problem()).collect();
        problems.sort();
        problems.dedup();
        problems
    }

    /// Runs `run` on `state` until it ends by itself; after a panic it runs again, on the same state. Once `stop` is
    /// cancelled a panic is the end, but for one last run.
    pub async fn keep<S, F>(&self, task: Task, stop: CancellationToken, mut state: S, mut run: F)
    where
        F: for<'a> FnMut(&'a mut S, &'a Pulse) -> BoxFuture<'a, ()>,
    {
        let pulse = self.begin(task);
        let mut wait = FIRST / 2;
        loop {
            let is_last = stop.is_cancelled();
            let began = Instant::now();
            let ended = AssertUnwindSafe(async { run(&mut state, &pulse).await }).catch_unwind().await;
            if ended.is_ok() || is_last {
                return;
            }
            wait = self.panicked(&pulse, began, wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
            pulse.idle();
        }
    }

    /// The same on a thread of the caller's, which waits while the task is down.
    pub fn keep_thread(&self, task: Task, mut run: impl FnMut(&Pulse)) {
        let pulse = self.begin(task);
        let mut wait = FIRST / 2;
        loop {
            let began = Instant::now();
            if catch_unwind(AssertUnwindSafe(|| run(&pulse))).is_ok() {
                return;
            }
            wait = self.panicked(&pulse, began, wait);
            std::thread::sleep(wait);
            pulse.idle();
        }
    }

    fn begin(&self, task: Task) -> Pulse {
        let life = Arc::new(Life { task, state: Mutex::new(State::Idle) });
        let mut lives = self.0.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.retain(|life| life.strong_count() > 0);
        lives.push(Arc::downgrade(&life));
        Pulse {
            life,
            #[cfg(test)]
            tasks: self.clone(),
        }
    }

    /// Notes a panic of a task that `began` then and last waited so long; how long it waits now.
    fn panicked(&self, pulse: &Pulse, began: Instant, waited: Duration) -> Duration {
        let task = pulse.life.task.name();
        pulse.life.set(State::Down);
        self.0.restarts.get_or_create(&Named { task }).inc();
        let wait = if began.elapsed() > SOUND { FIRST } else { (waited * 2).min(LONGEST) };
        tracing::error!(task, again_in = ?wait, "a task panicked and is begun again; please report it");
        wait
    }
}

#[cfg(test)]
impl Tasks {
    /// Has `task` panic at its next pulse.
    pub(crate) fn have_panic(&self, task: Task) {
        self.0.trips.lock().unwrap_or_else(PoisonError::into_inner).insert(task);
    }

    /// How often `task` was begun again.
    pub(crate) fn count(&self, task: Task) -> u64 {
        self.0.restarts.get_or_create(&Named { task: task.name() }).get()
    }

    fn trip(&self, task: Task) {
        let is_to = self.0.trips.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
        assert!(!is_to, "{} panics on purpose", task.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_goes_on_with_its_state_and_without_what_it_had_in_hand() {
        let tasks = Tasks::default();
        let (inbox, done) = (vec![1, 13, 2, 13, 3], Vec::new());
        let stop = CancellationToken::new();
        let told = tasks.clone();
        let state = (inbox.into_iter(), done);
        tasks
            .keep(Task::Alerts, stop, state, |(inbox, done), pulse| {
                let told = told.clone();
                Box::pin(async move {
                    assert_eq!(told.problems(), Vec::<String>::new(), "up again");
                    for next in inbox.by_ref() {
                        pulse.busy();
                        assert_ne!(next, 13, "on purpose");
                        done.push(next);
                    }
                    assert_eq!(*done, [1, 2, 3]);
                })
            })
            .await;
        assert_eq!(tasks.count(Task::Alerts), 2);
        assert_eq!(tasks.count(Task::Engine), 0);
    }

    #[tokio::test]
    async fn a_task_that_panics_always_waits_longer_each_time_and_ends_when_told_to() {
        let (tasks, stop) = (Tasks::default(), CancellationToken::new());
        let (kept, token) = (tasks.clone(), stop.clone());
        let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
        let running = tokio::spawn(async move {
            kept.keep(Task::Page, token, ran, |ran, _| {
                let told = ran.send(Instant::now());
                async move { panic!("on purpose: {told:?}") }.boxed()
            })
            .await;
        });
        let mut before = runs.recv().await.unwrap();
        for least in [100, 200, 400] {
            let at = runs.recv().await.unwrap();
            assert!(at - before >= Duration::from_millis(least), "{least}");
            before = at;
        }
        while tasks.count(Task::Page) < 4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.problems(), ["task page has panicked and is begun again soon"]);
        stop.cancel();
        running.await.unwrap();
        assert_eq!(tasks.problems(), Vec::<String>::new(), "gone is not down");
    }

    #[test]
    fn a_thread_is_kept_too() {
        let tasks = Tasks::default();
        let mut runs = 0;
        tasks.keep_thread(Task::Fit, |_| {
            runs += 1;
            assert_ne!(runs, 1, "on purpose");
        });
        assert_eq!((runs, tasks.count(Task::Fit)), (2, 1));
    }

    #[test]
    fn a_task_that_is_busy_for_too_long_is_stuck() {
        let tasks = Tasks::default();
        let pulse = tasks.begin(Task::State);
        pulse.busy();
        assert!(tasks.problems().is_empty());
        if let Some(long_ago) = Instant::now().checked_sub(STUCK + Duration::from_secs(1)) {
            pulse.life.set(State::Busy(long_ago));
            assert_eq!(tasks.problems(), ["task state has been stuck for 121 s"]);
        }
        pulse.idle();
        assert!(tasks.problems().is_empty());
    }
}
