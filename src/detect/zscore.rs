//! Rolling z-score: how many scales a value lies from the median of the newest normal values.
//!
//! Median and MAD instead of mean and standard deviation (Iglewicz & Hoaglin 1993), because a window that holds part
//! of an incident would otherwise hide the rest of it; and flagged values never enter the window at all, because the
//! best-known failure of the plain version is that it swallows the very incident it found.
//!
//! Units: the metric's. Cost: O(window) moves a value, no allocation.

use serde::{Deserialize, Serialize};

use super::robust::{self, MAD_TO_SIGMA, SortedWindow};

/// Values a window needs before it expects anything. Its scores need as many again to be calibrated, so a metric is
/// judged from its thirtieth value on.
pub const FEWEST: usize = 15;
/// Raw scores end here; further out nothing is learned from the distance.
pub const CAP: f64 = 1000.0;

/// Where the next value is expected and how far normal values stray, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// The value expected.
    pub expected: f64,
    /// Residual scale: 1.4826 × MAD of the residuals; above 0.
    pub scale: f64,
}

impl Expectation {
    /// Distance of `value` in scales, up to [`CAP`].
    pub fn distance(&self, value: f64) -> f64 {
        ((value - self.expected).abs() / self.scale).min(CAP)
    }

    /// The same with a scale of at least `floor`.
    #[must_use]
    pub fn floored(self, floor: f64) -> Self {
        Self { scale: self.scale.max(floor), ..self }
    }

    /// From ascending residuals around `offset`. The scale has two floors: half the mean absolute deviation, for
    /// values of which most are equal, and a thousandth of the level, below which nobody measures.
    pub(super) fn of(sorted: &[f64], offset: f64) -> Option<Self> {
        let center = robust::median(sorted)?;
        let mad = robust::mad(sorted, center)?;
        let spread = sorted.iter().map(|x| (x - center).abs()).sum::<f64>() / sorted.len() as f64;
        let expected = center + offset;
        let scale = (MAD_TO_SIGMA * mad).max(0.5 * spread).max(1e-3 * expected.abs()).max(1e-9);
        Some(Self { expected, scale })
    }
}

/// The rolling window of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rolling {
    window: SortedWindow,
    expectation: Option<Expectation>,
}

impl Rolling {
    /// A window of `window` values.
    pub fn new(window: usize) -> Self {
        Self { window: SortedWindow::new(window.max(FEWEST)), expectation: None }
    }

    /// What is expected next; `None` before [`FEWEST`] values.
    pub fn expectation(&self) -> Option<Expectation> {
        self.expectation
    }

    /// Takes in a normal value.
    pub fn learn(&mut self, value: f64) {
        self.window.push(value);
        if self.len() >= FEWEST {
            self.expectation = Expectation::of(self.window.sorted(), 0.0);
        }
    }

    /// Goes on with a window of `window` values, of which the newest are those held.
    pub fn resize(&mut self, window: usize) {
        self.window.resize(window.max(FEWEST));
    }

    /// Values held.
    pub fn len(&self) -> usize {
        self.window.sorted().len()
    }

    /// Whether the metric cannot be judged yet.
    pub fn is_young(&self) -> bool {
        self.len() < 2 * FEWEST
    }

    /// Whether no value is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: impl Iterator<Item = f64>) -> Rolling {
        let mut rolling = Rolling::new(100);
        values.for_each(|v| rolling.learn(v));
        rolling
    }

    #[test]
    fn nothing_is_expected_before_fifteen_values() {
        let ramp = |n: i32| filled((0..n).map(f64::from));
        assert!(ramp(14).expectation().is_none());
        assert!(ramp(15).expectation().is_some());
    }

    #[test]
    fn distance_is_in_scaled_median_absolute_deviations() {
        let rolling = filled((0..100).map(|i| f64::from(i % 5)));
        let expectation = rolling.expectation().unwrap();
        assert_eq!(expectation, Expectation { expected: 2.0, scale: MAD_TO_SIGMA });
        assert_eq!(expectation.distance(2.0 - 3.0 * MAD_TO_SIGMA), 3.0);
        assert_eq!(expectation.distance(1e12), CAP);
    }

    #[test]
    fn a_constant_metric_still_has_a_scale() {
        let expectation = filled(std::iter::repeat_n(50.0, 100)).expectation().unwrap();
        assert_eq!(expectation, Expectation { expected: 50.0, scale: 0.05 });
        assert!(filled(std::iter::repeat_n(0.0, 100)).expectation().unwrap().scale > 0.0);
    }
}
