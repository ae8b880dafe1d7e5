//! What was flagged is not learned, until it has ended or has proved to be the new normal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::series::Timestamp;

/// Checks after the last flag during which a metric is still not learned: the edge of an incident belongs to it.
const AFTERGLOW: u32 = 5;
/// Share of the time a level has been held for, during which it may be unflagged and yet is the same level.
const LAPSE: u32 = 4;
/// No level is the new normal before this.
const SOONEST: Duration = Duration::from_mins(10);

/// Whether one metric may be learned from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LearningGate {
    left: u32,
    held_since: Option<Timestamp>,
    flagged_at: Option<Timestamp>,
    normal_since: Option<Timestamp>,
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

impl LearningGate {
    /// Decides on the value of the check at `at`. A level held for `adapt_after` is the new normal; what is no level, but on
    /// its way somewhere, is not.
    pub fn decide(
        &mut self,
        at: Timestamp,
        flagged: bool,
        is_level: bool,
        adapt_after: Duration,
    ) -> Learning {
        if flagged {
            (self.left, self.flagged_at) = (AFTERGLOW, Some(at));
        } else {
            self.left = self.left.saturating_sub(1);
        }
        if self.left == 0 {
            self.normal_since.get_or_insert(at);
            if let (Some(since), Some(flagged)) = (self.held_since, self.flagged_at)
                && at.since(flagged) * LAPSE > flagged.since(since)
            {
                self.held_since = None;
            }
            return Learning::Learn;
        }
        let since = *self.held_since.get_or_insert(at);
        if is_level && at.since(since) >= self.patience(since, adapt_after) {
            *self = Self { normal_since: Some(since), ..Self::default() };
            return Learning::Adapt { since };
        }
        Learning::Withhold
    }

    /// The metric is back where it was: no level is held.
    pub fn end(&mut self) {
        self.held_since = None;
    }

    /// Whether a level is held that may prove to be the new normal.
    pub fn is_holding(&self) -> bool {
        self.held_since.is_some()
    }

    /// For so long nobody looked: a level has not been held for that, nor has the baseline grown older.
    pub fn skip(&mut self, gap: Duration) {
        for time in [&mut self.held_since, &mut self.normal_since, &mut self.flagged_at] {
            *time = time.map(|time| time + gap);
        }
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

    const SIX_HOURS: Duration = Duration::from_hours(6);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    /// Feeds one check every 10 s, flagged from `from` on, and says when it adapts.
    fn adapts_at(from: u64, until: u64) -> Option<u64> {
        let mut learning_gate = LearningGate::default();
        (0..until).step_by(10).find(|s| {
            matches!(learning_gate.decide(at(*s), *s >= from, true, SIX_HOURS), Learning::Adapt { .. })
        })
    }

    #[test]
    fn what_is_flagged_and_its_edge_are_withheld() {
        let mut learning_gate = LearningGate::default();
        let learned: Vec<bool> = (0..20)
            .map(|i| {
                learning_gate.decide(at(i * 10), (5..8).contains(&i), true, SIX_HOURS) == Learning::Learn
            })
            .collect();
        let withheld: Vec<usize> = (0..20).filter(|i| !learned[*i]).collect();
        assert_eq!(withheld, (5..12).collect::<Vec<_>>());
    }

    #[test]
    fn a_level_held_as_long_as_the_baseline_is_old_is_the_new_normal() {
        assert_eq!(adapts_at(3600, 20_000), Some(7200));
        assert_eq!(adapts_at(100_000, 200_000), Some(121_600), "six hours suffice");
        assert_eq!(adapts_at(60, 10_000), Some(660), "never under ten minutes");
    }

    #[test]
    fn what_is_on_its_way_somewhere_is_no_level() {
        let mut learning_gate = LearningGate::default();
        learning_gate.decide(at(0), false, true, SIX_HOURS);
        for s in (10..100_000).step_by(10) {
            assert_eq!(learning_gate.decide(at(s), true, false, SIX_HOURS), Learning::Withhold);
        }
        assert!(matches!(learning_gate.decide(at(100_000), true, true, SIX_HOURS), Learning::Adapt { .. }));
    }

    #[test]
    fn a_level_that_is_unflagged_for_a_while_is_still_held() {
        let mut learning_gate = LearningGate::default();
        learning_gate.decide(at(0), false, true, SIX_HOURS);
        let flagged = |s: u64| (3600..5000).contains(&s) || s > 5200;
        let adapted = (10..20_000).step_by(10).find(|s| {
            matches!(learning_gate.decide(at(*s), flagged(*s), true, SIX_HOURS), Learning::Adapt { .. })
        });
        assert_eq!(adapted, Some(7200));
    }

    #[test]
    fn nobody_looking_holds_no_level() {
        let mut learning_gate = LearningGate::default();
        learning_gate.decide(at(0), false, true, SIX_HOURS);
        learning_gate.decide(at(10), true, true, SIX_HOURS);
        learning_gate.skip(Duration::from_hours(1));
        assert_eq!(learning_gate.decide(at(3630), true, true, SIX_HOURS), Learning::Withhold);
        assert!(matches!(learning_gate.decide(at(4300), true, true, SIX_HOURS), Learning::Adapt { .. }));
    }
}
