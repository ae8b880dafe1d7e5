//! A target over a restart.

use super::super::kept::{About, KeptTarget, Restored, Standing};
use super::super::{Memories, Setup};
use super::{Slot, Target};
use crate::detect::training_history::Remembered;
use crate::incident::Reason;
use crate::series::Timestamp;
use crate::signal::Definition;
use crate::window::{Frozen, Window};

/// Rows that are learned from anew, where what was learned cannot be read; with more, a start would take seconds.
const ROWS: usize = 6000;

impl Target {
    /// What is known; shares the buffers.
    pub(in crate::engine) fn keep(&mut self, setup: &Setup) -> KeptTarget {
        let about = About {
            labels: self.setup.labels.clone(),
            signals: setup.signals.iter().map(|(definition, _)| definition.clone()).collect(),
            interval: setup.interval,
            metrics: self.slots.iter().map(|slot| (slot.signal, slot.output.clone(), slot.seen)).collect(),
            checks: self.checks,
            last_check: self.last_tick,
            last_verdict: self.last_verdict,
            last_scrape: self.last_scrape,
            counts: [self.processed, self.rejected, self.dropped],
            out_of_bounds: self.out_of_bounds.clone(),
            glitches: self.glitches,
        };
        KeptTarget {
            about,
            window: self.window.freeze(),
            past: self.ensemble.remembered(),
            learned: Some(self.ensemble.learned()),
        }
    }

    /// The incidents under way.
    pub(in crate::engine) fn standing(&self) -> impl Iterator<Item = Standing> + '_ {
        let active = self.slots.iter().enumerate().filter(|(_, slot)| slot.machine.is_active());
        active.map(|(at, slot)| Standing {
            target: self.setup.labels.clone(),
            metric: slot.labels.clone(),
            leads: self.lead == Some(at),
            machine: slot.machine.clone(),
        })
    }

    /// Goes on with what was kept, as far as it still fits.
    pub(in crate::engine) fn restore(&mut self, kept: KeptTarget, setup: &Setup) -> Restored {
        let KeptTarget { about, window, past, learned } = kept;
        let definitions: Vec<&Definition> = setup.signals.iter().map(|(definition, _)| definition).collect();
        let fits = about.interval == setup.interval && about.signals.iter().eq(definitions.iter().copied());
        let goes_on = fits && learned.is_some_and(|learned| self.go_on(&about, learned, &past, setup));
        let restored = match (fits, goes_on) {
            (false, _) => Restored::Windows,
            (true, true) => Restored::Whole,
            (true, false) => {
                self.learn_anew(&past, setup);
                Restored::Relearned
            }
        };
        self.window = Window::thaw(setup.limits, &window);
        (self.checks, self.last_tick, self.last_scrape) = (about.checks, about.last_check, about.last_scrape);
        self.last_verdict = about.last_verdict;
        [self.processed, self.rejected, self.dropped] = about.counts;
        self.glitches = about.glitches;
        if about.out_of_bounds.len() == self.out_of_bounds.len() {
            self.out_of_bounds = about.out_of_bounds;
        }
        restored
    }

    /// The metrics as they were, each with what was learned about it; whether it fits.
    fn go_on(
        &mut self,
        about: &About,
        learned: crate::detect::ensemble::Learned,
        past: &Remembered,
        setup: &Setup,
    ) -> bool {
        let mut restored = Self::new(self.setup.clone(), setup);
        for (at, (signal, output, seen)) in about.metrics.iter().enumerate() {
            if *signal >= setup.signals.len() {
                return false;
            }
            if at >= restored.slots.len() {
                restored.slots.push(Slot::empty(*signal, setup));
                restored.values.push(None);
            }
            let slot = &mut restored.slots[at];
            if slot.signal != *signal {
                return false;
            }
            slot.seen = *seen;
            if let Some(output) = output {
                slot.name(output, setup);
            }
            if at >= setup.signals.len() {
                restored.ensemble.add(restored.slots[at].metric(setup, false));
            }
        }
        let goes_on = restored.ensemble.go_on(learned, past).is_ok();
        if goes_on {
            *self = restored;
        }
        goes_on
    }

    /// What was learned was written by another version of the program; the rows it came from are still good.
    fn learn_anew(&mut self, past: &Remembered, setup: &Setup) {
        let fine = past.tiers.tables()[0];
        let (rows, means) = (memories(&past.rows, ROWS, setup), memories(fine, fine.len(), setup));
        self.recall(&rows, &means, setup);
    }

    /// An incident goes on; `false` where its signal is not there any more.
    pub(in crate::engine) fn stand(&mut self, standing: &Standing, setup: &Setup) -> bool {
        let name = standing.metric.get("metric_name").unwrap_or_default();
        let Some(signal) = setup.signals.iter().position(|(definition, _)| definition.name == name) else {
            return false;
        };
        let output = standing.metric.without(|name| name == "metric_name");
        let known =
            self.slots.iter().position(|slot| slot.labels == standing.metric && slot.output.is_some());
        let at = self.last_tick.unwrap_or_default();
        let Some(slot) = known.or_else(|| self.slot_of(signal, &output, at, setup)) else { return false };
        self.canonical.stand(slot, &standing.machine, standing.leads);
        self.slots[slot].machine = standing.machine.clone();
        if standing.leads {
            self.lead = Some(slot);
        }
        true
    }
}

/// An incident whose metric is not watched any more has ended; `None` where it never fired.
pub(in crate::engine) fn ended(standing: Standing, at: Timestamp) -> Option<crate::incident::Incident> {
    let mut machine = standing.machine;
    machine.end(at, Reason::Reconfigured)?.1
}

/// The newest `most` rows of a table, as values of the signals.
fn memories(table: &Frozen, most: usize, setup: &Setup) -> Memories {
    let first = table.len().saturating_sub(most);
    let signals: Vec<String> =
        setup.signals.iter().take(table.width()).map(|(definition, _)| definition.name.clone()).collect();
    let row = |row: usize| (0..signals.len()).map(move |column| table.get(column, row));
    Memories {
        times: table.times()[first..].iter().map(|at| Timestamp::from_millis(*at)).collect(),
        values: (first..table.len()).flat_map(row).collect(),
        signals,
    }
}
