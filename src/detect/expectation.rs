//! Where a metric is expected, once for all detectors: its level, and what recurs.
//!
//! expected(t) = level + gain × season(t). Every detector sees the *residual*: the distance from what is expected. A level that has proved to be the new normal moves the level (and
//! the gain, where its scale is another, as after a change of unit), so that the residual is what it was before, and nobody
//! has to learn anew.
//!
//! The level follows over a day. While no whole days are known it follows over an hour instead, because the daily course
//! is not told from the level yet.
//!
//! Units: the metric's. Cost: O(1) a value.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::recurrence::Recurs;
use super::robust;
use super::season::{Season, Seasonal};
use super::trend::Trend;
use crate::series::Timestamp;

/// Time the level is of, once whole days are known, and before.
const SLOW: Duration = Duration::from_hours(24);
const QUICK: Duration = Duration::from_hours(1);
/// Values the level is of at least.
const FEWEST: f64 = 20.0;
/// Withheld values remembered, evenly over the time they were withheld for.
const HELD: usize = 192;
/// Share of the distance from the old level that what is no level but a ramp puts between the first and the second third of
/// the time it is withheld for, and again between the second and the last: a straight one that has doubled since it was
/// found puts 0.18 there, and one that has grown by half 0.12.
const MOVES: f64 = 0.1;
/// Changes of clocks that are looked for: by an hour, as in spring and autumn. The time a comparison is of, and the standard
/// deviations beyond which a value counts no more.
pub const HOURS: [i64; 3] = [-3_600_000, 0, 3_600_000];
const COMPARED: Duration = Duration::from_hours(6);
const FAR: f64 = 5.0;
/// Another gain must leave less than so much of what the present one leaves.
const BETTER: f64 = 0.5;
/// A scale that is more or less than the usual one by less than this is the usual one.
const SAME_SCALE: f64 = 2.5;

/// The expectation of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baseline {
    interval: Duration,
    /// Whether values are residuals already, around 0.
    is_null: bool,
    season: Option<Arc<Season>>,
    level: Trend,
    gain: f64,
    held: Held,
    /// Milliseconds that clocks have been changed by since the season was found.
    shift: i64,
    /// How far values were from the season of late, if clocks were changed by each of [`HOURS`]; in standard deviations.
    misfit: [f64; 3],
}

/// Values that were withheld, thinned evenly.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Held {
    /// Each with what recurs at its time.
    values: Vec<(f64, f64)>,
    stride: usize,
    passed: usize,
}

/// What is expected at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The value, and the range around it that is expected as well.
    pub value: f64,
    /// See `value`.
    pub low: f64,
    /// See `value`.
    pub high: f64,
    /// Units of the metric that one unit of a residual stands for.
    pub unit: f64,
}

impl Expected {
    /// How far `value` lies from the range that is expected; 0 within it.
    pub fn residual(&self, value: f64) -> f64 {
        (value - value.clamp(self.low, self.high)) / self.unit
    }

    /// The value that a residual stands for.
    pub fn value_of(&self, residual: f64) -> f64 {
        self.value + residual * self.unit
    }
}

impl Baseline {
    /// Of a metric that is seen each `interval`.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            is_null: false,
            season: None,
            level: Trend::new(span(interval, QUICK), u32::MAX),
            gain: 1.0,
            held: Held::default(),
            shift: 0,
            misfit: [0.0; 3],
        }
    }

    /// Of what is a residual already: 0 is expected, whatever comes.
    pub fn of_residuals() -> Self {
        Self { is_null: true, ..Self::new(Duration::from_secs(1)) }
    }

    /// What is expected at `at`; `None` before the first value.
    pub fn at(&self, at: Timestamp) -> Option<Expected> {
        if self.is_null {
            return Some(Expected { value: 0.0, low: 0.0, high: 0.0, unit: 1.0 });
        }
        let level = self.level.level()?;
        let Seasonal { center, low, high } = self.seasonal(at);
        let value = level + self.gain * center;
        Some(Expected {
            value,
            low: value + self.gain * low,
            high: value + self.gain * high,
            unit: self.gain,
        })
    }

    /// What happens about `at` in most periods and is over soon, where something does.
    pub fn recurs(&self, at: Timestamp) -> Option<Recurs> {
        let at = Timestamp::from_millis(at.millis() + self.shift);
        let (quiet, reaches) = self.season.as_ref()?.recurs(at)?;
        let value = |relative: f64| Some(self.level.level()? + self.gain * relative);
        Some(Recurs { quiet: value(quiet)?, reaches: value(reaches)? })
    }

    fn seasonal(&self, at: Timestamp) -> Seasonal {
        self.seasonal_at(at, 0)
    }

    /// The same as if clocks were `later` milliseconds on.
    fn seasonal_at(&self, at: Timestamp, later: i64) -> Seasonal {
        let at = Timestamp::from_millis(at.millis() + self.shift + later);
        self.season.as_ref().map_or(Seasonal::NONE, |season| season.at(at))
    }

    /// Takes note of how well a value fits the season, and how well it would if clocks were changed by an hour.
    pub fn compare(&mut self, at: Timestamp, value: f64) {
        let (Some(level), Some(usual)) =
            (self.level.level(), self.level.deviation().filter(|usual| *usual > 0.0))
        else {
            return;
        };
        if !self.knows_days() {
            return;
        }
        let share = 1.0 / span(self.interval, COMPARED);
        for (nth, later) in HOURS.iter().enumerate() {
            let Seasonal { center, low, high } = self.seasonal_at(at, *later);
            let off = value - level - self.gain * center;
            // What may be missing or may be there tells nothing of clocks: a short job would be one that moved.
            let off = off - off.clamp(self.gain * low, self.gain * high);
            let off = (off.abs() / usual).min(FAR);
            self.misfit[nth] += share * (off - self.misfit[nth]);
        }
    }

    /// How much better each of [`HOURS`] has fit than no change, in standard deviations; `None` without a season.
    pub fn betters(&self) -> Option<[f64; 3]> {
        let recurs = self.season.as_ref().is_some_and(|season| !season.period().is_zero());
        recurs.then(|| self.misfit.map(|misfit| self.misfit[1] - misfit))
    }

    /// Clocks were changed by so many milliseconds.
    pub fn change_clock(&mut self, later: i64) {
        self.shift += later;
        self.misfit = [0.0; 3];
    }

    /// What `value` is without what recurs.
    fn level_of(&self, at: Timestamp, value: f64) -> f64 {
        match self.at(at) {
            Some(expected) => {
                self.level.level().unwrap_or(0.0) + value - value.clamp(expected.low, expected.high)
            }
            None => value,
        }
    }

    /// Takes in a normal value; `floor` is the least scale of a residual.
    pub fn learn(&mut self, at: Timestamp, value: f64, floor: f64) {
        if self.is_null {
            return;
        }
        let unit = self.at(at).map_or(1.0, |expected| expected.unit);
        self.level.learn(self.level_of(at, value), floor * unit);
    }

    /// Remembers a value that is not learned.
    pub fn withhold(&mut self, at: Timestamp, value: f64) {
        let center = self.seasonal(at).center;
        self.held.push((value, center));
    }

    /// Forgets what was withheld: it has ended.
    pub fn release(&mut self) {
        self.held = Held::default();
    }

    /// Whether what is withheld has a level, rather than going away from the old one further and further.
    pub fn is_level(&self) -> bool {
        let Some([first, middle, last]) = self.held.thirds(self.gain) else { return true };
        let away = last - self.level.level().unwrap_or(last);
        let goes = |step: f64| step * away.signum() > MOVES * away.abs();
        !(goes(middle - first) && goes(last - middle))
    }

    /// What was withheld is the new normal: its level, and its scale where that is another, which shows in what recurs or,
    /// where nothing does, in how far values stray.
    pub fn adapt(&mut self) {
        let held = std::mem::take(&mut self.held).values;
        if self.is_null {
            return;
        }
        let newest = &held[held.len() / 2..];
        let Some((level, scale)) = spread(newest, self.gain) else { return };
        let (mut level, mut times) = (level, 1.0);
        if newest.len() >= FEWEST as usize {
            let steep = slope(newest).filter(|steep| *steep > 0.0);
            let told = steep.and_then(|steep| Some((steep, spread(newest, steep)?)));
            if let Some((steep, (its, rest))) = told {
                if rest < BETTER * scale {
                    (level, times) = (its, steep / self.gain);
                }
            } else if let (Some(before), Some(usual)) = (self.level.level(), self.level.deviation()) {
                // Another unit changes the level and the scale alike; a scale alone is no gain.
                let (of_level, of_scale) = (level / before, scale / usual);
                let is_same = |ratio: f64| (SAME_SCALE.recip()..=SAME_SCALE).contains(&ratio);
                if !is_same(of_level) && is_same(of_scale / of_level) {
                    times = of_level;
                }
            }
        }
        self.gain *= times;
        self.level.rescale(times);
        self.level.move_to(level);
    }

    /// Goes on with what is known to recur.
    pub fn reseason(&mut self, season: Option<Arc<Season>>, at: Timestamp) {
        let knew = self.knows_days();
        let before = self.seasonal(at).center;
        // A season that is found anew is of clocks as they are, but for the days before they were changed: these are fewer than
        // the others once it has been found seven times.
        self.season = season;
        let learned_days = self.knows_days() && !knew;
        if learned_days {
            self.gain = 1.0;
            self.level.respan(span(self.interval, SLOW));
        }
        let Some(level) = self.level.level() else { return };
        if let Some(season) = self.season.as_ref().filter(|_| learned_days) {
            let (level, deviation) = season.level();
            self.level.begin_at(level, deviation);
        } else {
            self.level.move_to(level + self.gain * (before - self.seasonal(at).center));
        }
    }

    /// The level and what a unit of a residual stands for, whatever the hour.
    pub fn level(&self) -> Option<(f64, f64)> {
        if self.is_null {
            return Some((0.0, 1.0));
        }
        Some((self.level.level()?, self.gain))
    }

    fn knows_days(&self) -> bool {
        self.season.as_ref().is_some_and(|season| season.knows_days())
    }

    /// What recurs.
    pub fn season(&self) -> Option<Arc<Season>> {
        self.season.clone()
    }
}

fn span(interval: Duration, time: Duration) -> f64 {
    (time.as_secs_f64() / interval.as_secs_f64().max(1e-3)).max(FEWEST)
}

impl Held {
    fn push(&mut self, value: (f64, f64)) {
        self.passed += 1;
        if self.passed < self.stride {
            return;
        }
        self.passed = 0;
        if self.values.len() == HELD {
            robust::halve(&mut self.values);
            self.stride = 2 * self.stride.max(1);
        }
        self.values.push(value);
    }

    /// Medians of each third, without what recurs.
    fn thirds(&self, gain: f64) -> Option<[f64; 3]> {
        let third = self.values.len() / 3;
        let median = |nth: usize| Some(spread(&self.values[nth * third..(nth + 1) * third], gain)?.0);
        Some([median(0)?, median(1)?, median(2)?])
    }
}

/// Median and scaled MAD of values without `gain` times what recurs at their time; `None` of nothing.
fn spread(values: &[(f64, f64)], gain: f64) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = values.iter().map(|(value, center)| value - gain * center).collect();
    robust::sort(&mut sorted);
    let level = robust::median(&sorted)?;
    Some((level, robust::MAD_TO_SIGMA * robust::mad(&sorted, level)?))
}

/// How much of what recurs is in the values, by least squares; `None` where nothing recurs.
fn slope(values: &[(f64, f64)]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| values.iter().map(of).sum::<f64>() / n;
    let (value, center) = (mean(|v| v.0), mean(|v| v.1));
    let square: f64 = values.iter().map(|v| (v.1 - center).powi(2)).sum();
    let product: f64 = values.iter().map(|v| (v.0 - value) * (v.1 - center)).sum();
    (square > 0.0).then(|| product / square)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::season::{self, History, Period};

    const STEP: Duration = Duration::from_mins(5);
    const DAILY: usize = 288;
    /// Days that a season is fitted on.
    const DAYS: usize = 10;
    /// Days that a baseline goes on for after that.
    const SINCE: usize = 3;

    /// The value at each row.
    type Values<'a> = &'a dyn Fn(usize) -> f64;

    fn noise(i: usize) -> f64 {
        use rand_core::Rng;
        f64::from(rand_pcg::Pcg64Mcg::new(i as u128 + 1).next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0
    }

    fn day(i: usize) -> f64 {
        10.0 * (i as f64 / DAILY as f64 * std::f64::consts::TAU).sin()
    }

    /// The middle of a step.
    fn at(i: usize) -> Timestamp {
        Timestamp::default() + STEP * i as u32 + STEP / 2
    }

    fn residual(baseline: &Baseline, i: usize, value: f64) -> f64 {
        baseline.at(at(i)).unwrap().residual(value)
    }

    fn learned(values: impl Iterator<Item = f64>) -> Baseline {
        let mut baseline = Baseline::new(STEP);
        values.enumerate().for_each(|(i, value)| baseline.learn(at(i), value, 0.0));
        baseline
    }

    /// A baseline that knows the day of `value` from [`DAYS`] of it, and has gone on with it for [`SINCE`] days.
    fn seasonal(value: impl Fn(usize) -> f64) -> Baseline {
        let values = || (0..DAYS * DAILY).map(&value);
        let steps = values().map(|value| Some([value; 3])).collect();
        let season = season::fit(&History { origin: 0, step: STEP, steps }, &Period::Auto, Duration::ZERO);
        assert_eq!(season.as_ref().unwrap().period(), Duration::from_hours(24));
        let mut baseline = learned(values());
        baseline.reseason(season.map(Arc::new), at(DAYS * DAILY));
        (DAYS * DAILY..(DAYS + SINCE) * DAILY).for_each(|i| baseline.learn(at(i), value(i), 0.0));
        baseline
    }

    /// Median and MAD of what is left of a day of `value` after row `from`, while it is learned.
    fn left(baseline: &mut Baseline, from: usize, value: impl Fn(usize) -> f64) -> (f64, f64) {
        let mut residuals = Vec::new();
        for i in from..from + DAILY {
            residuals.push(residual(baseline, i, value(i)));
            baseline.learn(at(i), value(i), 0.0);
        }
        robust::sort(&mut residuals);
        let center = robust::median(&residuals).unwrap();
        (center, robust::mad(&residuals, center).unwrap())
    }

    #[test]
    fn nothing_is_expected_before_the_first_value() {
        assert_eq!(Baseline::new(STEP).at(at(0)), None);
        assert!(learned(std::iter::once(5.0)).at(at(1)).is_some());
    }

    #[test]
    fn a_short_job_that_does_not_come_is_no_change_of_clocks() {
        let job = |i: usize| if (30..34).contains(&(i % DAILY)) { 80.0 } else { 5.0 } + noise(i);
        let mut baseline = seasonal(job);
        let from = (DAYS + SINCE) * DAILY;
        for i in from..from + DAILY {
            baseline.compare(at(i), 5.0 + noise(i));
            let betters = baseline.betters().unwrap();
            // A quarter is taken for a change of clocks.
            assert!(betters.iter().all(|better| *better < 0.2), "at {i}: {betters:?}");
        }
    }

    #[test]
    fn residuals_lie_around_zero_with_and_without_a_season() {
        let flat = |i: usize| 50.0 + noise(i);
        let (center, mad) = left(&mut learned((0..DAILY).map(flat)), DAILY, flat);
        // Half of a uniform variable on ±1 are within a half.
        assert!(center.abs() < 0.15 && (mad - 0.5).abs() < 0.1, "{center} {mad}");
        let daily = |i: usize| 50.0 + day(i) + noise(i);
        let (center, mad) = left(&mut seasonal(daily), (DAYS + SINCE) * DAILY, daily);
        assert!(center.abs() < 0.15 && mad < 0.6, "{center} {mad}");
    }

    #[test]
    fn a_step_that_is_adapted_to_leaves_a_residual_of_zero() {
        let flat = |i: usize| 50.0 + noise(i);
        let daily = |i: usize| 50.0 + day(i) + noise(i);
        let cases: [(Baseline, usize, Values<'_>); 2] = [
            (learned((0..DAILY).map(flat)), DAILY, &flat),
            (seasonal(daily), (DAYS + SINCE) * DAILY, &daily),
        ];
        for (mut baseline, from, usual) in cases {
            let stepped = |i: usize| usual(i) + 30.0;
            let until = from + 100;
            assert!(residual(&baseline, from, stepped(from)) > 20.0);
            (from..until).for_each(|i| baseline.withhold(at(i), stepped(i)));
            assert!(baseline.is_level());
            baseline.adapt();
            let (center, mad) = left(&mut baseline, until, stepped);
            assert!(center.abs() < 0.3 && mad < 0.7, "{center} {mad}");
        }
    }

    #[test]
    fn a_step_soon_after_the_day_became_known_is_no_change_of_scale() {
        let daily = |i: usize| 50.0 + day(i) + noise(i);
        let stepped = |i: usize| daily(i) + 30.0;
        let mut baseline = Baseline::new(STEP);
        let from = DAYS * DAILY;
        (0..from).for_each(|i| baseline.learn(at(i), daily(i), 0.0));
        baseline.reseason(seasonal(daily).season(), at(from));
        (from..from + 100).for_each(|i| baseline.withhold(at(i), stepped(i)));
        baseline.adapt();
        let gain = baseline.gain;
        assert_eq!(gain, 1.0, "it strays as before");
    }

    #[test]
    fn a_change_of_unit_that_is_adapted_to_leaves_residuals_of_the_usual_size() {
        let bytes = |i: usize| 50_000.0 + 1000.0 * noise(i);
        let kilobytes = |i: usize| bytes(i) / 1000.0;
        let mut baseline = learned((0..DAILY).map(bytes));
        let usual = left(&mut baseline.clone(), DAILY, bytes).1;
        let until = 2 * DAILY;
        (DAILY..until).for_each(|i| baseline.withhold(at(i), kilobytes(i)));
        assert!(baseline.is_level());
        baseline.adapt();
        let (center, mad) = left(&mut baseline, until, kilobytes);
        assert!(center.abs() < 0.3 * usual, "{center} of {usual}");
        assert!((0.6..1.6).contains(&(mad / usual)), "{mad} for {usual}");
    }

    #[test]
    fn a_change_of_unit_of_a_metric_with_a_day_leaves_residuals_of_the_usual_size() {
        let bytes = |i: usize| 1000.0 * (50.0 + day(i) + noise(i));
        let kilobytes = |i: usize| bytes(i) / 1000.0;
        let mut baseline = seasonal(bytes);
        let from = (DAYS + SINCE) * DAILY;
        let until = from + DAILY / 4;
        (from..until).for_each(|i| baseline.withhold(at(i), kilobytes(i)));
        baseline.adapt();
        let (center, mad) = left(&mut baseline, until, kilobytes);
        // The noise is ±1000 in the old unit, and the day ±10 000.
        assert!(center.abs() < 500.0 && mad < 2000.0, "{center} {mad}");
    }

    #[test]
    fn where_days_are_known_before_the_first_value_the_level_follows_over_a_day_too() {
        let flat = |i: usize| 50.0 + noise(i);
        let moved = |season: Option<Arc<Season>>, first: bool| {
            let mut baseline = Baseline::new(STEP);
            if first {
                baseline.reseason(season.clone(), at(0));
            }
            (0..4 * DAILY).for_each(|i| baseline.learn(at(i), flat(i), 0.0));
            if !first {
                baseline.reseason(season, at(4 * DAILY));
            }
            let before = baseline.level().unwrap().0;
            (0..12).for_each(|i| baseline.learn(at(4 * DAILY + i), 52.0, 0.0));
            baseline.level().unwrap().0 - before
        };
        let steps = (0..4 * DAILY).map(|i| Some([flat(i); 3])).collect();
        let season = season::fit(&History { origin: 0, step: STEP, steps }, &Period::Auto, Duration::ZERO);
        let season = season.map(Arc::new);
        let (later, first) = (moved(season.clone(), false), moved(season, true));
        assert!(later < 0.3, "in an hour it moves by a tenth of the way: {later}");
        assert!(first < 0.3, "and so it does here: {first}");
    }

    #[test]
    fn a_ramp_is_no_level_and_what_stays_where_it_is_is_one() {
        let usual = learned((0..DAILY).map(|i| 50.0 + noise(i)));
        let withheld = |value: &dyn Fn(usize) -> f64| {
            let mut baseline = usual.clone();
            (DAILY..2 * DAILY).for_each(|i| baseline.withhold(at(i), value(i)));
            baseline.is_level()
        };
        assert!(!withheld(&|i| 50.0 + 0.2 * (i - DAILY) as f64 + noise(i)));
        assert!(!withheld(&|i| 50.0 - 0.2 * (i - DAILY) as f64 + noise(i)));
        assert!(withheld(&|i| 80.0 + noise(i)));
    }

    #[test]
    fn what_is_withheld_is_bounded_and_spread_evenly_over_its_time() {
        let mut held = Held::default();
        (0..100_000).for_each(|i| held.push((f64::from(i), 0.0)));
        assert!((HELD / 2..=HELD).contains(&held.values.len()), "{}", held.values.len());
        let [first, middle, last] = held.thirds(1.0).unwrap();
        for (third, of) in [(first, 1.0), (middle, 3.0), (last, 5.0)] {
            assert!((third / 100_000.0 - of / 6.0).abs() < 0.03, "{third}");
        }
    }
}
