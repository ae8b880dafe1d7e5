//! The recent shape of a metric: what it is, and how it got there.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::series::Timestamp;

/// Values a shape looks back on.
pub(super) const BACK: usize = 12;
/// Values before which there is no shape.
const FEWEST: usize = 4;
/// Values remembered, flagged ones included.
const MEMORY: usize = BACK;

/// The last values of one metric, flagged or not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    values: VecDeque<(Timestamp, f64)>,
}

/// Number of features of one metric.
pub const FEATURES: usize = 5;

/// Value, its distance from the mean of the twelve before, their spread, its step, and the mean it leaves behind.
pub type Shape = [f64; FEATURES];

impl Recent {
    /// Takes in a value.
    pub(super) fn push(&mut self, at: Timestamp, value: f64) {
        if self.values.len() == MEMORY {
            self.values.pop_front();
        }
        self.values.push_back((at, value));
    }

    /// Has the values before the newest be these.
    pub(super) fn restore(&mut self, values: &[f64]) {
        let before = self.values.iter_mut().rev().skip(1);
        before.zip(values.iter().rev()).for_each(|((_, to), value)| *to = *value);
    }

    /// Has every value be another, by `map`.
    pub(super) fn map(&mut self, map: impl Fn(f64) -> f64) {
        self.values.iter_mut().for_each(|(_, value)| *value = map(*value));
    }

    /// Forgets what was before a gap: a step across it is not a shape.
    pub fn clear(&mut self) {
        self.values.clear();
    }

    /// The value `n` values ago, the newest being one ago.
    pub fn back(&self, n: usize) -> Option<f64> {
        let at = self.values.len().checked_sub(n)?;
        self.values.get(at).map(|(_, value)| *value)
    }

    /// The shape if `value` came next; `None` while there is too little to call it one.
    pub fn shape_with(&self, value: f64) -> Option<Shape> {
        if self.values.len() < FEWEST {
            return None;
        }
        let (mut last, mut sum, mut squares, mut n) = (value, 0.0, 0.0, 0.0);
        for (_, v) in self.values.iter().rev().take(BACK) {
            let v = *v;
            // Relative to the new value, so that the spread of large, steady values does not drown in rounding.
            let difference = v - value;
            sum += difference;
            squares += difference * difference;
            n += 1.0;
            if n == 1.0 {
                last = v;
            }
        }
        let mean = sum / n;
        let spread = (squares / n - mean * mean).max(0.0).sqrt();
        Some([value, -mean, spread, value - last, value + mean])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(values: &[f64]) -> Recent {
        let mut recent = Recent::default();
        for (at, value) in values.iter().enumerate() {
            recent.push(Timestamp::from_millis(at as i64), *value);
        }
        recent
    }

    #[test]
    fn a_shape_is_value_distance_spread_step_and_mean() {
        let shape = recent(&[1.0, 3.0, 1.0, 3.0]).shape_with(10.0).unwrap();
        assert_eq!(shape, [10.0, 8.0, 1.0, 7.0, 2.0]);
    }

    #[test]
    fn only_the_last_twelve_count() {
        let mut values = vec![1e9; 20];
        values.extend([5.0; 12]);
        assert_eq!(recent(&values).shape_with(5.0).unwrap(), [5.0, 0.0, 0.0, 0.0, 5.0]);
    }

    #[test]
    fn three_values_have_no_shape_yet() {
        assert!(recent(&[1.0, 2.0, 3.0]).shape_with(4.0).is_none());
    }
}
