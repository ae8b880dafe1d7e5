//! Values that stand alone: one far out between others that are not is no course, and news for one check only.
//!
//! As long as values are out, what looks back, on recent values or on their mean, sees them as they came. Once they are back
//! after no more than may stand alone, it takes those for the nearest of the values before. Far out is what lies beyond the
//! twelve values before by more than twice what those reach; back is what is not, or is far nearer to them than those that are out.
//!
//! Cost: constant time and memory a value, no allocation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Values that say how far values reach, and of how few that cannot be said.
const BEFORE: usize = 12;
const FEWEST: usize = 4;
/// Times the reach of the values before that one may lie beyond them. With fewer, the unusual among normal values is taken for
/// stray as well, and what follows it for more unusual than it is.
const BEYOND: f64 = 2.0;
/// Share of the distance of those that are out within which a value is back.
const BACK: f64 = 0.25;
/// Values in a row that may stand alone, at most: an incident opens at the third.
pub(super) const MOST: usize = 2;
/// How long they may be out: where checks are further apart one value is a fault of a minute or more.
const LONGEST: Duration = Duration::from_secs(30);

/// Values in a row that may stand alone, with checks so far apart.
pub(super) fn alone(interval: Duration) -> usize {
    let checks = LONGEST.as_secs_f64() / interval.as_secs_f64().max(1e-3);
    (checks as usize).min(MOST)
}

/// How many of the newest values are out, by how much at least, and between which the values before them lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stray {
    out: usize,
    least: f64,
    low: f64,
    high: f64,
}

impl Stray {
    /// What does not count if `value` comes next: nothing while it is out as well.
    pub(super) fn alone_before(&self, value: f64) -> Self {
        if self.is_out(value) { Self::default() } else { *self }
    }

    /// Takes in the next value, where `most` in a row may stand alone, and says what does not count of those `before` it, newest
    /// first.
    pub(super) fn take(&mut self, value: f64, most: usize, before: impl Iterator<Item = f64>) -> Self {
        let alone = self.alone_before(value);
        if self.out == 0 {
            (self.low, self.high) = bounds(before);
        }
        if self.is_out(value) && self.out < most {
            self.least =
                if self.out == 0 { self.distance(value) } else { self.least.min(self.distance(value)) };
            self.out += 1;
        } else {
            self.out = 0;
        }
        alone
    }

    fn is_out(&self, value: f64) -> bool {
        let reach = BEYOND * (self.high - self.low);
        let back = if self.out > 0 { BACK * self.least } else { 0.0 };
        self.distance(value) > reach.max(back)
    }

    fn distance(&self, value: f64) -> f64 {
        (self.low - value).max(value - self.high)
    }

    /// Whether nothing is left out.
    pub(super) fn is_none(&self) -> bool {
        self.out == 0
    }

    /// `value`, the `nth` from the newest on, as it is looked back on.
    pub(super) fn of(&self, nth: usize, value: f64) -> f64 {
        if nth < self.out { value.clamp(self.low, self.high) } else { value }
    }

    /// The same in place, of `values`, newest first.
    pub(super) fn replace<'a>(&self, values: impl Iterator<Item = &'a mut f64>) {
        values.take(self.out).for_each(|value| *value = value.clamp(self.low, self.high));
    }
}

/// Between which values lie; anywhere, where there are too few to say.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high, mut n) = (f64::INFINITY, f64::NEG_INFINITY, 0);
    for value in values.take(BEFORE) {
        (low, high, n) = (low.min(value), high.max(value), n + 1);
    }
    if n < FEWEST { (f64::MIN, f64::MAX) } else { (low, high) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is remembered of `values`, where `most` in a row may stand alone.
    fn remembered(values: &[f64], most: usize) -> Vec<f64> {
        let (mut stray, mut kept) = (Stray::default(), Vec::<f64>::new());
        for value in values {
            stray.take(*value, most, kept.iter().rev().copied()).replace(kept.iter_mut().rev());
            kept.push(*value);
        }
        kept
    }

    const CALM: [f64; 6] = [5.0, 6.0, 5.0, 6.0, 5.0, 6.0];

    #[test]
    fn values_that_stand_alone_are_the_nearest_of_those_before_and_others_are_what_they_are() {
        for (then, most, kept) in [
            (&[90.0, 5.0, 6.0][..], 1, &[6.0, 5.0, 6.0][..]),
            (&[-90.0, 5.0, 6.0], 1, &[5.0, 5.0, 6.0]),
            (&[90.0, -90.0, 5.0], 2, &[6.0, 5.0, 5.0]),
            (&[90.0, 5.0, 90.0, 5.0], 1, &[6.0, 5.0, 6.0, 5.0]),
            (&[90.0, 91.0, 5.0], 1, &[90.0, 91.0, 5.0]),
            (&[90.0, 91.0, 92.0, 5.0], 2, &[90.0, 91.0, 92.0, 5.0]),
            (&[90.0, 5.0, 6.0], 0, &[90.0, 5.0, 6.0]),
            // Twice as far again as the values before reach is not out.
            (&[8.0, 5.0], 1, &[8.0, 5.0]),
            (&[8.1, 5.0], 1, &[6.0, 5.0]),
            (&[90.0, 25.0, 5.0], 1, &[6.0, 25.0, 5.0]),
            (&[90.0, 28.0, 5.0], 1, &[90.0, 28.0, 5.0]),
            // While they are out they are what they are.
            (&[90.0], 1, &[90.0]),
            (&[90.0, 91.0], 2, &[90.0, 91.0]),
        ] {
            let values = [&CALM[..], then].concat();
            assert_eq!(remembered(&values, most)[CALM.len()..], *kept, "{then:?}");
        }
    }

    #[test]
    fn what_is_looked_back_on_before_a_value_is_what_is_remembered_after_it() {
        for next in [5.0, 90.0, -90.0] {
            let (mut stray, mut kept) = (Stray::default(), Vec::new());
            for value in CALM.into_iter().chain([95.0]) {
                stray.take(value, 2, kept.iter().rev().copied());
                kept.push(value);
            }
            let alone = stray.alone_before(next);
            let looked: Vec<f64> =
                kept.iter().rev().enumerate().map(|(nth, value)| alone.of(nth, *value)).collect();
            stray.take(next, 2, kept.iter().rev().copied()).replace(kept.iter_mut().rev());
            assert!(kept.iter().rev().eq(&looked), "{next}: {kept:?} {looked:?}");
        }
    }

    #[test]
    fn whatever_lasts_is_remembered_as_it_came() {
        let ramp: Vec<f64> = (0..50).map(f64::from).collect();
        let step: Vec<f64> = (0..50).map(|i| if i < 20 { 1.0 } else { 1e9 }).collect();
        for values in [ramp, step] {
            assert_eq!(remembered(&values, 2), values);
        }
    }

    #[test]
    fn the_first_values_are_not_out() {
        assert_eq!(remembered(&[1.0, 2.0, 1.0, 90.0, 1.0], 2)[3], 90.0);
    }

    #[test]
    fn a_value_stands_alone_where_it_is_a_matter_of_seconds() {
        for (seconds, expected) in
            [(0.1, 2), (1.0, 2), (10.0, 2), (15.0, 2), (30.0, 1), (60.0, 0), (3600.0, 0)]
        {
            assert_eq!(alone(Duration::from_secs_f64(seconds)), expected, "{seconds} s");
        }
    }
}
