//! States that normal values are hardly ever in: unchanged from check to check, as those of an exporter that hangs, and next
//! to nothing, as traffic that is lost at its quietest hour. Neither is far from what is expected, so that no residual shows it.
//!
//! Takes the values of one metric, in its unit; says how surprising its state is, as −log₁₀ of the probability that a normal
//! value is in it. That is counted: the share of checks at which a normal value was what it was at the check before, by
//! Laplace's rule of succession, to the power of the checks it has been unchanged for; and for a value below a quarter of
//! all that were normal, one in as many as were seen. Cost: O(1) a value.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::early_shift::EarlyShift;
use super::effect_filter::EffectFilter;
use crate::series::Timestamp;

/// A value is lost below this share of the lowest that was normal, where that is at least so much of the mean. In 65 recordings of
/// servers, services and virtual machines 57 of 69 such losses are within labelled incidents; below a tenth 28 of 81 are, as
/// noise breaks them up.
const LOST: f64 = 0.25;
const LEAST: f64 = 0.02;
/// Normal values must span so much before one is lost, since the quietest hour must be among them.
const KNOWN: Duration = Duration::from_hours(24);
/// The same before one is stuck, and values at least.
const VARIED: (Duration, u64) = (Duration::from_hours(1), 100);
/// A value is unchanged for at least so long, so many checks, and so many times as long as a normal one ever was: of a value that
/// is normal it then never told in 55 recordings.
const UNCHANGED: (Duration, u32, u32) = (Duration::from_mins(5), 10, 3);
/// Rare states that ended by themselves, within as many days, which show that they are how things are.
const RECURS: usize = 3;
/// A state that surprises by less, being likelier than one in a hundred, is not rare; and none surprises by more.
const LEAST_RARE: f64 = 2.0;
pub(super) const MOST_RARE: f64 = 8.0;

/// What is known of one metric's states.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RareStates {
    interval: Duration,
    /// Normal values, those of them that were unchanged, and the sum of their sizes.
    normal: u64,
    unchanged: u64,
    sum: f64,
    last: Option<f64>,
    /// Checks that the last value has been unchanged for, and a normal one at most.
    run: u32,
    longest: u32,
    /// The smallest size of a normal value.
    lowest: Option<f64>,
    shift: EarlyShift,
    /// What it has been since a rare state began.
    now: Option<Since>,
    /// When the last ones ended.
    ended: VecDeque<Timestamp>,
}

/// The longest run, and the lowest and highest value since a rare state began.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Since {
    run: u32,
    low: f64,
    high: f64,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// The same for so many checks.
    Unchanged(u32),
    /// Next to nothing.
    Lost,
    /// For a while where no normal value was, before a whole day of these is known.
    Shifted,
    /// Without what recurs at this time.
    Missing,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged(checks) => write!(f, "unchanged for {checks} checks"),
            Self::Lost => write!(f, "next to nothing, as it never was"),
            Self::Shifted => write!(f, "far from all it was ten minutes ago and before"),
            Self::Missing => write!(f, "without what recurs at this time"),
        }
    }
}

impl RareStates {
    /// Of a metric that is seen each `interval`.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            normal: 0,
            unchanged: 0,
            sum: 0.0,
            last: None,
            run: 0,
            longest: 0,
            lowest: None,
            shift: EarlyShift::default(),
            now: None,
            ended: VecDeque::with_capacity(RECURS),
        }
    }

    /// The state `value` is in after those before it, and how surprising that is; `None` where it is in no rare one.
    pub fn of(&self, value: f64, effect_filter: &EffectFilter) -> Option<(State, f64)> {
        let run = self.run_with(value);
        if self.is_stuck(run, value) {
            let share = (self.unchanged + 1) as f64 / (self.normal + 2) as f64;
            let surprisal = (-share.log10() * f64::from(run)).min(MOST_RARE);
            return (surprisal >= LEAST_RARE).then_some((State::Unchanged(run), surprisal));
        }
        if self.is_lost(value) {
            return Some((State::Lost, (self.normal as f64 / LOST).log10().min(MOST_RARE)));
        }
        let is_shift = !self.spans(KNOWN) && self.shift.is_shift(value, effect_filter, self.interval);
        is_shift.then_some((State::Shifted, MOST_RARE))
    }

    /// Takes note of `value`, which is `normal` or not.
    pub fn take(&mut self, at: Timestamp, value: f64, effect_filter: &EffectFilter, normal: bool) {
        let is_rare = self.of(value, effect_filter).is_some();
        self.shift.take(value, effect_filter, normal, self.interval);
        let run = self.run_with(value);
        let before = std::mem::replace(&mut self.run, run);
        self.last = Some(value);
        if normal {
            self.normal += 1;
            self.unchanged += u64::from(self.run > 0);
            self.sum += value.abs();
            // How long a value stays is known when it changes.
            self.accept(if self.now.is_none() && self.run == 0 { before } else { 0 }, value.abs());
        } else if is_rare {
            let now = self.now.unwrap_or(Since { run: 0, low: value, high: value });
            let (low, high) = (now.low.min(value), now.high.max(value));
            self.now = Some(Since { run: now.run.max(self.run), low, high });
        }
        if !is_rare && let Some(since) = self.now.take() {
            self.end(at, since);
        }
    }

    /// The state that the metric is in has proved to be normal.
    pub fn adapt(&mut self) {
        if let Some(last) = self.last {
            self.accept(self.run, last.abs());
            self.shift.accept(last, last);
        }
    }

    /// What comes is not compared with what was before.
    pub fn gap(&mut self) {
        (self.last, self.run) = (None, 0);
    }

    fn accept(&mut self, run: u32, size: f64) {
        self.longest = self.longest.max(run);
        self.lowest = Some(self.lowest.map_or(size, |lowest| lowest.min(size)));
    }

    /// A rare state is over: it is none where it comes again and again.
    fn end(&mut self, at: Timestamp, since: Since) {
        if self.ended.len() == RECURS {
            self.ended.pop_front();
        }
        self.ended.push_back(at);
        let first = self.ended.front().filter(|_| self.ended.len() == RECURS);
        if first.is_some_and(|first| at.since(*first) < Duration::from_hours(24) * RECURS as u32) {
            self.accept(since.run, since.low.abs().min(since.high.abs()));
            self.shift.accept(since.low, since.high);
            self.ended.clear();
        }
    }

    fn run_with(&self, value: f64) -> u32 {
        if self.last == Some(value) { self.run.saturating_add(1) } else { 0 }
    }

    /// A value of 0 rests rather than being stuck.
    fn is_stuck(&self, run: u32, value: f64) -> bool {
        let (long, checks, times) = UNCHANGED;
        value != 0.0
            && run >= checks
            && self.interval * run >= long
            && run > times * self.longest
            && self.normal >= VARIED.1
            && self.spans(VARIED.0)
    }

    fn is_lost(&self, value: f64) -> bool {
        let is_low =
            |lowest: f64| value.abs() < LOST * lowest && lowest >= LEAST * self.sum / self.normal as f64;
        self.lowest.is_some_and(is_low) && self.spans(KNOWN)
    }

    fn spans(&self, time: Duration) -> bool {
        self.interval.as_secs_f64() * self.normal as f64 >= time.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_mins(1);
    const DAY: usize = 1440;

    fn at(check: usize) -> Timestamp {
        Timestamp::default() + STEP * check as u32
    }

    /// Between `low` and twice that, different at each check.
    fn busy(check: usize, low: f64) -> f64 {
        low * (1.0 + (check as f64 * 0.618_034).fract())
    }

    fn known(checks: usize, value: impl Fn(usize) -> f64) -> RareStates {
        let mut states = RareStates::new(STEP);
        (0..checks).for_each(|check| states.take(at(check), value(check), &EffectFilter::OPEN, true));
        states
    }

    /// What is told of `values` that are taken for anomalous while they are told of, and the states after them.
    fn told(states: &mut RareStates, from: usize, values: &[f64]) -> Vec<Option<State>> {
        let mut told = Vec::new();
        for (nth, value) in values.iter().enumerate() {
            let state = states.of(*value, &EffectFilter::OPEN);
            states.take(at(from + nth), *value, &EffectFilter::OPEN, state.is_none());
            told.push(state.map(|(state, _)| state));
        }
        told
    }

    #[test]
    fn a_value_that_varied_is_stuck_once_it_has_been_unchanged_for_long() {
        let mut states = known(DAY, |check| busy(check, 50.0));
        let told = told(&mut states, DAY, &[61.5; 30]);
        let from = UNCHANGED.1 as usize;
        assert!(told[..from].iter().all(Option::is_none));
        assert_eq!(told[from], Some(State::Unchanged(UNCHANGED.1)));
        assert!(told[from..].iter().all(Option::is_some));
        assert!(
            states.of(61.5, &EffectFilter::OPEN).unwrap().1 > 5.0,
            "a value varied at each of a day's checks"
        );
    }

    #[test]
    fn what_seldom_changes_or_rests_at_zero_is_not_stuck() {
        let seldom = |check: usize| busy(check / 40, 50.0);
        let rests = |check: usize| if check.is_multiple_of(7) { busy(check, 1.0) } else { 0.0 };
        let cases: [(&dyn Fn(usize) -> f64, f64); 3] = [(&seldom, 50.0), (&rests, 0.0), (&|_| 42.0, 42.0)];
        for (usual, value) in cases {
            assert!(told(&mut known(DAY, usual), DAY, &[value; 100]).iter().all(Option::is_none), "{value}");
        }
        // Forty checks were usual: three times as many are not.
        assert!(told(&mut known(DAY, seldom), DAY, &[50.0; 200]).last().unwrap().is_some());
    }

    #[test]
    fn next_to_nothing_is_a_loss_where_normal_values_never_came_near_it() {
        for (low, value, lost) in [(5.0, 0.0, true), (5.0, 1.2, true), (5.0, 1.3, false), (0.0, 0.0, false)] {
            // A quiet hour that begins each day.
            let usual = |check: usize| busy(check, if check % DAY < 60 { low } else { 100.0 });
            let told = told(&mut known(DAY, usual), DAY, &[value; 3]);
            assert_eq!(told == [Some(State::Lost); 3], lost, "{low} {value}");
        }
    }

    #[test]
    fn nothing_is_lost_before_a_day_is_known_nor_where_normal_values_are_next_to_nothing_too() {
        let busy_day = |check: usize| busy(check, 100.0);
        assert_eq!(known(DAY / 2, busy_day).of(0.0, &EffectFilter::OPEN), None);
        assert!(known(DAY, busy_day).of(0.0, &EffectFilter::OPEN).is_some());
        let down_to = |check: usize| if check == 10 { 1.0 } else { busy(check, 100.0) };
        assert_eq!(known(DAY, down_to).of(0.0, &EffectFilter::OPEN), None);
    }

    #[test]
    fn what_comes_again_each_day_is_normal_after_three_times() {
        let usual = |check: usize| busy(check, 100.0);
        let mut states = known(DAY, usual);
        let mut days = Vec::new();
        for day in 1..6 {
            let values: Vec<f64> =
                (0..DAY).map(|check| if check < 30 { 0.0 } else { usual(check) }).collect();
            days.push(told(&mut states, day * DAY, &values).iter().any(Option::is_some));
        }
        assert_eq!(days, [true, true, true, false, false]);
    }

    #[test]
    fn what_was_before_a_gap_is_not_compared_with() {
        let mut states = known(DAY, |check| busy(check, 50.0));
        told(&mut states, DAY, &[61.5; 9]);
        states.gap();
        assert!(told(&mut states, 2 * DAY, &[61.5; 9]).iter().all(Option::is_none));
    }
}
