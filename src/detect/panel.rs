//! The detectors of one target, their calibration and their vote.
//!
//! [`Panel::assess`] judges a row and changes nothing, so that a row can be tried; [`Panel::learn`] then takes it in,
//! as far as it was normal. Models that need a fit ask for it by [`Panel::due`]; the fit runs elsewhere and comes
//! back by [`Panel::install`].

mod opinion;

use std::time::Duration;

pub use opinion::Work;
use opinion::{CANONICAL, Knobs, confidence, deviations, fill, narrowest, share};

use super::Scorer;
use super::budget::Budget;
use super::fits::{Model, Task};
use super::gate::Gate;
use super::guard::{Guard, Learning};
use super::isolation::{self, Isolation, Recipe};
use super::memory::Memory;
use super::season::Period;
use super::seasonal_esd::SeasonalEsd;
use super::shape::Recent;
use super::surprise::{Normal, Raw};
use super::verdict::{Assessment, Band, Detector, PerDetector};
use super::vote::{self, CANONICAL_THRESHOLD, Weights};
use super::zscore::{Expectation, Rolling};
use crate::series::Timestamp;

/// How the panel judges.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Weights of the vote; 0 for a detector that is switched off.
    pub weights: Weights,
    /// A target or metric is anomalous when its score exceeds this.
    pub threshold: f64,
    /// Values in the rolling z-score's window.
    pub zscore_window: usize,
    /// Distance at which the z-score speaks with its full confidence.
    pub zscore_threshold: f64,
    /// How the forest grows.
    pub isolation: isolation::Params,
    /// Tail probability at which the forest speaks with its full confidence.
    pub contamination: f64,
    /// Seasons to look for.
    pub period: Period,
    /// Percent of the ESD window that may be outliers.
    pub max_anomalies: f64,
    /// A level held this long is the new normal.
    pub adapt_after: Duration,
    /// False alerts a day that the calibration is fit to.
    pub false_alerts_per_day: f64,
    /// Time between checks.
    pub interval: Duration,
}

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
}

/// What the panel says of one metric.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricVerdict {
    /// The vote on it; `None` without a value or before anybody can judge it.
    pub assessment: Option<Assessment>,
    /// Where it is expected.
    pub band: Option<Band>,
    /// Whether it would be suspicious with every knob at its default: then it is not learned.
    pub flagged: bool,
}

/// One metric with what is known about it.
struct Watched {
    metric: Metric,
    recent: Recent,
    zscore: Rolling,
    esd: SeasonalEsd,
    guard: Guard,
}

/// A fitted forest and the newest row it has seen.
struct Fitted {
    model: Isolation,
    at: Timestamp,
}

/// Rows at which the forest is first asked for; it takes effect thirty checks later, at sixty.
const FIRST_FIT: u64 = isolation::FEWEST as u64;
/// Rows after which it is fitted anew at the latest.
const REFIT: u64 = 4096;
/// Tier rows at which seasons are first looked for: four hours.
const FIRST_SEASON: u64 = 48;
/// Tier rows after which they are looked for anew at the latest.
const HALF_DAY: u64 = 144;

/// The detectors of one target.
pub struct Panel {
    settings: Settings,
    /// Metrics it began with: only these may form the vector, and only these are remembered for fits.
    width: usize,
    watched: Vec<Watched>,
    memory: Memory,
    normal: [Normal; Detector::COUNT],
    forest: Option<Fitted>,
    budget: Budget,
    next_fit: u64,
    next_season: u64,
}

impl Panel {
    /// A panel that knows nothing about `metrics`.
    pub fn new(settings: Settings, metrics: Vec<Metric>) -> Self {
        let width = metrics.len();
        Self {
            watched: metrics.into_iter().map(|metric| Watched::new(metric, &settings)).collect(),
            width,
            memory: Memory::new(width),
            normal: std::array::from_fn(|_| Normal::new(width)),
            forest: None,
            budget: Budget::new(settings.false_alerts_per_day, settings.interval),
            next_fit: FIRST_FIT,
            next_season: FIRST_SEASON,
            settings,
        }
    }

    /// Goes on by other settings with what is known.
    pub fn reconfigure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        let settings = &self.settings;
        if before.false_alerts_per_day != settings.false_alerts_per_day {
            self.budget = Budget::new(settings.false_alerts_per_day, settings.interval);
        }
        if before.zscore_window != settings.zscore_window || before.max_anomalies != settings.max_anomalies {
            for watched in &mut self.watched {
                watched.zscore = Rolling::new(settings.zscore_window);
                watched.esd = SeasonalEsd::new(settings.max_anomalies);
                watched.adapt(Timestamp::from_millis(i64::MIN));
            }
        }
    }

    /// Takes up a further metric, at the end.
    pub fn add(&mut self, metric: Metric) {
        self.watched.push(Watched::new(metric, &self.settings));
        self.normal.iter_mut().for_each(Normal::add);
    }

    /// Puts another metric in the place of one, of which everything is forgotten.
    pub fn replace(&mut self, at: usize, metric: Metric) {
        self.watched[at] = Watched::new(metric, &self.settings);
        self.normal.iter_mut().for_each(|normal| normal.forget(at));
    }

    /// Takes a metric out of the vector, from the next fit on.
    pub fn leave_vector(&mut self, at: usize) {
        self.watched[at].metric.in_vector = false;
    }

    /// Judges the row of `values` at `at`, one a metric. Changes nothing but `work`.
    pub fn assess(&self, at: Timestamp, values: &[Option<f64>], work: &mut Work) -> Verdict {
        self.look(at, values, work);
        for detector in Detector::ALL {
            let index = detector.index();
            self.normal[index].surprise(&work.raw[index], &work.gated, &mut work.surprises[index]);
        }
        let kappa = self.budget.kappa();
        let knobs = Knobs {
            weights: self.settings.weights,
            zscore_threshold: self.settings.zscore_threshold,
            contamination: self.settings.contamination,
        };
        let mut verdict = self.vote(work, kappa, &knobs);
        let canonical = self.vote(work, kappa, &CANONICAL);
        for (metric, canonical) in verdict.metrics.iter_mut().zip(&canonical.metrics) {
            metric.flagged = is_suspicious(canonical.assessment.as_ref());
        }
        if let (true, Some(consensus)) = (is_suspicious(canonical.target.as_ref()), canonical.consensus) {
            verdict.metrics[consensus].flagged = true;
        }
        verdict.evidence = vote::evidence(&std::array::from_fn(|d| work.surprises[d].target));
        verdict
    }

    /// Raw scores, expectations and gates of a row.
    fn look(&self, at: Timestamp, values: &[Option<f64>], work: &mut Work) {
        work.shapes.clear();
        work.shapes.extend(self.watched.iter().zip(values).map(|(w, v)| w.recent.shape_with((*v)?)));
        work.expectations.clear();
        work.expectations
            .extend(self.watched.iter().map(|w| [w.zscore.expectation(), w.esd.expectation(at)]));
        work.gated.clear();
        work.gated.extend(self.watched.iter().zip(values).zip(&work.expectations).map(
            |((w, value), expectations)| {
                let expected = narrowest(expectations, &self.settings.weights);
                !matches!((value, expected), (Some(v), Some(e)) if w.metric.gate.passes(*v, e.expected))
            },
        ));
        for (detector, which) in [(Detector::Zscore, 0), (Detector::SeasonalEsd, 1)] {
            let distance =
                |(value, e): (&Option<f64>, &[Option<Expectation>; 2])| Some(e[which]?.distance((*value)?));
            let raw = &mut work.raw[detector.index()];
            raw.metrics.clear();
            raw.metrics.extend(values.iter().zip(&work.expectations).map(distance));
        }
        let raw = &mut work.raw[Detector::IsolationForest.index()];
        raw.metrics.clear();
        raw.vector = None;
        raw.shares.clear();
        if let Some(forest) = &self.forest {
            forest.model.score(&work.shapes[..self.width], raw);
        }
    }

    /// From surprises to assessments, by `knobs`.
    fn vote(&self, work: &Work, kappa: f64, knobs: &Knobs) -> Verdict {
        let weights = self.enabled_weights(&knobs.weights);
        let sure = |d: Detector| confidence(d, work, kappa, knobs);
        let target: PerDetector<f64> =
            Detector::ALL.map(|d| self.is_ready(d).then(|| sure(d).unwrap_or(0.0)));
        let metrics: Vec<_> = (0..self.watched.len())
            .map(|metric| {
                let own = Detector::ALL
                    .map(|d| share(target[d.index()], &work.surprises[d.index()].metrics, metric));
                let judged = own.iter().any(Option::is_some);
                let own = if judged { fill(own, &target) } else { own };
                let assessment = vote::assess(own, &deviations(work, metric), &weights);
                let band = self.band(work, metric);
                MetricVerdict { assessment, band, flagged: false }
            })
            .collect();
        let consensus = self.consensus(&metrics);
        let deviations = consensus.map(|metric| deviations(work, metric)).unwrap_or_default();
        let has_value = metrics.iter().any(|metric| metric.assessment.is_some());
        let target = if has_value { vote::assess(target, &deviations, &weights) } else { None };
        Verdict { target, consensus, metrics, evidence: 0.0 }
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
        let expectation = narrowest(&work.expectations[metric], &self.settings.weights)?;
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
        let adapt_after = self.settings.adapt_after;
        let mut adapted = Vec::new();
        work.learn.clear();
        for (metric, watched) in self.watched.iter_mut().enumerate() {
            let Some(value) = values[metric] else {
                work.learn.push(true);
                continue;
            };
            watched.recent.push(at, value);
            let flagged = verdict.metrics[metric].flagged || in_incident[metric];
            let learning = watched.guard.decide(at, flagged, adapt_after);
            work.learn.push(learning == Learning::Learn);
            match learning {
                Learning::Learn => watched.learn(at, value),
                Learning::Withhold => {}
                Learning::Adapt { since } => {
                    watched.adapt(since);
                    adapted.push(metric);
                }
            }
        }
        self.absorb(at, values, work, verdict);
        if !adapted.is_empty() {
            self.next_fit = self.memory.rows() + FIRST_FIT;
        }
        adapted
    }

    fn absorb(&mut self, at: Timestamp, values: &[Option<f64>], work: &Work, verdict: &Verdict) {
        for (normal, raw) in self.normal.iter_mut().zip(&work.raw) {
            normal.absorb(raw, &work.learn);
        }
        let learned = values.iter().zip(&work.learn).map(|(value, learn)| value.filter(|_| *learn));
        self.memory.learn_values(at, learned);
        let shapes = &work.shapes[..self.width];
        if work.learn.iter().all(|learn| *learn) && shapes.iter().any(Option::is_some) {
            self.memory.learn_row(at, shapes);
            self.budget.absorb(verdict.evidence);
        }
    }

    /// A fit that should be run now, if one is due.
    pub fn due(&mut self) -> Option<Task> {
        if self.settings.weights[Detector::IsolationForest.index()] > 0.0
            && self.memory.rows() >= self.next_fit
        {
            let rows = self.memory.rows();
            self.next_fit = rows + rows.min(REFIT);
            let in_vector = self.watched[..self.width].iter().map(|w| w.metric.in_vector).collect();
            let recipe = Recipe { in_vector, params: self.settings.isolation };
            return Some(Task::Isolation(self.memory.freeze(), recipe));
        }
        if self.settings.weights[Detector::SeasonalEsd.index()] > 0.0
            && self.memory.tier_rows() >= self.next_season
        {
            let rows = self.memory.tier_rows();
            self.next_season = rows + rows.min(HALF_DAY);
            return Some(Task::Seasons(self.memory.freeze_tier(), self.settings.period.clone()));
        }
        None
    }

    /// Takes up what a fit has yielded.
    pub fn install(&mut self, model: Model) {
        match model {
            Model::Isolation(None, _) => {}
            Model::Isolation(Some(model), at) => {
                self.calibrate_forest(&model, at);
                self.forest = Some(Fitted { model: *model, at });
            }
            Model::Seasons(seasons) => {
                for (watched, season) in self.watched.iter_mut().zip(seasons) {
                    watched.esd.reseason(season);
                }
            }
        }
    }

    /// Scores the rows that came after those the forest was grown on: its scores of normal data it has not seen.
    fn calibrate_forest(&mut self, model: &Isolation, since: Timestamp) {
        let rows = self.memory.freeze().after(since);
        let normal = &mut self.normal[Detector::IsolationForest.index()];
        let mut raw = Raw::default();
        for row in 0..rows.len() {
            model.score(rows.row(row), &mut raw);
            normal.absorb(&raw, &vec![true; rows.width]);
        }
    }

    /// What was before a gap in time is no shape to compare with.
    pub fn gap(&mut self) {
        self.watched.iter_mut().for_each(|watched| watched.recent.clear());
    }

    /// Whether a detector votes.
    pub fn is_ready(&self, detector: Detector) -> bool {
        self.settings.weights[detector.index()] > 0.0 && self.normal[detector.index()].is_ready()
    }

    /// What a detector waits for, while it does not vote.
    pub fn waits_for(&self, detector: Detector) -> Option<String> {
        if self.is_ready(detector) {
            return None;
        }
        let values = self.watched.iter().map(|w| w.zscore.len()).max().unwrap_or(0);
        Some(match detector {
            Detector::IsolationForest => format!("{} of {} rows", self.memory.rows(), 2 * FIRST_FIT),
            Detector::LstmAutoencoder => "a trained model".to_owned(),
            Detector::Zscore | Detector::SeasonalEsd => {
                format!("{values} of {} values", 2 * super::zscore::FEWEST)
            }
        })
    }

    /// The newest row the forest has learned from.
    pub fn trained_at(&self) -> Option<Timestamp> {
        self.forest.as_ref().map(|fitted| fitted.at)
    }

    /// The evidence that is at the budget level now.
    pub fn kappa(&self) -> f64 {
        self.budget.kappa()
    }
}

impl Watched {
    fn new(metric: Metric, settings: &Settings) -> Self {
        Self {
            metric,
            recent: Recent::default(),
            zscore: Rolling::new(settings.zscore_window),
            esd: SeasonalEsd::new(settings.max_anomalies),
            guard: Guard::default(),
        }
    }

    fn learn(&mut self, at: Timestamp, value: f64) {
        self.zscore.learn(value);
        self.esd.learn(at, value);
    }

    fn adapt(&mut self, since: Timestamp) {
        self.zscore.adapt(self.recent.since(since).map(|(_, value)| value));
        self.esd.adapt(self.recent.since(since));
    }
}

/// Score from which on a value is not learned, though it opens no incident yet: a fault that sets in over some checks
/// would otherwise be half learned before it is called one. Where most values are suspicious, the level is the new
/// normal in the end ([`super::guard`]).
const SUSPICIOUS: f64 = CANONICAL_THRESHOLD / 2.0;

fn is_suspicious(assessment: Option<&Assessment>) -> bool {
    assessment.is_some_and(|a| a.score > SUSPICIOUS)
}
