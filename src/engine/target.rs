//! One target: its window, its signals, its ensemble, its incidents.

mod beside;
mod inherit;
mod read;
mod recall;
mod restore;
mod show;
mod silence;

use std::sync::Arc;
use std::time::Duration;

pub(super) use restore::ended;

use super::canonical::Canonical;
use super::held::{Held, Taken};
use super::noticed::Noticed;
use super::rule::Rule;
use super::shed::Shed;
use super::{Change, Fit, Health, Judgement, Setup, TargetSetup, Teaching};
use crate::detect::ensemble::{Ensemble, Metric, Standing, Verdict, Work};
use crate::detect::fit_tasks::{self, GAP, Model, Task};
use crate::detect::model_set::ModelSet;
use crate::detect::verdict::Detector;
use crate::incident::machine::{Check, Machine, Reading, Transition};
use crate::incident::{Incident, Reason};
use crate::series::{Batch, Labels, Origin, Timestamp};
use crate::signal::Selections;
use crate::window::Window;

/// A step back of wall time up to this is waited out; a longer one restarts the window.
pub(super) const STEP_BACK: Duration = Duration::from_mins(2);

/// One output series of a signal.
struct Slot {
    signal: usize,
    /// `metric_name` and the labels left on the output.
    labels: Labels,
    /// Only the labels left on the output; `None` until the first output.
    output: Option<Labels>,
    machine: Machine,
    seen: Timestamp,
    /// The value it has now, if that is impossible.
    impossible: Option<f64>,
}

/// What a check is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To judge and to learn.
    Regular,
    /// To confirm a pending incident.
    Confirming,
}

/// One target with all that is known about it.
pub(super) struct Target {
    setup: TargetSetup,
    window: Window,
    selections: Vec<Selections>,
    slots: Vec<Slot>,
    ensemble: Ensemble,
    held: Held,
    /// What has taken effect and was not told yet.
    taken: Vec<Taken>,
    /// What was odd about values and was not told yet.
    noticed: Vec<Noticed>,
    checks: u64,
    /// Check at which the ensemble was new.
    born: u64,
    last_tick: Option<Timestamp>,
    /// Whether samples are dropped until time has passed the newest.
    waits: bool,
    /// Whether the last check came after a gap in time.
    after_gap: bool,
    values: Vec<Option<f64>>,
    work: Work,
    verdict: Verdict,
    last_verdict: Option<Timestamp>,
    /// Slot whose incident stands for the target's anomaly.
    lead: Option<usize>,
    canonical: Canonical,
    standing: Standing,
    /// One a signal: why it has no data.
    no_data: Vec<Option<String>>,
    dropped: u64,
    /// One a signal: values so far that were impossible.
    out_of_bounds: Vec<u64>,
    /// Counters so far that were read wrongly.
    glitches: u64,
    health: Option<Health>,
    last_scrape: Option<Timestamp>,
    rejected: u64,
    processed: u64,
}

impl Target {
    pub(super) fn new(target: TargetSetup, setup: &Setup) -> Self {
        let slots: Vec<Slot> = (0..setup.signals.len()).map(|signal| Slot::empty(signal, setup)).collect();
        let metrics = slots.iter().map(|slot| slot.metric(setup, true)).collect();
        let selections = setup.signals.iter().map(|_| Selections::of(&target.labels)).collect();
        Self {
            setup: target,
            window: Window::new(setup.limits),
            selections,
            ensemble: Ensemble::new(setup.detection.clone(), metrics),
            values: vec![None; slots.len()],
            slots,
            held: Held::default(),
            taken: Vec::new(),
            noticed: Vec::new(),
            checks: 0,
            born: 0,
            last_tick: None,
            waits: false,
            after_gap: false,
            work: Work::default(),
            verdict: Verdict::default(),
            last_verdict: None,
            lead: None,
            canonical: Canonical::default(),
            standing: Standing::default(),
            no_data: vec![None; setup.signals.len()],
            dropped: 0,
            out_of_bounds: vec![0; setup.signals.len()],
            glitches: 0,
            health: None,
            last_scrape: None,
            rejected: 0,
            processed: 0,
        }
    }

    pub(super) fn setup(&self) -> &TargetSetup {
        &self.setup
    }

    /// Takes in samples. Wall time that steps back is waited out, or restarts the window when it is too far.
    pub(super) fn take(&mut self, batch: &Batch, health: Option<Health>) {
        // Of probes an earlier answer may come later.
        let is_in_order = batch.origin != Origin::Probe;
        match self.window.newest_of(batch.origin) {
            Some(newest) if newest.since(batch.at) > STEP_BACK => self.step_back(batch.at),
            Some(newest) if newest > batch.at => self.waits |= is_in_order,
            // How long the wait was is not known: across it there is no rate.
            _ if is_in_order && std::mem::take(&mut self.waits) => self.window.restart(),
            _ => {}
        }
        self.window.push(batch);
        if let Some(health) = health {
            self.rejected += health.rejected as u64;
            self.processed += health.exposed as u64;
            self.last_scrape = Some(batch.at);
            self.health = Some(health);
        }
    }

    /// Wall time was set back too far to be waited out. Incidents go on, and nothing of them lies in the future.
    fn step_back(&mut self, at: Timestamp) {
        self.window.restart();
        self.waits = false;
        self.ensemble.step_back(at);
        self.slots.iter_mut().for_each(|slot| slot.machine.step_back(at));
        self.canonical.step_back(at);
        self.last_tick = None;
    }

    /// Keeps a fitted model until it is due. One that was asked for before the signals changed, or before all was
    /// forgotten, is of no use.
    pub(super) fn hold(&mut self, asked: u64, model: Model) {
        if self.born < asked && asked <= self.checks {
            self.held.put(asked, model);
        }
    }

    /// Judges the target and moves its incidents.
    pub(super) fn check(&mut self, at: Timestamp, kind: Kind, setup: &Setup) -> Vec<Change> {
        if self.last_tick.is_some_and(|last| at <= last) {
            return Vec::new();
        }
        if kind == Kind::Regular {
            self.checks += 1;
            self.install(at);
        }
        let passed = self.last_tick.map_or(Duration::ZERO, |last| at.since(last));
        self.after_gap = passed > setup.interval * GAP;
        self.last_tick = Some(at);
        if self.after_gap {
            self.ensemble.skip(passed);
            self.slots.iter_mut().for_each(|slot| slot.machine.gap(at));
            self.canonical.gap(at);
        }
        self.read(at, setup);
        if !setup.enabled {
            (self.verdict, self.last_verdict) = (Verdict::default(), None);
            return self.end_all(at);
        }
        self.verdict = self.ensemble.assess(at, &self.values, &mut self.work);
        self.last_verdict = self.verdict.target.map(|_| at).or(self.last_verdict);
        let mut changes = Vec::new();
        if !self.after_gap {
            changes = self.move_incidents(at, setup);
            self.canonical.step(at, &self.verdict, &self.values, &setup.persistence);
        }
        if kind == Kind::Regular {
            self.learn(at, setup, &mut changes);
        }
        changes
    }

    /// Takes up the models that are due. At regular checks alone: a recording has no others.
    fn install(&mut self, at: Timestamp) {
        while let Some((asked, model)) = self.held.next(self.checks) {
            let target = self.setup.labels.clone();
            self.taken.push(Taken { target, model: model.kind(), asked, effective: self.checks, at });
            self.ensemble.install(model);
        }
    }

    /// What has taken effect since this was asked last.
    pub(super) fn taken(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.taken)
    }

    /// What was odd about values since this was asked last.
    pub(super) fn noticed(&mut self) -> Vec<Noticed> {
        std::mem::take(&mut self.noticed)
    }

    /// Has a fit be asked for at the next check.
    pub(super) fn ask(&mut self, kind: fit_tasks::Kind) {
        self.ensemble.ask(kind);
    }

    fn learn(&mut self, at: Timestamp, setup: &Setup, changes: &mut Vec<Change>) {
        let is_quiet = setup.detection.is_quiet();
        let Standing { active, firing } = &mut self.standing;
        active.clear();
        firing.clear();
        for (at, slot) in self.slots.iter().enumerate() {
            active.push(self.canonical.is_active(at) || !is_quiet && slot.machine.is_active());
            firing.push(self.canonical.is_firing(at) || !is_quiet && slot.machine.firing().is_some());
        }
        let adapted = self.ensemble.learn(at, &self.values, &mut self.work, &self.verdict, &self.standing);
        for slot in adapted {
            self.canonical.end(slot, at);
            changes.extend(self.end(slot, at, Reason::Adapted));
        }
    }

    /// Goes through data that are known to be normal.
    pub(super) fn teach(&mut self, teaching: Teaching, setup: &Setup) {
        match teaching {
            Teaching::Row(at, lesson) => {
                if self.last_tick.is_some_and(|last| at.since(last) > setup.interval * GAP) {
                    self.ensemble.gap();
                }
                self.last_tick = Some(at);
                self.read(at, setup);
                self.ensemble.teach(at, &self.values, lesson, &mut self.work);
            }
            Teaching::Equip(model) => self.ensemble.install(model),
            Teaching::Done => self.ensemble.graduate(&mut self.work),
        }
    }

    /// Everything the detectors have learned.
    pub(super) fn models(&self) -> ModelSet {
        self.ensemble.models()
    }

    /// Takes up what was learned elsewhere.
    pub(super) fn adopt(&mut self, set: &ModelSet, version: &str) -> Result<(), String> {
        self.ensemble.adopt(set, version)
    }

    pub(super) fn courses(&mut self) -> Vec<Task> {
        self.ensemble.courses(&mut self.work)
    }

    pub(super) fn judgement(&self, setup: &Setup) -> Judgement<'_> {
        let anomalous = self.verdict.target.filter(|target| target.score > setup.detection.threshold);
        Judgement {
            verdict: &self.verdict,
            values: &self.values,
            after_gap: self.after_gap,
            consensus: self.verdict.consensus.map(|slot| &self.slots[slot].labels),
            severity: anomalous.map(|target| setup.severities.of(&target)),
            firing: self.firing().map(Incident::severity).max(),
        }
    }

    fn move_incidents(&mut self, at: Timestamp, setup: &Setup) -> Vec<Change> {
        self.choose_lead(setup);
        let mut changes = Vec::new();
        for slot in 0..self.slots.len() {
            let check = Check { at, reading: self.reading(slot, setup) };
            let Slot { machine, labels, .. } = &mut self.slots[slot];
            let moved = machine.step(&check, &setup.persistence, (&self.setup.labels, labels));
            if check.reading.is_some_and(|reading| machine.is_worst(&reading.assessment)) {
                let explanation = self.ensemble.explain(at, slot, &self.work, &self.verdict);
                machine.explain(Arc::new(explanation));
            }
            if let Some((transition, ended)) = moved {
                changes.push(self.change(slot, transition, ended));
            }
        }
        self.name_the_others(setup, &mut changes);
        changes
    }

    fn choose_lead(&mut self, setup: &Setup) {
        let lasting = self.lead.filter(|slot| self.slots[*slot].machine.is_active());
        self.lead = rule(setup).lead(lasting, &self.verdict);
    }

    fn reading(&self, slot: usize, setup: &Setup) -> Option<Reading> {
        let leads = self.lead == Some(slot);
        // What nobody can judge yet neither holds an incident nor ends it.
        let is_judged = self.verdict.metrics[slot].assessment.is_some() || leads;
        let value = self.values[slot].filter(|_| is_judged);
        value.map(|value| rule(setup).reading(&self.verdict, slot, leads, value))
    }

    fn change(&self, slot: usize, transition: Transition, ended: Option<Incident>) -> Change {
        Change {
            target: self.setup.labels.clone(),
            metric: self.slots[slot].labels.clone(),
            transition,
            incident: ended.or_else(|| self.slots[slot].machine.firing().cloned()),
        }
    }

    fn name_the_others(&mut self, setup: &Setup, changes: &mut [Change]) {
        let over = |slot: usize| {
            let score = self.verdict.metrics[slot].assessment.map_or(0.0, |a| a.score);
            self.slots[slot].machine.is_active() || score > setup.detection.threshold
        };
        let anomalous: Vec<usize> = (0..self.slots.len()).filter(|slot| over(*slot)).collect();
        if anomalous.len() < 2 {
            return;
        }
        for slot in &anomalous {
            let others = anomalous
                .iter()
                .filter(|other| *other != slot)
                .map(|other| short_name(&self.slots[*other].labels));
            let others: Vec<String> = others.collect();
            self.slots[*slot].machine.set_also(others.into_iter());
            let labels = &self.slots[*slot].labels;
            let changed = changes.iter_mut().filter(|change| change.metric == *labels);
            for change in changed {
                if let (Some(incident), Some(firing)) =
                    (&mut change.incident, self.slots[*slot].machine.firing())
                {
                    incident.also.clone_from(&firing.also);
                }
            }
        }
    }

    fn end(&mut self, slot: usize, at: Timestamp, reason: Reason) -> Option<Change> {
        let (transition, ended) = self.slots[slot].machine.end(at, reason)?;
        if self.lead == Some(slot) {
            self.lead = None;
        }
        Some(self.change(slot, transition, ended))
    }

    /// Ends whatever is under way, because nobody watches it any more.
    pub(super) fn end_all(&mut self, at: Timestamp) -> Vec<Change> {
        self.canonical = Canonical::default();
        (0..self.slots.len()).filter_map(|slot| self.end(slot, at, Reason::Reconfigured)).collect()
    }

    /// Fits that are due, each marked with the check that asks for it.
    pub(super) fn due(&mut self) -> Option<Fit<Task>> {
        let what = self.ensemble.due()?;
        Some(Fit { target: self.setup.labels.clone(), asked: self.checks, what })
    }

    /// The samples of a series that are held.
    pub(super) fn raw(&self, series: &Labels) -> Vec<(Timestamp, f64)> {
        let view = self.window.view();
        let found = view.select(|labels| labels == series);
        let samples = found.into_iter().flat_map(|(_, at)| {
            let column = view.series(at);
            column.present(0..column.len())
        });
        samples.map(|(at, value)| (Timestamp::from_millis(at), value)).collect()
    }

    /// Forgets the means that seasons are found in.
    pub(super) fn shed_tiers(&mut self) {
        self.ensemble.shed_tiers();
    }

    /// Goes on with what is left after `shed`.
    pub(super) fn make_frugal(&mut self, setup: &Setup, shed: Shed) {
        self.ensemble.reconfigure(setup.detection.clone());
        match shed {
            Shed::Lstm => self.ensemble.shed_lstm(),
            _ => self.ensemble.refit_forest(),
        }
    }

    /// Has the window take no more than `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.window.shrink(bytes);
    }

    /// The same signals, other rules.
    pub(super) fn reconfigure(&mut self, target: TargetSetup, setup: &Setup) {
        self.setup = target;
        self.ensemble.reconfigure(setup.detection.clone());
    }

    pub(super) fn firing(&self) -> impl Iterator<Item = &Incident> {
        self.slots.iter().filter_map(|slot| slot.machine.firing())
    }

    pub(super) fn is_pending(&self) -> bool {
        self.slots.iter().any(|slot| slot.machine.is_pending())
    }

    pub(super) fn is_ready(&self, detector: Detector) -> bool {
        self.ensemble.is_ready(detector)
    }
}

impl Slot {
    fn empty(signal: usize, setup: &Setup) -> Self {
        let labels = Labels::new([("metric_name", setup.signals[signal].0.name.as_str())]);
        Self {
            signal,
            labels,
            output: None,
            machine: Machine::default(),
            seen: Timestamp::default(),
            impossible: None,
        }
    }

    fn name(&mut self, output: &Labels, setup: &Setup) {
        let name = [("metric_name", setup.signals[self.signal].0.name.as_str())];
        self.labels = output.with(name);
        self.output = Some(output.clone());
    }

    fn metric(&self, setup: &Setup, in_vector: bool) -> Metric {
        let effect_filter = setup.signals[self.signal].0.effect_filter();
        Metric { name: short_name(&self.labels), effect_filter, in_vector }
    }
}

fn rule(setup: &Setup) -> Rule<'_> {
    Rule { threshold: setup.detection.threshold, severities: &setup.severities }
}

/// `cpu_usage`, or `disk{device="sda"}` where a signal has several series.
fn short_name(labels: &Labels) -> String {
    let rest = labels.without(|name| name == "metric_name");
    let name = labels.get("metric_name").unwrap_or_default();
    if rest.is_empty() { name.to_owned() } else { format!("{name}{rest}") }
}
