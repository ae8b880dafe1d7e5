//! Score fusion: from the surprisals of components to what each detector says of a row.

use super::super::component::Component;
use super::super::expectation::Expected;
use super::super::rare_state::State;
use super::super::surprisal::{Normal, Surprisal};
use super::super::timescale::Look;
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
    /// Where each metric is expected by its baseline, the residual that the detectors see, and the smallest spread of it
    /// that matters.
    pub(super) expected: Vec<Option<Expected>>,
    pub(super) residuals: Vec<Option<f64>>,
    pub(super) least: Vec<f64>,
    /// One a timescale.
    pub(in super::super) looks: Vec<Look>,
    pub(super) filtered: Vec<bool>,
    /// Of each metric the rare state it is in, and how surprising that is.
    pub(super) states: Vec<Option<(State, f64)>>,
    pub(super) surprisals: [Surprisal; Detector::COUNT],
    /// Distance from expected of each metric by each detector, in its sigmas.
    pub(super) deviations: Vec<PerDetector<f64>>,
    /// Which metrics of the row are learned.
    pub(super) learn: Vec<bool>,
    /// Threshold-free strength of the row, and its mean with those before.
    pub(super) strength: f64,
    pub(super) course: f64,
}

/// A detector's confidence in the target, after the knobs: one turned away from its default asks for as much more
/// surprisal, or less. At the defaults, which the calibration is fit for, they do nothing.
pub(super) fn confidence(detector: Detector, work: &Work, kappa: f64, knobs: &Knobs) -> Option<f64> {
    let surprisal = work.surprisals[detector.index()].target?;
    Some(vote::confidence(surprisal, kappa * turned(detector, knobs)))
}

/// How many times the surprisal of its default a detector's knob asks for.
pub(super) fn turned(detector: Detector, knobs: &Knobs) -> f64 {
    match detector {
        Detector::Zscore => knobs.zscore_threshold / CANONICAL.zscore_threshold,
        Detector::IsolationForest => {
            knobs.contamination.max(1e-300).log10() / CANONICAL.contamination.log10()
        }
        Detector::LstmAutoencoder | Detector::SeasonalEsd => 1.0,
    }
}

/// The expectation with the smallest residual scale among the detectors that are switched on.
pub(super) fn narrowest(expectations: &[Option<Expectation>; 2], weights: &Weights) -> Option<Expectation> {
    let on = [weights[Detector::Zscore.index()] > 0.0, weights[Detector::SeasonalEsd.index()] > 0.0];
    // With both switched off somebody still has to say what is expected.
    let counts = |at: usize| on[at] || on == [false, false];
    let enabled = expectations.iter().enumerate().filter(|(at, _)| counts(*at)).filter_map(|(_, e)| *e);
    enabled.min_by(|a, b| a.scale.total_cmp(&b.scale))
}

/// A metric's part of its detector's confidence in the target: proportional to its surprisal, the most surprised one's
/// is all of it.
pub(super) fn share(target: Option<f64>, surprisals: &[Option<f64>], metric: usize) -> Option<f64> {
    let own = (*surprisals.get(metric)?)?;
    let most = surprisals.iter().flatten().fold(0.0_f64, |a, b| a.max(*b));
    Some(if most > 0.0 { target? * own / most } else { 0.0 })
}

/// A detector that is ready for the target but does not see this metric says 0 about it: it stays in the vote.
pub(super) fn fill(own: PerDetector<f64>, target: &PerDetector<f64>) -> PerDetector<f64> {
    std::array::from_fn(|d| own[d].or(target[d].map(|_| 0.0)))
}

/// A detector's surprisal is the power mean of its timescales', with exponent 4, and a timescale's is the weighted mean of
/// those of its components that say anything. A row they do not see is not a calm one.
///
/// A shift shows at one timescale long before the other, or at it alone. By the plain mean the quick timescale talked the
/// slow one out of a shift of four standard deviations that lasted for minutes: .937 of the faults of simulated hosts were
/// found, and .984 with exponents 2 and 4. With the threshold raised until simulated weeks had .4 false alerts a day, 2 found .937
/// again and 4 .968. By the largest alone false alerts there were 1.6 times those of 4; a third timescale, of half an hour,
/// found no more.
pub(super) fn combine<'a>(
    detector: Detector,
    looks: &(impl Iterator<Item = (&'a Look, &'a [f64; Component::COUNT])> + Clone),
    width: usize,
    sum: &mut Surprisal,
) {
    sum.target = over_timescales(detector, looks.clone(), |surprisal| surprisal.target);
    sum.metrics.clear();
    let of = |metric: usize| {
        over_timescales(detector, looks.clone(), |surprisal| surprisal.metrics.get(metric).copied().flatten())
    };
    sum.metrics.extend((0..width).map(of));
}

fn over_timescales<'a>(
    detector: Detector,
    looks: impl Iterator<Item = (&'a Look, &'a [f64; Component::COUNT])>,
    own: impl Fn(&Surprisal) -> Option<f64>,
) -> Option<f64> {
    let mut powers = (0.0, 0.0);
    for (look, weights) in looks {
        let mut sum = (0.0, 0.0);
        for component in Component::ALL.into_iter().filter(|component| component.detector() == detector) {
            let weight = weights[component.index()];
            if let Some(surprisal) = own(&look.surprisals[component.index()]) {
                sum = (sum.0 + weight * surprisal, sum.1 + weight);
            }
        }
        if sum.1 > 0.0 {
            powers = (powers.0 + sum.1 * (sum.0 / sum.1).powi(4), powers.1 + sum.1);
        }
    }
    (powers.1 > 0.0).then(|| (powers.0 / powers.1).sqrt().sqrt())
}

/// How far a metric is from expected, in each detector's sigmas: the furthest of its components at either timescale.
pub(super) fn deviations<'a>(
    looks: impl Iterator<Item = (&'a Look, &'a [Normal; Component::COUNT])>,
    metric: usize,
) -> PerDetector<f64> {
    let mut furthest = [None; Detector::COUNT];
    let mut take = |detector: Detector, sigmas: Option<f64>| {
        let most: &mut Option<f64> = &mut furthest[detector.index()];
        *most = most.map_or(sigmas, |most| Some(sigmas.map_or(most, |sigmas| most.max(sigmas))));
    };
    for (look, normal) in looks {
        for component in Component::ALL {
            let raw = look.raw[component.index()].metrics.get(metric).copied().flatten();
            let sigmas = match component {
                // It has no residual; its tail probability is told as one.
                Component::Isolation | Component::Windows => look.surprisals[component.index()]
                    .metrics
                    .get(metric)
                    .copied()
                    .flatten()
                    .map(vote::sigmas),
                // Its residuals are around 0, so their median is their MAD.
                Component::Lstm => raw.zip(normal[component.index()].median(metric)).map(in_scales),
                // Told below, in scales that have no floor; and a step is no distance from expected.
                Component::ZShort | Component::Z | Component::ZLong | Component::ZStep | Component::Esd => {
                    continue;
                }
            };
            take(component.detector(), sigmas);
        }
        let [zscore, esd] = look.deviations[metric];
        take(Detector::Zscore, zscore);
        take(Detector::SeasonalEsd, esd);
    }
    furthest
}

fn in_scales((error, median): (f64, f64)) -> f64 {
    error / (super::super::robust::MAD_TO_SIGMA * median).max(1e-3)
}

/// The surprisal of a rare state is the least that every detector has: none of them can see it. Of a target it is
/// corrected for the number of metrics, as [`super::super::surprisal`] does.
pub(super) fn add_states(work: &mut Work) {
    let many = (work.states.len().max(1) as f64).log10();
    for (metric, state) in work.states.iter().enumerate() {
        let Some((_, rare)) = *state else { continue };
        for (surprisal, deviation) in work.surprisals.iter_mut().zip(&mut work.deviations[metric]) {
            let (own, target) = (&mut surprisal.metrics[metric], &mut surprisal.target);
            *own = own.map(|own| own.max(rare));
            *target = target.map(|target| target.max(rare - many));
            *deviation = deviation.map(|sigmas| sigmas.max(vote::sigmas(rare)));
        }
    }
}

/// κ at which the row would just be an alert.
pub(super) fn reach(work: &Work) -> f64 {
    vote::reach(&std::array::from_fn(|d| work.surprisals[d].target))
}

/// Threshold-free strength of a row.
pub(super) fn strength(work: &Work) -> f64 {
    vote::strength(&std::array::from_fn(|d| work.surprisals[d].target))
}
