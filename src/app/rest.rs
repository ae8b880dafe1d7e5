//! How much a fit may work: a tenth of one core, and a hundredth while the host's CPUs are busy with something else.
//!
//! A pod's share is often no more, and a quota once used up would stop the verdicts as well. A host may be busy for days,
//! though: a fit that was asked for two minutes ago does not wait for a better hour any longer.

use std::time::{Duration, Instant};

/// Work on end, and the rest that follows it, as multiples.
const WORK: Duration = Duration::from_millis(5);
const REST: u32 = 9;
const REST_WHEN_BUSY: u32 = 99;
/// Share of the host's time from which on it is busy, and how often that is looked at.
const BUSY: f64 = 0.8;
const LOOK: Duration = Duration::from_secs(1);
/// How long a fit gives way to a busy host, from when it was asked for.
const PATIENCE: Duration = Duration::from_mins(2);

/// The pace of one fit.
pub(super) struct Rest {
    asked: Instant,
    since: Instant,
    host: Host,
}

impl Rest {
    /// Of a fit that waits since `asked`.
    pub(super) fn new(asked: Instant) -> Self {
        Self { asked, since: Instant::now(), host: Host::new() }
    }

    /// Called by the fit again and again.
    pub(super) fn pause(&mut self) {
        let worked = self.since.elapsed();
        if worked >= WORK {
            let rest = rest(self.host.is_busy(), self.asked.elapsed());
            std::thread::sleep(worked.min(WORK * 4) * rest);
            self.since = Instant::now();
        }
    }
}

/// How long to rest after work, as a multiple of it, for a fit that was asked for so long ago.
fn rest(host_is_busy: bool, waited: Duration) -> u32 {
    if host_is_busy && waited < PATIENCE { REST_WHEN_BUSY } else { REST }
}

/// How busy the host is.
struct Host {
    looked: Instant,
    before: Option<Times>,
    is_busy: bool,
}

/// Ticks of all CPUs since the host started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    busy: u64,
    all: u64,
}

impl Host {
    fn new() -> Self {
        Self { looked: Instant::now(), before: Times::now(), is_busy: false }
    }

    fn is_busy(&mut self) -> bool {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let now = Times::now();
            self.is_busy = self.before.zip(now).is_some_and(|(before, now)| now.share_since(before) > BUSY);
            self.before = now;
        }
        self.is_busy
    }
}

impl Times {
    fn now() -> Option<Self> {
        Self::read(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// The line `cpu  user nice system idle iowait irq softirq steal …`; guests are counted in user.
    fn read(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
        let all: u64 = ticks.iter().sum();
        Some(Self { busy: all - ticks.get(3)? - ticks.get(4).unwrap_or(&0), all })
    }

    fn share_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.busy.saturating_sub(before.busy) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_gives_way_to_a_busy_host_for_two_minutes_and_then_goes_on() {
        let seconds = Duration::from_secs;
        let cases = [(false, 0, 9), (false, 300, 9), (true, 0, 99), (true, 119, 99), (true, 120, 9)];
        for (is_busy, waited, expected) in cases {
            assert_eq!(rest(is_busy, seconds(waited)), expected, "busy: {is_busy}, after {waited} s");
        }
    }

    #[test]
    fn a_host_is_busy_by_what_its_cpus_did_since_the_last_look() {
        let before = Times::read("cpu  100 0 50 800 50 0 0 0 9 9\ncpu0 1 2 3 4\n").unwrap();
        assert_eq!(before, Times { busy: 150, all: 1000 });
        let after = Times::read("cpu  180 5 60 800 55 0 0 0\n").unwrap();
        assert!((after.share_since(before) - 0.95).abs() < 1e-9);
        assert_eq!(Times::read("nothing"), None);
        assert!(Times::now().is_some());
    }
}
