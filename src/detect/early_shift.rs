//! A level shift in the first hours: a value that stays far outside all that was normal before, however softly it got there.
//! While little is known a baseline follows a ramp, and a calibration doubts; what the value has become shows against what it
//! was ten minutes ago.
//!
//! Takes the values of one metric and how far a deviation matters, in its unit. Cost: O(1) a value, some 200 bytes.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect_filter::EffectFilter;

/// What was normal is compared with as it was so long ago: by then a ramp that the baseline follows has become a shift.
const AGO: Duration = Duration::from_mins(10);
/// Parts of that time in which a range is kept.
const PARTS: usize = 10;
/// A shift is so many times `min_deviation`, as a band is three standard deviations, and as far as what was normal went.
const FAR: f64 = 3.0;
/// Time for which it must stay, and checks at least.
const STAYS: (Duration, u32) = (Duration::from_mins(1), 3);

/// Where the normal values of one metric were.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EarlyShift {
    /// Lowest and highest normal value of each part of the last ten minutes, newest last, and checks in the newest.
    newest: VecDeque<(f64, f64)>,
    checks: usize,
    /// Those of the time before.
    before: Option<(f64, f64)>,
    /// Normal values, and their sum.
    normal: u64,
    sum: f64,
    /// Checks in a row for which it has been far from them.
    far: u32,
}

impl EarlyShift {
    /// Whether `value` is a shift that has stayed.
    pub fn is_shift(&self, value: f64, effect_filter: &EffectFilter, interval: Duration) -> bool {
        let (time, checks) = STAYS;
        let stays = self.far + 1;
        stays >= checks && interval * stays >= time && self.is_far(value, effect_filter)
    }

    /// Takes note of `value`, which is `normal` or not.
    pub fn take(&mut self, value: f64, effect_filter: &EffectFilter, normal: bool, interval: Duration) {
        self.far = if self.is_far(value, effect_filter) { self.far.saturating_add(1) } else { 0 };
        if !normal {
            return;
        }
        self.normal += 1;
        self.sum += value;
        let component = (AGO / PARTS as u32).as_secs_f64() / interval.as_secs_f64().max(1e-3);
        if self.newest.is_empty() || self.checks as f64 >= component {
            self.newest.push_back((value, value));
            self.checks = 0;
        }
        self.checks += 1;
        if let Some(newest) = self.newest.back_mut() {
            *newest = (newest.0.min(value), newest.1.max(value));
        }
        if self.newest.len() > PARTS
            && let Some((low, high)) = self.newest.pop_front()
        {
            self.widen(low, high);
        }
    }

    /// What lies between these has proved to be normal.
    pub fn accept(&mut self, low: f64, high: f64) {
        self.widen(low, high);
        self.far = 0;
    }

    fn widen(&mut self, low: f64, high: f64) {
        let (lowest, highest) = self.before.unwrap_or((low, high));
        self.before = Some((lowest.min(low), highest.max(high)));
    }

    fn is_far(&self, value: f64, effect_filter: &EffectFilter) -> bool {
        let Some((low, high)) = self.before.filter(|_| effect_filter.min_deviation > 0.0) else {
            return false;
        };
        let mean = self.sum / self.normal.max(1) as f64;
        let far = FAR * effect_filter.min_deviation;
        (effect_filter.above && value > high + far.max(high - mean))
            || (effect_filter.below && value < low - far.max(mean - low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(10);
    const MINUTE: usize = 6;
    const UP: EffectFilter = EffectFilter { below: false, min_deviation: 5.0, ..EffectFilter::OPEN };

    /// Between 40 and 44.
    fn usual(check: usize) -> f64 {
        40.0 + 4.0 * (check as f64 * 0.618_034).fract()
    }

    /// The first check of `values`, after so many minutes of usual ones, at which a shift is told by `gate`.
    fn told(
        minutes: usize,
        values: impl Iterator<Item = f64>,
        effect_filter: &EffectFilter,
    ) -> Option<usize> {
        let mut shift = EarlyShift::default();
        (0..minutes * MINUTE).for_each(|check| shift.take(usual(check), effect_filter, true, STEP));
        values.enumerate().find_map(|(nth, value)| {
            let is_shift = shift.is_shift(value, effect_filter, STEP);
            shift.take(value, effect_filter, true, STEP);
            is_shift.then_some(nth)
        })
    }

    #[test]
    fn a_ramp_that_everything_follows_is_told_by_what_it_has_become() {
        for minutes in [12, 30] {
            let ramp = |nth: usize| 42.0 + 31.0 * (nth as f64 / (8 * MINUTE) as f64).min(1.0);
            let at = told(minutes, (0..20 * MINUTE).map(ramp), &UP).unwrap();
            assert!(at <= 8 * MINUTE, "{minutes} {at}");
        }
    }

    #[test]
    fn what_is_small_short_slow_or_on_the_other_side_is_no_shift() {
        let small = (0..60).map(|_| 55.0);
        let short = (0..60).map(|nth| if nth % 10 < 5 { 90.0 } else { 42.0 });
        let slow = (0..600).map(|nth| 42.0 + f64::from(nth) * 0.1);
        let below = (0..60).map(|_| 0.0);
        let cases: [(&str, Box<dyn Iterator<Item = f64>>); 4] = [
            ("small", Box::new(small)),
            ("short", Box::new(short)),
            ("slow", Box::new(slow)),
            ("below", Box::new(below)),
        ];
        for (what, values) in cases {
            assert_eq!(told(30, values, &UP), None, "{what}");
        }
        let either = EffectFilter { below: true, ..UP };
        assert_eq!(told(30, (0..60).map(|_| 0.0), &either), Some(5), "a minute of it");
        assert_eq!(told(30, (0..60).map(|_| 90.0), &EffectFilter::OPEN), None, "nobody said what matters");
    }

    #[test]
    fn a_value_that_strays_far_is_not_far_out_at_once() {
        let wide = |check: usize| if check.is_multiple_of(9) { 80.0 } else { usual(check) };
        let mut shift = EarlyShift::default();
        (0..180).for_each(|check| shift.take(wide(check), &UP, true, STEP));
        assert!(!shift.is_far(100.0, &UP), "it went as far from its mean");
        assert!(shift.is_far(130.0, &UP));
    }
}
