//! Random windows: scrapes that fail, series that come and go, counters that restart.

use dwcp_anomaly::series::{Batch, Labels, Origin, Sample, Timestamp};
use dwcp_anomaly::window::{Limits, Window};
use rand_core::Rng;

use crate::prometheus::STALE;

const SCRAPES: usize = 90;

/// Samples of one series with their times in Unix milliseconds, and the markers of its ends.
pub type Written = Vec<(i64, f64)>;

/// A target's window, and the same as Prometheus keeps it.
pub struct Scraped {
    pub window: Window,
    pub written: Vec<(Labels, Written)>,
    /// First and last scrape, Unix seconds.
    pub began: i64,
    pub ended: i64,
}

struct Series {
    labels: Labels,
    value: f64,
    is_there: bool,
    written: Written,
}

/// One target as nobody would want it, from `began` on.
pub fn scraped(seed: u128, began: i64) -> Scraped {
    let mut random = rand_pcg::Pcg64Mcg::new(seed);
    let mut below = |most: u32| random.next_u32() % most;
    let interval = i64::from([5, 15, 30][below(3) as usize]) * 1000;
    let mut series = series();
    let mut window = Window::new(Limits { samples: SCRAPES + 10, bytes: 1 << 24 });
    let mut at = began * 1000;
    for _ in 0..SCRAPES {
        // A scrape late by a little, or some that never were.
        at += interval + i64::from(below(700));
        if below(30) == 0 {
            at += interval * i64::from(1 + below(15));
        }
        let has_failed = below(40) == 0;
        let mut samples = Vec::new();
        for one in &mut series {
            let was_there = one.is_there;
            let turns = if was_there { below(30) == 0 } else { below(4) == 0 };
            one.is_there = was_there != turns;
            one.value = next(one, &mut below);
            let shown = if one.labels.name() == "h" { odd(one.value, below(30)) } else { one.value };
            if one.is_there && !has_failed {
                one.written.push((at, shown));
                samples.push(Sample { labels: one.labels.clone(), value: shown, at: None });
            } else if one.written.last().is_some_and(|(_, v)| v.to_bits() != STALE) {
                one.written.push((at, f64::from_bits(STALE)));
            }
        }
        window.push(&Batch { origin: Origin::Scrape, at: Timestamp::from_millis(at), samples });
    }
    let written = series.into_iter().map(|one| (one.labels, one.written)).collect();
    Scraped { window, written, began, ended: at / 1000 }
}

/// In the order of their labels, in which Prometheus then goes through them as well.
fn series() -> Vec<Series> {
    let mut all = vec![Labels::new([("__name__", "single"), ("instance", "x"), ("zone", "z1")])];
    for (instance, zone) in [("a", "z1"), ("b", "z1"), ("c", "z2"), ("bb", "z2")] {
        for name in ["g", "h", "c_total"] {
            all.push(Labels::new([("__name__", name), ("instance", instance), ("zone", zone)]));
        }
        for le in ["0.125", "0.5", "1", "+Inf"] {
            all.push(Labels::new([("__name__", "lat_bucket"), ("instance", instance), ("le", le)]));
        }
    }
    all.push(Labels::new([("__name__", "other_bucket"), ("instance", "a"), ("le", "0.5")]));
    all.sort();
    let fresh = |labels| Series { labels, value: 0.0, is_there: true, written: Vec::new() };
    all.into_iter().map(fresh).collect()
}

/// Eighths, so that sums are exact.
fn next(one: &Series, below: &mut impl FnMut(u32) -> u32) -> f64 {
    match one.labels.name() {
        "c_total" | "lat_bucket" | "other_bucket" if below(40) == 0 => f64::from(below(8)),
        "c_total" => one.value + f64::from(below(1000)) / 8.0,
        "lat_bucket" | "other_bucket" => one.value + f64::from(below(9)),
        _ => f64::from(below(1600)) / 8.0 - 50.0,
    }
}

fn odd(value: f64, which: u32) -> f64 {
    match which {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        _ => value,
    }
}
