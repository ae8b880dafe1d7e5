//! Seasonal hybrid ESD (Hochenbaum, Vallis & Kejariwal 2017), made causal.
//!
//! The published method decomposes a whole series and tests it at once. Here season and level come from what is known so far
//! ([`super::expectation`]); each new residual is judged against those of the newest normal values, cleaned of outliers by the
//! generalised ESD test.
//!
//! The residuals are of the last day, thinned evenly where it has more values than the window: a level that follows
//! within minutes would follow an incident as well.
//!
//! Units: the metric's. Cost: one ESD test over the window for each residual kept, O(1) amortised a value.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::esd;
use super::robust::SortedWindow;
use super::zscore::{Expectation, FEWEST};

/// Residuals the test looks at.
const WINDOW: usize = 288;
/// Time they span, once it has been watched for as long.
const SPAN: Duration = Duration::from_hours(24);

/// The seasonal residuals of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeasonalEsd {
    /// Share of the window that may be outliers.
    max_outliers: f64,
    values: VecDeque<f64>,
    /// One value in so many is kept; at most one in `thinnest`.
    stride: usize,
    thinnest: usize,
    passed: usize,
    sorted: SortedWindow,
    /// Of the residuals.
    spread: Option<Expectation>,
}

impl SeasonalEsd {
    /// A detector that takes at most `max_anomalies` percent of its window for outliers, and sees a value each
    /// `interval`.
    pub fn new(max_anomalies: f64, interval: Duration) -> Self {
        let day = SPAN.as_secs_f64() / interval.as_secs_f64().max(1e-3);
        Self {
            stride: 1,
            thinnest: ((day / WINDOW as f64).round() as usize).max(1),
            passed: 0,
            max_outliers: max_anomalies / 100.0,
            values: VecDeque::with_capacity(WINDOW),
            sorted: SortedWindow::new(WINDOW),
            spread: None,
        }
    }

    /// What is expected next; `None` before [`FEWEST`] values.
    pub fn expectation(&self) -> Option<Expectation> {
        self.spread
    }

    /// Takes at most so many percent of its window for outliers.
    pub fn allow(&mut self, max_anomalies: f64) {
        self.max_outliers = max_anomalies / 100.0;
    }

    /// Values held.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no value is held.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Takes in a normal residual.
    pub fn learn(&mut self, residual: f64) {
        self.passed += 1;
        if self.passed < self.stride {
            return;
        }
        self.passed = 0;
        if self.values.len() == WINDOW {
            self.make_room();
        }
        self.values.push_back(residual);
        self.sorted.push(residual);
        self.respread();
    }

    /// A full window is thinned by half as long as that may be; then the oldest leaves.
    fn make_room(&mut self) {
        if self.stride >= self.thinnest {
            self.values.pop_front();
            return;
        }
        self.stride = (2 * self.stride).min(self.thinnest);
        let mut at = 0;
        self.values.retain(|_| {
            at += 1;
            at % 2 == 0
        });
        self.sorted.clear();
        self.values.iter().for_each(|residual| self.sorted.push(*residual));
    }

    fn respread(&mut self) {
        let sorted = self.sorted.sorted();
        if sorted.len() >= FEWEST {
            let most = (self.max_outliers * sorted.len() as f64) as usize;
            self.spread = Expectation::of(esd::without_outliers(sorted, most), 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: impl Iterator<Item = f64>) -> SeasonalEsd {
        let mut esd = SeasonalEsd::new(10.0, Duration::from_mins(5));
        values.for_each(|v| esd.learn(v));
        esd
    }

    #[test]
    fn a_tenth_of_outliers_moves_neither_level_nor_scale() {
        let clean = filled((0..240).map(|i| f64::from(i % 7)));
        let dirty = filled((0..240).map(|i| if i % 12 == 0 { 1e4 } else { f64::from(i % 7) }));
        let (clean, dirty) = (clean.expectation().unwrap(), dirty.expectation().unwrap());
        assert!((clean.expected - dirty.expected).abs() <= 1.0);
        assert!((clean.scale - dirty.scale).abs() < 0.5, "{} {}", clean.scale, dirty.scale);
    }
}
