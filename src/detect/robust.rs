//! Location and scale that a few outliers do not move.

use serde::{Deserialize, Serialize};

/// Consistency factor: 1.4826 × MAD estimates the standard deviation of a normal sample.
pub const MAD_TO_SIGMA: f64 = 1.4826;

/// Quantile `q` of an ascending slice by linear interpolation; `None` of an empty one.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position as usize;
    let above = (below + 1).min(last);
    let share = position - below as f64;
    Some(sorted[below] + share * (sorted[above] - sorted[below]))
}

/// Median of an ascending slice; `None` of an empty one.
pub fn median(sorted: &[f64]) -> Option<f64> {
    quantile(sorted, 0.5)
}

/// Median absolute deviation from `center` of an ascending slice, in O(log n); `None` of an empty one.
///
/// The nearest values of a sorted slice lie side by side in it, so the k-th smallest deviation is that of the run of k
/// values whose farther end is nearest.
pub fn mad(sorted: &[f64], center: f64) -> Option<f64> {
    let n = sorted.len();
    let above = nth_deviation(sorted, center, n / 2)?;
    if !n.is_multiple_of(2) {
        return Some(above);
    }
    Some(f64::midpoint(nth_deviation(sorted, center, n / 2 - 1)?, above))
}

/// The `nth` smallest distance from `center`, counted from 0; `None` where there are fewer.
fn nth_deviation(sorted: &[f64], center: f64, nth: usize) -> Option<f64> {
    let runs = sorted.len().checked_sub(nth).filter(|runs| *runs > 0)?;
    let ends = |from: usize| (center - sorted[from], sorted[from + nth] - center);
    // The left end gets nearer from run to run, and the right one farther.
    let (mut low, mut high) = (0, runs);
    while low < high {
        let middle = usize::midpoint(low, high);
        let (left, right) = ends(middle);
        if left > right { low = middle + 1 } else { high = middle }
    }
    let farther = |from: usize| {
        let (left, right) = ends(from);
        left.max(right)
    };
    let here = (low < runs).then(|| farther(low));
    let before = low.checked_sub(1).map(farther);
    Some(here.into_iter().chain(before).fold(f64::INFINITY, f64::min))
}

/// Sorts `values` ascending; NaN must have been left out.
pub fn sort(values: &mut [f64]) {
    values.sort_unstable_by(f64::total_cmp);
}

/// The newest values in order of arrival and of size, for exact rolling quantiles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SortedWindow {
    capacity: usize,
    arrived: std::collections::VecDeque<f64>,
    sorted: Vec<f64>,
}

impl SortedWindow {
    /// An empty window of `capacity` values.
    pub fn new(capacity: usize) -> Self {
        let arrived = std::collections::VecDeque::with_capacity(capacity);
        Self { capacity: capacity.max(1), arrived, sorted: Vec::with_capacity(capacity + 1) }
    }

    /// Adds a value; the oldest leaves a full window.
    pub fn push(&mut self, value: f64) {
        if self.arrived.len() == self.capacity
            && let Some(oldest) = self.arrived.pop_front()
        {
            let at = self.sorted.partition_point(|x| x.total_cmp(&oldest).is_lt());
            self.sorted.remove(at);
        }
        self.arrived.push_back(value);
        let at = self.sorted.partition_point(|x| x.total_cmp(&value).is_lt());
        self.sorted.insert(at, value);
    }

    /// Holds `capacity` values from here on, the newest of those it has.
    pub fn resize(&mut self, capacity: usize) {
        if self.capacity == capacity.max(1) {
            return;
        }
        let arrived = std::mem::take(&mut self.arrived);
        *self = Self::new(capacity);
        arrived.iter().skip(arrived.len().saturating_sub(self.capacity)).for_each(|value| self.push(*value));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.arrived.clear();
        self.sorted.clear();
    }

    /// The values, ascending.
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }
}

/// Keeps every second one, so that what is held stays spread evenly over time.
pub fn halve<T>(values: &mut Vec<T>) {
    let mut at = 0;
    values.retain(|_| {
        at += 1;
        at % 2 == 0
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive_mad(values: &[f64], center: f64) -> f64 {
        let mut deviations: Vec<f64> = values.iter().map(|x| (x - center).abs()).collect();
        sort(&mut deviations);
        median(&deviations).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_outward_walk_finds_the_median_of_the_absolute_deviations(
            mut values in proptest::collection::vec(-1e6..1e6_f64, 1..60)
        ) {
            sort(&mut values);
            let center = median(&values).unwrap();
            let (walked, sorted) = (mad(&values, center).unwrap(), naive_mad(&values, center));
            prop_assert!((walked - sorted).abs() <= f64::EPSILON * sorted, "{} {}", walked, sorted);
        }
    }

    #[test]
    fn a_sorted_window_holds_the_newest_values_in_order() {
        let mut window = SortedWindow::new(5);
        let values: Vec<f64> = (0..40).map(|i| f64::from(i * 7919 % 13)).collect();
        for (at, value) in values.iter().enumerate() {
            window.push(*value);
            let mut newest = values[at.saturating_sub(4)..=at].to_vec();
            sort(&mut newest);
            assert_eq!(window.sorted(), newest);
        }
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(median(&[]), None);
        assert_eq!(mad(&[], 0.0), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
    }
}
