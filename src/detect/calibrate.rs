//! The only way from a raw score to a number that means the same for every detector.
//!
//! A raw score becomes its *surprisal*: L = −log₁₀ p, p being the probability that normal data score as high. In the
//! bulk p is the empirical tail probability; beyond the 95 % quantile it comes from a generalised Pareto distribution
//! fitted to the excesses (peaks over threshold: Pickands 1975; probability-weighted moments: Hosking & Wallis 1987).
//!
//! Deviations from the papers: the shape is drawn towards a prior of 0.2 while excesses are few and kept in [0, 0.5],
//! because a bounded tail would call the first value beyond it impossible; the scale has a floor; beyond L = 8 the
//! surprisal grows logarithmically, so that scores rank without claiming probabilities no sample could support.
//!
//! Scores are absorbed before the model that made them has learned the row (prequentially), and only where the row
//! was not flagged, so the sample is of honest, out-of-sample, normal scores. It spans the last month, thinned evenly
//! where that is more than it holds. Cost: O(1) a score, and a sort of at most [`MEMORY`] values each time an eighth of
//! the sample is new.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::robust;

/// Normal scores held for calibration.
const MEMORY: usize = 2048;
/// Time the sample spans at least, once it has been watched for as long.
const SPAN: Duration = Duration::from_hours(30 * 24);
/// Scores needed before a surprisal can be told.
const FEWEST: usize = 15;
/// What the shape of a tail is taken for, and the excesses that weigh as much as that.
const PRIOR_SHAPE: f64 = 0.2;
const PRIOR_WEIGHT: f64 = 20.0;
/// Scores of its own that weigh as much as what is known of other machines: 400 gave the same over simulated weeks without a
/// training (false alerts a day 0.79 and 0.80).
const PRIOR_SCORES: f64 = 100.0;
/// Knots of the empirical part.
const KNOTS: usize = 33;
/// Surprisal beyond which growth is logarithmic.
const SOFT_CAP: f64 = 8.0;
/// Smallest scale of the tail, relative to the scale a raw score has by construction (1).
const SCALE_FLOOR: f64 = 0.1;

/// The tail of one kind of raw score on normal data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Score and surprisal at evenly spaced ranks of the bulk, ascending.
    knots: Vec<(f64, f64)>,
    /// Where the Pareto tail begins, and the surprisal there.
    start: (f64, f64),
    shape: f64,
    scale: f64,
    median: f64,
}

impl Tail {
    /// Fits the tail of `scores`, which must be ascending; `None` while they are too few.
    pub fn fit(scores: &[f64]) -> Option<Self> {
        let n = scores.len();
        if n < FEWEST {
            return None;
        }
        let begin = robust::quantile(scores, if n < 200 { 0.9 } else { 0.95 })?;
        let excesses: Vec<f64> = scores.iter().map(|s| s - begin).filter(|e| *e > 0.0).collect();
        let spread = (begin - robust::median(scores)?).max(SCALE_FLOOR);
        let (shape, scale) = pareto(&excesses, spread);
        let beyond = excesses.len().max(1) as f64 / n as f64;
        let start = (begin, -beyond.log10());
        Some(Self { knots: knots(scores, begin), start, shape, scale, median: robust::median(scores)? })
    }

    /// −log₁₀ of the probability that normal data score `score` or more; 0 and up, finite for a finite score.
    pub fn surprisal(&self, score: f64) -> f64 {
        let (begin, at_begin) = self.start;
        if score <= begin {
            return self.bulk(score);
        }
        let excess = (score - begin) / self.scale;
        let beyond = if self.shape < 1e-6 { excess } else { (self.shape * excess).ln_1p() / self.shape };
        soft_cap(at_begin + beyond / std::f64::consts::LN_10)
    }

    /// The score that surprises by `surprisal`: the inverse of [`Tail::surprisal`] in the tail; where the tail begins
    /// for anything less.
    pub fn score_at(&self, surprisal: f64) -> f64 {
        let beyond = (surprisal - self.start.1).max(0.0) * std::f64::consts::LN_10;
        let excess = if self.shape < 1e-6 { beyond } else { (self.shape * beyond).exp_m1() / self.shape };
        self.start.0 + excess * self.scale
    }

    /// The score that half of normal data exceed.
    pub fn median(&self) -> f64 {
        self.median
    }

    /// Whether it is one that a fit could have made: everything finite, ascending and within its bounds.
    pub fn is_sound(&self) -> bool {
        let rises = |a: &(f64, f64), b: &(f64, f64)| a.0 < b.0 && a.1 <= b.1;
        let (begin, at_begin) = self.start;
        let numbers = [begin, at_begin, self.shape, self.scale, self.median];
        let knots = self.knots.iter().flat_map(|knot| [knot.0, knot.1]);
        numbers.into_iter().chain(knots).all(f64::is_finite)
            && !self.knots.is_empty()
            && self.knots.windows(2).all(|pair| rises(&pair[0], &pair[1]))
            && self.knots.iter().all(|knot| knot.0 <= begin && knot.1 >= -1e-6)
            && (0.0..=0.5).contains(&self.shape)
            && self.scale > 0.0
    }

    /// The same with numbers of as many digits as are worth keeping.
    #[must_use]
    pub fn rounded(&self) -> Self {
        let pair = |(score, surprisal): (f64, f64)| (round(score), round(surprisal));
        let mut knots: Vec<_> = self.knots.iter().copied().map(pair).collect();
        knots.dedup_by(|next, knot| next.0 <= knot.0);
        let (shape, scale, median) = (round(self.shape), round(self.scale), round(self.median));
        Self { knots, start: pair(self.start), shape, scale, median }
    }

    fn bulk(&self, score: f64) -> f64 {
        let above = self.knots.partition_point(|(knot, _)| *knot < score);
        let Some((right, high)) = self.knots.get(above).copied() else { return self.start.1 };
        let Some((left, low)) = above.checked_sub(1).map(|at| self.knots[at]) else { return high };
        low + (high - low) * (score - left) / (right - left)
    }
}

/// To four digits.
fn round(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// Shape and scale of the tail of ascending `excesses`; `spread` is the scale where they are too few to tell.
fn pareto(excesses: &[f64], spread: f64) -> (f64, f64) {
    if excesses.len() < 3 {
        let mean = excesses.iter().sum::<f64>() / excesses.len().max(1) as f64;
        return (0.3, mean.max(spread));
    }
    let (shape, scale) = pareto_of(excesses, PRIOR_SHAPE);
    (shape, scale.max(SCALE_FLOOR))
}

/// Shape and scale of the generalised Pareto distribution of three or more ascending `excesses`, by probability-weighted
/// moments; the shape is drawn towards `prior` while they are few.
pub(super) fn pareto_of(excesses: &[f64], prior: f64) -> (f64, f64) {
    let n = excesses.len() as f64;
    let mean = excesses.iter().sum::<f64>() / n;
    let weighted: f64 = excesses.iter().enumerate().map(|(i, e)| i as f64 / (n - 1.0) * e).sum();
    let first_moment = weighted / n;
    let k = mean / (mean - 2.0 * (mean - first_moment)).max(1e-12) - 2.0;
    let trust = n / (n + PRIOR_WEIGHT);
    let shape = (trust * (-k).clamp(-0.2, 0.6) + (1.0 - trust) * prior).clamp(0.0, 0.5);
    (shape, (mean * (1.0 - shape)).max(1e-9))
}

/// Evenly spaced ranks up to where the tail begins; equal scores surprise as little as the lowest of them.
fn knots(scores: &[f64], begin: f64) -> Vec<(f64, f64)> {
    let n = scores.len();
    let ranks = (0..KNOTS).map(|step| scores[step * (n - 1) / (KNOTS - 1)]);
    let mut knots: Vec<(f64, f64)> = Vec::with_capacity(KNOTS + 1);
    for score in ranks.filter(|score| *score < begin).chain([begin]) {
        let at_least = n - scores.partition_point(|s| *s < score);
        if knots.last().is_none_or(|(last, _)| *last < score) {
            knots.push((score, -(at_least as f64 / n as f64).log10()));
        }
    }
    knots
}

fn soft_cap(surprisal: f64) -> f64 {
    if surprisal <= SOFT_CAP { surprisal } else { SOFT_CAP + (surprisal - SOFT_CAP).ln_1p() }
}

/// A tail that follows the normal scores as they come. It begins as what is known of other machines, and gives way to its
/// own scores: the surprisal is the mean of both, weighted by how many these are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calibration {
    sample: Sample,
    /// Scores since the last that was kept, and since the last fit.
    passed: usize,
    fresh: usize,
    tail: Option<Tail>,
    /// Not kept: it comes with the program.
    #[serde(skip)]
    prior: Option<Arc<Tail>>,
}

/// The normal scores known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sample {
    scores: Vec<f32>,
    /// Where the next score goes once the memory is full.
    next: usize,
    /// One in so many is kept; at most one in `thinnest`.
    stride: usize,
    thinnest: usize,
}

impl Calibration {
    /// Of one score each `interval`, before which `prior` holds.
    pub fn new(interval: Duration, prior: Option<Arc<Tail>>) -> Self {
        let interval = interval.as_secs_f64().max(1e-3);
        let thinnest = ((SPAN.as_secs_f64() / interval / MEMORY as f64).ceil() as usize).max(1);
        let sample = Sample { scores: Vec::new(), next: 0, stride: 1, thinnest };
        Self { sample, passed: 0, fresh: 0, tail: None, prior }
    }

    /// Leans on `prior` from here on.
    pub fn lean_on(&mut self, prior: Option<Arc<Tail>>) {
        self.prior = prior;
    }

    /// Takes in the raw score of one normal row.
    pub fn absorb(&mut self, score: f64) {
        if !score.is_finite() {
            return;
        }
        self.passed += 1;
        if self.passed < self.sample.stride {
            return;
        }
        self.passed = 0;
        self.sample.take(score as f32);
        self.fresh += 1;
        if self.fresh > self.sample.scores.len() / 32 && self.sample.scores.len() >= FEWEST {
            self.refit();
        }
    }

    /// Fits the tail to what is known now.
    pub fn refit(&mut self) {
        let mut sorted: Vec<f64> = self.sample.scores.iter().map(|score| f64::from(*score)).collect();
        robust::sort(&mut sorted);
        self.tail = Tail::fit(&sorted);
        self.fresh = 0;
    }

    /// Surprisal of a raw score; `None` while too few normal scores are known.
    pub fn surprisal(&self, score: f64) -> Option<f64> {
        let own = self.tail.as_ref()?.surprisal(score);
        let Some(prior) = &self.prior else { return Some(own) };
        let n = self.len() as f64;
        Some((n * own + PRIOR_SCORES * prior.surprisal(score)) / (n + PRIOR_SCORES))
    }

    /// The score that half of normal data exceed; `None` while too few are known.
    pub fn median(&self) -> Option<f64> {
        self.tail.as_ref().map(Tail::median)
    }

    /// Normal scores known.
    pub fn len(&self) -> usize {
        self.sample.scores.len()
    }

    /// Whether no score is known yet.
    pub fn is_empty(&self) -> bool {
        self.sample.scores.is_empty()
    }

    /// The scores known, in no order.
    pub fn scores(&self) -> &[f32] {
        &self.sample.scores
    }
}

impl Sample {
    /// A full sample is thinned by half as long as that may be; then the oldest leave.
    fn take(&mut self, score: f32) {
        if self.scores.len() < MEMORY {
            self.scores.push(score);
        } else if self.stride < self.thinnest {
            robust::halve(&mut self.scores);
            self.stride = (2 * self.stride).min(self.thinnest);
            self.scores.push(score);
        } else {
            self.scores[self.next] = score;
            self.next = (self.next + 1) % MEMORY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    fn exponential(n: usize) -> Vec<f64> {
        let mut random = rand_pcg::Pcg64Mcg::new(7);
        let uniform = |r: &mut rand_pcg::Pcg64Mcg| (r.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let mut scores: Vec<f64> = (0..n).map(|_| -(1.0 - uniform(&mut random)).ln()).collect();
        robust::sort(&mut scores);
        scores
    }

    #[test]
    fn surprisal_rises_strictly_and_stays_finite() {
        let scores = exponential(500);
        let tail = Tail::fit(&scores).unwrap();
        let mut before = -1.0;
        for step in 0..100_000 {
            let surprisal = tail.surprisal(scores[0] + f64::from(step) * 0.01);
            assert!(surprisal.is_finite() && surprisal > before, "at {step}: {surprisal} after {before}");
            before = surprisal;
        }
        assert!(tail.surprisal(1e300).is_finite());
    }

    #[test]
    fn the_inverse_leads_back_to_the_score() {
        let tail = Tail::fit(&exponential(500)).unwrap();
        for score in [4.0, 6.0, 10.0] {
            assert!((tail.score_at(tail.surprisal(score)) - score).abs() < 1e-9 * score);
        }
    }

    #[test]
    fn half_of_normal_data_surprise_by_less_than_a_third() {
        let scores = exponential(2000);
        let tail = Tail::fit(&scores).unwrap();
        let surprisal = tail.surprisal(robust::median(&scores).unwrap());
        assert!((surprisal - 2.0_f64.log10()).abs() < 0.02, "{surprisal}");
    }

    #[test]
    fn an_exponential_tail_is_read_off_within_its_standard_error() {
        // The true surprisal of an exponential score s is s ÷ ln 10. With 100 excesses the standard error of the
        // shape is about 0.1, which at two e-folds past the start is 0.1 × 2² ÷ 2 ÷ ln 10 = 0.09.
        let tail = Tail::fit(&exponential(2000)).unwrap();
        let score = 5.0;
        assert!((tail.surprisal(score) - score / std::f64::consts::LN_10).abs() < 0.18);
    }

    #[test]
    fn a_score_never_seen_on_constant_data_is_surprising_but_not_beyond_all_measure() {
        let tail = Tail::fit(&[0.0; 50]).unwrap();
        assert_eq!(tail.surprisal(0.0), 0.0);
        assert!(tail.surprisal(0.01) < tail.surprisal(5.0));
        assert!((3.0..9.0).contains(&tail.surprisal(10.0)), "{}", tail.surprisal(10.0));
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn too_few_scores_tell_nothing() {
        assert!(Tail::fit(&exponential(FEWEST - 1)).is_none());
        let mut calibration = Calibration::new(SECOND, None);
        (0..FEWEST).for_each(|_| calibration.absorb(f64::NAN));
        assert!(calibration.surprisal(1.0).is_none(), "NaN is no score");
    }

    #[test]
    fn the_memory_is_bounded_and_follows_the_newest() {
        let mut calibration = Calibration::new(SECOND * 3600, None);
        (0..MEMORY).for_each(|_| calibration.absorb(100.0));
        (0..2 * MEMORY).for_each(|i| calibration.absorb((i % 10) as f64));
        assert_eq!(calibration.len(), MEMORY);
        assert!(calibration.surprisal(100.0).unwrap() > 3.0);
    }

    #[test]
    fn weeks_of_seconds_are_held_thinned_evenly() {
        let mut calibration = Calibration::new(SECOND, None);
        (0..7 * 86_400).for_each(|i| calibration.absorb(f64::from(i)));
        assert!((MEMORY / 2..=MEMORY).contains(&calibration.len()));
        let middle = calibration.median().unwrap();
        assert!((middle / 302_400.0 - 1.0).abs() < 0.02, "{middle}");
    }

    #[test]
    fn a_calibration_comes_back_from_storage_as_it_was() {
        let mut calibration = Calibration::new(SECOND, None);
        exponential(700).into_iter().for_each(|score| calibration.absorb(score));
        calibration.refit();
        let stored = postcard::to_allocvec(&calibration).unwrap();
        let back: Calibration = postcard::from_bytes(&stored).unwrap();
        for score in [0.0, 0.5, 2.0, 9.0] {
            assert_eq!(back.surprisal(score), calibration.surprisal(score));
        }
    }
}
