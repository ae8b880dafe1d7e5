//! Whether what recurs in a metric has come, where people expect it: a backup that did not run is no deviation, since what is
//! expected without it is expected at its time as well.
//!
//! Takes the values of one metric and what recurs about their time; says from when a recurrence is missing. Something is due
//! for as long as the season gives it, earlier and later starts included, and has come once a value is nearer to what it
//! reaches than to what is usual without it. A recurrence so small that usual values reach half of it cannot be told from
//! them, and is not watched. If its time passes without it, it is missing: until it comes late, until the next is due, or for
//! as long as it was due. What was not watched from its beginning is never missing. Cost: O(1) a value.

use serde::{Deserialize, Serialize};

use crate::series::Timestamp;

/// Where a metric is without what recurs about this time, and what it reaches with it; in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recurs {
    /// Without it.
    pub quiet: f64,
    /// With it.
    pub reaches: f64,
}

impl Recurs {
    fn is_seen_in(self, value: f64) -> bool {
        (value - self.reaches).abs() < (value - self.quiet).abs()
    }

    /// Whether values that stray by up to `usual` from what is expected are told from it.
    fn stands_out(self, usual: f64) -> bool {
        (self.reaches - self.quiet).abs() > 2.0 * usual
    }
}

/// What is known of the recurrence of one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recurrence(Stage);

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Stage {
    /// Nobody has looked since something was due last.
    #[default]
    Unknown,
    /// Nothing is due.
    Idle,
    /// Due since a time, as it is told now, and not here yet.
    Due(Timestamp, Recurs),
    /// It has come.
    Came,
    /// It has not come, which is told up to a time.
    Missing(Timestamp, Recurs),
}

impl Recurrence {
    /// Whether `value` goes on without what should have come.
    pub fn is_missing(&self, value: f64) -> bool {
        matches!(self.0, Stage::Missing(_, recurs) if !recurs.is_seen_in(value))
    }

    /// Takes note of `value`, of a metric whose values stray by up to `usual`, and of what is due at its time.
    pub fn take(&mut self, at: Timestamp, value: f64, usual: f64, due: Option<Recurs>) {
        self.0 = match (self.0, due) {
            (Stage::Unknown, Some(_)) => Stage::Unknown,
            (Stage::Came, Some(_)) => Stage::Came,
            (_, Some(recurs)) if recurs.is_seen_in(value) => Stage::Came,
            (Stage::Due(since, _), Some(recurs)) => Stage::Due(since, recurs),
            (Stage::Idle | Stage::Missing(..), Some(recurs)) if recurs.stands_out(usual) => {
                Stage::Due(at, recurs)
            }
            (Stage::Due(since, recurs), None) => Stage::Missing(at + at.since(since), recurs),
            (Stage::Missing(until, recurs), None) if at < until && !recurs.is_seen_in(value) => {
                Stage::Missing(until, recurs)
            }
            (Stage::Idle | Stage::Missing(..), Some(_)) | (_, None) => Stage::Idle,
        };
    }

    /// What comes is not told from what was not looked at.
    pub fn gap(&mut self) {
        self.0 = Stage::Unknown;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Minutes of a day at which something is due, and at which it usually is there.
    const DUE: std::ops::Range<usize> = 100..140;
    const HERE: std::ops::Range<usize> = 115..125;

    fn at(minute: usize) -> Timestamp {
        Timestamp::default() + Duration::from_mins(minute as u64)
    }

    /// Minutes at which it is missing, of a day that is watched from one on, with something at some of them.
    fn missing(from: usize, here: impl Fn(usize) -> bool, recurs: Recurs) -> Vec<usize> {
        let mut recurrence = Recurrence::default();
        let mut missing = Vec::new();
        for minute in from..300 {
            let value = if here(minute) { recurs.reaches } else { recurs.quiet };
            if recurrence.is_missing(value) {
                missing.push(minute);
            }
            recurrence.take(at(minute), value, USUAL, DUE.contains(&minute).then_some(recurs));
        }
        missing
    }

    const USUAL: f64 = 6.0;
    const BUMP: Recurs = Recurs { quiet: 5.0, reaches: 80.0 };
    const DIP: Recurs = Recurs { quiet: 5.0, reaches: -80.0 };

    #[test]
    fn what_came_early_in_time_or_late_within_its_time_is_not_missing() {
        for recurs in [BUMP, DIP] {
            for from in [DUE.start, HERE.start, DUE.end - 1] {
                assert_eq!(missing(0, |minute| minute == from, recurs), [0; 0], "{from}");
            }
        }
    }

    #[test]
    fn what_did_not_come_is_missing_for_as_long_as_it_was_due_or_until_it_comes() {
        for recurs in [BUMP, DIP] {
            let told = DUE.end + 1..=DUE.end + DUE.len();
            assert_eq!(missing(0, |_| false, recurs), told.collect::<Vec<_>>());
            assert_eq!(missing(0, |minute| minute >= 150, recurs), (141..150).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_usual_values_may_reach_half_of_is_not_missing() {
        assert_eq!(missing(0, |_| false, Recurs { quiet: 5.0, reaches: 5.0 + 2.0 * USUAL }), [0; 0]);
    }

    #[test]
    fn what_was_not_watched_from_its_beginning_is_not_missing() {
        assert_eq!(missing(DUE.start + 5, |_| false, BUMP), [0; 0]);
    }

    #[test]
    fn what_may_have_come_unseen_is_not_missing() {
        let mut recurrence = Recurrence::default();
        for minute in 0..300 {
            assert!(!recurrence.is_missing(BUMP.quiet), "at {minute}");
            if HERE.contains(&minute) {
                recurrence.gap();
            } else {
                recurrence.take(at(minute), BUMP.quiet, USUAL, DUE.contains(&minute).then_some(BUMP));
            }
        }
    }
}
