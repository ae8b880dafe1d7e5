//! Runs fits beside the engine, on as many threads as the cores allowed bear.
//!
//! Targets take turns, and what is quick does not stand behind several that are slow (see [`turns`]). A fit that panics
//! is lost; the model in use stays, and the other fits go on.

mod turns;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::rest::Rest;
use crate::detect::fit_tasks::Kind;
use crate::engine::Fit;
use crate::series::Labels;
use crate::supervisor::{Pulse, Task, Tasks};
use turns::{Turn, Turns};

/// Threads at most: each takes a tenth of a core.
const MOST_THREADS: usize = 4;

/// Fits of one engine; when this is dropped, those under way are the last.
pub(super) struct Fits<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    turns: Mutex<Turns<Fit<T>>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    /// No panic happens while it is locked.
    fn turns(&self) -> MutexGuard<'_, Turns<Fit<T>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread on one or two cores, as the engine and the server need theirs.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores / 2).clamp(1, MOST_THREADS)
}

impl<T: Send + 'static> Fits<T> {
    /// Has `run` run each fit that is asked for; it answers whether anybody wants the next one.
    pub(super) fn start(
        tasks: &Tasks,
        run: impl Fn(Fit<T>, &mut Rest) -> bool + Clone + Send + 'static,
    ) -> Result<Self, String> {
        Self::on(threads(), tasks, run)
    }

    fn on(
        threads: usize,
        tasks: &Tasks,
        run: impl Fn(Fit<T>, &mut Rest) -> bool + Clone + Send + 'static,
    ) -> Result<Self, String> {
        let shared = Arc::new(Shared { turns: Mutex::new(Turns::default()), changed: Condvar::new() });
        let fits = Self { shared };
        for _ in 0..threads {
            let (shared, run, tasks) = (Arc::clone(&fits.shared), run.clone(), tasks.clone());
            let work = move || tasks.keep_thread(Task::Fit, |pulse| work(&shared, &run, pulse));
            let spawned = std::thread::Builder::new().name("fit".to_owned()).spawn(work);
            spawned.map_err(|error| error.to_string())?;
        }
        Ok(fits)
    }

    /// Takes a fit in. One of the same kind of the same target that still waits is replaced: it rests on fewer rows.
    pub(super) fn ask(&self, kind: Kind, fit: Fit<T>) {
        self.shared.turns().ask(fit.target.clone(), kind, fit, Instant::now());
        self.shared.changed.notify_all();
    }

    /// Drops what waits for other targets than these.
    pub(super) fn keep_only(&self, is_watched: impl Fn(&Labels) -> bool) {
        self.shared.turns().keep_only(is_watched);
    }
}

impl<T> Drop for Fits<T> {
    fn drop(&mut self) {
        self.shared.turns().close();
        self.shared.changed.notify_all();
    }
}

fn work<T>(shared: &Shared<T>, run: &impl Fn(Fit<T>, &mut Rest) -> bool, pulse: &Pulse) {
    loop {
        // A fit may take very long, at a tenth of a core: it is never said to be stuck.
        pulse.busy();
        pulse.idle();
        let Some(Turn { target, kind, what, since }) = wait(shared) else { return };
        let mut rest = Rest::new(since);
        let outcome = catch_unwind(AssertUnwindSafe(|| run(what, &mut rest)));
        if outcome.is_err() {
            tracing::error!(
                %target,
                model = kind.name(),
                "a fit panicked; the model in use stays. Please report it"
            );
        }
        shared.turns().done(&target, kind);
        // Another thread may have waited for this very target.
        shared.changed.notify_all();
        if let Ok(false) = outcome {
            return;
        }
        rest.pause();
    }
}

/// The next fit; `None` when there will be none.
fn wait<T>(shared: &Shared<T>) -> Option<Turn<Fit<T>>> {
    let mut turns = shared.turns();
    loop {
        if turns.is_closed() {
            return None;
        }
        if let Some(turn) = turns.next() {
            return Some(turn);
        }
        turns = shared.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    type Work = fn() -> u32;

    /// Fits on `threads` threads that run functions, and what these give.
    fn fits(threads: usize) -> (Fits<Work>, Receiver<u32>) {
        let (sender, results) = channel();
        let run = move |fit: Fit<Work>, _: &mut Rest| sender.send((fit.what)()).is_ok();
        (Fits::on(threads, &Tasks::default(), run).unwrap(), results)
    }

    fn fit(target: &str, what: Work) -> Fit<Work> {
        Fit { target: Labels::new([("instance", target)]), asked: 1, what }
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_fit_that_panics_leaves_the_others_of_its_target_and_of_the_rest_alone() {
        for threads in [1, 3] {
            let (fits, results) = fits(threads);
            fits.ask(Kind::IsolationForest, fit("a", || panic!("on purpose")));
            fits.ask(Kind::Seasons, fit("a", || 1));
            fits.ask(Kind::IsolationForest, fit("b", || 2));
            let mut came = [results.recv_timeout(PATIENCE).unwrap(), results.recv_timeout(PATIENCE).unwrap()];
            came.sort_unstable();
            assert_eq!(came, [1, 2]);
            fits.ask(Kind::IsolationForest, fit("a", || 3));
            assert_eq!(results.recv_timeout(PATIENCE), Ok(3), "nor is the next of the same kind held up");
        }
    }

    #[test]
    fn a_quick_fit_goes_on_beside_a_slow_one_where_there_are_cores() {
        let (fits, results) = fits(2);
        fits.ask(
            Kind::LstmAutoencoder,
            fit("a", || {
                std::thread::sleep(Duration::from_millis(500));
                1
            }),
        );
        fits.ask(Kind::IsolationForest, fit("a", || 2));
        assert_eq!(results.recv_timeout(PATIENCE), Ok(2));
        assert_eq!(results.recv_timeout(PATIENCE), Ok(1));
    }

    #[test]
    fn what_nobody_waits_for_any_more_ends() {
        let (fits, results) = fits(2);
        drop(fits);
        assert!(results.recv_timeout(PATIENCE).is_err(), "the threads are gone, and their senders with them");
    }
}
