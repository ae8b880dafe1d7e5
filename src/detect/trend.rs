//! A level and a scale that follow a metric at one span, in constant time and memory.
//!
//! Exponentially weighted mean and mean absolute deviation of winsorised residuals: a value beyond three scales moves
//! the level by no more than one at three, and the scale by less. Beyond [`GATE`] scales nothing is learned at all, so
//! that an incident no other detector sees does not become the level either, until it has held as long as the
//! configuration says; then the mean of what was held is the level.

use serde::{Deserialize, Serialize};

use super::robust;
use super::zscore::Expectation;

/// Mean absolute deviation to standard deviation of a normal sample.
const TO_SIGMA: f64 = 1.2533;
/// Scales beyond which a value moves the level no further.
const CLIP: f64 = 3.0;
/// Scales beyond which a value teaches nothing.
const GATE: f64 = 6.0;
/// Values before anything is expected.
const FEWEST: u32 = 10;

/// Level and scale of one metric at one span.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Trend {
    share: f64,
    level: f64,
    deviation: f64,
    seen: u32,
    first: [f64; FEWEST as usize],
    /// Values beyond the gate in a row, and their sum.
    beyond: (u32, f64),
    /// Values in a row beyond the gate that are the new level.
    hold: u32,
}

impl Trend {
    /// Follows over about `span` values; `hold` values in a row that are far out are the new level.
    pub fn new(span: f64, hold: u32) -> Self {
        Self { share: 2.0 / (span + 1.0), hold, ..Self::default() }
    }

    /// What is expected next; `floor` is the least scale. `None` before ten values.
    pub fn expectation(&self, floor: f64) -> Option<Expectation> {
        (self.seen >= FEWEST).then(|| self.current(floor))
    }

    /// The level; `None` before the first value.
    pub fn level(&self) -> Option<f64> {
        (self.seen > 0).then_some(self.level)
    }

    /// Standard deviation of normal values around the level; `None` before ten values.
    pub fn deviation(&self) -> Option<f64> {
        (self.seen >= FEWEST).then_some(TO_SIGMA * self.deviation)
    }

    /// Goes on from `level`, around which values have that standard deviation.
    pub fn begin_at(&mut self, level: f64, deviation: f64) {
        (self.level, self.deviation) = (level, deviation / TO_SIGMA);
    }

    /// Goes on with values that stray so many times as much.
    pub fn rescale(&mut self, times: f64) {
        self.deviation *= times;
    }

    /// Follows over about `span` values from here on.
    pub fn respan(&mut self, span: f64) {
        self.share = 2.0 / (span + 1.0);
    }

    /// Goes on from another level.
    pub fn move_to(&mut self, level: f64) {
        self.level = level;
    }

    fn current(&self, floor: f64) -> Expectation {
        let scale = (TO_SIGMA * self.deviation).max(floor).max(1e-9);
        Expectation { expected: self.level, scale }
    }

    /// Takes in a normal value.
    pub fn learn(&mut self, value: f64, floor: f64) {
        if self.seen < FEWEST {
            self.begin(value);
            return;
        }
        let scale = self.current(floor).scale;
        let residual = value - self.level;
        if residual.abs() > GATE * scale {
            self.hold(value);
            return;
        }
        self.beyond = (0, 0.0);
        // While little is known each value counts as much as any before it.
        let share = self.share.max(1.0 / f64::from(self.seen + 1));
        let bound = CLIP * scale;
        self.level += share * residual.clamp(-bound, bound);
        let distance = (value - self.level).abs();
        if residual.abs() <= bound {
            self.deviation += share * (distance - self.deviation);
        } else {
            self.deviation += 0.3 * share * (CLIP * scale / TO_SIGMA - self.deviation);
        }
        self.seen = self.seen.saturating_add(1);
    }

    /// The first values count alike, by their median: one of them may be an outlier.
    fn begin(&mut self, value: f64) {
        self.first[self.seen as usize] = value;
        self.seen += 1;
        let mut first = self.first;
        let first = &mut first[..self.seen as usize];
        robust::sort(first);
        self.level = robust::median(first).unwrap_or(value);
        let mad = robust::mad(first, self.level).unwrap_or(0.0);
        self.deviation = robust::MAD_TO_SIGMA * mad / TO_SIGMA;
    }

    fn hold(&mut self, value: f64) {
        self.beyond = (self.beyond.0 + 1, self.beyond.1 + value);
        if self.beyond.0 >= self.hold {
            self.level = self.beyond.1 / f64::from(self.beyond.0);
            self.beyond = (0, 0.0);
        }
    }

    /// Starts over.
    pub fn clear(&mut self) {
        *self = Self { share: self.share, hold: self.hold, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: u32 = 60;

    fn fed(span: f64, values: impl Iterator<Item = f64>) -> Trend {
        let mut trend = Trend::new(span, HOLD);
        values.for_each(|value| trend.learn(value, 0.0));
        trend
    }

    fn noise(i: i32) -> f64 {
        f64::from(i * 7919 % 101) / 50.0 - 1.0
    }

    #[test]
    fn level_and_scale_are_those_of_the_values() {
        let expectation = fed(100.0, (0..2000).map(|i| 50.0 + noise(i))).expectation(0.0).unwrap();
        assert!((expectation.expected - 50.0).abs() < 0.1, "{expectation:?}");
        // The mean absolute deviation of a uniform variable on ±1 is a half.
        assert!((expectation.scale - 0.5 * TO_SIGMA).abs() < 0.08, "{expectation:?}");
    }

    #[test]
    fn a_value_far_out_moves_nothing_and_one_somewhat_out_a_little() {
        let before = fed(100.0, (0..500).map(noise));
        let mut far = before.clone();
        far.learn(1e6, 0.0);
        assert_eq!(far.expectation(0.0), before.expectation(0.0));
        let mut out = before.clone();
        out.learn(before.level + 5.0 * before.current(0.0).scale, 0.0);
        let moved = out.level - before.level;
        assert!(moved > 0.0 && moved < 4.0 * before.share * before.current(0.0).scale, "{moved}");
    }

    #[test]
    fn the_shorter_span_follows_sooner() {
        let ramp = |span| fed(span, (0..300).map(|i| f64::from(i) * 0.1 + noise(i))).level;
        assert!(ramp(20.0) > ramp(100.0) + 1.0);
    }

    #[test]
    fn before_ten_values_nothing_is_expected() {
        assert!(fed(20.0, (0..9).map(noise)).expectation(0.0).is_none());
        assert!(fed(20.0, (0..10).map(noise)).expectation(0.0).is_some());
    }

    #[test]
    fn a_level_far_out_that_holds_is_the_new_one() {
        let held = |n| fed(100.0, (0..500).map(noise).chain((0..n).map(|i| 1000.0 + noise(i)))).level;
        assert!(held(59).abs() < 1.0, "{}", held(59));
        assert!((held(60) - 1000.0).abs() < 1.0, "{}", held(60));
    }
}
