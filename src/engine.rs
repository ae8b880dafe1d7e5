//! The one path from samples to verdicts, for `run` and for `backtest`.
//!
//! Synchronous and deterministic: time comes with the events, fits run elsewhere and come back as events, and a fit
//! asked for at one check takes effect thirty checks later, so that how long it took changes nothing. One that took
//! longer takes effect when it comes, and each step says which check that was, so that it can be done again.

mod canonical;
pub mod held;
pub mod kept;
mod memories;
pub mod noticed;
mod rule;
pub mod shed;
pub mod snapshot;
mod target;
pub mod trial;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::detect::ensemble::{Lesson, Settings, Verdict};
use crate::detect::fit_tasks::{self, Model, Task};
use crate::detect::model_set::ModelSet;
use crate::detect::verdict::{Detector, Severity};
use crate::incident::config::Severities;
use crate::incident::machine::{Persistence, Transition};
use crate::incident::{Incident, State};
use crate::series::{Batch, Labels, Timestamp};
use crate::setting::Address;
use crate::signal::{Definition, Plan};
use crate::window::Limits;
use held::Taken;
use kept::{Incidents, KeptTarget, Restored};
pub use memories::Memories;
use noticed::Noticed;
use shed::Shed;
use snapshot::{Detection, IncidentKey, Snapshot};
use target::{Kind, STEP_BACK, Target};

/// Everything the engine is told by the configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Off: evaluate signals, judge nothing.
    pub enabled: bool,
    /// Time between checks.
    pub interval: Duration,
    /// The signals with their plans.
    pub signals: Vec<(Definition, Plan)>,
    /// The targets.
    pub targets: Vec<TargetSetup>,
    /// Bounds of each target's window.
    pub limits: Limits,
    /// How anomalies are told.
    pub detection: Settings,
    /// How bad they are.
    pub severities: Severities,
    /// How persistent they must be.
    pub persistence: Persistence,
}

/// One target.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSetup {
    /// Final labels.
    pub labels: Labels,
    /// What is scraped.
    pub url: Address,
    /// Whether its anomalies are the node's.
    pub node_scope: bool,
}

/// What the engine is told.
pub enum Event {
    /// Samples of a target, and how the scrape went.
    Batch(usize, Batch, Option<Health>),
    /// A target is to be judged by what is known at that time.
    Tick(usize, Timestamp),
    /// The same between two regular checks, to confirm a pending incident: nothing is learned from it.
    Confirm(usize, Timestamp),
    /// Normal data are gone through, before anything is judged.
    Teach(usize, Teaching),
    /// A fit has come back.
    Install(Fit<Model>),
    /// A target is to ask for a fit at its next check, whenever it would have: the one before was lost.
    Ask(usize, fit_tasks::Kind),
    /// The configuration has changed.
    Reconfigure(Box<Setup>),
}

/// A step through data that are known to be normal. First rows are studied, then the fits that [`Engine::courses`] names
/// are equipped, then rows are rehearsed, then it is done.
pub enum Teaching {
    /// The samples known at that time.
    Row(Timestamp, Lesson),
    /// What came of a fit, at once.
    Equip(Model),
    /// From here on everything is judged.
    Done,
}

/// How a scrape went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why it failed, in words; `None` if it did not.
    pub failure: Option<String>,
    /// Samples exposed.
    pub exposed: usize,
    /// Lines rejected.
    pub rejected: usize,
}

/// A fit on its way: whose, asked for at which check, and the task or what came of it.
pub struct Fit<T> {
    /// The target's final labels: positions may have changed when the fit comes back.
    pub target: Labels,
    /// Check of the target at which it was asked for.
    pub asked: u64,
    /// The task, or the model.
    pub what: T,
}

/// What a step has led to.
#[derive(Default)]
pub struct Step {
    /// What changed, for the log.
    pub changes: Vec<Change>,
    /// Fits to run.
    pub tasks: Vec<Fit<Task>>,
    /// Models that took effect.
    pub taken: Vec<Taken>,
    /// Values that were read wrongly.
    pub noticed: Vec<Noticed>,
}

/// A transition and what it is of.
#[derive(Clone, Debug)]
pub struct Change {
    /// The target's final labels.
    pub target: Labels,
    /// `metric_name` and further labels.
    pub metric: Labels,
    /// From where to where, and why.
    pub transition: Transition,
    /// The incident as it stands, where there is one.
    pub incident: Option<Incident>,
}

/// What was last said of a target.
pub struct Judgement<'a> {
    /// All of it.
    pub verdict: &'a Verdict,
    /// What it is about, one a metric.
    pub values: &'a [Option<f64>],
    /// Whether the check came after a gap in time, so that no incident moved.
    pub after_gap: bool,
    /// Metric that the vote means: `metric_name` and further labels.
    pub consensus: Option<&'a Labels>,
    /// What the verdict alone would be, where the target is anomalous.
    pub severity: Option<Severity>,
    /// The worst incident that fires.
    pub firing: Option<Severity>,
}

/// Why a question has no answer, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// It does not say what is meant, or names what is not there.
    Unclear(String),
    /// Nothing is known yet.
    NotYet(String),
}

/// Ended incidents remembered, at most, and for how long.
const MOST_ENDED: usize = 1000;
const REMEMBERED: Duration = Duration::from_hours(24);
/// Bytes that a window keeps however short memory is.
const LEAST_WINDOW: usize = 1 << 20;

/// The engine.
pub struct Engine {
    setup: Setup,
    targets: Vec<Target>,
    ended: VecDeque<Incident>,
    opened: Arc<HashMap<IncidentKey, u64>>,
    now: Timestamp,
    /// What was last given up for memory, and how often the windows were halved.
    shed: (Option<Shed>, u32),
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(setup: Setup) -> Self {
        let targets = setup.targets.iter().map(|target| Target::new(target.clone(), &setup)).collect();
        Self {
            setup,
            targets,
            ended: VecDeque::new(),
            opened: Arc::default(),
            now: Timestamp::default(),
            shed: (None, 0),
        }
    }

    /// Takes one step. An event of a target that is no longer there changes nothing.
    pub fn step(&mut self, event: Event) -> Step {
        let mut step = Step::default();
        match event {
            Event::Batch(target, batch, health) => {
                if let Some(target) = self.targets.get_mut(target) {
                    target.take(&batch, health);
                }
            }
            Event::Tick(target, at) => self.check(target, at, Kind::Regular, &mut step),
            Event::Confirm(target, at) => self.check(target, at, Kind::Confirming, &mut step),
            Event::Teach(target, teaching) => {
                if let Some(target) = self.targets.get_mut(target) {
                    target.teach(teaching, &self.setup);
                }
            }
            Event::Install(fit) => {
                if let Some(target) = self.targets.iter_mut().find(|t| t.setup().labels == fit.target) {
                    target.hold(fit.asked, fit.what);
                }
            }
            Event::Ask(target, kind) => {
                if let Some(target) = self.targets.get_mut(target) {
                    target.ask(kind);
                }
            }
            Event::Reconfigure(setup) => self.reconfigure(*setup, &mut step),
        }
        step
    }

    fn check(&mut self, index: usize, at: Timestamp, kind: Kind, step: &mut Step) {
        // Wall time that was set back far has restarted the windows as well.
        if self.now.since(at) > STEP_BACK {
            self.now = at;
            self.ended.iter_mut().for_each(|incident| incident.step_back(at));
        }
        self.now = self.now.max(at);
        let Some(target) = self.targets.get_mut(index) else { return };
        let changes = target.check(at, kind, &self.setup);
        step.taken.extend(target.taken());
        step.noticed.extend(target.noticed());
        if kind == Kind::Regular {
            step.tasks.extend(target.due());
        }
        for change in changes {
            self.remember(change, at, step);
        }
    }

    fn remember(&mut self, change: Change, at: Timestamp, step: &mut Step) {
        if let Some(incident) = &change.incident {
            match change.transition.to {
                State::Firing => self.count(incident),
                State::Resolved => {
                    self.ended.push_front(incident.clone());
                    self.ended.truncate(MOST_ENDED);
                }
                State::Pending => {}
            }
        }
        while self.ended.back().and_then(|i| i.ended_at).is_some_and(|ended| at.since(ended) > REMEMBERED) {
            self.ended.pop_back();
        }
        step.changes.push(change);
    }

    /// Counts an incident, or its rise, once for each detector that voted and once for the ensemble.
    fn count(&mut self, incident: &Incident) {
        let opened = Arc::make_mut(&mut self.opened);
        let voters = incident.votes().map(|(detector, _)| Some(detector)).chain([None]);
        for detector in voters {
            let key = IncidentKey {
                target: incident.target.clone(),
                metric: incident.metric.clone(),
                severity: incident.severity(),
                detector,
            };
            *opened.entry(key).or_default() += 1;
        }
    }

    /// Windows, baselines and incidents of targets and signals that stay are kept.
    fn reconfigure(&mut self, mut setup: Setup, step: &mut Step) {
        Shed::apply(self.shed.0, &mut setup);
        setup.limits.bytes >>= self.shed.1;
        let mut before = std::mem::take(&mut self.targets);
        let mut targets = Vec::with_capacity(setup.targets.len());
        for wanted in &setup.targets {
            let kept = before.iter().position(|target| target.setup().labels == wanted.labels);
            let same_signals = signature(&self.setup) == signature(&setup);
            targets.push(match kept.map(|at| before.swap_remove(at)) {
                Some(mut target) if same_signals => {
                    target.reconfigure(wanted.clone(), &setup);
                    target
                }
                Some(mut target) => {
                    let mut fresh = Target::new(wanted.clone(), &setup);
                    let changes = fresh.inherit(&mut target, (&self.setup, &setup), self.now);
                    changes.into_iter().for_each(|change| self.remember(change, self.now, step));
                    fresh
                }
                None => Target::new(wanted.clone(), &setup),
            });
        }
        for mut gone in before {
            let changes = gone.end_all(self.now);
            changes.into_iter().for_each(|change| self.remember(change, self.now, step));
        }
        (self.targets, self.setup) = (targets, setup);
    }

    /// Everything there is to see.
    pub fn snapshot(&self) -> Snapshot {
        let firing = self.targets.iter().flat_map(Target::firing).cloned();
        let mut incidents: Vec<Incident> = firing.chain(self.ended.iter().cloned()).collect();
        incidents.sort_by_key(|incident| std::cmp::Reverse(incident.started_at));
        let since = self.now - REMEMBERED;
        let used = |labels: &Labels| {
            let counts = |i: &&Incident| {
                i.target == *labels && i.severity() >= Severity::Warning && i.started_at > since
            };
            incidents.iter().filter(counts).count() as f64 / self.setup.detection.false_alerts_per_day
        };
        let show = |target: &Target| Arc::new(target.show(&self.setup, used(&target.setup().labels)));
        Snapshot {
            at: self.now,
            interval: self.setup.interval,
            enabled: self.setup.enabled,
            threshold: self.setup.detection.threshold,
            targets: self.targets.iter().map(show).collect(),
            opened: Arc::clone(&self.opened),
            incidents: incidents.into(),
        }
    }

    /// Judges the current windows of the target whose instance is `instance` (the only one, if `None`), or a posted
    /// vector of metrics against them. Changes nothing.
    pub fn detect(
        &self,
        instance: Option<&str>,
        values: Option<&HashMap<String, f64>>,
    ) -> Result<Detection, Unanswerable> {
        let is_meant = |t: &&Target| instance.is_none_or(|i| t.setup().labels.get("instance") == Some(i));
        let mut meant = self.targets.iter().filter(is_meant);
        let instances = self.targets.iter().filter_map(|t| t.setup().labels.get("instance"));
        let names = || instances.clone().collect::<Vec<_>>().join(", ");
        match (meant.next(), meant.next()) {
            (Some(target), None) => target.detect(&self.setup, values),
            (Some(_), Some(_)) => Err(Unanswerable::Unclear(format!(
                "several targets: say which by target=, one of {}",
                names()
            ))),
            (None, _) if self.targets.is_empty() => {
                Err(Unanswerable::NotYet("nothing is watched: configure scrape.targets".to_owned()))
            }
            (None, _) => Err(Unanswerable::Unclear(format!("no such target; there are: {}", names()))),
        }
    }

    /// The fits to be run on what a target was taught so far.
    pub fn courses(&mut self, target: usize) -> Vec<Task> {
        self.targets.get_mut(target).map(Target::courses).unwrap_or_default()
    }

    /// Everything the detectors of a target have learned.
    pub fn models(&self, target: usize) -> Option<ModelSet> {
        self.targets.get(target).map(Target::models)
    }

    /// Has every target take up what was learned elsewhere; says for each that cannot why, and then nothing of it changes.
    pub fn adopt(&mut self, set: &ModelSet, version: &str) -> Vec<(Labels, String)> {
        let adopt = |target: &mut Target| {
            let refused = target.adopt(set, version).err()?;
            Some((target.setup().labels.clone(), refused))
        };
        self.targets.iter_mut().filter_map(adopt).collect()
    }

    /// Number of targets.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Teaches a target its past: `rows` in full, of the time before them `means` for its seasons. Whether anything came
    /// of it: a target that has judged already has a past of its own.
    pub fn recall(&mut self, target: &Labels, rows: &Memories, means: &Memories) -> bool {
        let target = self.targets.iter_mut().find(|t| t.setup().labels == *target);
        target.is_some_and(|target| target.recall(rows, means, &self.setup))
    }

    /// What was last said of a target.
    pub fn judgement(&self, target: usize) -> Option<Judgement<'_>> {
        self.targets.get(target).map(|target| target.judgement(&self.setup))
    }

    /// Forgets all about one target, because what is known about it can no longer be trusted.
    pub fn restart(&mut self, target: usize) {
        if let Some(target) = self.targets.get_mut(target) {
            *target = Target::new(target.setup().clone(), &self.setup);
        }
    }

    /// What is known of every target; shares the buffers.
    pub fn keep(&mut self) -> Vec<KeptTarget> {
        self.targets.iter_mut().map(|target| target.keep(&self.setup)).collect()
    }

    /// Gives up the next thing, to take less memory; says which, if anything is left.
    pub fn shed(&mut self) -> Option<Shed> {
        let next = Shed::after(self.shed.0);
        if next == Shed::Series && self.setup.limits.bytes < 2 * LEAST_WINDOW {
            return None;
        }
        self.shed.0 = Some(next);
        match next {
            Shed::CoarseTiers => self.targets.iter_mut().for_each(Target::shed_tiers),
            Shed::Lstm | Shed::ForestSize => {
                Shed::apply(Some(next), &mut self.setup);
                self.targets.iter_mut().for_each(|target| target.make_frugal(&self.setup, next));
            }
            Shed::Series => {
                self.shed.1 += 1;
                self.setup.limits.bytes /= 2;
                let bytes = self.setup.limits.bytes;
                self.targets.iter_mut().for_each(|target| target.shrink(bytes));
            }
        }
        Some(next)
    }

    /// How much has been given up: 0 for nothing, 1 to 3 as in [`Shed`], and one more each time windows were halved.
    pub fn shed_level(&self) -> u32 {
        self.shed.0.map_or(0, |last| last as u32 + 1) + self.shed.1.saturating_sub(1)
    }

    /// Every incident.
    pub fn incidents(&self) -> Incidents {
        Incidents {
            at: self.now,
            standing: self.targets.iter().flat_map(Target::standing).collect(),
            ended: self.ended.iter().cloned().collect(),
            opened: self.opened.iter().map(|(key, count)| (key.clone(), *count)).collect(),
        }
    }

    /// Goes on with what was kept, before anything was judged; says how, for each target that is there.
    pub fn restore(&mut self, kept: Vec<KeptTarget>, incidents: Incidents) -> Vec<(Labels, Restored)> {
        let mut restored = Vec::new();
        for kept in kept {
            let target = self.targets.iter_mut().find(|target| target.setup().labels == kept.about.labels);
            if let Some(target) = target {
                restored.push((kept.about.labels.clone(), target.restore(kept, &self.setup)));
            }
        }
        self.now = self.now.max(incidents.at);
        self.opened = Arc::new(incidents.opened.into_iter().collect());
        self.ended = incidents.ended.into();
        for standing in incidents.standing {
            let target = self.targets.iter_mut().find(|target| target.setup().labels == standing.target);
            if !target.is_some_and(|target| target.stand(&standing, &self.setup)) {
                self.ended.extend(target::ended(standing, self.now));
            }
        }
        self.ended.make_contiguous().sort_by_key(|incident| std::cmp::Reverse(incident.ended_at));
        self.ended.truncate(MOST_ENDED);
        restored
    }

    /// The samples of a series that are held, oldest first.
    pub fn raw(&self, target: usize, series: &Labels) -> Vec<(Timestamp, f64)> {
        self.targets.get(target).map(|target| target.raw(series)).unwrap_or_default()
    }

    /// Whether an incident of a target has begun and does not fire yet.
    pub fn is_pending(&self, target: usize) -> bool {
        self.targets.get(target).is_some_and(Target::is_pending)
    }

    /// Detectors that vote for any target.
    pub fn ready(&self, detector: Detector) -> bool {
        self.targets.iter().any(|target| target.is_ready(detector))
    }
}

/// What makes a target's metrics what they are.
fn signature(setup: &Setup) -> impl PartialEq + '_ {
    let signals: Vec<&Definition> = setup.signals.iter().map(|(definition, _)| definition).collect();
    (signals, setup.interval, setup.limits)
}
