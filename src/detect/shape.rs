//! The recent shape of a metric: what it is, and how it got there.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::stray::Stray;
use crate::series::Timestamp;

/// Values a shape looks back on.
pub(super) const BACK: usize = 12;
/// Values before which there is no shape.
const FEWEST: usize = 4;
/// Values remembered, flagged ones included: what a metric adapts to when its level proves to be the new normal.
const MEMORY: usize = 240;

/// The last values of one metric, flagged or not, but for those that stood alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    values: VecDeque<(Timestamp, f64)>,
    stray: Stray,
}

/// Number of features of one metric.
pub const FEATURES: usize = 5;

/// Value, its distance from the mean of the twelve before, their spread, its step, and the mean it leaves behind.
pub type Shape = [f64; FEATURES];

impl Recent {
    /// Takes in a value, where `most` in a row may stand alone, and says which of those before it did.
    pub(super) fn push(&mut self, at: Timestamp, value: f64, most: usize) -> Stray {
        let alone = self.stray.take(value, most, self.values.iter().rev().map(|(_, value)| *value));
        alone.replace(self.values.iter_mut().rev().map(|(_, value)| value));
        if self.values.len() == MEMORY {
            self.values.pop_front();
        }
        self.values.push_back((at, value));
        alone
    }

    /// Which of the newest values stand alone if `value` comes next.
    pub(super) fn alone_before(&self, value: f64) -> Stray {
        self.stray.alone_before(value)
    }

    /// Forgets what was before a gap: a step across it is not a shape.
    pub fn clear(&mut self) {
        self.values.clear();
        self.stray = Stray::default();
    }

    /// Values not older than `since`, oldest first.
    pub fn since(&self, since: Timestamp) -> impl Iterator<Item = (Timestamp, f64)> + '_ {
        self.values.iter().copied().filter(move |(at, _)| *at >= since)
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
        let (mut last, alone) = (value, self.alone_before(value));
        let (mut sum, mut squares, mut n) = (0.0, 0.0, 0.0);
        for (nth, (_, v)) in self.values.iter().rev().take(BACK).enumerate() {
            let v = alone.of(nth, *v);
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
            recent.push(Timestamp::from_millis(at as i64), *value, 0);
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
