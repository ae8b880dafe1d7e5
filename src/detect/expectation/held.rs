//! Values that are withheld while it is open whether they are an incident or the new normal.
//!
//! Takes values with what recurs at their time; gives whether they have a level, and which. Bounded: they are thinned
//! evenly over the time that they were withheld for.

use serde::{Deserialize, Serialize};

use super::super::robust;
use super::super::trend::Trend;
use super::FEWEST;

/// Values remembered.
pub(super) const MOST: usize = 192;
/// Share of the distance from the old level that what is no level but a ramp puts between the first and the second third of
/// the time it is withheld for, and again between the second and the last: a straight one that has doubled since it was
/// found puts 0.18 there, and one that has grown by half 0.12.
const MOVES: f64 = 0.1;
/// Another gain must leave less than so much of what the present one leaves.
const BETTER: f64 = 0.5;
/// A scale that is more or less than the usual one by less than this is the usual one.
const SAME_SCALE: f64 = 2.5;

/// Values that were withheld, thinned evenly.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    /// Each with what recurs at its time.
    values: Vec<(f64, f64)>,
    stride: usize,
    passed: usize,
}

impl Held {
    /// Takes in a value, and what recurs at its time.
    pub(super) fn push(&mut self, value: f64, recurs: f64) {
        self.passed += 1;
        if self.passed < self.stride {
            return;
        }
        self.passed = 0;
        if self.values.len() == MOST {
            robust::halve(&mut self.values);
            self.stride = 2 * self.stride.max(1);
        }
        self.values.push((value, recurs));
    }

    /// Values held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether they have a level, rather than going away from `level` further and further.
    pub(super) fn is_level(&self, level: Option<f64>, gain: f64) -> bool {
        let Some([first, middle, last]) = self.thirds(gain) else { return true };
        let away = last - level.unwrap_or(last);
        let goes = |step: f64| step * away.signum() > MOVES * away.abs();
        !(goes(middle - first) && goes(last - middle))
    }

    /// The level they have in the end, and the factor on `gain` by which their scale is another, which shows in what recurs
    /// or, where nothing does, in how far values stray. `None` where nothing is held.
    pub(super) fn new_normal(&self, before: &Trend, gain: f64) -> Option<(f64, f64)> {
        let newest = &self.values[self.values.len() / 2..];
        let (level, scale) = spread(newest, gain)?;
        if newest.len() < FEWEST as usize {
            return Some((level, 1.0));
        }
        let steep = slope(newest).filter(|steep| *steep > 0.0);
        if let Some(steep) = steep {
            let (its, rest) = spread(newest, steep)?;
            return Some(if rest < BETTER * scale { (its, steep / gain) } else { (level, 1.0) });
        }
        let (Some(was), Some(usual)) = (before.level(), before.deviation()) else {
            return Some((level, 1.0));
        };
        // Another unit changes the level and the scale alike; a scale alone is no gain.
        let (of_level, of_scale) = (level / was, scale / usual);
        let is_same = |ratio: f64| (SAME_SCALE.recip()..=SAME_SCALE).contains(&ratio);
        let is_unit = !is_same(of_level) && is_same(of_scale / of_level);
        Some((level, if is_unit { of_level } else { 1.0 }))
    }

    /// Medians of each third, without what recurs.
    pub(super) fn thirds(&self, gain: f64) -> Option<[f64; 3]> {
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
