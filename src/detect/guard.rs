//! What was flagged is not learned, until it has ended or has proved to be the new normal.

use std::time::Duration;

use crate::series::Timestamp;

/// Checks after the last flag during which a metric is still not learned: the edge of an incident belongs to it.
const AFTERGLOW: u32 = 5;
/// No level is the new normal before this.
const SOONEST: Duration = Duration::from_mins(10);

/// Share of the last day that was suspicious above which that is how things are now, and checks that a day has at least.
const DRIFT: f64 = 0.15;
const SHORTEST_DAY: f64 = 200.0;

/// How a value was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// As any other.
    #[default]
    Calm,
    /// On its way to being called anomalous, it may be.
    Suspicious,
    /// Anomalous, or part of an incident.
    Flagged,
}

/// Whether one metric may be learned from.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    left: u32,
    /// Share of the last day that was suspicious or worse.
    suspicious: f64,
    held_since: Option<Timestamp>,
    normal_since: Option<Timestamp>,
}

/// What a guard goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// A level held this long is the new normal.
    pub adapt_after: Duration,
    /// Time between checks.
    pub interval: Duration,
}

/// What to do with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// It is normal.
    Learn,
    /// It was flagged, or is too close to what was.
    Withhold,
    /// It has been held since then, for so long that it is the new normal.
    Adapt {
        /// First flagged check.
        since: Timestamp,
    },
}

impl Guard {
    /// Decides on the value of the check at `at`, one of `interval`s.
    pub fn decide(&mut self, at: Timestamp, mark: Mark, rule: &Rule) -> Learning {
        let day = (86_400.0 / rule.interval.as_secs_f64().max(1e-3)).max(SHORTEST_DAY);
        self.suspicious += (f64::from(u8::from(mark != Mark::Calm)) - self.suspicious) / day;
        // Where most of a day is suspicious, that is no incident setting in.
        if mark == Mark::Flagged || (mark == Mark::Suspicious && self.suspicious <= DRIFT) {
            self.left = AFTERGLOW;
        } else {
            self.left = self.left.saturating_sub(1);
        }
        if self.left == 0 {
            self.held_since = None;
            self.normal_since.get_or_insert(at);
            return Learning::Learn;
        }
        let since = *self.held_since.get_or_insert(at);
        if at.since(since) >= self.patience(since, rule.adapt_after) {
            let suspicious = self.suspicious;
            *self = Self { normal_since: Some(since), suspicious, ..Self::default() };
            return Learning::Adapt { since };
        }
        Learning::Withhold
    }

    /// A baseline that rests on less than `adapt_after` of normal data gives way to a level held as long as that.
    fn patience(&self, since: Timestamp, adapt_after: Duration) -> Duration {
        let age = self.normal_since.map_or(Duration::ZERO, |normal| since.since(normal));
        adapt_after.min(age.max(SOONEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { adapt_after: Duration::from_hours(6), interval: Duration::from_secs(10) };

    fn mark(flagged: bool) -> Mark {
        if flagged { Mark::Flagged } else { Mark::Calm }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    /// Feeds one check every 10 s, flagged from `from` on, and says when it adapts.
    fn adapts_at(from: u64, until: u64) -> Option<u64> {
        let mut guard = Guard::default();
        (0..until)
            .step_by(10)
            .find(|s| matches!(guard.decide(at(*s), mark(*s >= from), &RULE), Learning::Adapt { .. }))
    }

    #[test]
    fn flagged_values_and_those_just_after_are_withheld() {
        let mut guard = Guard::default();
        let flags = [false, true, false, false, false, false, false, false];
        let learned = flags.map(|flagged| guard.decide(at(0), mark(flagged), &RULE) == Learning::Learn);
        assert_eq!(learned, [true, false, false, false, false, false, true, true]);
    }

    #[test]
    fn a_level_is_the_new_normal_once_held_as_long_as_the_old_one_rests_on() {
        assert_eq!(adapts_at(3600, 100_000), Some(7200));
        assert_eq!(adapts_at(86_400, 200_000), Some(86_400 + 6 * 3600));
    }

    #[test]
    fn never_under_ten_minutes() {
        assert_eq!(adapts_at(60, 10_000), Some(660));
    }

    #[test]
    fn after_adapting_the_level_is_learned() {
        let mut guard = Guard::default();
        guard.decide(at(0), mark(false), &RULE);
        guard.decide(at(10), mark(true), &RULE);
        assert_eq!(guard.decide(at(700), mark(true), &RULE), Learning::Adapt { since: at(10) });
        assert_eq!(guard.decide(at(710), mark(false), &RULE), Learning::Learn);
    }

    #[test]
    fn suspicion_that_lasts_for_hours_is_how_things_are_now() {
        let mut guard = Guard::default();
        let learned =
            |guard: &mut Guard, s: u64| guard.decide(at(s), Mark::Suspicious, &RULE) == Learning::Learn;
        (0..100_000).step_by(10).for_each(|s| {
            guard.decide(at(s), Mark::Calm, &RULE);
        });
        let first = (100_000..200_000).step_by(10).find(|s| learned(&mut guard, *s)).unwrap();
        let hours = (first - 100_000) as f64 / 3600.0;
        assert!((3.0..4.5).contains(&hours), "{hours}");
    }
}
