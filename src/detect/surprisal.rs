//! The surprisals of one detector: for each metric, and for the target as a whole.
//!
//! A metric's raw score is calibrated by its own normal scores. The target's surprisal is the mean of its three most
//! surprised metrics, calibrated again: that second fit is what pays for looking at many metrics at once and for
//! their dependence. Where metrics are few, or that fit has seen little, the most surprised metric alone, corrected for
//! their number (Bonferroni), stands beside it, so that a fault of one is not diluted by the calm of the others.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calibrate::Calibration;
use super::priors::ComponentPrior;

/// Metrics that make the target's surprisal.
const TOP: usize = 3;
/// Normal rows from which on the second fit stands by itself, where there are more metrics than so many. Of a few each
/// stands for something else, and a fault shows in one; of many several say the same.
const ENOUGH: usize = 1024;
const NARROW: usize = 10;

/// Raw scores of one detector for one row; higher is more unusual.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Raw {
    /// One a metric; `None` without a value or without a model.
    pub metrics: Vec<Option<f64>>,
    /// Of the row as a whole, where the detector sees it so.
    pub vector: Option<f64>,
    /// Each metric's part of the vector's score; sums to 1, empty without one.
    pub shares: Vec<f64>,
}

impl Raw {
    /// Becomes the same as `other`, in its own buffers.
    pub fn copy(&mut self, other: &Self) {
        self.metrics.clone_from(&other.metrics);
        self.shares.clone_from(&other.shares);
        self.vector = other.vector;
    }

    /// Says nothing about `width` metrics; the buffers stay.
    pub fn clear(&mut self, width: usize) {
        self.metrics.clear();
        self.metrics.resize(width, None);
        self.vector = None;
        self.shares.clear();
    }
}

/// Surprises of one detector for one row.
#[derive(Clone, Debug, Default)]
pub struct Surprisal {
    /// One a metric; 0 for one that the effect filter holds back.
    pub metrics: Vec<Option<f64>>,
    /// Of the target.
    pub target: Option<f64>,
}

/// What normal rows score with one detector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Normal {
    interval: Duration,
    metrics: Vec<Calibration>,
    together: Calibration,
    vector: Calibration,
    /// Surprises of the row being absorbed; kept for its buffer.
    #[serde(skip)]
    told: Vec<Option<f64>>,
}

impl Normal {
    /// Of `width` metrics, scored each `interval`, of which no more is known than `prior`.
    pub fn new(width: usize, interval: Duration, prior: &ComponentPrior) -> Self {
        Self {
            interval,
            metrics: vec![Calibration::new(interval, prior.metric.clone()); width],
            together: Calibration::new(interval, prior.together.clone()),
            vector: Calibration::new(interval, prior.vector.clone()),
            told: Vec::with_capacity(width),
        }
    }

    /// Leans on `prior` from here on.
    pub fn lean_on(&mut self, prior: &ComponentPrior) {
        self.metrics.iter_mut().for_each(|metric| metric.lean_on(prior.metric.clone()));
        self.together.lean_on(prior.together.clone());
        self.vector.lean_on(prior.vector.clone());
    }

    /// Takes over what `learned` knows; of metrics that it does not know, nothing changes.
    pub fn adopt(&mut self, learned: &Self, prior: &ComponentPrior) {
        for (own, learned) in self.metrics.iter_mut().zip(&learned.metrics) {
            own.clone_from(learned);
        }
        self.together.clone_from(&learned.together);
        self.vector.clone_from(&learned.vector);
        self.lean_on(prior);
    }

    /// Takes over what `before` knows of the metrics that `stays` names, each with its place there and here.
    pub(super) fn inherit(&mut self, before: &mut Self, stays: &[(usize, usize)]) {
        for (was, is) in stays {
            std::mem::swap(&mut self.metrics[*is], &mut before.metrics[*was]);
        }
    }

    /// Takes up a further metric, at the end.
    pub fn add(&mut self, prior: &ComponentPrior) {
        self.metrics.push(Calibration::new(self.interval, prior.metric.clone()));
    }

    /// Forgets what was known about a metric.
    pub fn forget(&mut self, metric: usize, prior: &ComponentPrior) {
        self.metrics[metric] = Calibration::new(self.interval, prior.metric.clone());
    }

    /// How surprising `raw` is; the surprisal of metrics that are `filtered` is 0.
    pub fn surprisal(&self, raw: &Raw, filtered: &[bool], surprisal: &mut Surprisal) {
        let open: f64 =
            raw.shares.iter().zip(filtered).filter(|(_, filtered)| !**filtered).map(|(share, _)| share).sum();
        let metric = |(at, score): (usize, &Option<f64>)| {
            let told = self.metrics[at].surprisal((*score)?)?;
            Some(if filtered[at] { 0.0 } else { told })
        };
        surprisal.metrics.clear();
        surprisal.metrics.extend(raw.metrics.iter().enumerate().map(metric));
        let vector = raw.vector.and_then(|v| self.vector.surprisal(v)).map(|v| v * open);
        surprisal.target = both(self.together(&surprisal.metrics), vector);
        if let Some(vector) = vector {
            attribute(vector, &raw.shares, filtered, &mut surprisal.metrics);
        }
    }

    fn together(&self, metrics: &[Option<f64>]) -> Option<f64> {
        let (mean, width) = top_mean(metrics)?;
        if width == 1 {
            return Some(mean);
        }
        // The bound that holds whatever the dependence. It is all there is before the second fit, and keeps a fault of
        // one metric from being diluted by the calm of the rest.
        let largest = metrics.iter().flatten().fold(0.0_f64, |a, b| a.max(*b));
        let alone = (largest - (width as f64).log10()).max(0.0);
        let Some(together) = self.together.surprisal(mean) else { return Some(alone) };
        if width > NARROW && self.together.len() >= ENOUGH {
            return Some(together);
        }
        // Of two tests the surer one counts, at the price of having made two.
        Some(together.max(alone - 2.0_f64.log10()))
    }

    /// Takes in the raw scores of a row; of a metric only where it is longer than `look_back` checks since its last incident,
    /// of which `calm` says how many, of the target only where that holds of all.
    pub fn absorb(&mut self, raw: &Raw, calm: &[usize], look_back: usize) {
        for ((score, calibration), calm) in raw.metrics.iter().zip(&mut self.metrics).zip(calm) {
            if let Some(score) = score.filter(|_| *calm > look_back) {
                calibration.absorb(score);
            }
        }
        if calm.iter().all(|calm| *calm > look_back) {
            self.absorb_target(raw, Calibration::absorb);
        }
    }

    /// Takes in many rows, all normal. Metrics come first, so that the target is calibrated on what they say in the end.
    pub fn absorb_all<'a>(&mut self, rows: impl Iterator<Item = &'a Raw> + Clone) {
        for raw in rows.clone() {
            for (score, calibration) in raw.metrics.iter().zip(&mut self.metrics) {
                score.iter().for_each(|score| calibration.absorb(*score));
            }
        }
        self.metrics.iter_mut().for_each(Calibration::refit);
        rows.for_each(|raw| self.absorb_target(raw, Calibration::absorb));
        self.together.refit();
        self.vector.refit();
    }

    /// The raw score that half of a metric's normal values exceed.
    pub fn median(&self, metric: usize) -> Option<f64> {
        self.metrics.get(metric)?.median()
    }

    fn absorb_target(&mut self, raw: &Raw, take: impl Fn(&mut Calibration, f64)) {
        let tell = |(score, calibration): (&Option<f64>, &Calibration)| calibration.surprisal((*score)?);
        self.told.clear();
        self.told.extend(raw.metrics.iter().zip(&self.metrics).map(tell));
        if let Some((mean, _)) = top_mean(&self.told) {
            take(&mut self.together, mean);
        }
        if let Some(vector) = raw.vector {
            take(&mut self.vector, vector);
        }
    }

    /// Every calibration: one a metric, then those of the target.
    pub fn calibrations(&self) -> (&[Calibration], &Calibration, &Calibration) {
        (&self.metrics, &self.together, &self.vector)
    }

    /// Scores known of the target.
    pub fn scores(&self) -> usize {
        self.together.len().max(self.vector.len())
    }

    /// Whether any metric can be told to be surprising.
    pub fn is_ready(&self) -> bool {
        self.metrics.iter().any(|calibration| calibration.surprisal(0.0).is_some())
    }
}

/// Of two looks at the target, each counts half.
fn both(together: Option<f64>, vector: Option<f64>) -> Option<f64> {
    match (together, vector) {
        (Some(together), Some(vector)) => Some(f64::midpoint(together, vector)),
        (together, vector) => together.or(vector),
    }
}

/// Mean of the [`TOP`] largest, and how many there were in all.
fn top_mean(metrics: &[Option<f64>]) -> Option<(f64, usize)> {
    let mut top = [-1.0_f64; TOP];
    let mut width = 0;
    for surprisal in metrics.iter().flatten() {
        width += 1;
        let mut carried = *surprisal;
        for place in &mut top {
            if carried > *place {
                std::mem::swap(&mut carried, place);
            }
        }
    }
    let used = width.min(TOP);
    (used > 0).then(|| (top[..used].iter().sum::<f64>() / used as f64, width))
}

/// Half of a metric's surprisal is its own, half its part of the vector's; of one that has no say of its own, the latter.
fn attribute(vector: f64, shares: &[f64], filtered: &[bool], metrics: &mut [Option<f64>]) {
    for ((surprisal, share), filtered) in metrics.iter_mut().zip(shares).zip(filtered) {
        if !filtered && *share > 0.0 {
            let component = vector * share;
            *surprisal = Some(surprisal.map_or(component, |own| f64::midpoint(own, component)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    fn raw(scores: &[f64]) -> Raw {
        Raw { metrics: scores.iter().map(|s| Some(*s)).collect(), ..Raw::default() }
    }

    fn normal(width: usize, rows: usize) -> Normal {
        let mut random = rand_pcg::Pcg64Mcg::new(3);
        let mut normal = Normal::new(width, Duration::from_secs(10), &ComponentPrior::default());
        for _ in 0..rows {
            let scores: Vec<f64> =
                (0..width).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).collect();
            normal.absorb(&raw(&scores), &vec![1; width], 0);
        }
        normal
    }

    fn surprisal(normal: &Normal, raw: &Raw, filtered: &[bool]) -> Surprisal {
        let mut surprisal = Surprisal::default();
        normal.surprisal(raw, filtered, &mut surprisal);
        surprisal
    }

    #[test]
    fn one_wild_metric_among_many_is_still_a_surprise_for_the_target() {
        let normal = normal(10, 1000);
        let mut scores = [0.5; 10];
        let usual = surprisal(&normal, &raw(&scores), &[false; 10]).target.unwrap();
        scores[4] = 50.0;
        let wild = surprisal(&normal, &raw(&scores), &[false; 10]).target.unwrap();
        assert!(usual < 0.7 && wild > 4.0, "{usual} {wild}");
    }

    #[test]
    fn a_filtered_metric_surprises_nobody() {
        let normal = normal(3, 200);
        let told = surprisal(&normal, &raw(&[50.0, 0.5, 0.5]), &[true, false, false]);
        assert_eq!(told.metrics[0], Some(0.0));
        assert!(told.target.unwrap() < 1.0);
    }

    #[test]
    fn before_the_second_fit_the_target_is_never_surer_than_its_surest_metric() {
        let mut normal = normal(4, 16);
        normal.together = Calibration::new(Duration::from_secs(10), None);
        let told = surprisal(&normal, &raw(&[9.0, 0.1, 0.1, 0.1]), &[false; 4]);
        assert!(told.target < told.metrics[0]);
        assert!(told.target > Some(1.0));
    }

    #[test]
    fn with_a_single_metric_its_surprisal_is_the_targets() {
        let told = surprisal(&normal(1, 100), &raw(&[3.0]), &[false]);
        assert_eq!(told.metrics[0], told.target);
    }

    #[test]
    fn nothing_is_told_before_anything_is_known() {
        let told = surprisal(
            &Normal::new(2, Duration::from_secs(10), &ComponentPrior::default()),
            &raw(&[1.0, 1.0]),
            &[false; 2],
        );
        assert_eq!((told.metrics, told.target), (vec![None, None], None));
    }

    #[test]
    fn rows_that_were_flagged_in_part_teach_only_the_rest() {
        let mut normal = normal(2, 100);
        let before = normal.clone();
        (0..50).for_each(|_| normal.absorb(&raw(&[99.0, 0.5]), &[0, 1], 0));
        assert_eq!(normal.metrics[0].surprisal(3.0), before.metrics[0].surprisal(3.0));
        assert_eq!(normal.together.len(), before.together.len());
        assert_eq!(normal.metrics[1].len(), before.metrics[1].len() + 50);
    }
}
