//! What recurs in a metric: its course over an hour, a day, a week or any period its history shows, and what happens at the
//! same time again and again.
//!
//! A season has one layer a period. A layer's center is the median over the periods seen, by phase, so that neither an
//! incident nor a holiday moves it; it is kept only where the *other* periods foretell each one better than nothing does
//! (leave one out), because noise has medians as well. Around the center lies a range: a value is expected anywhere in
//! what most periods reached about that time. So a backup that begins ten minutes late is what it was yesterday, and one
//! that is missing is not an outage.

mod events;
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
/// Newest periods that an event is looked for in, as many as a day has if that is more; it must be in more than half of them,
/// or in each of the last so many, so that a new job is known after three days of however long a history; of weeks and
/// longer two suffice.
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

    /// What happens about a time and is over soon, where something does: how far the metric is without it and with it from
    /// the level. Of several layers the one that moves it furthest.
    pub fn recurs(&self, at: Timestamp) -> Option<(f64, f64)> {
        let center = self.at(at).center;
        let moves = |layer: &Layer| {
            let Seasonal { center: own, low, high } = layer.at(at.millis());
            // What is an event has no center; what is a bump or a dip of the center may be missing by so much.
            let of_event = if high > -low { high / events::FURTHER } else { low / events::FURTHER };
            let of_bump = if -low > high { -low } else { -high };
            if own == 0.0 {
                (of_event, center, center + of_event)
            } else {
                (of_bump, center - of_bump, center)
            }
        };
        let furthest = self.layers.iter().map(moves).max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
        (furthest.0 != 0.0).then_some((furthest.1, furthest.2))
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
        events::widen(&center, self.in_steps(SHORT), events::EVENT * left, &mut up, &mut down);
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
        let find = |values: &[f64]| events::find(values, period, reach, newest, repeats);
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
mod tests;
