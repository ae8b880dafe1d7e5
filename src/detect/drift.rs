//! Whether a metric still is what the models were fitted on: the population stability index of its values of the last
//! day against those of the training.
//!
//! PSI = Σ (q − p) · ln(q ÷ p) over the ten bins between the deciles of the training (Siddiqi 2006): below 0.1 nothing has
//! changed, above 0.25 much has. The day is forgotten exponentially. Cost: O(1) a value.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::robust;

const BINS: usize = 10;
/// What the last day is.
const DAY: f64 = 86_400.0;
/// Values before anything is said, and the least a day has.
const FEWEST: f64 = 200.0;
/// Share that an empty bin is taken to have: nothing is impossible.
const LEAST: f64 = 1e-4;

/// The bins of the training, and how full they are now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Upper ends of all bins but the last, ascending.
    cuts: Vec<f64>,
    /// Share of the training's values in each bin; not all a tenth where many values are equal.
    trained: Vec<f64>,
    #[serde(skip)]
    now: [f64; BINS],
}

impl Drift {
    /// Bins of the training's values; `None` of too few.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        if values.len() < BINS {
            return None;
        }
        robust::sort(&mut values);
        let cut = |nth: usize| robust::quantile(&values, nth as f64 / BINS as f64);
        let cuts: Vec<f64> = (1..BINS).filter_map(cut).collect();
        let mut drift = Self { cuts, trained: Vec::new(), now: [0.0; BINS] };
        let mut counts = [0.0; BINS];
        values.iter().for_each(|value| counts[drift.bin(*value)] += 1.0);
        drift.trained = counts.iter().map(|count| count / values.len() as f64).collect();
        Some(drift)
    }

    fn bin(&self, value: f64) -> usize {
        self.cuts.partition_point(|cut| *cut < value)
    }

    /// Takes in the value of a check; one comes each `interval`.
    pub fn take(&mut self, value: f64, interval: Duration) {
        let day = (DAY / interval.as_secs_f64().max(1e-3)).max(FEWEST);
        let kept = 1.0 - 1.0 / day;
        self.now.iter_mut().for_each(|count| *count *= kept);
        self.now[self.bin(value)] += 1.0;
    }

    /// How full the bins are now, to go on from.
    pub(super) fn now(&self) -> [f64; BINS] {
        self.now
    }

    /// Goes on with bins filled so.
    pub(super) fn go_on(&mut self, now: [f64; BINS]) {
        self.now = now;
    }

    /// The population stability index, 0 and up; `None` before enough values came.
    pub fn index(&self) -> Option<f64> {
        let total: f64 = self.now.iter().sum();
        if total < FEWEST / 2.0 {
            return None;
        }
        let term = |(now, trained): (&f64, &f64)| {
            let (q, p) = ((now / total).max(LEAST), trained.max(LEAST));
            (q - p) * (q / p).ln()
        };
        Some(self.now.iter().zip(&self.trained).map(term).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn normal(i: i32) -> f64 {
        f64::from(i * 7919 % 1009)
    }

    fn after(value: impl Fn(i32) -> f64, values: i32) -> Option<f64> {
        let mut drift = Drift::of((0..5000).map(normal)).unwrap();
        (0..values).for_each(|i| drift.take(value(i), INTERVAL));
        drift.index()
    }

    #[test]
    fn the_same_distribution_has_not_drifted_and_another_has() {
        assert!(after(normal, 5000).unwrap() < 0.01);
        assert!(after(|i| normal(i) + 300.0, 5000).unwrap() > 0.25);
        assert!(after(|i| normal(i) * 0.3, 5000).unwrap() > 0.25);
    }

    #[test]
    fn it_is_the_sum_over_the_bins_by_hand() {
        let mut drift = Drift::of((0..1000).map(f64::from)).unwrap();
        for _ in 0..300 {
            drift.take(50.0, INTERVAL);
        }
        for _ in 0..100 {
            drift.take(950.0, INTERVAL);
        }
        // 8640 values are a day, of which each takes its share from those before: what was first has faded by a
        // hundred values more. A tenth of the training is in each bin; eight bins are empty now.
        let kept = 1.0 - 1.0 / 8640.0_f64;
        let of = |n: i32| (1.0 - kept.powi(n)) / (1.0 - kept);
        let (first, last) = (of(300) * kept.powi(100), of(100));
        let term = |q: f64| (q - 0.1) * (q / 0.1).ln();
        let by_hand = term(first / (first + last)) + term(last / (first + last)) + 8.0 * term(LEAST);
        assert!((drift.index().unwrap() - by_hand).abs() < 1e-9, "{:?} {by_hand}", drift.index());
        assert!((by_hand - 6.961_927).abs() < 1e-6, "{by_hand}");
    }

    #[test]
    fn a_constant_metric_has_not_drifted_while_it_stays() {
        let mut drift = Drift::of(std::iter::repeat_n(4.0, 100)).unwrap();
        (0..500).for_each(|_| drift.take(4.0, INTERVAL));
        assert!(drift.index().unwrap() < 1e-9);
    }

    #[test]
    fn little_data_say_nothing() {
        assert_eq!(after(normal, 50), None);
        assert_eq!(Drift::of([1.0; 5].into_iter()), None);
    }
}
