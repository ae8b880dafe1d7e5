//! No second message about one thing so soon after the first.

use std::time::Duration;

use moka::sync::Cache;

use crate::detect::verdict::Severity;
use crate::series::Timestamp;

/// Keys remembered at most; of more the least used are forgotten, and may be told again sooner.
const KEYS: u64 = 10_000;

/// When each incident was last told at each severity.
///
/// moka forgets in real time what is no longer needed; whether a message is held back is decided by the times alone.
#[derive(Clone, Debug)]
pub struct Throttle {
    every: Duration,
    told: Cache<(u64, Severity), Timestamp>,
}

impl Throttle {
    /// Once in `every` for each incident and severity.
    pub fn new(every: Duration) -> Self {
        Self { every, told: Cache::builder().max_capacity(KEYS).time_to_live(every).build() }
    }

    /// Remembers that it was told.
    pub fn told(&self, key: u64, severity: Severity, at: Timestamp) {
        if !self.every.is_zero() {
            self.told.insert((key, severity), at);
        }
    }

    /// When each severity of an incident was told last.
    pub fn told_at(&self, key: u64) -> Vec<(Severity, Timestamp)> {
        let told = |severity| Some((severity, self.told.get(&(key, severity))?));
        Severity::ALL.into_iter().filter_map(told).collect()
    }

    /// Until when it is held back, if it is.
    pub fn held_until(&self, key: u64, severity: Severity, now: Timestamp) -> Option<Timestamp> {
        let until = self.told.get(&(key, severity))? + self.every;
        (now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_incident_and_severity_is_held_back_by_itself() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let throttle = Throttle::new(Duration::from_mins(5));
        throttle.told(1, Severity::Warning, at(100));
        for (key, severity, now, until) in [
            (1, Severity::Warning, 100, Some(400)),
            (1, Severity::Warning, 399, Some(400)),
            (1, Severity::Warning, 400, None),
            (1, Severity::Critical, 100, None),
            (2, Severity::Warning, 100, None),
        ] {
            assert_eq!(
                throttle.held_until(key, severity, at(now)),
                until.map(at),
                "{key} {severity:?} {now}"
            );
        }
        let off = Throttle::new(Duration::ZERO);
        off.told(1, Severity::Warning, at(100));
        assert_eq!(off.held_until(1, Severity::Warning, at(100)), None);
    }
}
