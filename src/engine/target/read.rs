//! From the window to one value a metric.

use super::super::noticed::{Noticed, Oddity};
use super::{Setup, Slot, Target, beside};
use crate::series::{Labels, Timestamp};
use crate::setting::short;
use crate::signal::{Definition, MOST_SERIES};

/// Oddities that wait to be told, at most.
const MOST_NOTICED: usize = 64;

impl Target {
    /// Evaluates every signal into the slots of its outputs.
    pub(super) fn read(&mut self, at: Timestamp, setup: &Setup) {
        self.values.fill(None);
        for signal in 0..setup.signals.len() {
            let plan = &setup.signals[signal].1;
            match plan.read(self.window.view(), at, &mut self.selections[signal]) {
                Ok(readings) => {
                    let why = readings.values.is_empty().then(|| self.why_silent(at, setup, signal));
                    self.no_data[signal] = why;
                    self.dropped += readings.dropped as u64;
                    self.note_glitches(signal, readings.glitches, setup);
                    for (output, value) in readings.values {
                        let output = beside::beside(output, &self.setup.labels);
                        if let Some(slot) = self.slot_of(signal, &output, at, setup) {
                            self.values[slot] = self.possible(slot, value, setup);
                        }
                    }
                }
                Err(error) => self.no_data[signal] = Some(error.to_string()),
            }
        }
    }

    /// The slot of an output: its own, a free one, a new one, or that of an output not seen for longest.
    pub(super) fn slot_of(
        &mut self,
        signal: usize,
        output: &Labels,
        at: Timestamp,
        setup: &Setup,
    ) -> Option<usize> {
        let of_signal = |slot: &&mut Slot| slot.signal == signal;
        let known =
            self.slots.iter_mut().position(|slot| of_signal(&slot) && slot.output.as_ref() == Some(output));
        let slot = known.or_else(|| self.assign(signal, output, at, setup))?;
        self.slots[slot].seen = at;
        Some(slot)
    }

    pub(super) fn assign(
        &mut self,
        signal: usize,
        output: &Labels,
        at: Timestamp,
        setup: &Setup,
    ) -> Option<usize> {
        if self.slots[signal].output.is_none() {
            self.slots[signal].name(output, setup);
            return Some(signal);
        }
        // With a second series the signal is no single one any more.
        self.ensemble.leave_vector(signal);
        let taken: Vec<usize> = (0..self.slots.len()).filter(|s| self.slots[*s].signal == signal).collect();
        if taken.len() < MOST_SERIES {
            let mut slot = Slot::empty(signal, setup);
            slot.name(output, setup);
            self.ensemble.add(slot.metric(setup, false));
            self.slots.push(slot);
            self.values.push(None);
            return Some(self.slots.len() - 1);
        }
        let is_free = |slot: &usize| self.slots[*slot].seen < at && !self.slots[*slot].machine.is_active();
        let slot = taken.into_iter().filter(is_free).min_by_key(|slot| self.slots[*slot].seen);
        let Some(slot) = slot else {
            self.dropped += 1;
            return None;
        };
        self.slots[slot].name(output, setup);
        self.canonical.end(slot, at);
        self.ensemble.replace(slot, self.slots[slot].metric(setup, false));
        Some(slot)
    }

    /// A value that is possible; one that is not was read wrongly, and is no data.
    fn possible(&mut self, slot: usize, value: f64, setup: &Setup) -> Option<f64> {
        let signal = self.slots[slot].signal;
        let definition = &setup.signals[signal].0;
        if let Some(meant) = definition.effect_filter().meant(value) {
            self.slots[slot].impossible = None;
            return Some(meant);
        }
        self.out_of_bounds[signal] += 1;
        if self.slots[slot].impossible.replace(value).is_none() {
            self.notice(
                &self.slots[slot].labels.clone(),
                Oddity::Impossible { value, bounds: bounds(definition) },
            );
        }
        None
    }

    fn note_glitches(&mut self, signal: usize, counters: usize, setup: &Setup) {
        if counters > 0 {
            self.glitches += counters as u64;
            let metric = Labels::new([("metric_name", setup.signals[signal].0.name.as_str())]);
            self.notice(&metric, Oddity::FellBack { counters });
        }
    }

    fn notice(&mut self, metric: &Labels, what: Oddity) {
        // A check tells all of it; while nobody listens, as in a training, the first ones are enough.
        if self.noticed.len() < MOST_NOTICED {
            self.noticed.push(Noticed { target: self.setup.labels.clone(), metric: metric.clone(), what });
        }
    }
}

/// `0 to 100`, `at least 0`.
pub(super) fn bounds(definition: &Definition) -> String {
    match (definition.min, definition.max) {
        (Some(min), Some(max)) => format!("{} to {}", short(min), short(max)),
        (Some(min), None) => format!("at least {}", short(min)),
        (None, Some(max)) => format!("at most {}", short(max)),
        (None, None) => "any".to_owned(),
    }
}
