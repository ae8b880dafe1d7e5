//! What recurs in a metric: its course over an hour, a day, a week or any period its history shows, and what happens at the
//! same time again and again.
//!
//! A season has one layer a period. A layer's center is the median over the periods seen, by phase, so that neither an
//! incident nor a holiday moves it; it is kept only where the *other* periods foretell each one better than nothing does
//! (leave one out), because noise has medians as well. Around the center lies a range: a value is expected anywhere in
//! what most periods reached about that time. So a backup that begins ten minutes late is what it was yesterday, and one
//! that is missing is not an outage.

mod period;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::robust::{self, SortedWindow};
use crate::series::Timestamp;

/// Periods that must be held.
const PERIODS: usize = 2;
/// A period shorter than this many steps is noise rather than a season.
const SHORTEST: usize = 8;
/// Seasons that people and their machines have, the shortest first.
const USUAL: [Duration; 3] = [HOUR, DAY, Duration::from_hours(7 * 24)];
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// What a layer must leave at most, of what there was; and how much less for each period missing.
const LEAVES: f64 = 0.97;
const LESS: f64 = 0.1;
/// Phases of a profile that are levelled out to either side, as a share of the period.
const LEVELLED: usize = 96;
/// How much earlier or later what recurs may happen, as a share of the period, and at most.
const EARLIER: usize = 96;
const MOST_EARLIER: Duration = Duration::from_mins(30);
/// Times the usual reach of a time of the period from which on what is reached there is an event of its own.
const EVENT: f64 = 4.0;
/// How much further than before an event may go.
const FURTHER: f64 = 1.25;
/// Newest periods that an event is looked for in, as many as a day has if that is more; it must be in more than half of them,
/// and in at least so many; of weeks and longer two suffice.
const NEWEST: usize = 7;
const REPEATS: usize = 3;
/// What is over sooner than this may be missing as well.
const SHORT: Duration = Duration::from_hours(2);

/// What recurs in one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Season {
    layers: Vec<Layer>,
    /// Whether whole days were looked at: what does not recur daily then has no daily course.
    knows_days: bool,
    /// Level of the newest day without what recurs, and the standard deviation around it.
    level: (f64, f64),
}

/// What recurs with one period; one value a step, from the epoch on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Layer {
    /// Milliseconds.
    step: i64,
    center: Vec<f32>,
    /// Expected range around the center: 0 and down, 0 and up.
    low: Vec<f32>,
    high: Vec<f32>,
}

/// What a season says of one time, in the metric's unit and relative to its level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seasonal {
    /// What is usual.
    pub center: f64,
    /// The range around it that is expected as well: 0 and down, 0 and up.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

impl Seasonal {
    /// Where nothing recurs.
    pub const NONE: Self = Self { center: 0.0, low: 0.0, high: 0.0 };
}

impl Season {
    /// The longest period that repeats.
    pub fn period(&self) -> Duration {
        let longest = self.layers.iter().map(|layer| layer.step as u64 * layer.center.len() as u64).max();
        Duration::from_millis(longest.unwrap_or(0))
    }

    /// Whether whole days were looked at.
    pub fn knows_days(&self) -> bool {
        self.knows_days
    }

    /// Level of the newest day without what recurs, and the standard deviation around it.
    pub fn level(&self) -> (f64, f64) {
        self.level
    }

    /// The same with what a longer history shows.
    #[must_use]
    pub fn beside(mut self, longer: Self) -> Self {
        self.layers.extend(longer.layers);
        self
    }

    /// What is expected at `at`, interpolated between steps.
    pub fn at(&self, at: Timestamp) -> Seasonal {
        let mut all = Seasonal::NONE;
        for layer in &self.layers {
            let own = layer.at(at.millis());
            all.center += own.center;
            (all.low, all.high) = (all.low.min(own.low), all.high.max(own.high));
        }
        all
    }
}

impl Layer {
    fn at(&self, millis: i64) -> Seasonal {
        // A value stands for the middle of its step.
        let (here, next, share) = place(millis - self.step / 2, self.step, self.center.len());
        Seasonal {
            center: mix(&self.center, here, next, share),
            low: f64::from(self.low[here].min(self.low[next])),
            high: f64::from(self.high[here].max(self.high[next])),
        }
    }
}

/// The steps of a period around a time, and how far it is from the first to the second.
fn place(millis: i64, step: i64, n: usize) -> (usize, usize, f64) {
    let offset = millis.rem_euclid(step * n as i64);
    let here = (offset / step) as usize;
    (here, (here + 1) % n, (offset % step) as f64 / step as f64)
}

fn mix(values: &[f32], here: usize, next: usize, share: f64) -> f64 {
    let (here, next) = (f64::from(values[here]), f64::from(values[next]));
    here + share * (next - here)
}

/// What to look for.
#[derive(Clone, Debug, PartialEq)]
pub enum Period {
    /// The usual ones, and whatever else the history shows.
    Auto,
    /// These, as far as the history shows them.
    OneOf(Vec<Duration>),
}

/// A metric's history on an even axis.
#[derive(Clone, Debug)]
pub struct History {
    /// Milliseconds since the epoch at which the first step begins; a multiple of `step`.
    pub origin: i64,
    /// Between two steps.
    pub step: Duration,
    /// Mean, lowest and highest value of each step; `None` where there was none.
    pub steps: Vec<Option<[f64; 3]>>,
}

impl History {
    /// Whether it has no more gaps than values, and enough of these.
    pub fn is_dense(&self) -> bool {
        let present = self.steps.iter().flatten().count();
        present >= PERIODS * SHORTEST && present * 2 >= self.steps.len()
    }

    /// Leaves out what `season` explains.
    pub fn less(&mut self, season: &Season) {
        let step = self.step.as_millis() as i64;
        for (at, values) in self.steps.iter_mut().enumerate() {
            let middle = self.origin + at as i64 * step + step / 2;
            let center = season.at(Timestamp::from_millis(middle)).center;
            values.iter_mut().flatten().for_each(|value| *value -= center);
        }
    }
}

/// What recurs in `history` with periods longer than `longer_than`; `None` where nothing does, or too little is known.
pub fn fit(history: &History, period: &Period, longer_than: Duration) -> Option<Season> {
    let mut rest = Rest::of(history)?;
    let mut season = Season::default();
    let shortest = rest.in_steps(longer_than);
    let periods: Vec<usize> =
        candidates(&rest, period).into_iter().filter(|steps| *steps > shortest).collect();
    // What is usual first, of all periods: what is left of one would look like an event of another.
    for steps in &periods {
        if let Some(layer) = rest.layer(*steps) {
            rest.take(&layer);
            season.layers.push(layer);
        }
    }
    for steps in &periods {
        if let Some(layer) = rest.events(*steps) {
            rest.take(&layer);
            season.layers.push(layer);
        }
    }
    let day = rest.in_steps(DAY).max(1);
    season.knows_days = rest.mean.len() >= PERIODS * day;
    season.level = rest.level(day)?;
    (!season.layers.is_empty() || season.knows_days).then_some(season)
}

fn candidates(rest: &Rest, period: &Period) -> Vec<usize> {
    let in_steps = |period: &Duration| (period.as_secs_f64() / rest.step.as_secs_f64()).round() as usize;
    let mut found: Vec<usize> = match period {
        Period::OneOf(periods) => periods.iter().map(in_steps).collect(),
        Period::Auto => {
            let usual = USUAL.iter().map(in_steps);
            let shown = period::find(&rest.mean);
            let is_new =
                |steps: &usize| USUAL.iter().map(in_steps).all(|usual| steps.abs_diff(usual) * 8 > usual);
            usual.chain(shown.filter(is_new)).collect()
        }
    };
    found.retain(|steps| *steps >= SHORTEST && rest.mean.len() >= PERIODS * steps);
    found.sort_unstable();
    found.dedup();
    found
}

/// What of a history is not explained yet; gaps are bridged.
struct Rest {
    step: Duration,
    /// Steps since the epoch at which it begins.
    first: i64,
    mean: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Rest {
    /// `None` where there are more gaps than values.
    fn of(history: &History) -> Option<Self> {
        let steps = &history.steps;
        if !history.is_dense() {
            return None;
        }
        let mut last = *steps.iter().flatten().next()?;
        let mut rest = Self {
            step: history.step,
            first: history.origin.div_euclid(history.step.as_millis().max(1) as i64),
            mean: Vec::with_capacity(steps.len()),
            low: Vec::with_capacity(steps.len()),
            high: Vec::with_capacity(steps.len()),
        };
        for step in steps {
            last = step.unwrap_or([last[0]; 3]);
            rest.mean.push(last[0]);
            rest.low.push(last[1]);
            rest.high.push(last[2]);
        }
        Some(rest)
    }

    /// What is usual every `period` steps; `None` where nothing is.
    fn layer(&self, period: usize) -> Option<Layer> {
        let mean = less(&self.mean, &self.trend(period));
        let center = profile(&mean, period)?;
        let phased = |(at, value): (usize, &f64)| value - center[at % period];
        let left = spread(mean.iter().enumerate().map(phased))?;
        let (mut up, mut down) = (vec![0.0; period], vec![0.0; period]);
        widen(&center, self.in_steps(SHORT), EVENT * left, &mut up, &mut down);
        Some(self.turned(&center, &down, &up))
    }

    /// What happens every `period` steps, give or take a few; `None` where nothing does.
    fn events(&self, period: usize) -> Option<Layer> {
        let trend = self.trend(period);
        let most = (MOST_EARLIER.as_secs_f64() / self.step.as_secs_f64()).max(1.0) as usize;
        let reach = (period / EARLIER).clamp(1, most);
        let day = self.in_steps(DAY).max(1);
        let newest = NEWEST.max(day / period);
        let repeats = if period > day { PERIODS } else { REPEATS };
        let find = |values: &[f64]| events(values, period, reach, newest, repeats);
        let up = find(&less(&self.high, &trend));
        let down = find(&less(&trend, &self.low));
        if up.is_none() && down.is_none() {
            return None;
        }
        let none = vec![0.0; period];
        Some(self.turned(&none, down.as_ref().unwrap_or(&none), up.as_ref().unwrap_or(&none)))
    }

    /// The level around each value. Of few periods the middle of all is a surer one than that of those around.
    fn trend(&self, period: usize) -> Vec<f64> {
        if self.mean.len() >= 3 * period {
            return rolling_median(&self.mean, period);
        }
        let mut sorted = self.mean.clone();
        robust::sort(&mut sorted);
        vec![robust::median(&sorted).unwrap_or(0.0); self.mean.len()]
    }

    /// A layer whose phases are counted from the epoch, of phases that are counted from the first value.
    fn turned(&self, center: &[f64], down: &[f64], up: &[f64]) -> Layer {
        let period = center.len();
        let shift = self.first.rem_euclid(period as i64) as usize;
        let turn = |values: &[f64], sign: f64| -> Vec<f32> {
            (0..period).map(|at| (sign * values[(at + period - shift) % period]) as f32).collect()
        };
        Layer {
            step: self.step.as_millis() as i64,
            center: turn(center, 1.0),
            low: turn(down, -1.0),
            high: turn(up, 1.0),
        }
    }

    /// Median of the newest day, and the standard deviation: that of the means, or that of values within a step, of which
    /// lowest and highest are some two to either side.
    fn level(&self, day: usize) -> Option<(f64, f64)> {
        let from = self.mean.len().saturating_sub(day);
        let mut means = self.mean[from..].to_vec();
        robust::sort(&mut means);
        let level = robust::median(&means)?;
        let mut ranges = less(&self.high[from..], &self.low[from..]);
        robust::sort(&mut ranges);
        let within = robust::median(&ranges)? / 4.0;
        Some((level, within.max(robust::MAD_TO_SIGMA * robust::mad(&means, level)?)))
    }

    fn in_steps(&self, time: Duration) -> usize {
        (time.as_secs_f64() / self.step.as_secs_f64()).round() as usize
    }

    /// Leaves what a layer does not explain.
    fn take(&mut self, layer: &Layer) {
        for at in 0..self.mean.len() {
            let phase = (self.first + at as i64).rem_euclid(layer.center.len() as i64) as usize;
            let center = f64::from(layer.center[phase]);
            let (low, high) = (f64::from(layer.low[phase]), f64::from(layer.high[phase]));
            self.mean[at] -= center;
            self.low[at] -= center;
            self.high[at] -= center;
            // What recurs as an event is no event of a longer period.
            if high > 0.0 {
                self.high[at] = self.high[at].min(self.mean[at].max(0.0));
            }
            if low < 0.0 {
                self.low[at] = self.low[at].max(self.mean[at].min(0.0));
            }
        }
    }
}

/// What most of the newest periods reach at each phase, give or take `reach` steps, where that is far more than what is
/// usually reached; 0 elsewhere. `None` where it is nowhere.
fn events(values: &[f64], period: usize, reach: usize, newest: usize, repeats: usize) -> Option<Vec<f64>> {
    let periods = (values.len() / period).min(newest);
    if periods < repeats {
        return None;
    }
    // The newest whole periods; phases are counted from the first value.
    let end = values.len() / period * period;
    let begin = end - periods * period;
    let highest = |cycle: usize, phase: usize| {
        let at = begin + cycle * period + phase;
        let (from, to) = (at.saturating_sub(reach), (at + reach).min(values.len() - 1));
        values[from..=to].iter().copied().fold(f64::NEG_INFINITY, f64::max)
    };
    let rank = periods - (periods / 2 + 1).max(repeats);
    let mut seen = vec![0.0; periods];
    let reached: Vec<f64> = (0..period)
        .map(|phase| {
            (0..periods).for_each(|cycle| seen[cycle] = highest(cycle, phase));
            robust::sort(&mut seen);
            seen[rank]
        })
        .collect();
    let mut sorted = reached.clone();
    robust::sort(&mut sorted);
    let usual = robust::median(&sorted)?.max(0.0);
    let line = EVENT * usual;
    let events: Vec<f64> = reached
        .iter()
        .map(|reached| if *reached > line && *reached > 1e-9 { FURTHER * reached } else { 0.0 })
        .collect();
    // What most phases reach is no event.
    let some = events.iter().filter(|event| **event > 0.0).count();
    (some > 0 && some * 4 <= period).then_some(events)
}

/// Widens the range where the center has a bump or dip of more than `line` and no more than `short` steps, by what it would
/// be without (morphological opening and closing).
fn widen(center: &[f64], short: usize, line: f64, up: &mut [f64], down: &mut [f64]) {
    let n = center.len();
    let around = |values: &[f64], at: usize, reach: usize, pick: fn(f64, f64) -> f64| {
        (0..=2 * reach).map(|step| values[(at + n + step - reach) % n]).fold(values[at], pick)
    };
    let filtered = |values: &[f64], reach: usize, pick: fn(f64, f64) -> f64| -> Vec<f64> {
        (0..n).map(|at| around(values, at, reach, pick)).collect()
    };
    let half = (short / 2).min(n / 8);
    let opened = filtered(&filtered(center, half, f64::min), half, f64::max);
    let closed = filtered(&filtered(center, half, f64::max), half, f64::min);
    for at in 0..n {
        if center[at] - opened[at] > line {
            down[at] = down[at].max(center[at] - opened[at]);
        }
        if closed[at] - center[at] > line {
            up[at] = up[at].max(closed[at] - center[at]);
        }
    }
}

fn less(values: &[f64], other: &[f64]) -> Vec<f64> {
    values.iter().zip(other).map(|(value, other)| value - other).collect()
}

/// The median of the `window` values around each.
fn rolling_median(values: &[f64], window: usize) -> Vec<f64> {
    let half = (window / 2).min(values.len().saturating_sub(1));
    let mut sorted = SortedWindow::new(2 * half + 1);
    values[..half].iter().for_each(|value| sorted.push(*value));
    let mut medians = Vec::with_capacity(values.len());
    for at in 0..values.len() {
        if let Some(next) = values.get(at + half) {
            sorted.push(*next);
        }
        medians.push(robust::median(sorted.sorted()).unwrap_or(values[at]));
    }
    medians
}

/// Each phase's median over the periods, levelled out and around 0; `None` where the other periods do not foretell each one.
fn profile(values: &[f64], period: usize) -> Option<Vec<f64>> {
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
    /// Steps of a day and of an hour.
    const DAILY: usize = 288;
    const HOURLY: usize = 12;

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

    /// Steps from the epoch on, each of a single value.
    fn history(values: &[Option<f64>]) -> History {
        History { origin: 0, step: STEP, steps: values.iter().map(|value| value.map(|v| [v; 3])).collect() }
    }

    /// What is known of `values`, where anything recurs in them.
    fn recurring(values: &[Option<f64>], period: &Period, longer_than: Duration) -> Option<Season> {
        fit(&history(values), period, longer_than).filter(|season| season.period() > Duration::ZERO)
    }

    fn season(values: &[Option<f64>]) -> Option<Season> {
        recurring(values, &Period::Auto, Duration::ZERO)
    }

    /// Noise, and so much more for `long` steps from `from` on, every day.
    fn daily(days: usize, from: usize, long: usize, more: f64) -> Vec<Option<f64>> {
        let is_on = |i: usize| (from..from + long).contains(&(i % DAILY));
        (0..days * DAILY).map(|i| Some(noise(i) + if is_on(i) { more } else { 0.0 })).collect()
    }

    /// How far `value` is from the range that `season` expects in the middle of a step; 0 within it.
    fn beyond(season: &Season, step: usize, value: f64) -> f64 {
        let Seasonal { center, low, high, .. } =
            season.at(Timestamp::default() + STEP * step as u32 + STEP / 2);
        value - value.clamp(center + low, center + high)
    }

    #[test]
    fn a_period_is_found_on_a_trend_and_through_gaps() {
        for (n, period) in [(900, 288), (600, 60), (400, 24), (2016, 288)] {
            let mut values = wave(n, period, 0.05);
            values.iter_mut().step_by(17).for_each(|v| *v = None);
            let found = season(&values).unwrap_or_else(|| panic!("no season of {period} in {n}"));
            // Beside it there may be layers of nothing but a range, which noise makes where periods are few.
            let swing =
                |layer: &Layer| layer.center.iter().fold(0.0_f32, |most, center| most.max(center.abs()));
            let largest = found.layers.iter().max_by(|a, b| swing(a).total_cmp(&swing(b))).unwrap();
            let steps = largest.center.len() as i64;
            assert!((steps - period as i64).abs() <= 1 + period as i64 / 100, "{steps} for {period}");
        }
    }

    #[test]
    fn the_profile_follows_the_wave_between_steps_as_well() {
        let asked = Period::OneOf(vec![STEP * 96]);
        let found = recurring(&wave(960, 96, 0.0), &asked, Duration::ZERO).unwrap();
        for tenth in 0..960 {
            let at = f64::from(tenth) / 10.0;
            // A step stands for its middle.
            let expect = 10.0 * ((at - 0.5) / 96.0 * std::f64::consts::TAU).sin();
            let got = found.at(Timestamp::from_millis((at * 300_000.0) as i64)).center;
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
        let asked = |n, longer_than| recurring(&wave(n, 288, 0.0), &day, longer_than);
        assert_eq!(asked(500, Duration::ZERO), None);
        assert!(asked(600, Duration::ZERO).is_some());
        assert_eq!(asked(600, STEP * 288), None);
    }

    #[test]
    fn whole_days_are_known_once_there_were_two_even_if_nothing_recurs() {
        let known = |n: usize| {
            let values: Vec<_> = (0..n).map(|i| Some(noise(i))).collect();
            fit(&history(&values), &Period::Auto, Duration::ZERO)
        };
        assert_eq!(known(2 * DAILY - 1), None);
        let season = known(2 * DAILY).unwrap();
        assert!(season.knows_days() && season.level().0.abs() < 0.2, "{season:?}");
        assert_eq!(season.at(Timestamp::default()).center, 0.0);
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

    #[test]
    fn what_happens_at_the_same_time_on_three_days_is_expected_then_and_at_no_other_hour() {
        let at_three = 3 * HOURLY;
        let found = season(&daily(3, at_three, 2, 20.0)).unwrap();
        for step in [at_three, at_three + 1] {
            assert_eq!(beyond(&found, step, 20.0), 0.0, "at step {step}");
            assert_eq!(beyond(&found, step + 3 * DAILY, 20.0), 0.0, "on the fourth day at step {step}");
        }
        for hour in (0..24).filter(|hour| !(2..=4).contains(hour)) {
            let off = beyond(&found, hour * HOURLY, 20.0);
            assert!(off > 15.0, "at {hour}: {off}");
        }
    }

    #[test]
    fn what_happened_once_is_not_expected_again() {
        let mut values = daily(3, 0, 0, 0.0);
        values[DAILY + 3 * HOURLY] = Some(20.0);
        let off = season(&values).map_or(20.0, |found| beyond(&found, 3 * HOURLY, 20.0));
        assert!(off > 15.0, "{off}");
    }

    #[test]
    fn a_short_daily_bump_may_be_missing_and_a_long_one_may_not() {
        let at_three = 3 * HOURLY;
        let short = season(&daily(7, at_three, HOURLY, 20.0)).unwrap();
        let long = season(&daily(7, at_three, 6 * HOURLY, 20.0)).unwrap();
        let middle = at_three + HOURLY / 2;
        for value in [0.0, 20.0] {
            let off = beyond(&short, middle, value);
            assert!(off.abs() < 0.5, "{off} for {value}");
        }
        let off = beyond(&long, at_three + 3 * HOURLY, 0.0);
        assert!(off < -15.0, "{off}");
    }
}
