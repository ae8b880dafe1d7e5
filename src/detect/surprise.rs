//! The surprises of one detector: for each metric, and for the target as a whole.
//!
//! A metric's raw score is calibrated by its own normal scores. The target's surprise is the mean of its three most
//! surprised metrics, calibrated again: that second fit is what pays for looking at many metrics at once and for
//! their dependence. Where metrics are few, or that fit has seen little, the most surprised metric alone, corrected for
//! their number (Bonferroni), stands beside it, so that a fault of one is not diluted by the calm of the others.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calibrate::{Calibration, Course};

/// Metrics that make the target's surprise.
const TOP: usize = 3;
/// Normal rows from which on the second fit stands by itself, where there are more metrics than so many. Of a few each
/// stands for something else, and a fault shows in one; of many several say the same.
const ENOUGH: usize = 1024;
const NARROW: usize = 10;

/// Scores before those of a fault that are its edge: it grows from check to check where signals are means of some time.
const EDGE: usize = 2;

/// Raw scores of one detector for one row; higher is more unusual.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// One a metric; `None` without a value or without a model.
    pub metrics: Vec<Option<f64>>,
    /// Of the row as a whole, where the detector sees it so.
    pub vector: Option<f64>,
    /// Each metric's part of the vector's score; sums to 1, empty without one.
    pub shares: Vec<f64>,
}

impl Raw {
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
pub struct Surprise {
    /// One a metric; 0 for one that the gate holds back.
    pub metrics: Vec<Option<f64>>,
    /// Of the target.
    pub target: Option<f64>,
    /// Of the target by what a training knew; the same where there was none.
    pub as_trained: Option<f64>,
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
    /// Nothing known about `width` metrics, scored each `interval`.
    pub fn new(width: usize, interval: Duration) -> Self {
        Self {
            interval,
            metrics: vec![Calibration::new(interval); width],
            together: Calibration::new(interval),
            vector: Calibration::new(interval),
            told: Vec::with_capacity(width),
        }
    }

    /// Takes over what `learned` knows; of metrics that it does not know, nothing changes.
    pub fn adopt(&mut self, learned: &Self) {
        for (own, learned) in self.metrics.iter_mut().zip(&learned.metrics) {
            own.clone_from(learned);
        }
        self.together.clone_from(&learned.together);
        self.vector.clone_from(&learned.vector);
    }

    /// Takes over what `before` knows of the metrics that `stays` names, each with its place there and here.
    pub(super) fn inherit(&mut self, before: &mut Self, stays: &[(usize, usize)]) {
        for (was, is) in stays {
            std::mem::swap(&mut self.metrics[*is], &mut before.metrics[*was]);
        }
    }

    fn courses(&self) -> Vec<Course> {
        self.metrics.iter().chain([&self.together, &self.vector]).map(Calibration::course).collect()
    }

    fn calibrations_mut(&mut self) -> impl Iterator<Item = &mut Calibration> {
        self.metrics.iter_mut().chain([&mut self.together, &mut self.vector])
    }

    /// Takes up a further metric, at the end.
    pub fn add(&mut self) {
        self.metrics.push(Calibration::new(self.interval));
    }

    /// Forgets what was known about a metric.
    pub fn forget(&mut self, metric: usize) {
        self.metrics[metric] = Calibration::new(self.interval);
    }

    /// How surprising `raw` is; metrics that `gated` holds back surprise by 0.
    pub fn surprise(&self, raw: &Raw, gated: &[bool], surprise: &mut Surprise) {
        let open: f64 =
            raw.shares.iter().zip(gated).filter(|(_, gated)| !**gated).map(|(share, _)| share).sum();
        self.tell(raw, gated, Calibration::surprise_as_trained, &mut surprise.metrics);
        let vector = raw.vector.and_then(|v| self.vector.surprise_as_trained(v)).map(|v| v * open);
        surprise.as_trained =
            both(self.together(&surprise.metrics, Calibration::surprise_as_trained), vector);
        self.tell(raw, gated, Calibration::surprise, &mut surprise.metrics);
        let vector = raw.vector.and_then(|v| self.vector.surprise(v)).map(|v| v * open);
        surprise.target = both(self.together(&surprise.metrics, Calibration::surprise), vector);
        if let Some(vector) = vector {
            attribute(vector, &raw.shares, gated, &mut surprise.metrics);
        }
    }

    fn tell(
        &self,
        raw: &Raw,
        gated: &[bool],
        by: impl Fn(&Calibration, f64) -> Option<f64>,
        metrics: &mut Vec<Option<f64>>,
    ) {
        let metric = |(at, score): (usize, &Option<f64>)| {
            let told = by(&self.metrics[at], (*score)?)?;
            Some(if gated[at] { 0.0 } else { told })
        };
        metrics.clear();
        metrics.extend(raw.metrics.iter().enumerate().map(metric));
    }

    fn together(
        &self,
        metrics: &[Option<f64>],
        by: impl Fn(&Calibration, f64) -> Option<f64>,
    ) -> Option<f64> {
        let (mean, width) = top_mean(metrics)?;
        if width == 1 {
            return Some(mean);
        }
        // The bound that holds whatever the dependence. It is all there is before the second fit, and keeps a fault of
        // one metric from being diluted by the calm of the rest.
        let largest = metrics.iter().flatten().fold(0.0_f64, |a, b| a.max(*b));
        let alone = (largest - (width as f64).log10()).max(0.0);
        let Some(together) = by(&self.together, mean) else { return Some(alone) };
        if width > NARROW && self.together.len() >= ENOUGH {
            return Some(together);
        }
        // Of two tests the surer one counts, at the price of having made two.
        Some(together.max(alone - 2.0_f64.log10()))
    }

    /// Takes in the raw scores of a row; of a metric only where `learn` says so, of the target only if all do. Scores that
    /// are not `clear` of a fault before are left out while a calibration is young.
    pub fn absorb(&mut self, raw: &Raw, learn: &[bool], clear: &[bool]) {
        let follow = |calibration: &mut Calibration, score, learn: bool, clear: bool| {
            calibration.follow(score, !learn || !clear && calibration.is_young());
        };
        for (at, (score, calibration)) in raw.metrics.iter().zip(&mut self.metrics).enumerate() {
            if let Some(score) = score {
                follow(calibration, *score, learn[at], clear[at]);
            }
        }
        let all = |each: &[bool]| each.iter().all(|holds| *holds);
        let (learn, clear) = (all(learn), all(clear));
        self.absorb_target(raw, |calibration, score| follow(calibration, score, learn, clear));
    }

    /// Faults of `metrics` have begun: the newest scores were their edge.
    pub fn take_back(&mut self, metrics: &[usize]) {
        metrics.iter().for_each(|metric| self.metrics[*metric].take_back(EDGE));
        self.together.take_back(EDGE);
        self.vector.take_back(EDGE);
    }

    /// Takes in many rows, all normal. Metrics come first, so that the target is calibrated on what they say in the end.
    pub fn absorb_all<'a>(&mut self, rows: impl Iterator<Item = &'a Raw> + Clone) {
        for raw in rows.clone() {
            for (score, calibration) in raw.metrics.iter().zip(&mut self.metrics) {
                score.iter().for_each(|score| calibration.absorb(*score));
            }
        }
        self.metrics.iter_mut().for_each(Calibration::settle);
        rows.for_each(|raw| self.absorb_target(raw, Calibration::absorb));
        self.together.settle();
        self.vector.settle();
    }

    /// The raw score that half of a metric's normal values exceed.
    pub fn median(&self, metric: usize) -> Option<f64> {
        self.metrics.get(metric)?.median()
    }

    /// Whether what is known of a metric is no longer young, see [`Calibration::is_young`].
    pub fn is_known(&self, metric: usize) -> bool {
        !self.metrics[metric].is_young()
    }

    fn absorb_target(&mut self, raw: &Raw, take: impl Fn(&mut Calibration, f64)) {
        let tell = |(score, calibration): (&Option<f64>, &Calibration)| calibration.surprise((*score)?);
        self.told.clear();
        self.told.extend(raw.metrics.iter().zip(&self.metrics).map(tell));
        if let Some((mean, _)) = top_mean(&self.told) {
            take(&mut self.together, mean);
        }
        if let Some(vector) = raw.vector {
            take(&mut self.vector, vector);
        }
    }

    /// Whether what is known comes of a training.
    pub fn is_taught(&self) -> bool {
        self.metrics.iter().any(Calibration::is_taught)
    }

    /// Scores known of the target.
    pub fn scores(&self) -> usize {
        self.together.len().max(self.vector.len())
    }

    /// Whether any metric can be told to be surprising.
    pub fn is_ready(&self) -> bool {
        self.metrics.iter().any(|calibration| calibration.surprise(0.0).is_some())
    }
}

/// Reads and writes what is normal so that it goes on exactly where it was; by itself it comes back as from a training.
pub(super) mod exactly {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    use super::Normal;
    use crate::detect::calibrate::Course;

    pub(in crate::detect) fn serialize<S: Serializer, const N: usize>(
        normal: &[Normal; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let courses: Vec<Vec<Course>> = normal.iter().map(Normal::courses).collect();
        (normal.as_slice(), courses).serialize(serializer)
    }

    pub(in crate::detect) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[Normal; N], D::Error> {
        let (mut normal, courses) = <(Vec<Normal>, Vec<Vec<Course>>)>::deserialize(deserializer)?;
        for (normal, courses) in normal.iter_mut().zip(courses) {
            normal
                .calibrations_mut()
                .zip(courses)
                .for_each(|(calibration, course)| calibration.go_on(course));
        }
        normal.try_into().map_err(|_| Error::custom("another number of parts"))
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
    for surprise in metrics.iter().flatten() {
        width += 1;
        let mut carried = *surprise;
        for place in &mut top {
            if carried > *place {
                std::mem::swap(&mut carried, place);
            }
        }
    }
    let used = width.min(TOP);
    (used > 0).then(|| (top[..used].iter().sum::<f64>() / used as f64, width))
}

/// Half of a metric's surprise is its own, half its part of the vector's; of one that has no say of its own, the latter.
fn attribute(vector: f64, shares: &[f64], gated: &[bool], metrics: &mut [Option<f64>]) {
    for ((surprise, share), gated) in metrics.iter_mut().zip(shares).zip(gated) {
        if !gated && *share > 0.0 {
            let part = vector * share;
            *surprise = Some(surprise.map_or(part, |own| f64::midpoint(own, part)));
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
        let mut normal = Normal::new(width, Duration::from_secs(10));
        for _ in 0..rows {
            let scores: Vec<f64> =
                (0..width).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).collect();
            normal.absorb(&raw(&scores), &vec![true; width], &vec![true; width]);
        }
        normal
    }

    fn surprise(normal: &Normal, raw: &Raw, gated: &[bool]) -> Surprise {
        let mut surprise = Surprise::default();
        normal.surprise(raw, gated, &mut surprise);
        surprise
    }

    #[test]
    fn one_wild_metric_among_many_is_still_a_surprise_for_the_target() {
        let normal = normal(10, 1000);
        let mut scores = [0.5; 10];
        let usual = surprise(&normal, &raw(&scores), &[false; 10]).target.unwrap();
        scores[4] = 50.0;
        let wild = surprise(&normal, &raw(&scores), &[false; 10]).target.unwrap();
        assert!(usual < 0.7 && wild > 4.0, "{usual} {wild}");
    }

    #[test]
    fn a_gated_metric_surprises_nobody() {
        let normal = normal(3, 200);
        let told = surprise(&normal, &raw(&[50.0, 0.5, 0.5]), &[true, false, false]);
        assert_eq!(told.metrics[0], Some(0.0));
        assert!(told.target.unwrap() < 1.0);
    }

    #[test]
    fn before_the_second_fit_the_target_is_never_surer_than_its_surest_metric() {
        let mut normal = normal(4, 16);
        normal.together = Calibration::new(Duration::from_secs(10));
        let told = surprise(&normal, &raw(&[9.0, 0.1, 0.1, 0.1]), &[false; 4]);
        assert!(told.target < told.metrics[0]);
        assert!(told.target > Some(1.0));
    }

    #[test]
    fn with_a_single_metric_its_surprise_is_the_targets() {
        let told = surprise(&normal(1, 100), &raw(&[3.0]), &[false]);
        assert_eq!(told.metrics[0], told.target);
    }

    #[test]
    fn nothing_is_told_before_anything_is_known() {
        let told = surprise(&Normal::new(2, Duration::from_secs(10)), &raw(&[1.0, 1.0]), &[false; 2]);
        assert_eq!((told.metrics, told.target), (vec![None, None], None));
    }

    #[test]
    fn rows_that_were_flagged_in_part_teach_only_the_rest() {
        let mut normal = normal(2, 100);
        let before = normal.clone();
        (0..50).for_each(|_| normal.absorb(&raw(&[99.0, 0.5]), &[false, true], &[true; 2]));
        assert_eq!(normal.metrics[0].surprise(3.0), before.metrics[0].surprise(3.0));
        assert_eq!(normal.together.len(), before.together.len());
        assert_eq!(normal.metrics[1].len(), before.metrics[1].len() + 50);
    }
}
