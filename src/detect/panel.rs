//! The detectors of one target, their calibration and their vote.
//!
//! [`Panel::assess`] judges a row and changes nothing, so that a row can be tried; [`Panel::learn`] then takes it in,
//! as far as it was normal. Models that need a fit ask for it by [`Panel::due`]; the fit runs elsewhere and comes
//! back by [`Panel::install`].

mod explaining;
mod fitting;
mod learned;
mod lesson;
mod opinion;
mod readiness;
mod settings;

use std::time::Duration;

use fitting::{Due, FIRST_FIT};
pub use learned::{Learned, Models};
pub use lesson::Lesson;
use lesson::Rehearsal;
pub use opinion::Work;
use opinion::{CANONICAL, Knobs, confidence, narrowest, reach, strength};
pub use settings::Settings;

use super::budget::Budget;
use super::drift::Drift;
use super::gate::Gate;
use super::guard::{Guard, Learning, Suspicion};
use super::memory::Memory;
use super::pace::{Cut, Pace};
use super::part::Part;
use super::verdict::{Assessment, Band, Detector, PerDetector};
use super::vote::{self, CANONICAL_THRESHOLD, CANONICAL_WEIGHTS, Weights};
use crate::series::Timestamp;

/// A metric the panel judges.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name with its labels; ties are broken by it.
    pub name: String,
    /// What matters about it.
    pub gate: Gate,
    /// Whether it is part of the vector that the forest sees.
    pub in_vector: bool,
}

/// What the panel says of one row.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The vote on the target; `None` while no detector is ready or nothing has a value.
    pub target: Option<Assessment>,
    /// Position of the metric the vote means: most votes, then highest score, then name.
    pub consensus: Option<usize>,
    /// One a metric.
    pub metrics: Vec<MetricVerdict>,
    /// Threshold-free strength of the target's anomaly; 0 and up, unbounded.
    pub evidence: f64,
    /// Where the target is anomalous with every knob at its default: the metric that is meant then.
    pub flagged: Option<usize>,
    /// Whether what is known comes of a training.
    pub taught: bool,
}

/// What the panel says of one metric.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricVerdict {
    /// The vote on it; `None` without a value or before anybody can judge it.
    pub assessment: Option<Assessment>,
    /// Where it is expected.
    pub band: Option<Band>,
    /// Whether it is anomalous by itself with every knob at its default.
    pub flagged: bool,
    /// Whether its value is not learned although it is not flagged: while little is known it might as well be.
    pub doubtful: bool,
}

impl Verdict {
    /// Whether a metric is anomalous with every knob at its default, by itself or because the target is and it is meant.
    pub fn flags(&self, metric: usize) -> bool {
        self.metrics[metric].flagged || self.flagged == Some(metric)
    }

    /// How a metric's value looks to whoever would learn it.
    pub fn suspicion(&self, metric: usize, in_incident: bool) -> Suspicion {
        if in_incident || self.flags(metric) {
            Suspicion::Flagged
        } else if self.metrics[metric].doubtful {
            Suspicion::Doubtful { taught: self.taught }
        } else {
            Suspicion::None
        }
    }
}

/// One metric, and whether it may be learned from.
struct Watched {
    metric: Metric,
    guard: Guard,
    drift: Option<Drift>,
    /// Checks in a row at which it was outside its band, whatever the vote said of it.
    outside: u32,
}

impl Watched {
    fn new(metric: Metric) -> Self {
        Self { metric, guard: Guard::default(), drift: None, outside: 0 }
    }

    /// Whether `value` is outside `band`, on a side that matters and by more than is nobody's business.
    fn is_outside(&self, value: f64, band: Band) -> bool {
        !(band.lower..=band.upper).contains(&value) && self.metric.gate.passes(value, band.expected)
    }
}

/// Scales from expected within which a metric is back where it was before a fault.
const WITHIN: f64 = 3.0;
/// Score from which on a value is doubtful while the calibration is young: it reads a fault as less unlikely than
/// it is, and what was learned of one hides the rest.
const DOUBT: f64 = 0.75 * CANONICAL_THRESHOLD;
/// The slower pace is the mean of so much time.
const SLOW: Duration = Duration::from_mins(5);

/// The detectors of one target.
pub struct Panel {
    settings: Settings,
    /// Metrics it began with: only these may form the vector, and only these are remembered for fits.
    width: usize,
    watched: Vec<Watched>,
    /// Smallest spread that matters, one a metric.
    least: Vec<f64>,
    memory: Memory,
    /// The values as they come and, where checks are frequent enough for it to differ, their trailing mean.
    paces: Vec<Pace>,
    budget: Budget,
    due: Due,
    trained_at: PerDetector<Timestamp>,
    /// Of the model set in use, where it came from a store.
    version: Option<String>,
    /// The one that was last taken from a store, and the newest row it has learned from.
    stored: Option<(String, Timestamp)>,
    rehearsal: Rehearsal,
    /// Exponentially weighted mean of the strength.
    course: f64,
}

impl Panel {
    /// A panel that knows nothing about `metrics`.
    pub fn new(settings: Settings, metrics: Vec<Metric>) -> Self {
        let width = metrics.len();
        Self {
            least: metrics.iter().map(|metric| metric.gate.least_spread()).collect(),
            watched: metrics.into_iter().map(Watched::new).collect(),
            width,
            memory: Memory::new(width, settings.remember),
            paces: paces(&settings, width),
            budget: Budget::new(settings.false_alerts_per_day, settings.interval, settings.open_after),
            due: Due::first(&settings),
            trained_at: [None; Detector::COUNT],
            version: None,
            stored: None,
            rehearsal: Rehearsal::default(),
            course: 0.0,
            settings,
        }
    }

    /// Goes on by other settings with what is known.
    pub fn reconfigure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        let settings = &self.settings;
        if before.false_alerts_per_day != settings.false_alerts_per_day {
            self.budget.ask(settings.false_alerts_per_day);
        }
        for pace in &mut self.paces {
            pace.recut(cut(settings, pace.cut.smoothing), &self.least);
        }
    }

    /// Takes up a further metric, at the end.
    pub fn add(&mut self, metric: Metric) {
        self.least.push(metric.gate.least_spread());
        self.watched.push(Watched::new(metric));
        self.paces.iter_mut().for_each(Pace::add);
    }

    /// Puts another metric in the place of one, of which everything is forgotten.
    pub fn replace(&mut self, at: usize, metric: Metric) {
        self.least[at] = metric.gate.least_spread();
        self.watched[at] = Watched::new(metric);
        self.paces.iter_mut().for_each(|pace| pace.forget(at));
    }

    /// Takes a metric out of the vector, from the next fit on.
    pub fn leave_vector(&mut self, at: usize) {
        self.watched[at].metric.in_vector = false;
    }

    /// Judges the row of `values` at `at`, one a metric. Changes nothing but `work`.
    pub fn assess(&self, at: Timestamp, values: &[Option<f64>], work: &mut Work) -> Verdict {
        self.look(at, values, work);
        self.surprise(work);
        let kappa = self.budget.kappa();
        let mut verdict = self.vote(work, kappa, &self.knobs());
        let canonical = self.vote(work, kappa, &CANONICAL);
        let is_flagged = exceeds(canonical.target.as_ref(), CANONICAL_THRESHOLD);
        let taught = self.paces[0].is_taught();
        verdict.taught = taught;
        let is_unusual = exceeds(canonical.target.as_ref(), DOUBT);
        // A target's anomaly is its consensus metric's as well, and shows in others, if less than there.
        let shows =
            |at: usize| canonical.consensus == Some(at) || !taught && self.alone(at, work, kappa) > DOUBT;
        verdict.flagged = canonical.consensus.filter(|_| is_flagged);
        for (at, (metric, canonical_metric)) in verdict.metrics.iter_mut().zip(&canonical.metrics).enumerate()
        {
            let own = canonical_metric.assessment.as_ref();
            metric.flagged = exceeds(own, CANONICAL_THRESHOLD);
            metric.doubtful = !self.is_known(at) && (exceeds(own, DOUBT) || is_unusual && shows(at));
        }
        work.strength = strength(work);
        work.course = self.course + COURSE * (work.strength - self.course);
        verdict.evidence = work.strength.powf(1.0 - OF_COURSE) * work.course.powf(OF_COURSE);
        verdict
    }

    /// Raw scores, expectations and gates of a row.
    fn look(&self, at: Timestamp, values: &[Option<f64>], work: &mut Work) {
        work.looks.resize_with(self.paces.len(), Default::default);
        for (pace, look) in self.paces.iter().zip(&mut work.looks) {
            pace.look(at, values, &self.least, self.width, look);
        }
        work.gated.clear();
        let expected = |at: usize| narrowest(&work.looks[0].expectations[at], &self.settings.weights);
        work.gated.extend(values.iter().zip(&self.watched).enumerate().map(|(at, (value, watched))| {
            let passes = |(value, expected)| watched.metric.gate.passes(value, expected);
            !value.zip(expected(at).map(|e| e.expected)).is_some_and(passes)
        }));
    }

    /// From raw scores to what each detector is surprised by.
    fn surprise(&self, work: &mut Work) {
        for (pace, look) in self.paces.iter().zip(&mut work.looks) {
            pace.surprise(&work.gated, look);
        }
        for detector in Detector::ALL {
            let looks = work.looks.iter().zip(self.paces.iter().map(|pace| &pace.weights));
            opinion::combine(detector, looks, self.watched.len(), &mut work.surprises[detector.index()]);
        }
        work.deviations.clear();
        for metric in 0..self.watched.len() {
            let looks = work.looks.iter().zip(self.paces.iter().map(|pace| &pace.normal));
            work.deviations.push(opinion::deviations(looks, metric));
        }
    }

    /// From surprises to assessments, by `knobs`.
    fn vote(&self, work: &Work, kappa: f64, knobs: &Knobs) -> Verdict {
        let weights = self.enabled_weights(&knobs.weights);
        // Who cannot see a row, as the forest after a gap, has no say in it.
        let sure = |d: Detector| if self.is_ready(d) { confidence(d, work, kappa, knobs) } else { None };
        let target: PerDetector<f64> = Detector::ALL.map(sure);
        let metrics: Vec<_> = (0..self.watched.len())
            .map(|metric| {
                let own = Detector::ALL
                    .map(|d| opinion::share(target[d.index()], &work.surprises[d.index()].metrics, metric));
                let judged = own.iter().any(Option::is_some);
                let own = if judged { opinion::fill(own, &target) } else { own };
                let assessment = vote::assess(own, &work.deviations[metric], &weights);
                let band = self.band(work, metric);
                MetricVerdict { assessment, band, ..MetricVerdict::default() }
            })
            .collect();
        let consensus = self.consensus(&metrics);
        let deviations = consensus.map(|metric| work.deviations[metric]).unwrap_or_default();
        let has_value = metrics.iter().any(|metric| metric.assessment.is_some());
        let target = if has_value { vote::assess(target, &deviations, &weights) } else { None };
        Verdict { target, consensus, metrics, ..Verdict::default() }
    }

    /// The canonical vote on a metric as if there were no other to be more surprised by.
    fn alone(&self, metric: usize, work: &Work, kappa: f64) -> f64 {
        let sure = |d: Detector| {
            let surprise = work.surprises[d.index()].metrics[metric].filter(|_| self.is_ready(d))?;
            Some(vote::confidence(surprise, kappa))
        };
        vote::score(&Detector::ALL.map(sure), &self.enabled_weights(&CANONICAL.weights)).unwrap_or(0.0)
    }

    /// Whether a metric's calibration is no longer young.
    fn is_known(&self, metric: usize) -> bool {
        self.paces[0].normal[Part::Z.index()].is_known(metric)
    }

    /// The weights of detectors that are switched on.
    fn enabled_weights(&self, weights: &Weights) -> Weights {
        std::array::from_fn(|d| if self.settings.weights[d] > 0.0 { weights[d] } else { 0.0 })
    }

    fn consensus(&self, metrics: &[MetricVerdict]) -> Option<usize> {
        let rank = |at: usize| metrics[at].assessment.map(|a| (a.votes().count(), a.score));
        let better = |a: &usize, b: &usize| {
            let ((votes_a, score_a), (votes_b, score_b)) =
                (rank(*a).unwrap_or((0, 0.0)), rank(*b).unwrap_or((0, 0.0)));
            let names = self.watched[*b].metric.name.cmp(&self.watched[*a].metric.name);
            votes_a.cmp(&votes_b).then(score_a.total_cmp(&score_b)).then(names)
        };
        (0..metrics.len()).filter(|at| rank(*at).is_some_and(|(_, score)| score > 0.0)).max_by(better)
    }

    fn band(&self, work: &Work, metric: usize) -> Option<Band> {
        let expectation = narrowest(&work.looks[0].expectations[metric], &self.settings.weights)?;
        let gate = &self.watched[metric].metric.gate;
        let reach = (self.settings.zscore_threshold * expectation.scale).max(gate.min_deviation);
        let expected = expectation.expected;
        Some(Band { expected, lower: expected - reach, upper: expected + reach })
    }

    /// Takes in the row that `work` and `verdict` are of. `in_incident` says which metrics have one; names those whose
    /// level has proved to be the new normal.
    pub fn learn(
        &mut self,
        at: Timestamp,
        values: &[Option<f64>],
        work: &mut Work,
        verdict: &Verdict,
        in_incident: &[bool],
    ) -> Vec<usize> {
        let (mut adapted, mut begun, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        work.learn.clear();
        work.fault.clear();
        work.away.clear();
        for (metric, watched) in self.watched.iter_mut().enumerate() {
            let seen = values[metric].zip(verdict.metrics[metric].band);
            let is_outside = seen.is_some_and(|(value, band)| watched.is_outside(value, band));
            watched.outside = if is_outside { watched.outside.saturating_add(1) } else { 0 };
            if values[metric].is_none() {
                work.learn.push(true);
                work.fault.push(false);
                work.away.push(false);
                continue;
            }
            if let (Some(drift), Some(value)) = (&mut watched.drift, values[metric]) {
                drift.take(value, self.settings.interval);
            }
            let suspicion = verdict.suspicion(metric, in_incident[metric]);
            let was_fault = watched.guard.is_fault();
            let learning = watched.guard.decide(at, suspicion, self.settings.adapt_after);
            work.learn.push(learning == Learning::Learn);
            work.fault.push(watched.guard.is_fault());
            if watched.guard.is_fault() && !was_fault {
                begun.push(metric);
            }
            let expected = narrowest(&work.looks[0].expectations[metric], &CANONICAL_WEIGHTS);
            let is_within = expected.zip(values[metric]).is_some_and(|(e, v)| e.distance(v) <= WITHIN);
            work.away.push(expected.is_some() && !is_within);
            if let Some(checks) = watched.guard.settles(is_within) {
                settled.push((metric, checks as usize));
            }
            if let Learning::Adapt { since } = learning {
                adapted.push((metric, since));
            }
        }
        if !begun.is_empty() {
            self.paces.iter_mut().for_each(|pace| pace.take_back(&begun));
        }
        self.take_in(at, values, work);
        self.absorb(at, values, work, in_incident);
        for (metric, checks) in settled {
            self.paces.iter_mut().for_each(|pace| pace.settle(metric, checks));
        }
        for (metric, since) in &adapted {
            self.paces.iter_mut().for_each(|pace| pace.adapt(*metric, *since, self.least[*metric]));
            self.due.isolation = self.memory.rows() + FIRST_FIT;
        }
        adapted.into_iter().map(|(metric, _)| metric).collect()
    }

    fn take_in(&mut self, at: Timestamp, values: &[Option<f64>], work: &Work) {
        for (pace, look) in self.paces.iter_mut().zip(&work.looks) {
            pace.learn(at, values, &self.least, look, (&work.learn, &work.fault, &work.away));
        }
    }

    fn absorb(&mut self, at: Timestamp, values: &[Option<f64>], work: &mut Work, in_incident: &[bool]) {
        for (pace, look) in self.paces.iter_mut().zip(&mut work.looks) {
            pace.absorb(look, &work.learn);
        }
        let known = &values[..self.width];
        let learned = known.iter().zip(&work.learn).map(|(value, learn)| value.filter(|_| *learn));
        self.memory.learn_values(at, learned);
        if known.iter().all(Option::is_none) {
            self.budget.pass_over();
            return;
        }
        self.course = work.course;
        self.budget.absorb(reach(work), in_incident.contains(&true));
        if work.learn.iter().all(|learn| *learn) {
            self.memory.learn_row(at, known);
        }
    }

    /// What was before a gap in time is no shape to compare with.
    pub fn gap(&mut self) {
        self.paces.iter_mut().for_each(Pace::gap);
        self.budget.pass_over();
    }

    /// Time went on for so long without anybody looking.
    pub fn skip(&mut self, gap: Duration) {
        self.gap();
        self.watched.iter_mut().for_each(|watched| watched.guard.skip(gap));
    }

    /// Gives up the means that seasons are found in; those found stay.
    pub fn shed_tiers(&mut self) {
        self.memory.shed_tiers();
        self.due.seasons = u64::MAX;
    }

    /// Gives up the LSTM autoencoder's models.
    pub fn shed_lstm(&mut self) {
        self.paces.iter_mut().for_each(|pace| pace.lstm = None);
    }

    /// Has the forest grown anew at once, as large as it may be now.
    pub fn refit_forest(&mut self) {
        self.due.isolation = FIRST_FIT;
    }

    /// Wall time has stepped back: what was before is no shape to compare with, and no past either where it would lie ahead.
    pub fn step_back(&mut self, at: Timestamp) {
        self.gap();
        self.memory.forget_after(at);
    }

    /// The evidence that is at the budget level now.
    pub fn kappa(&self) -> f64 {
        self.budget.kappa()
    }
}

/// One pace, or two where five minutes have several checks. A part that would look twice at the same then weighs for both.
fn paces(settings: &Settings, width: usize) -> Vec<Pace> {
    let smoothing = (SLOW.as_secs_f64() / settings.interval.as_secs_f64().max(1e-3)).round() as usize;
    let quick = Part::ALL.map(|part| part.weights().0);
    let slow = Part::ALL.map(|part| part.weights().1);
    let pace = |smoothing, weights| Pace::new(cut(settings, smoothing), weights, width);
    if smoothing > 1 {
        vec![pace(1, quick), pace(smoothing, slow)]
    } else {
        vec![pace(1, std::array::from_fn(|part| quick[part] + slow[part]))]
    }
}

/// Values far out in a row that are the new level although nobody called them an anomaly.
fn hold(settings: &Settings) -> u32 {
    let values = settings.adapt_after.as_secs_f64() / settings.interval.as_secs_f64().max(1e-3);
    (values as u32).max(60)
}

fn cut(settings: &Settings, smoothing: usize) -> Cut {
    Cut {
        smoothing,
        window: settings.zscore_window,
        max_anomalies: settings.max_anomalies,
        steps: settings.lstm.steps,
        hold: hold(settings),
        interval: settings.interval,
    }
}

/// What the newest row weighs in the strength's course, and the course in the evidence: what lasts ranks above what does
/// not.
const COURSE: f64 = 0.3;
const OF_COURSE: f64 = 0.2;

fn exceeds(assessment: Option<&Assessment>, threshold: f64) -> bool {
    assessment.is_some_and(|assessment| assessment.score > threshold)
}
