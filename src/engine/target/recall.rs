//! A target's past, told by somebody who remembers it.

use super::super::{Memories, Setup};
use super::{GAP, Target};
use crate::detect::ensemble::Lesson;
use crate::series::Timestamp;

/// Share of the past that models are fitted on; the rest calibrates them.
const STUDIED: f64 = 0.7;

impl Target {
    /// Learns from values of the past; of signals that have several series, nothing. Models that take seconds to fit are
    /// left to the background. Whether anything came of it.
    pub(in crate::engine) fn recall(&mut self, rows: &Memories, means: &Memories, setup: &Setup) -> bool {
        let Some(first) = rows.times.first().copied().filter(|_| self.checks == 0) else { return false };
        let slots = slots(means, setup);
        for (row, at) in means.times.iter().enumerate().filter(|(_, at)| **at < first) {
            self.fill(means, &slots, row, setup);
            self.ensemble.remember(*at, &self.values);
        }
        self.go_through(rows, setup);
        self.ensemble.graduate(&mut self.work);
        self.ensemble.hurry();
        self.values.fill(None);
        true
    }

    fn go_through(&mut self, rows: &Memories, setup: &Setup) {
        let slots = slots(rows, setup);
        let studied = (rows.times.len() as f64 * STUDIED) as usize;
        for (row, at) in rows.times.iter().enumerate() {
            if row == studied {
                for task in self.ensemble.quick_courses(&mut self.work) {
                    self.ensemble.install(task.run(&mut || ()));
                }
            }
            self.note_gap(*at, setup);
            self.fill(rows, &slots, row, setup);
            let lesson = if row < studied { Lesson::Study } else { Lesson::Rehearse };
            self.ensemble.teach(*at, &self.values, lesson, &mut self.work);
        }
    }

    fn note_gap(&mut self, at: Timestamp, setup: &Setup) {
        if self.last_tick.is_some_and(|last| at.since(last) > setup.interval * GAP) {
            self.ensemble.gap();
        }
        self.last_tick = Some(at);
    }

    fn fill(&mut self, memories: &Memories, slots: &[Option<usize>], row: usize, setup: &Setup) {
        self.values.fill(None);
        for (value, slot) in memories.values[row * slots.len()..].iter().zip(slots) {
            if let Some(slot) = slot {
                let effect_filter = setup.signals[self.slots[*slot].signal].0.effect_filter();
                self.values[*slot] = value.and_then(|value| effect_filter.meant(value));
            }
        }
    }
}

/// Slot of each signal of a memory: a signal's first slot has its own position.
fn slots(memories: &Memories, setup: &Setup) -> Vec<Option<usize>> {
    let slot = |name: &String| setup.signals.iter().position(|(signal, _)| signal.name == *name);
    memories.signals.iter().map(slot).collect()
}
