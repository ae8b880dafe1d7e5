//! The detectors of one target, their calibration and their vote.
//!
//! [`Ensemble::assess`] judges a row and changes nothing, so that a row can be tried; [`Ensemble::learn`] then takes it in,
//! as far as it was normal. Models that need a fit ask for it by [`Ensemble::due`]; the fit runs elsewhere and comes
//! back by [`Ensemble::install`].

mod explaining;
mod fitting;
mod fusion;
mod learned;
mod learning;
mod lesson;
mod probation;
mod readiness;
mod settings;

use std::time::Duration;

use fitting::{Due, FIRST_FIT};
pub use fusion::Work;
use fusion::{CANONICAL, Knobs, confidence, narrowest, reach, strength};
pub use learned::{Learned, Models};
pub use lesson::Lesson;
use lesson::Rehearsal;
use probation::Probation;
pub use probation::Standing;
pub use readiness::votes_at;
pub use settings::Settings;

use super::alert_rate::AlertRateThreshold;
use super::component::Component;
use super::drift::Drift;
use super::effect_filter::EffectFilter;
use super::expectation::Baseline;
use super::learning_gate::LearningGate;
use super::rare_state::{MOST_RARE, RareStates, State};
use super::recurrence::Recurrence;
use super::timescale::{Cut, Timescale};
use super::training_history::TrainingHistory;
use super::verdict::{Assessment, Band, Detector, PerDetector};
use super::vote::{self, CANONICAL_THRESHOLD, Weights};
use crate::series::Timestamp;

/// A metric the ensemble judges.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name with its labels; ties are broken by it.
    pub name: String,
    /// What matters about it.
    pub effect_filter: EffectFilter,
    /// Whether it is part of the vector that the forest sees.
    pub in_vector: bool,
}

/// What the ensemble says of one row.
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
}

/// What the ensemble says of one metric.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricVerdict {
    /// The vote on it; `None` without a value or before anybody can judge it.
    pub assessment: Option<Assessment>,
    /// How strange it is, without a threshold and without bounds, 0 and up: what ranks.
    pub strength: f64,
    /// Where it is expected.
    pub band: Option<Band>,
    /// Whether it is anomalous by itself with every knob at its default.
    pub flagged: bool,
    /// Whether what has been withheld of it stays where it is, so that it may prove to be the new normal.
    pub is_level: bool,
}

impl Verdict {
    /// Whether a metric is anomalous with every knob at its default, by itself or because the target is and it is meant.
    pub fn flags(&self, metric: usize) -> bool {
        self.metrics[metric].flagged || self.flagged == Some(metric)
    }
}

/// One metric: what is expected of it, and whether it may be learned from.
struct Watched {
    metric: Metric,
    baseline: Baseline,
    learning_gate: LearningGate,
    drift: Option<Drift>,
    /// Checks in a row at which it was withheld and back within its band.
    back: u32,
    states: RareStates,
    recurrence: Recurrence,
    /// Checks in a row at which it was outside its band, on a side that matters, whatever the vote said of it.
    outside: u32,
}

/// The slower timescale is the mean of so much time.
const SLOW: Duration = Duration::from_mins(5);

/// The detectors of one target.
pub struct Ensemble {
    settings: Settings,
    /// Metrics it began with: only these may form the vector, and only these are remembered for fits.
    width: usize,
    watched: Vec<Watched>,
    history: TrainingHistory,
    /// The values as they come and, where checks are frequent enough for it to differ, their trailing mean.
    timescales: Vec<Timescale>,
    alert_rate: AlertRateThreshold,
    due: Due,
    trained_at: PerDetector<Timestamp>,
    /// Of the model set in use, where it came from a store.
    version: Option<String>,
    /// The one that was last taken from a store, and the newest row it has learned from.
    stored: Option<(String, Timestamp)>,
    rehearsal: Rehearsal,
    probation: Probation,
    /// Exponentially weighted mean of the strength.
    course: f64,
}

impl Ensemble {
    /// An ensemble that knows nothing about `metrics`.
    pub fn new(settings: Settings, metrics: Vec<Metric>) -> Self {
        let width = metrics.len();
        let interval = settings.interval;
        Self {
            watched: metrics.into_iter().map(|metric| Watched::new(metric, interval)).collect(),
            width,
            history: TrainingHistory::new(width, settings.remember),
            timescales: timescales(&settings, width),
            alert_rate: AlertRateThreshold::new(
                settings.false_alerts_per_day,
                settings.interval,
                settings.open_after,
            ),
            due: Due::first(&settings),
            trained_at: [None; Detector::COUNT],
            version: None,
            stored: None,
            rehearsal: Rehearsal::default(),
            probation: Probation::new(settings.open_after),
            course: 0.0,
            settings,
        }
    }

    /// An ensemble that knows nothing, and sees what is left of `metrics` once what is expected is taken from them.
    pub(super) fn of_residuals(settings: Settings, metrics: Vec<Metric>) -> Self {
        let mut ensemble = Self::new(settings, metrics);
        ensemble.watched.iter_mut().for_each(|watched| watched.baseline = Baseline::of_residuals());
        ensemble
    }

    /// Goes on by other settings with what is known.
    pub fn reconfigure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        let settings = &self.settings;
        if before.false_alerts_per_day != settings.false_alerts_per_day {
            self.alert_rate.ask(settings.false_alerts_per_day);
        }
        self.probation.resize(settings.open_after);
        for timescale in &mut self.timescales {
            timescale.recut(cut(settings, timescale.cut.smoothing));
        }
    }

    /// Takes up a further metric, at the end.
    pub fn add(&mut self, metric: Metric) {
        self.watched.push(Watched::new(metric, self.settings.interval));
        self.timescales.iter_mut().for_each(|timescale| timescale.add(&self.settings.priors));
    }

    /// Puts another metric in the place of one, of which everything is forgotten.
    pub fn replace(&mut self, at: usize, metric: Metric) {
        self.watched[at] = Watched::new(metric, self.settings.interval);
        self.probation.forget(at);
        self.timescales.iter_mut().for_each(|timescale| timescale.forget(at, &self.settings.priors));
    }

    /// Takes a metric out of the vector, from the next fit on.
    pub fn leave_vector(&mut self, at: usize) {
        self.watched[at].metric.in_vector = false;
    }

    /// Judges the row of `values` at `at`, one a metric. Changes nothing but `work`.
    pub fn assess(&self, at: Timestamp, values: &[Option<f64>], work: &mut Work) -> Verdict {
        self.look(at, values, work);
        self.surprisal(work);
        let kappa = self.alert_rate.kappa();
        let mut verdict = self.vote(work, kappa, &self.knobs());
        let canonical = self.vote(work, kappa, &CANONICAL);
        let is_flagged = exceeds(canonical.target.as_ref(), CANONICAL_THRESHOLD);
        verdict.flagged = canonical.consensus.filter(|_| is_flagged);
        let metrics = verdict.metrics.iter_mut().zip(&canonical.metrics).zip(&self.watched);
        for (((metric, canonical_metric), watched), state) in metrics.zip(&work.states) {
            let is_stuck = matches!(state, Some((State::Unchanged(_), _)));
            metric.flagged = exceeds(canonical_metric.assessment.as_ref(), CANONICAL_THRESHOLD);
            metric.is_level = watched.baseline.is_level() && !is_stuck;
        }
        work.strength = strength(work);
        work.course = self.course + COURSE * (work.strength - self.course);
        verdict.evidence = work.strength.powf(1.0 - OF_COURSE) * work.course.powf(OF_COURSE);
        verdict
    }

    /// Raw scores, expectations and what the effect filter says of a row.
    fn look(&self, at: Timestamp, values: &[Option<f64>], work: &mut Work) {
        self.expect(at, values, work);
        work.looks.resize_with(self.timescales.len(), Default::default);
        for (timescale, look) in self.timescales.iter().zip(&mut work.looks) {
            timescale.look(&work.residuals, &work.least, self.width, look);
        }
        work.filtered.clear();
        work.states.clear();
        for (at, (value, watched)) in values.iter().zip(&self.watched).enumerate() {
            let expected = self.expected(work, at).map(|(expected, _)| expected);
            let passes =
                value.zip(expected).is_some_and(|(value, e)| watched.metric.effect_filter.passes(value, e));
            work.filtered.push(!passes);
            // What is expected has nothing to do with a value that does not change, and follows a shift.
            let state = value.and_then(|value| watched.states.of(value, &watched.metric.effect_filter));
            // What people expect is sure to be told where it does not come.
            let is_missing = value.is_some_and(|value| watched.recurrence.is_missing(value));
            let missing = is_missing.then_some((State::Missing, MOST_RARE));
            work.states.push(state.filter(|(state, _)| passes || *state != State::Lost).or(missing));
        }
    }

    /// What the baselines expect, and how far values are from that. A value on the side that matters to nobody is taken for
    /// one that is just unusual there, so that no detector learns from it what would hide the other side.
    fn expect(&self, at: Timestamp, values: &[Option<f64>], work: &mut Work) {
        work.expected.clear();
        work.residuals.clear();
        work.least.clear();
        for (metric, (watched, value)) in self.watched.iter().zip(values).enumerate() {
            let baseline = &watched.baseline;
            let expected = value.map_or_else(|| baseline.at(at), |value| baseline.of_value(at, value));
            let effect_filter = &watched.metric.effect_filter;
            let residual = |value: f64| {
                let residual = expected.map_or(0.0, |expected| expected.residual(value));
                let Some((low, high)) = self.timescales[0].usual(metric) else { return residual };
                match (effect_filter.above, effect_filter.below) {
                    (true, false) => residual.max(low.min(high)),
                    (false, true) => residual.min(high.max(low)),
                    _ => residual,
                }
            };
            work.expected.push(expected);
            work.residuals.push(value.map(residual));
            work.least.push(expected.map_or(0.0, |e| effect_filter.least(e.value) / 3.0 / e.unit));
        }
    }

    /// The value expected of a metric and its residual scale, in the metric's unit, by the surest detector.
    fn expected(&self, work: &Work, metric: usize) -> Option<(f64, f64)> {
        let expected = work.expected[metric]?;
        let of_residual = narrowest(&work.looks[0].expectations[metric], &self.settings.weights)?;
        Some((expected.value_of(of_residual.expected), of_residual.scale * expected.unit))
    }

    /// From raw scores to each detector's surprisal.
    fn surprisal(&self, work: &mut Work) {
        for (timescale, look) in self.timescales.iter().zip(&mut work.looks) {
            timescale.surprisal(&work.filtered, look);
        }
        for detector in Detector::ALL {
            let looks = work.looks.iter().zip(self.timescales.iter().map(|timescale| &timescale.weights));
            fusion::combine(detector, &looks, self.watched.len(), &mut work.surprisals[detector.index()]);
        }
        work.deviations.clear();
        for metric in 0..self.watched.len() {
            let looks = work.looks.iter().zip(self.timescales.iter().map(|timescale| &timescale.normal));
            work.deviations.push(fusion::deviations(looks, metric));
        }
        fusion::add_states(work);
    }

    /// From surprisals to assessments, by `knobs`.
    fn vote(&self, work: &Work, kappa: f64, knobs: &Knobs) -> Verdict {
        let weights = self.enabled_weights(&knobs.weights);
        // Who cannot see a row, as the forest after a gap, has no say in it.
        let sure = |d: Detector| if self.is_ready(d) { confidence(d, work, kappa, knobs) } else { None };
        let target: PerDetector<f64> = Detector::ALL.map(sure);
        let metrics: Vec<_> = (0..self.watched.len())
            .map(|metric| {
                let own = Detector::ALL
                    .map(|d| fusion::share(target[d.index()], &work.surprisals[d.index()].metrics, metric));
                let judged = own.iter().any(Option::is_some);
                let own = if judged { fusion::fill(own, &target) } else { own };
                let assessment = vote::assess(own, &work.deviations[metric], &weights);
                let band = self.band(work, metric);
                let strength = vote::strength(&std::array::from_fn(|d| {
                    work.surprisals[d].metrics.get(metric).copied().flatten()
                }));
                MetricVerdict { assessment, strength, band, ..MetricVerdict::default() }
            })
            .collect();
        let consensus = self.consensus(&metrics);
        let deviations = consensus.map(|metric| work.deviations[metric]).unwrap_or_default();
        let has_value = metrics.iter().any(|metric| metric.assessment.is_some());
        let target = if has_value { vote::assess(target, &deviations, &weights) } else { None };
        Verdict { target, consensus, metrics, ..Verdict::default() }
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
        let (expected, scale) = self.expected(work, metric)?;
        let effect_filter = &self.watched[metric].metric.effect_filter;
        let reach = (self.settings.zscore_threshold * scale).max(effect_filter.least(expected));
        let possible = |value: f64| effect_filter.possible(value);
        Some(Band {
            expected: possible(expected),
            lower: possible(expected - reach),
            upper: possible(expected + reach),
        })
    }

    /// What was before a gap in time is no shape to compare with.
    pub fn gap(&mut self) {
        self.timescales.iter_mut().for_each(Timescale::gap);
        for watched in &mut self.watched {
            watched.states.gap();
            watched.recurrence.gap();
        }
        self.alert_rate.pass_over();
        self.probation.gap();
    }

    /// Time went on for so long without anybody looking.
    pub fn skip(&mut self, gap: Duration) {
        self.gap();
        self.watched.iter_mut().for_each(|watched| watched.learning_gate.skip(gap));
    }

    /// Gives up the means that seasons are found in; those found stay.
    pub fn shed_tiers(&mut self) {
        self.history.shed_tiers();
        self.due.seasons = u64::MAX;
    }

    /// Gives up the LSTM autoencoder's models.
    pub fn shed_lstm(&mut self) {
        self.timescales.iter_mut().for_each(|timescale| timescale.lstm = None);
    }

    /// Has the forest grown anew at once, as large as it may be now.
    pub fn refit_forest(&mut self) {
        self.due.isolation = FIRST_FIT;
    }

    /// Wall time has stepped back: what was before is no shape to compare with, and no past either where it would lie ahead.
    pub fn step_back(&mut self, at: Timestamp) {
        self.gap();
        self.history.forget_after(at);
    }

    /// The evidence that is at the alert-rate threshold now.
    pub fn kappa(&self) -> f64 {
        self.alert_rate.kappa()
    }
}

/// One timescale, or two where five minutes have several checks. A component that would look twice at the same then weighs for both.
fn timescales(settings: &Settings, width: usize) -> Vec<Timescale> {
    let smoothing = (SLOW.as_secs_f64() / settings.interval.as_secs_f64().max(1e-3)).round() as usize;
    let quick = Component::ALL.map(|component| component.weights().0);
    let slow = Component::ALL.map(|component| component.weights().1);
    let timescale =
        |smoothing, weights| Timescale::new(cut(settings, smoothing), weights, width, &settings.priors);
    if smoothing > 1 {
        vec![timescale(1, quick), timescale(smoothing, slow)]
    } else {
        vec![timescale(1, std::array::from_fn(|component| quick[component] + slow[component]))]
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

impl Watched {
    fn new(metric: Metric, interval: Duration) -> Self {
        Self {
            metric,
            baseline: Baseline::new(interval),
            learning_gate: LearningGate::default(),
            drift: None,
            back: 0,
            states: RareStates::new(interval),
            recurrence: Recurrence::default(),
            outside: 0,
        }
    }

    fn is_outside(&self, value: f64, band: Option<Band>) -> bool {
        let is_out = |band: Band| {
            !(band.lower..=band.upper).contains(&value)
                && self.metric.effect_filter.passes(value, band.expected)
        };
        band.is_some_and(is_out)
    }

    /// Smallest spread of a residual that matters, by the level there is now.
    fn least_spread(&self) -> f64 {
        self.baseline.level().map_or(0.0, |(level, unit)| self.metric.effect_filter.least(level) / 3.0 / unit)
    }
}

fn exceeds(assessment: Option<&Assessment>, threshold: f64) -> bool {
    assessment.is_some_and(|assessment| assessment.score > threshold)
}
