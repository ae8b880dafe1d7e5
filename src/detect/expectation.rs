//! Where a metric is expected, once for all detectors: its level, and what recurs.
//!
//! expected(t) = level + gain × season(t). Every detector sees the *residual*: the distance from what is expected. A level
//! that has proved to be the new normal moves the level (and the gain, where its scale is another, as after a change of
//! unit), so that the residual is what it was before, and nobody has to learn anew. For a day the former level stays expected
//! as well, as the new one may be undone, or be wrong for other hours of the day.
//!
//! The level follows over a day. While no whole days are known it follows over an hour instead, because the daily course
//! is not told from the level yet.
//!
//! Units: the metric's. Cost: O(1) a value.

mod held;

use std::sync::Arc;
use std::time::Duration;

use held::Held;
use serde::{Deserialize, Serialize};

use super::recurrence::Recurs;
use super::season::{Season, Seasonal};
use super::trend::Trend;
use crate::series::Timestamp;

/// Time the level is of, once whole days are known, and before.
const SLOW: Duration = Duration::from_hours(24);
const QUICK: Duration = Duration::from_hours(1);
/// Values the level is of at least.
const FEWEST: f64 = 20.0;
/// Time for which a metric may go back to where it was before it adapted: a day, which shows the new level at every hour.
const GOES_BACK: Duration = SLOW;
/// Values in a row that are nearer to the former level from which on it is the level again: as many as open an incident by
/// default.
const BACK: u32 = 3;
/// Changes of clocks that are looked for: by an hour, as in spring and autumn. The time a comparison is of, and the standard
/// deviations beyond which a value counts no more.
pub const HOURS: [i64; 3] = [-3_600_000, 0, 3_600_000];
const COMPARED: Duration = Duration::from_hours(6);
const FAR: f64 = 5.0;

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
    /// Where it was before it adapted, for as long as it may go back there.
    former: Option<Former>,
    /// Milliseconds that clocks have been changed by since the season was found.
    shift: i64,
    /// How far values were from the season of late, if clocks were changed by each of [`HOURS`]; in standard deviations.
    misfit: [f64; 3],
}

/// Where a metric was before it adapted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Former {
    level: f64,
    gain: f64,
    until: Timestamp,
    /// Values in a row that were nearer to it.
    nearer: u32,
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

    /// The same without its side, in the metric's unit.
    fn off(&self, value: f64) -> f64 {
        (value - value.clamp(self.low, self.high)).abs()
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
            former: None,
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
        Some(self.of(self.level.level()?, self.gain, at))
    }

    /// What is expected of `value`: of a metric that has just adapted to another level, what is nearer to it of the two. For
    /// a level that was normal an hour ago is no anomaly, and whether the day goes with the new one is not known yet.
    pub fn of_value(&self, at: Timestamp, value: f64) -> Option<Expected> {
        let now = self.at(at)?;
        let former = self.former.filter(|former| at < former.until);
        let former = former.map(|former| self.of(former.level, former.gain, at));
        Some(former.filter(|former| former.off(value) < now.off(value)).unwrap_or(now))
    }

    fn of(&self, level: f64, gain: f64, at: Timestamp) -> Expected {
        let Seasonal { center, low, high } = self.seasonal(at);
        let value = level + gain * center;
        Expected { value, low: value + gain * low, high: value + gain * high, unit: gain }
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
        if self.is_null || self.is_of_former(at, value) {
            return;
        }
        let unit = self.at(at).map_or(1.0, |expected| expected.unit);
        self.level.learn(self.level_of(at, value), floor * unit);
    }

    /// Whether a normal value belongs to the level before the last, which is the level again after a few of them.
    fn is_of_former(&mut self, at: Timestamp, value: f64) -> bool {
        self.former = self.former.filter(|former| at < former.until);
        let Some(former) = self.former else { return false };
        let Some(now) = self.at(at) else { return false };
        if self.of(former.level, former.gain, at).off(value) >= now.off(value) {
            self.former = Some(Former { nearer: 0, ..former });
            return false;
        }
        self.former = Some(Former { nearer: former.nearer + 1, ..former });
        if former.nearer + 1 == BACK {
            self.level.rescale(former.gain / self.gain);
            self.level.move_to(former.level);
            self.gain = former.gain;
            self.former = None;
        }
        true
    }

    /// Remembers a value that is not learned.
    pub fn withhold(&mut self, at: Timestamp, value: f64) {
        let recurs = self.seasonal(at).center;
        self.held.push(value, recurs);
    }

    /// Forgets what was withheld: it has ended.
    pub fn release(&mut self) {
        self.held = Held::default();
    }

    /// Whether what is withheld has a level, rather than going away from the old one further and further.
    pub fn is_level(&self) -> bool {
        self.held.is_level(self.level.level(), self.gain)
    }

    /// What was withheld until `now` is the new normal: its level, and its scale where that is another.
    pub fn adapt(&mut self, now: Timestamp) {
        let held = std::mem::take(&mut self.held);
        let new_normal = held.new_normal(&self.level, self.gain).filter(|_| !self.is_null);
        let Some((level, times)) = new_normal else { return };
        self.former = self.level.level().map(|level| Former {
            level,
            gain: self.gain,
            until: now + GOES_BACK,
            nearer: 0,
        });
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
            self.former = None;
        } else {
            let moved = before - self.seasonal(at).center;
            self.level.move_to(level + self.gain * moved);
            self.former.iter_mut().for_each(|former| former.level += former.gain * moved);
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

#[cfg(test)]
mod tests;
