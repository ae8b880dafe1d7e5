//! Another threshold, tried beside the one in force: which incidents it would have on the same verdicts.
//!
//! Verdicts rest on what was learned, and what belongs to an incident is not learned, so another threshold's incidents
//! would change the verdicts after them. A trial says which values it would have learned; as long as these are the
//! values that the engine has learned, it is exactly what the engine would have said by that threshold.

use std::time::Duration;

use super::canonical::Canonical;
use super::rule::Rule;
use super::{Judgement, Setup};
use crate::detect::ensemble::Settings;
use crate::detect::learning_gate::{Learning, LearningGate};
use crate::detect::verdict::Severity;
use crate::incident::config::Severities;
use crate::incident::machine::{Check, Machine, Persistence};
use crate::incident::{Incident, Reason};
use crate::series::{Labels, Timestamp};

/// One threshold on one target.
#[derive(Debug)]
pub struct Trial {
    threshold: f64,
    severities: Severities,
    persistence: Persistence,
    adapt_after: Duration,
    is_quiet: bool,
    /// Metric whose incident stands for the target's anomaly.
    lead: Option<usize>,
    machines: Vec<Machine>,
    canonical: Canonical,
    guards: Vec<LearningGate>,
    learning: Vec<Learning>,
    nobody: Labels,
    last: Option<Timestamp>,
}

impl Trial {
    /// A trial of `threshold`, with all else as in `setup`.
    pub fn new(setup: &Setup, threshold: f64) -> Self {
        Self {
            threshold,
            severities: setup.severities.clone(),
            persistence: setup.persistence,
            adapt_after: setup.detection.adapt_after,
            is_quiet: Settings { threshold, ..setup.detection.clone() }.is_quiet(),
            lead: None,
            machines: Vec::new(),
            canonical: Canonical::default(),
            guards: Vec::new(),
            learning: Vec::new(),
            nobody: Labels::empty(),
            last: None,
        }
    }

    /// The threshold on trial.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Takes the step that the engine took to `judgement`.
    pub fn step(&mut self, at: Timestamp, judgement: &Judgement<'_>) {
        self.machines.resize_with(judgement.values.len(), Machine::default);
        self.guards.resize_with(judgement.values.len(), LearningGate::default);
        let passed = self.last.replace(at).map_or(Duration::ZERO, |last| at.since(last));
        if judgement.after_gap {
            self.machines.iter_mut().for_each(|machine| machine.gap(at));
            self.canonical.gap(at);
            self.guards.iter_mut().for_each(|guard| guard.skip(passed));
        } else {
            self.move_incidents(at, judgement);
        }
        self.learn(at, judgement);
    }

    fn move_incidents(&mut self, at: Timestamp, judgement: &Judgement<'_>) {
        let rule = Rule { threshold: self.threshold, severities: &self.severities };
        let lasting = self.lead.filter(|metric| self.machines[*metric].is_active());
        self.lead = rule.lead(lasting, judgement.verdict);
        for (metric, machine) in self.machines.iter_mut().enumerate() {
            let leads = self.lead == Some(metric);
            let read = |value| rule.reading(judgement.verdict, metric, leads, value);
            let check = Check { at, reading: judgement.values[metric].map(read) };
            machine.step(&check, &self.persistence, (&self.nobody, &self.nobody));
        }
        self.canonical.step(at, judgement.verdict, judgement.values, &self.persistence);
    }

    fn learn(&mut self, at: Timestamp, judgement: &Judgement<'_>) {
        self.learning.clear();
        for (metric, value) in judgement.values.iter().enumerate() {
            let counts = !self.is_quiet && self.machines[metric].is_active();
            let flagged = self.canonical.is_active(metric) || counts || judgement.verdict.flags(metric);
            let is_level = judgement.verdict.metrics[metric].is_level;
            let decide = |_| self.guards[metric].decide(at, flagged, is_level, self.adapt_after);
            self.learning.push(value.map_or(Learning::Learn, decide));
            if matches!(self.learning[metric], Learning::Adapt { .. }) {
                self.machines[metric].end(at, Reason::Adapted);
                self.canonical.end(metric, at);
                self.lead = self.lead.filter(|lead| *lead != metric);
            }
        }
    }

    /// Severity of the incident that fires, one a metric.
    pub fn firing(&self) -> impl Iterator<Item = Option<Severity>> {
        self.machines.iter().map(|machine| machine.firing().map(Incident::severity))
    }

    /// What it would have done with the values of the last step, one a metric.
    pub fn learning(&self) -> &[Learning] {
        &self.learning
    }
}
