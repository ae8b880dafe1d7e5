//! What was flagged is not learned, until it has ended or has proved to be the new normal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::series::Timestamp;

/// Checks after the last flag during which a metric is still not learned: the edge of an incident belongs to it.
const AFTERGLOW: u32 = 5;
/// Checks in a row within the band after which a fault is over, as far as that metric's own values tell: more than end an
/// incident where checks are rare.
const SETTLED: u32 = 15;
/// Checks in a row within the band after which a metric that nobody flags is back.
const BACK: u32 = 3;
/// Doubtful checks in a row that are no accident.
const LASTING: u32 = 5;
/// No level is the new normal before this.
const SOONEST: Duration = Duration::from_mins(10);

/// Whether one metric may be learned from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Guard {
    left: u32,
    held_since: Option<Timestamp>,
    normal_since: Option<Timestamp>,
    /// Checks in a row at which it was withheld and within its band.
    within: u32,
    /// Checks in a row at which it was doubtful.
    doubts: u32,
    /// Whether it is withheld for a fault or its edge, and not for a passing doubt.
    fault: bool,
}

/// How a value looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// As usual.
    None,
    /// As if it might be an anomaly, to somebody who knows little yet; if that lasts, one of a fault unless what is normal
    /// was `taught`.
    Doubtful {
        /// Whether what is known comes of a training.
        taught: bool,
    },
    /// Anomalous, or part of an incident.
    Flagged,
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
    /// Decides on the value of the check at `at`. A level held for `adapt_after` is the new normal.
    pub fn decide(&mut self, at: Timestamp, suspicion: Suspicion, adapt_after: Duration) -> Learning {
        self.suspect(suspicion);
        if self.left == 0 {
            self.held_since = None;
            self.normal_since.get_or_insert(at);
            return Learning::Learn;
        }
        let since = *self.held_since.get_or_insert(at);
        if at.since(since) >= self.patience(since, adapt_after) {
            *self = Self { normal_since: Some(since), ..Self::default() };
            return Learning::Adapt { since };
        }
        Learning::Withhold
    }

    fn suspect(&mut self, suspicion: Suspicion) {
        let untaught = matches!(suspicion, Suspicion::Doubtful { taught: false });
        self.doubts = if untaught { self.doubts + 1 } else { 0 };
        let one_less = self.left.saturating_sub(1);
        if suspicion == Suspicion::Flagged || self.doubts >= LASTING {
            self.fault = true;
            self.left = AFTERGLOW;
        } else if suspicion != Suspicion::None {
            // It stands for itself alone, or a quarter of what is normal would be left out; but no fault ends with it.
            self.left = one_less.max(if self.fault && untaught { BACK + 1 } else { 1 });
        } else {
            self.left = one_less;
        }
        self.fault &= self.left > 0;
    }

    /// Whether the value last decided on is withheld for a fault or its edge, and not for a passing doubt.
    pub fn is_fault(&self) -> bool {
        self.fault
    }

    /// Whether a fault is over although the metric is still withheld: because it is back `within` its band and will be
    /// learned from the next check on if nobody objects, or because it has been back for [`SETTLED`] checks. Says how
    /// many checks it has been over for.
    pub fn settles(&mut self, within: bool) -> Option<u32> {
        self.within = if self.left > 0 && within { self.within + 1 } else { 0 };
        if self.fault && self.left == 1 && self.within >= BACK {
            return Some(AFTERGLOW - 1);
        }
        (self.within == SETTLED).then_some(SETTLED)
    }

    /// For so long nobody looked: a level has not been held for that, nor has the baseline grown older.
    pub fn skip(&mut self, gap: Duration) {
        self.held_since = self.held_since.map(|since| since + gap);
        self.normal_since = self.normal_since.map(|since| since + gap);
        (self.within, self.doubts) = (0, 0);
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

    const DOUBTFUL: Suspicion = Suspicion::Doubtful { taught: false };
    const SIX_HOURS: Duration = Duration::from_hours(6);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    fn flag(flagged: bool) -> Suspicion {
        if flagged { Suspicion::Flagged } else { Suspicion::None }
    }

    /// Feeds one check every 10 s, flagged from `from` on, and says when it adapts.
    fn adapts_at(from: u64, until: u64) -> Option<u64> {
        let mut guard = Guard::default();
        (0..until)
            .step_by(10)
            .find(|s| matches!(guard.decide(at(*s), flag(*s >= from), SIX_HOURS), Learning::Adapt { .. }))
    }

    #[test]
    fn a_metric_settles_once_when_it_has_been_within_its_band_for_long_enough_while_withheld() {
        let settles = |flagged: bool, within: &[bool]| {
            let mut guard = Guard::default();
            let mut at_each = |within: &bool| {
                guard.decide(at(0), flag(flagged), SIX_HOURS);
                guard.settles(*within).is_some()
            };
            within.iter().map(&mut at_each).collect::<Vec<bool>>()
        };
        let enough = SETTLED as usize;
        let only = |nth: usize, of: usize| (0..of).map(|i| i == nth).collect::<Vec<bool>>();
        assert_eq!(settles(true, &vec![true; enough + 9]), only(enough - 1, enough + 9));
        let strays: Vec<bool> = (0..enough + 3).map(|i| i != 2).collect();
        assert_eq!(settles(true, &strays), only(enough + 2, enough + 3));
        assert_eq!(settles(false, &vec![true; enough]), vec![false; enough], "nothing was withheld");
    }

    #[test]
    fn flagged_values_and_those_just_after_are_withheld() {
        let mut guard = Guard::default();
        let flags = [false, true, false, false, false, false, false, false];
        let learned = flags.map(|flagged| guard.decide(at(0), flag(flagged), SIX_HOURS) == Learning::Learn);
        assert_eq!(learned, [true, false, false, false, false, false, true, true]);
    }

    #[test]
    fn a_doubtful_value_is_withheld_alone_and_adapted_to_when_it_lasts() {
        let mut guard = Guard::default();
        let looks = [Suspicion::None, DOUBTFUL, Suspicion::None];
        let learned = looks.map(|look| guard.decide(at(0), look, SIX_HOURS) == Learning::Learn);
        assert_eq!(learned, [true, false, true]);
        let adapts =
            (0..1000).find(|s| matches!(guard.decide(at(*s), DOUBTFUL, SIX_HOURS), Learning::Adapt { .. }));
        assert_eq!(adapts, Some(600));
    }

    #[test]
    fn a_doubt_that_lasts_is_a_fault_and_has_an_edge() {
        let mut guard = Guard::default();
        let looks = std::iter::repeat_n(DOUBTFUL, LASTING as usize);
        let faults: Vec<bool> = looks
            .map(|look| {
                guard.decide(at(0), look, SIX_HOURS);
                guard.is_fault()
            })
            .collect();
        assert_eq!(faults, [false, false, false, false, true]);
        assert_eq!(guard.decide(at(0), Suspicion::None, SIX_HOURS), Learning::Withhold);
    }

    /// Looks of the checks of a fault and after it: F for flagged, D for doubtful, o for out of its band but neither, . for
    /// calm; and at which of them it settles.
    fn settles_at(looks: &str) -> Vec<usize> {
        let mut guard = Guard::default();
        let settles = |look: char| {
            let suspicion = match look {
                'F' => Suspicion::Flagged,
                'D' => DOUBTFUL,
                _ => Suspicion::None,
            };
            guard.decide(at(0), suspicion, SIX_HOURS);
            guard.settles(look == '.').is_some()
        };
        let settled: Vec<bool> = looks.chars().map(settles).collect();
        (0..settled.len()).filter(|at| settled[*at]).collect()
    }

    #[test]
    fn a_fault_settles_at_the_last_check_before_it_is_learned_again_if_it_is_back_by_then() {
        assert_eq!(settles_at("FF......"), [5]);
        assert_eq!(settles_at("F...D..."), [7], "a doubt ends no fault");
        assert_eq!(settles_at("DDDDD...D..."), [11], "a doubt that lasted was one");
        assert_eq!(settles_at("Foooooo"), [0; 0], "it hovers where it was");
        assert_eq!(settles_at("FDDDDDDDDD"), [0; 0], "it goes on, if less clearly");
        assert_eq!(settles_at("D....D..."), [0; 0], "there was none");
    }

    #[test]
    fn a_level_is_the_new_normal_once_held_as_long_as_the_old_one_rests_on() {
        assert_eq!(adapts_at(3600, 100_000), Some(7200));
        assert_eq!(adapts_at(86_400, 200_000), Some(86_400 + 6 * 3600));
    }

    #[test]
    fn a_level_was_not_held_while_nobody_looked() {
        let mut guard = Guard::default();
        guard.decide(at(0), Suspicion::None, SIX_HOURS);
        guard.decide(at(10), Suspicion::Flagged, SIX_HOURS);
        guard.skip(Duration::from_hours(1));
        assert_eq!(guard.decide(at(3630), Suspicion::Flagged, SIX_HOURS), Learning::Withhold);
        assert!(matches!(guard.decide(at(4300), Suspicion::Flagged, SIX_HOURS), Learning::Adapt { .. }));
    }

    #[test]
    fn never_under_ten_minutes() {
        assert_eq!(adapts_at(60, 10_000), Some(660));
    }

    #[test]
    fn after_adapting_the_level_is_learned() {
        let mut guard = Guard::default();
        guard.decide(at(0), Suspicion::None, SIX_HOURS);
        guard.decide(at(10), Suspicion::Flagged, SIX_HOURS);
        assert_eq!(guard.decide(at(700), Suspicion::Flagged, SIX_HOURS), Learning::Adapt { since: at(10) });
        assert_eq!(guard.decide(at(710), Suspicion::None, SIX_HOURS), Learning::Learn);
    }
}
