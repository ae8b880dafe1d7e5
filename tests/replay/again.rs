//! Faults that come again soon after the start: what is left of one must not hide the next.

use dwcp_anomaly::engine::Engine;
use dwcp_anomaly::incident::Reason;

use crate::host::{EPOCH, Fault, Host};
use crate::{Happened, config, replay, setup};

/// Faults of a host, one after the other.
const FAULTS: usize = 12;
const SEEDS: u64 = 4;
/// How often is checked; when faults begin, how long each lasts and how long there is none, and by when it must be found.
const SCHEDULES: [(u64, (u64, u64, u64, f64)); 3] =
    [(1, (120, 30, 25, 15.0)), (3, (240, 60, 45, 30.0)), (10, (600, 180, 120, 40.0))];

/// Seconds from the beginning of a fault to its incident, if that opens before the fault is over.
fn delay(happened: &[Happened], fault: Fault, begin: f64, long: u64) -> Option<f64> {
    let since = |h: &Happened| h.at.seconds() - EPOCH - begin;
    let opened = |h: &&Happened| h.metric == fault.metric() && h.reason == Reason::Persisted;
    happened.iter().filter(opened).map(since).find(|since| (0.0..long as f64).contains(since))
}

fn check(interval: u64, faults: &[&[Fault]], seed: u64, (first, long, rest, most): (u64, u64, u64, f64)) {
    let begin = |nth: usize| (first + nth as u64 * (long + rest)) as f64;
    let mut host = Host::new(900 + seed);
    for (nth, together) in faults.iter().enumerate() {
        for fault in *together {
            host = host.with(*fault, begin(nth), begin(nth) + long as f64);
        }
    }
    let mut engine = Engine::new(setup(&config(interval)));
    let happened = replay(&mut engine, &mut host, 0, begin(faults.len()) as u64, interval);
    for (nth, together) in faults.iter().enumerate() {
        let delay = delay(&happened, together[0], begin(nth), long);
        let what = format!("{together:?}, number {nth}, each {interval} s, seed {seed}");
        assert!(delay.is_some_and(|delay| delay <= most), "{what}: {delay:?}");
    }
}

#[test]
fn the_same_fault_is_found_each_time() {
    for (interval, schedule) in SCHEDULES {
        for fault in [Fault::Cpu, Fault::Memory, Fault::Bandwidth] {
            (0..SEEDS).for_each(|seed| check(interval, &[&[fault][..]; FAULTS], seed, schedule));
        }
    }
}

#[test]
fn a_fault_is_found_after_it_showed_a_little_beside_another() {
    let faults: [&[Fault]; FAULTS] = std::array::from_fn(|nth| {
        if nth % 2 == 0 { &[Fault::Memory, Fault::Slight][..] } else { &[Fault::Cpu][..] }
    });
    for (interval, schedule) in SCHEDULES {
        (0..SEEDS).for_each(|seed| check(interval, &faults, seed, schedule));
    }
}
