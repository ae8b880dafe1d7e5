//! Waiting after a failure: longer each time, or as long as the other side asks.

use std::time::Duration;

use super::retry::Again;
use crate::series::Timestamp;

/// Between attempts to reach somebody who does not listen: whoever comes back is told at once.
const SOON: Duration = Duration::from_secs(1);
/// The first and the longest back-off, each twice the one before.
const LATER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// No attempt before it is over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pause {
    since: Timestamp,
    wait: Duration,
    /// The back-off that comes next.
    backoff: Duration,
}

impl Pause {
    /// The pause after one more failure at `now`.
    #[must_use]
    pub fn next(self, again: Again, now: Timestamp) -> Self {
        let backoff = self.backoff.clamp(LATER.0, LATER.1);
        let (wait, backoff) = match again {
            Again::Soon => (SOON, Duration::ZERO),
            Again::After(wait) => (wait, Duration::ZERO),
            Again::Later | Again::Never => (backoff, backoff * 2),
        };
        Self { since: now, wait, backoff }
    }

    /// Whether an attempt may be made.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.wait.is_zero() || now.since(self.since) >= self.wait
    }

    /// When it is over.
    pub fn until(&self) -> Timestamp {
        self.since + self.wait
    }

    /// The wall clock was set by so many milliseconds.
    pub fn shift(&mut self, millis: i64) {
        self.since = Timestamp::from_millis(self.since.millis().saturating_add(millis));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_doubles_and_what_is_asked_for_is_kept() {
        let at = Timestamp::from_millis(0);
        let mut pause = Pause::default();
        assert!(pause.is_over(at));
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                pause = pause.next(Again::Later, at);
                pause.until().since(at).as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        for (again, wait) in
            [(Again::Soon, 1), (Again::After(Duration::from_secs(90)), 90), (Again::Later, 1)]
        {
            pause = pause.next(again, at);
            assert!(!pause.is_over(at + Duration::from_millis(wait * 1000 - 1)));
            assert!(pause.is_over(at + Duration::from_secs(wait)));
        }
    }
}
