//! Which season a metric has, if any, and its shape over one period.
//!
//! Periodogram (augurs) on the detrended history, refined by autocorrelation, because a periodogram's bins are wide
//! at long periods; then robust STL (Cleveland et al. 1990, by stlrs in f64); the season is kept only where it
//! explains a good part of what the trend leaves. The profile is the median over the periods seen, by phase.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::robust;
use crate::series::Timestamp;

/// Share of the detrended variance a season must explain.
const WEAKEST: f64 = 0.4;
/// Periods that must be held.
const PERIODS: usize = 2;
/// A period shorter than this many steps is noise rather than a season.
const SHORTEST: usize = 8;
/// Seasons that people and their machines have, however little of a metric they explain.
const USUAL: [Duration; 2] = [Duration::from_hours(24), Duration::from_hours(7 * 24)];
/// What a weak season must leave at most, of what there was; and how much less for each period missing.
const LEAVES: f64 = 0.97;
const LESS: f64 = 0.1;
/// Phases of a weak profile that are levelled out to either side, as a share of the period.
const LEVELLED: usize = 96;
/// How far around the periodogram's peak the autocorrelation looks.
const REFINE: f64 = 0.35;

/// The shape of one period: what to add to the level at each phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Season {
    origin: Timestamp,
    step: Duration,
    profile: Vec<f64>,
    /// A longer one, in what this one leaves.
    beside: Option<Box<Season>>,
}

impl Season {
    /// A season whose phase is 0 at `origin` and that has one value for each `step`.
    pub fn new(origin: Timestamp, step: Duration, profile: Vec<f64>) -> Self {
        Self { origin, step, profile, beside: None }
    }

    /// The same with a longer one beside it.
    #[must_use]
    pub fn beside(self, longer: Self) -> Self {
        Self { beside: Some(Box::new(longer)), ..self }
    }

    /// Length of one period.
    pub fn period(&self) -> Duration {
        self.step * self.profile.len() as u32
    }

    /// The seasonal part at `at`, interpolated between steps.
    pub fn at(&self, at: Timestamp) -> f64 {
        let n = self.profile.len();
        let step = self.step.as_millis().max(1) as i64;
        let offset = (at.millis() - self.origin.millis()).rem_euclid(step * n as i64);
        let phase = (offset / step) as usize;
        let share = (offset % step) as f64 / step as f64;
        let (here, next) = (self.profile[phase], self.profile[(phase + 1) % n]);
        here + share * (next - here) + self.beside.as_ref().map_or(0.0, |longer| longer.at(at))
    }
}

/// What to look for.
#[derive(Clone, Debug, PartialEq)]
pub enum Period {
    /// Whatever the history shows.
    Auto,
    /// The first of these that the history shows.
    OneOf(Vec<Duration>),
}

/// The season of `values`, one for each `step` from `origin` on; `None` where there is none, or too little history. Of
/// those up to `longer_than` nothing is asked.
pub fn fit(
    values: &[Option<f64>],
    origin: Timestamp,
    step: Duration,
    period: &Period,
    longer_than: Duration,
) -> Option<Season> {
    let filled = fill(values)?;
    let candidates: Vec<usize> = match period {
        Period::Auto => find_period(&filled).into_iter().collect(),
        Period::OneOf(periods) => periods.iter().map(|p| in_steps(*p, step)).collect(),
    };
    let shortest = in_steps(longer_than, step);
    let is_asked = |steps: &usize| *steps > shortest;
    let strong = candidates.iter().copied().filter(is_asked).find_map(|steps| profile(&filled, steps));
    let weak = || {
        let usual = USUAL.map(|period| in_steps(period, step));
        let candidates = if *period == Period::Auto { usual.to_vec() } else { candidates.clone() };
        candidates.into_iter().filter(is_asked).find_map(|steps| weak_profile(&filled, steps))
    };
    Some(Season::new(origin, step, strong.or_else(weak)?))
}

fn in_steps(period: Duration, step: Duration) -> usize {
    (period.as_secs_f64() / step.as_secs_f64()).round() as usize
}

/// Short gaps are bridged by the value before; a history with more gaps than values has no season to tell.
fn fill(values: &[Option<f64>]) -> Option<Vec<f64>> {
    let present = values.iter().flatten().count();
    if present < PERIODS * SHORTEST || present * 2 < values.len() {
        return None;
    }
    let mut last = *values.iter().flatten().next()?;
    let bridge = |value: &Option<f64>| {
        last = value.unwrap_or(last);
        last
    };
    Some(values.iter().map(bridge).collect())
}

fn find_period(values: &[f64]) -> Option<usize> {
    let longest = values.len() / PERIODS;
    if longest <= SHORTEST {
        return None;
    }
    let flat = detrend(values);
    if flat.iter().all(|x| x.abs() < 1e-12) {
        return None;
    }
    let detector = augurs::seasons::PeriodogramDetector::builder()
        .min_period(SHORTEST as u32)
        .max_period(longest as u32)
        .threshold(0.5)
        .build();
    // Peaks come in ascending order of power.
    let peak = detector.periodogram(&flat).peaks(0.5).last()?.period as usize;
    let reach = |factor: f64| ((peak as f64 * factor) as usize).clamp(SHORTEST, longest);
    let by_correlation = |a: &usize, b: &usize| correlation(&flat, *a).total_cmp(&correlation(&flat, *b));
    (reach(1.0 - REFINE)..=reach(1.0 + REFINE)).max_by(by_correlation)
}

fn detrend(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let (center, mean) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let moment = |(i, v): (usize, &f64)| (i as f64 - center) * (v - mean);
    let spread = (n * n - 1.0) * n / 12.0;
    let slope = values.iter().enumerate().map(moment).sum::<f64>() / spread;
    values.iter().enumerate().map(|(i, v)| v - mean - slope * (i as f64 - center)).collect()
}

/// Mean product at `lag`.
fn correlation(values: &[f64], lag: usize) -> f64 {
    let pairs = values.iter().zip(&values[lag.min(values.len())..]);
    pairs.map(|(a, b)| a * b).sum::<f64>() / (values.len() - lag).max(1) as f64
}

/// The profile of a season of `period` steps; `None` where it explains too little.
fn profile(values: &[f64], period: usize) -> Option<Vec<f64>> {
    if period < SHORTEST || values.len() < PERIODS * period {
        return None;
    }
    let decomposed = stlrs::params().robust(true).fit(values, period).ok()?;
    // Written so that a NaN, as from a constant series, fails.
    if !(WEAKEST..=1.0).contains(&decomposed.seasonal_strength()) {
        return None;
    }
    let level = |phase: usize| {
        let mut seen: Vec<f64> = decomposed.seasonal()[phase..].iter().step_by(period).copied().collect();
        robust::sort(&mut seen);
        robust::median(&seen)
    };
    (0..period).map(level).collect()
}

/// A profile that explains little and yet something: each phase's median over the periods, levelled out. That it explains
/// anything is judged by what the *other* periods foretell of each, or noise would have a season too.
fn weak_profile(values: &[f64], period: usize) -> Option<Vec<f64>> {
    if period < SHORTEST || values.len() < PERIODS * period {
        return None;
    }
    let mut others = vec![0.0; values.len()];
    let mut medians = vec![0.0; period];
    for phase in 0..period {
        let seen: Vec<f64> = values.iter().skip(phase).step_by(period).copied().collect();
        let mut sorted = seen.clone();
        robust::sort(&mut sorted);
        medians[phase] = robust::median(&sorted)?;
        for (nth, value) in seen.iter().enumerate() {
            let at = sorted.partition_point(|v| v < value);
            others[phase + nth * period] = median_without(&sorted, at)?;
        }
    }
    let reach = (period / LEVELLED).max(1);
    let foretold = levelled(&others, reach);
    let left = foretold.iter().zip(values).map(|(foretold, value)| value - foretold);
    let leaves = LEAVES - LESS * period as f64 / values.len() as f64;
    if spread(left)? >= leaves * spread(values.iter().copied())? {
        return None;
    }
    let mut sorted = medians.clone();
    robust::sort(&mut sorted);
    let center = robust::median(&sorted)?;
    Some(levelled(&medians, reach).into_iter().map(|level| level - center).collect())
}

/// Median of an ascending sample without its `at`-th value.
fn median_without(sorted: &[f64], at: usize) -> Option<f64> {
    let left = sorted.len().checked_sub(1).filter(|left| *left > 0)?;
    let nth = |n: usize| sorted[n + usize::from(n >= at)];
    Some(f64::midpoint(nth((left - 1) / 2), nth(left / 2)))
}

/// Mean of `reach` values to either side, around the end to the beginning.
fn levelled(values: &[f64], reach: usize) -> Vec<f64> {
    let n = values.len();
    let around = |at: usize| (0..=2 * reach).map(|step| values[(at + n + step - reach) % n]).sum::<f64>();
    (0..n).map(|at| around(at) / (2 * reach + 1) as f64).collect()
}

/// How far values stray: mostly by their MAD, and a little by their standard deviation, which rare peaks make.
fn spread(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    robust::sort(&mut sorted);
    let (n, mean) = (sorted.len() as f64, sorted.iter().sum::<f64>() / sorted.len() as f64);
    let deviation = (sorted.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
    Some(robust::mad(&sorted, robust::median(&sorted)?)? + 0.1 * deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_mins(5);

    fn noise(i: usize) -> f64 {
        use rand_core::Rng;
        f64::from(rand_pcg::Pcg64Mcg::new(i as u128 + 1).next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0
    }

    fn wave(n: usize, period: usize, slope: f64) -> Vec<Option<f64>> {
        let value = |i: usize| {
            10.0 * (i as f64 / period as f64 * std::f64::consts::TAU).sin() + slope * i as f64 + noise(i)
        };
        (0..n).map(|i| Some(value(i))).collect()
    }

    fn season(values: &[Option<f64>]) -> Option<Season> {
        fit(values, Timestamp::default(), STEP, &Period::Auto, Duration::ZERO)
    }

    #[test]
    fn a_period_is_found_on_a_trend_and_through_gaps() {
        for (n, period) in [(900, 288), (600, 60), (400, 24), (2016, 288)] {
            let mut values = wave(n, period, 0.05);
            values.iter_mut().step_by(17).for_each(|v| *v = None);
            let found = season(&values).unwrap_or_else(|| panic!("no season of {period} in {n}"));
            let steps = (found.period().as_secs() / STEP.as_secs()) as i64;
            assert!((steps - period as i64).abs() <= 1 + period as i64 / 100, "{steps} for {period}");
        }
    }

    #[test]
    fn the_profile_follows_the_wave_between_steps_as_well() {
        let found = fit(
            &wave(960, 96, 0.0),
            Timestamp::default(),
            STEP,
            &Period::OneOf(vec![STEP * 96]),
            Duration::ZERO,
        )
        .unwrap();
        for tenth in 0..960 {
            let at = f64::from(tenth) / 10.0;
            let expect = 10.0 * (at / 96.0 * std::f64::consts::TAU).sin();
            let got = found.at(Timestamp::from_millis((at * 300_000.0) as i64));
            assert!((got - expect).abs() < 1.2, "at {at}: {got} for {expect}");
        }
    }

    #[test]
    fn noise_and_constants_and_less_than_two_periods_have_no_season() {
        assert_eq!(season(&(0..600).map(|i| Some(noise(i))).collect::<Vec<_>>()), None);
        assert_eq!(season(&[Some(5.0); 600]), None);
        assert_eq!(season(&[]), None);
        assert_eq!(season(&[None; 600]), None);
        let day = Period::OneOf(vec![STEP * 288]);
        let asked = |n, longer_than| fit(&wave(n, 288, 0.0), Timestamp::default(), STEP, &day, longer_than);
        assert_eq!(asked(500, Duration::ZERO), None);
        assert!(asked(600, Duration::ZERO).is_some());
        assert_eq!(asked(600, STEP * 288), None);
    }

    #[test]
    fn a_day_that_explains_little_is_found_and_noise_has_none() {
        let values = |size: f64| -> Vec<Option<f64>> {
            let day = |i: usize| (i as f64 / 288.0 * std::f64::consts::TAU).sin();
            (0..10 * 288).map(|i| Some(size * day(i) + noise(i))).collect()
        };
        let found = season(&values(0.5)).unwrap();
        assert_eq!(found.period(), Duration::from_hours(24));
        assert_eq!(season(&values(0.0)), None);
    }
}
