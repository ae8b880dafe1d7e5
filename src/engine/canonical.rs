//! Which metrics would be in an incident with every knob at its default.
//!
//! What belongs to an incident is not learned. If that went by the incidents in force, a knob turned to quieter would
//! have something else learned, later verdicts would be others, and there could be incidents that were not there before. By
//! these instead, verdicts are the same however quiet a knob is. Where one is turned to louder, both count.

use crate::detect::ensemble::Verdict;
use crate::detect::verdict::{Assessment, Severity};
use crate::incident::Reason;
use crate::incident::machine::{Check, Machine, Persistence, Reading};
use crate::series::{Labels, Timestamp};

/// The incidents of one target by the canonical vote. They are not kept over a restart by themselves: those in force,
/// which are, stand for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Canonical {
    /// Metric whose incident stands for the target's anomaly.
    lead: Option<usize>,
    /// One a metric.
    machines: Vec<Machine>,
}

impl Canonical {
    /// Takes the step that `verdict` on `values` leads to.
    pub(super) fn step(
        &mut self,
        at: Timestamp,
        verdict: &Verdict,
        values: &[Option<f64>],
        rule: &Persistence,
    ) {
        self.machines.resize_with(values.len(), Machine::default);
        let lasting = self.lead.filter(|metric| self.machines[*metric].is_active());
        self.lead = lasting.or(verdict.flagged);
        let nobody = Labels::empty();
        for (metric, machine) in self.machines.iter_mut().enumerate() {
            let leads = self.lead == Some(metric);
            let is_judged = verdict.metrics[metric].assessment.is_some() || leads;
            let read = |value| reading(verdict, metric, leads, value);
            let check = Check { at, reading: values[metric].filter(|_| is_judged).map(read) };
            machine.step(&check, rule, (&nobody, &nobody));
        }
    }

    /// Whether a metric's incident has begun and not ended.
    pub(super) fn is_active(&self, metric: usize) -> bool {
        self.machines.get(metric).is_some_and(Machine::is_active)
    }

    /// Whether a metric's incident fires.
    pub(super) fn is_firing(&self, metric: usize) -> bool {
        self.machines.get(metric).is_some_and(|machine| machine.firing().is_some())
    }

    /// Wall time was set back, see [`Machine::step_back`].
    pub(super) fn step_back(&mut self, at: Timestamp) {
        self.machines.iter_mut().for_each(|machine| machine.step_back(at));
    }

    /// Time went on without anybody looking, see [`Machine::gap`].
    pub(super) fn gap(&mut self, at: Timestamp) {
        self.machines.iter_mut().for_each(|machine| machine.gap(at));
    }

    /// A metric's incident is over whatever its values: its level is the new normal, or another has its place.
    pub(super) fn end(&mut self, metric: usize, at: Timestamp) {
        if let Some(machine) = self.machines.get_mut(metric) {
            machine.end(at, Reason::Adapted);
        }
        self.lead = self.lead.filter(|lead| *lead != metric);
    }

    /// Goes on with an incident in force.
    pub(super) fn stand(&mut self, metric: usize, machine: &Machine, leads: bool) {
        let missing = (metric + 1).saturating_sub(self.machines.len());
        self.machines.extend(std::iter::repeat_n(Machine::default(), missing));
        self.machines[metric].clone_from(machine);
        if leads {
            self.lead = Some(metric);
        }
    }

    /// Takes over what was of the metrics that `stays` names, each with its place there and here.
    pub(super) fn inherit(&mut self, before: &Self, stays: &[(usize, usize)]) {
        for (was, is) in stays {
            if let Some(machine) = before.machines.get(*was) {
                self.stand(*is, machine, before.lead == Some(*was));
            }
        }
    }
}

fn reading(verdict: &Verdict, metric: usize, leads: bool, value: f64) -> Reading {
    let of_target = leads && verdict.flagged.is_some();
    Reading {
        opens: of_target || verdict.metrics[metric].flagged,
        holds: of_target || verdict.flags(metric),
        severity: Severity::Info,
        assessment: Assessment::default(),
        value,
        expected: None,
    }
}
