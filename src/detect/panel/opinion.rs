//! From what a row surprised the detectors by to what each of them says of it.

use super::super::shape::Shape;
use super::super::surprise::{Raw, Surprise};
use super::super::verdict::{Detector, PerDetector};
use super::super::vote::{self, CANONICAL_WEIGHTS, Weights};
use super::super::zscore::Expectation;

/// The person's knobs, which act after the calibration, and their defaults, which it is fit for.
#[derive(Clone, Copy)]
pub(super) struct Knobs {
    pub(super) weights: Weights,
    pub(super) zscore_threshold: f64,
    pub(super) contamination: f64,
}

pub(super) const CANONICAL: Knobs =
    Knobs { weights: CANONICAL_WEIGHTS, zscore_threshold: 3.0, contamination: 0.01 };

/// What was worked out about a row on the way to its verdict, for learning from it; buffers are reused.
#[derive(Clone, Debug, Default)]
pub struct Work {
    pub(super) shapes: Vec<Option<Shape>>,
    pub(super) expectations: Vec<[Option<Expectation>; 2]>,
    pub(super) gated: Vec<bool>,
    pub(super) raw: [Raw; Detector::COUNT],
    pub(super) surprises: [Surprise; Detector::COUNT],
    pub(super) learn: Vec<bool>,
}

/// A detector's confidence in the target, after the knobs.
pub(super) fn confidence(detector: Detector, work: &Work, kappa: f64, knobs: &Knobs) -> Option<f64> {
    let surprise = work.surprises[detector.index()].target?;
    let knob = match detector {
        Detector::Zscore => furthest(work, detector) / knobs.zscore_threshold,
        Detector::IsolationForest => surprise / -knobs.contamination.max(1e-300).log10(),
        Detector::LstmAutoencoder | Detector::SeasonalEsd => 1.0,
    };
    Some(vote::confidence(surprise, kappa) * knob.min(1.0))
}

/// The expectation with the smallest residual scale among the detectors that are switched on.
pub(super) fn narrowest(expectations: &[Option<Expectation>; 2], weights: &Weights) -> Option<Expectation> {
    let on = [weights[Detector::Zscore.index()] > 0.0, weights[Detector::SeasonalEsd.index()] > 0.0];
    // With both switched off somebody still has to say what is expected.
    let counts = |at: usize| on[at] || on == [false, false];
    let enabled = expectations.iter().enumerate().filter(|(at, _)| counts(*at)).filter_map(|(_, e)| *e);
    enabled.min_by(|a, b| a.scale.total_cmp(&b.scale))
}

/// The largest raw score of a metric that is not gated.
pub(super) fn furthest(work: &Work, detector: Detector) -> f64 {
    let scores = work.raw[detector.index()].metrics.iter().zip(&work.gated);
    scores.filter_map(|(score, gated)| score.filter(|_| !gated)).fold(0.0, f64::max)
}

/// A metric's part of its detector's confidence in the target: proportional to its surprise, the most surprised one's
/// is all of it.
pub(super) fn share(target: Option<f64>, surprises: &[Option<f64>], metric: usize) -> Option<f64> {
    let own = (*surprises.get(metric)?)?;
    let most = surprises.iter().flatten().fold(0.0_f64, |a, b| a.max(*b));
    Some(if most > 0.0 { target? * own / most } else { 0.0 })
}

/// A detector that is ready for the target but does not see this metric says 0 about it: it stays in the vote.
pub(super) fn fill(own: PerDetector<f64>, target: &PerDetector<f64>) -> PerDetector<f64> {
    std::array::from_fn(|d| own[d].or(target[d].map(|_| 0.0)))
}

/// How far a metric is from expected, in each detector's sigmas.
pub(super) fn deviations(work: &Work, metric: usize) -> PerDetector<f64> {
    let distance = |d: Detector| work.raw[d.index()].metrics.get(metric).copied().flatten();
    let forest = work.surprises[Detector::IsolationForest.index()].metrics.get(metric).copied().flatten();
    let mut deviations = [None; Detector::COUNT];
    deviations[Detector::IsolationForest.index()] = forest.map(vote::sigmas);
    deviations[Detector::Zscore.index()] = distance(Detector::Zscore);
    deviations[Detector::SeasonalEsd.index()] = distance(Detector::SeasonalEsd);
    deviations
}
