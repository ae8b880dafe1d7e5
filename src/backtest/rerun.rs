//! Other thresholds for certain: a replay of its own for each that could only be estimated, on as many threads as the
//! machine has.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::outcome::Figures;
use super::sweep::Basis;
use super::{Recording, Replay};
use crate::dataset::Dataset;
use crate::setting::Ratio;

/// Values of a recording up to which this is done without being asked for: a few minutes at most.
const FEW: usize = 200_000;

/// Whether `data` is so small that its page may be waited for.
pub fn is_affordable(data: &Dataset) -> bool {
    data.len() * data.metrics.len() <= FEW
}

impl Replay {
    /// Replays `data` by each threshold of `recording` that was estimated, and puts what came of it in its place.
    /// `progress` is told how many of how many replays are done.
    pub fn rerun(&self, data: &Dataset, recording: &mut Recording, progress: &mut dyn FnMut(usize, usize)) {
        let estimated: Vec<usize> =
            (0..recording.sweep.len()).filter(|at| !recording.sweep[*at].is_exact()).collect();
        let todo = estimated.iter().rev().map(|at| (*at, recording.sweep[*at].threshold)).collect();
        let todo: Mutex<Vec<(usize, f64)>> = Mutex::new(todo);
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(estimated.len());
        // Never more than a result for each threshold is in it.
        let (sender, results) = channel();
        std::thread::scope(|scope| {
            for sender in vec![sender; threads] {
                let todo = &todo;
                scope.spawn(move || self.work_off(data, todo, &sender));
            }
            collect(&results, recording, estimated.len(), progress);
        });
    }

    fn work_off(&self, data: &Dataset, todo: &Mutex<Vec<(usize, f64)>>, results: &Sender<(usize, Figures)>) {
        let next = || todo.lock().ok()?.pop();
        while let Some((at, threshold)) = next() {
            let Some(threshold) = Ratio::new(threshold) else { continue };
            let mut replay = self.clone();
            replay.config.detector.ensemble_threshold = threshold;
            let figures = replay.run(data, &mut |_, _| ()).figures;
            if results.send((at, figures)).is_err() {
                return;
            }
        }
    }
}

/// Until nobody is left who could send another.
fn collect(
    results: &Receiver<(usize, Figures)>,
    recording: &mut Recording,
    of: usize,
    progress: &mut dyn FnMut(usize, usize),
) {
    progress(0, of);
    for (done, (at, figures)) in results.iter().enumerate() {
        let tried = &mut recording.sweep[at];
        (tried.alerts, tried.quality, tried.basis) = (figures.alerts, figures.quality, Basis::Replayed);
        progress(done + 1, of);
    }
}
