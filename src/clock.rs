//! The clock that samples are stamped by: wall time that passes as the monotonic clock passes.
//!
//! A rate divides what was counted by the time that has passed, so a wall clock that is set must not change how much
//! time that is. A small step of wall time is therefore not followed: the clock goes on evenly and comes back to wall
//! time by [`SLEW`] of the time that passes, too little for a rate to show. A step that is too large for that is
//! followed at once, and everybody who reads the clock then sees a gap, or time that steps back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::series::Timestamp;

/// Share of the time passed by which the clock comes nearer to wall time.
const SLEW: f64 = 0.005;
/// A step of wall time up to this is not followed at once; ahead, only while it is no gap.
const LARGEST_STEP: Duration = Duration::from_mins(2);
/// Steps from this on are said.
const WORTH_SAYING: Duration = Duration::from_millis(500);

/// The time of samples; clones are the same clock, so that all sources agree on it.
#[derive(Clone, Debug)]
pub struct Clock {
    course: Arc<Mutex<Course>>,
    began: Instant,
}

/// Where the clock is. Milliseconds, with fractions.
#[derive(Clone, Copy, Debug)]
struct Course {
    /// Since the clock was made, by the monotonic clock.
    passed: f64,
    /// What the clock showed then.
    shown: f64,
    /// What wall time was then.
    wall: f64,
    /// A step ahead that is longer is a gap.
    gap: f64,
}

/// Whether wall time was set between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Set {
    No,
    /// By so many milliseconds, which the clock does not follow at once.
    Smoothed(f64),
    /// By so many milliseconds, which it does.
    Followed(f64),
}

impl Default for Clock {
    fn default() -> Self {
        let wall = wall();
        let gap = millis(LARGEST_STEP);
        Self {
            course: Arc::new(Mutex::new(Course { passed: 0.0, shown: wall, wall, gap })),
            began: Instant::now(),
        }
    }
}

impl Clock {
    /// Steps ahead longer than `gap` are followed at once from here on.
    pub fn follow_gaps_of(&self, gap: Duration) {
        self.course.lock().unwrap_or_else(PoisonError::into_inner).gap = millis(gap.min(LARGEST_STEP));
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        let set = course.read(millis(self.began.elapsed()), wall());
        let shown = course.shown;
        drop(course);
        match set {
            Set::Smoothed(by) if by.abs() >= millis(WORTH_SAYING) => {
                tracing::info!(milliseconds = by.round(), "wall time was set; samples go on evenly");
            }
            Set::Followed(by) => {
                tracing::warn!(
                    milliseconds = by.round(),
                    "wall time was set far; what was sampled before is no longer compared with"
                );
            }
            _ => {}
        }
        Timestamp::from_millis(shown as i64)
    }
}

impl Course {
    fn read(&mut self, passed: f64, wall: f64) -> Set {
        let elapsed = (passed - self.passed).max(0.0);
        let step = wall - self.wall - elapsed;
        let even = self.shown + elapsed;
        let behind = wall - even;
        let follows = behind > self.gap || -behind > millis(LARGEST_STEP);
        let towards = behind.clamp(-elapsed * SLEW, elapsed * SLEW);
        self.shown = if follows { wall } else { even + towards };
        (self.passed, self.wall) = (passed, wall);
        match step {
            _ if follows => Set::Followed(behind),
            step if step.abs() < 1.0 => Set::No,
            step => Set::Smoothed(step),
        }
    }
}

fn wall() -> f64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: f64 = 1.7e12;

    fn course() -> Course {
        Course { passed: 0.0, shown: START, wall: START, gap: 40_000.0 }
    }

    proptest! {
        #[test]
        fn small_steps_of_wall_time_change_no_interval_by_more_than_the_slew(
            steps in prop::collection::vec((1_u32..10_000, -15_000_i32..15_000), 1..200)
        ) {
            let (mut course, mut passed, mut offset) = (course(), 0.0, 0.0_f64);
            for (elapsed, step) in steps {
                passed += f64::from(elapsed);
                // What is set several times the same way adds up to a step that is followed.
                let set = offset + f64::from(step);
                offset = if set.abs() > 20_000.0 { offset } else { set };
                let before = course.shown;
                course.read(passed, START + passed + offset);
                let wrong = (course.shown - before - f64::from(elapsed)).abs();
                prop_assert!(wrong <= f64::from(elapsed) * SLEW + 1e-2, "{wrong} in {elapsed}");
            }
        }
    }

    #[test]
    fn the_clock_comes_back_to_wall_time() {
        for offset in [-20_000.0, 1_500.0] {
            let mut course = course();
            for second in 1..=5000 {
                let passed = f64::from(second) * 1e3;
                course.read(passed, START + passed + offset);
            }
            assert_eq!(course.shown, course.wall, "{offset}");
        }
    }

    #[test]
    fn steps_too_far_to_be_smoothed_are_followed_at_once() {
        for (step, set) in [
            (-119_000.0, Set::Smoothed(-119_000.0)),
            (-121_000.0, Set::Followed(-121_000.0)),
            (39_000.0, Set::Smoothed(39_000.0)),
            (41_000.0, Set::Followed(41_000.0)),
        ] {
            let mut course = course();
            assert_eq!(course.read(1e3, START + 1e3), Set::No);
            assert_eq!(course.read(2e3, START + 2e3 + step), set);
            let off = if matches!(set, Set::Followed(_)) { step } else { 0.0 };
            assert!((course.shown - START - 2e3 - off).abs() <= 5.0, "{step}: {}", course.shown - START);
        }
    }
}
