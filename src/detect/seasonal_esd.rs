//! Seasonal hybrid ESD (Hochenbaum, Vallis & Kejariwal 2017), made causal.
//!
//! The published method decomposes a whole series and tests it at once. Here the season comes from a fit on what is
//! known so far ([`super::season`]), and each new value is judged against the residuals of the newest normal values,
//! cleaned of outliers by the generalised ESD test. Without a season the residual is the value itself.
//!
//! Units: the metric's. Cost: one ESD test over the window for each value learned.

use std::collections::VecDeque;
use std::sync::Arc;

use super::esd;
use super::robust::SortedWindow;
use super::season::Season;
use super::zscore::{Expectation, FEWEST};
use crate::series::Timestamp;

/// Residuals the test looks at.
const WINDOW: usize = 240;

/// The seasonal residuals of one metric.
#[derive(Clone, Debug)]
pub struct SeasonalEsd {
    /// Share of the window that may be outliers.
    max_outliers: f64,
    values: VecDeque<(Timestamp, f64)>,
    residuals: SortedWindow,
    season: Option<Arc<Season>>,
    /// Of the residuals, without the season.
    level: Option<Expectation>,
}

impl SeasonalEsd {
    /// A detector that takes at most `max_anomalies` percent of its window for outliers.
    pub fn new(max_anomalies: f64) -> Self {
        Self {
            max_outliers: max_anomalies / 100.0,
            values: VecDeque::with_capacity(WINDOW),
            residuals: SortedWindow::new(WINDOW),
            season: None,
            level: None,
        }
    }

    /// What is expected at `at`; `None` before [`FEWEST`] values.
    pub fn expectation(&self, at: Timestamp) -> Option<Expectation> {
        let level = self.level?;
        Some(Expectation { expected: level.expected + self.seasonal(at), ..level })
    }

    fn seasonal(&self, at: Timestamp) -> f64 {
        self.season.as_ref().map_or(0.0, |season| season.at(at))
    }

    /// Takes in a normal value.
    pub fn learn(&mut self, at: Timestamp, value: f64) {
        if self.values.len() == WINDOW {
            self.values.pop_front();
        }
        self.values.push_back((at, value));
        self.residuals.push(value - self.seasonal(at));
        self.relevel();
    }

    fn relevel(&mut self) {
        let sorted = self.residuals.sorted();
        if sorted.len() >= FEWEST {
            let most = (self.max_outliers * sorted.len() as f64) as usize;
            self.level = Expectation::of(esd::without_outliers(sorted, most), 0.0);
        }
    }

    /// Takes up another season, or none, and reads the window anew by it.
    pub fn reseason(&mut self, season: Option<Arc<Season>>) {
        self.season = season;
        self.residuals.clear();
        for at in 0..self.values.len() {
            let (at, value) = self.values[at];
            self.residuals.push(value - self.seasonal(at));
        }
        self.relevel();
    }

    /// Starts over from `values`: the level that proved to be the new normal.
    pub fn adapt(&mut self, values: impl Iterator<Item = (Timestamp, f64)>) {
        self.values.clear();
        self.residuals.clear();
        values.for_each(|(at, value)| self.learn(at, value));
    }

    /// Period of the season in use.
    pub fn period(&self) -> Option<std::time::Duration> {
        self.season.as_ref().map(|season| season.period())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn filled(values: impl Iterator<Item = f64>) -> SeasonalEsd {
        let mut esd = SeasonalEsd::new(10.0);
        values.enumerate().for_each(|(i, v)| esd.learn(at(i as i64), v));
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
