//! The same faults again and again, for hours: the last is found as the first was.

use dwcp_anomaly::engine::Engine;
use dwcp_anomaly::incident::State;

use crate::host::{EPOCH, Fault, Host};
use crate::{Happened, config, replay, setup};

/// Faults of a round, each with the load on the CPUs that goes along with it.
const ROUND: [&[Fault]; 7] = [
    &[Fault::Cpu],
    &[Fault::Leak, Fault::Slight],
    &[Fault::Cpu],
    &[Fault::Cpu],
    &[Fault::Bandwidth],
    &[Fault::Cpu],
    &[Fault::Bandwidth],
];
/// How long one lasts, and what is between two beginnings, in seconds.
const LASTS: f64 = 20.0;
const APART: u64 = 40;
const ROUNDS: usize = 30;
/// By when each is told, in seconds: memory is ten points up after six; the first, soon after the start, takes longest.
const SOON: f64 = 9.0;

fn begin(round: usize, kind: usize) -> f64 {
    (45 + (round * ROUND.len() + kind) as u64 * APART) as f64
}

/// Whether the host's own busy moment has just begun, which is told in the fault's stead.
fn is_busy(at: f64) -> bool {
    at % 600.0 < LASTS
}

#[test]
fn a_fault_that_comes_again_and_again_is_never_taken_for_normal_nor_is_what_it_leaves_behind() {
    for seed in [1, 2, 3] {
        let mut host = Host::new(seed);
        for (round, kind) in (0..ROUNDS).flat_map(|round| (0..ROUND.len()).map(move |kind| (round, kind))) {
            let begin = begin(round, kind);
            host = ROUND[kind].iter().fold(host, |host, fault| host.with(*fault, begin, begin + LASTS));
        }
        let happened = replay(&mut Engine::new(setup(&config(1))), &mut host, 0, begin(ROUNDS, 0) as u64, 1);
        for (kind, faults) in ROUND.iter().enumerate() {
            let of_metric = |h: &&Happened| h.to == State::Firing && h.metric == faults[0].metric();
            let since = |h: &Happened, round| h.at.seconds() - EPOCH - begin(round, kind);
            let found: Vec<Option<f64>> = (0..ROUNDS)
                .filter(|round| !is_busy(begin(*round, kind)))
                .map(|round| {
                    let mut since = happened.iter().filter(of_metric).map(|h| since(h, round));
                    since.find(|since| (1.0..LASTS).contains(since))
                })
                .collect();
            println!("seed {seed}, {:?}: {found:?}", faults[0]);
            let is_soon = |found: &Option<f64>| found.is_some_and(|after| after <= SOON);
            assert!(found.iter().all(is_soon), "seed {seed}, {:?}: {found:?}", faults[0]);
        }
    }
}
