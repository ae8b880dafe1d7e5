//! Seasonal hybrid ESD (Hochenbaum, Vallis & Kejariwal 2017), made causal.
//!
//! The published method decomposes a whole series and tests it at once. Here the season comes from a fit on what is
//! known so far ([`super::season`]) and the trend from a mean of about a day that no outlier pulls; each new value is
//! judged against the residuals of the newest normal values, cleaned of outliers by the generalised ESD test. Without a
//! season the residual is the distance from the trend.
//!
//! The residuals are of the last day, thinned evenly where it has more values than the window: a level that follows
//! within minutes would follow an incident as well.
//!
//! Units: the metric's. Cost: one ESD test over the window for each residual kept, O(1) amortised a value.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::esd;
use super::robust::{self, SortedWindow};
use super::season::Season;
use super::trend::Trend;
use super::zscore::{Expectation, FEWEST};
use crate::series::Timestamp;

/// Residuals the test looks at.
const WINDOW: usize = 288;
/// Time they span, once it has been watched for as long.
const SPAN: Duration = Duration::from_hours(24);
/// Values that the trend spans at least.
const SHORTEST_TREND: f64 = 20.0;

/// The seasonal residuals of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeasonalEsd {
    /// Share of the window that may be outliers.
    max_outliers: f64,
    values: VecDeque<(Timestamp, f64)>,
    /// One value in so many is kept; at most one in `thinnest`.
    stride: usize,
    thinnest: usize,
    passed: usize,
    residuals: SortedWindow,
    season: Option<Arc<Season>>,
    /// Of the values without the season.
    trend: Trend,
    /// Of the residuals.
    spread: Option<Expectation>,
}

impl SeasonalEsd {
    /// A detector that takes at most `max_anomalies` percent of its window for outliers, and sees a value each
    /// `interval`; `hold` values in a row that are far out are the new level.
    pub fn new(max_anomalies: f64, interval: Duration, hold: u32) -> Self {
        let day = SPAN.as_secs_f64() / interval.as_secs_f64().max(1e-3);
        Self {
            stride: 1,
            thinnest: ((day / WINDOW as f64).round() as usize).max(1),
            passed: 0,
            max_outliers: max_anomalies / 100.0,
            values: VecDeque::with_capacity(WINDOW),
            residuals: SortedWindow::new(WINDOW),
            season: None,
            trend: Trend::new(day.max(SHORTEST_TREND), hold),
            spread: None,
        }
    }

    /// What is expected at `at`; `None` before [`FEWEST`] values.
    pub fn expectation(&self, at: Timestamp) -> Option<Expectation> {
        let (spread, level) = (self.spread?, self.trend.level()?);
        let expected = spread.expected + level + self.seasonal(at);
        Some(Expectation { expected, ..spread }.floored(1e-3 * expected.abs()))
    }

    /// Values held.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether no value is held.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn seasonal(&self, at: Timestamp) -> f64 {
        self.season.as_ref().map_or(0.0, |season| season.at(at))
    }

    /// Takes in a normal value; `floor` is the least scale of a residual.
    pub fn learn(&mut self, at: Timestamp, value: f64, floor: f64) {
        let without_season = value - self.seasonal(at);
        let before = self.trend.level();
        self.trend.learn(without_season, floor);
        self.passed += 1;
        if self.passed < self.stride {
            return;
        }
        self.passed = 0;
        if self.values.len() == WINDOW {
            self.make_room();
        }
        self.values.push_back((at, value));
        self.residuals.push(before.or(self.trend.level()).map_or(0.0, |level| without_season - level));
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
        self.reread();
    }

    fn respread(&mut self) {
        let sorted = self.residuals.sorted();
        if sorted.len() >= FEWEST {
            let most = (self.max_outliers * sorted.len() as f64) as usize;
            self.spread = Expectation::of(esd::without_outliers(sorted, most), 0.0);
        }
    }

    /// Takes up another season, or none, and reads the window anew by it.
    pub fn reseason(&mut self, season: Option<Arc<Season>>) {
        self.season = season;
        let mut without: Vec<f64> = self.values.iter().map(|(at, v)| v - self.seasonal(*at)).collect();
        robust::sort(&mut without);
        if let Some(level) = robust::median(&without) {
            self.trend.move_to(level);
        }
        self.reread();
        self.respread();
    }

    fn reread(&mut self) {
        self.residuals.clear();
        let level = self.trend.level().unwrap_or(0.0);
        for at in 0..self.values.len() {
            let (at, value) = self.values[at];
            self.residuals.push(value - self.seasonal(at) - level);
        }
    }

    /// Starts over from `values`: the level that proved to be the new normal.
    pub fn adapt(&mut self, values: impl Iterator<Item = (Timestamp, f64)>, floor: f64) {
        self.values.clear();
        self.residuals.clear();
        self.trend.clear();
        (self.stride, self.passed) = (1, 0);
        values.for_each(|(at, value)| self.learn(at, value, floor));
    }

    /// The season in use.
    pub fn season(&self) -> Option<Arc<Season>> {
        self.season.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn filled(values: impl Iterator<Item = f64>) -> SeasonalEsd {
        let mut esd = SeasonalEsd::new(10.0, Duration::from_mins(5), 60);
        values.enumerate().for_each(|(i, v)| esd.learn(at(i as i64), v, 0.0));
        esd
    }

    #[test]
    fn a_tenth_of_outliers_moves_neither_level_nor_scale() {
        let clean = filled((0..240).map(|i| f64::from(i % 7)));
        let dirty = filled((0..240).map(|i| if i % 12 == 0 { 1e4 } else { f64::from(i % 7) }));
        let (clean, dirty) = (clean.expectation(at(241)).unwrap(), dirty.expectation(at(241)).unwrap());
        assert!((clean.expected - dirty.expected).abs() <= 1.0);
        assert!((clean.scale - dirty.scale).abs() < 0.5, "{} {}", clean.scale, dirty.scale);
    }

    #[test]
    fn with_a_season_the_expectation_follows_the_hour_and_the_scale_is_that_of_the_rest() {
        let wave = |minute: i64| 50.0 + 40.0 * (minute as f64 / 60.0 * std::f64::consts::TAU).sin();
        let noise = |minute: i64| f64::from((minute * 7919 % 11) as i32 - 5) * 0.1;
        let mut esd = filled((0..240).map(|m| wave(m) + noise(m)));
        let unseasoned = esd.expectation(at(255)).unwrap();
        let profile = (0..60).map(|m| wave(m) - 50.0).collect();
        esd.reseason(Some(Arc::new(Season::new(at(0), std::time::Duration::from_mins(1), profile))));
        for minute in [240, 255, 285] {
            let expectation = esd.expectation(at(minute)).unwrap();
            assert!((expectation.expected - wave(minute)).abs() < 0.5);
            assert!(expectation.scale < unseasoned.scale / 20.0);
        }
    }
}
