//! Location and scale that a few outliers do not move.

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

/// Median absolute deviation from `center` of an ascending slice, in one pass outward from the center and without a
/// second buffer; `None` of an empty one.
pub fn mad(sorted: &[f64], center: f64) -> Option<f64> {
    let n = sorted.len();
    if n == 0 {
        return None;
    }
    let mut right = sorted.partition_point(|x| *x < center);
    let mut left = right;
    let (mut previous, mut current) = (0.0, 0.0);
    for _ in 0..=n / 2 {
        let down = (left > 0).then(|| center - sorted[left - 1]);
        let up = sorted.get(right).map(|x| x - center);
        previous = current;
        current = match (down, up) {
            (Some(down), Some(up)) if down < up => {
                left -= 1;
                down
            }
            (_, Some(up)) => {
                right += 1;
                up
            }
            (Some(down), None) => {
                left -= 1;
                down
            }
            (None, None) => break,
        };
    }
    Some(if n.is_multiple_of(2) { f64::midpoint(previous, current) } else { current })
}

/// Sorts `values` ascending; NaN must have been left out.
pub fn sort(values: &mut [f64]) {
    values.sort_unstable_by(f64::total_cmp);
}

/// The newest values in order of arrival and of size, for exact rolling quantiles.
#[derive(Clone, Debug)]
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
