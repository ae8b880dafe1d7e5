//! Values far out that stand alone: a scrape that took long, a page read while it was written.

use dwcp_anomaly::incident::Reason;
use dwcp_anomaly::series::Timestamp;

use crate::driver;
use crate::trace::{Fault, Kind, SIGNALS, Scenario};

/// How far out, in the width of the noise.
const HEIGHTS: [f64; 4] = [-5.0, 20.0, 300.0, 1e6];
const FIRST: usize = 700;
const BETWEEN: usize = 60;

/// Each signal is struck at each height in turn, for `long` rows.
fn struck(long: usize) -> Vec<Fault> {
    let strike = |nth: usize| {
        let from = FIRST + BETWEEN * nth;
        let height = HEIGHTS[nth / SIGNALS.len()];
        Fault { kind: Kind::Step, signal: nth % SIGNALS.len(), from, until: from + long, height }
    };
    (0..HEIGHTS.len() * SIGNALS.len()).map(strike).collect()
}

/// A trace of so many rows on which the signal that bursts does not do so just after a strike: that would be one more out.
fn scenario(interval: u64, taught: usize, faults: Vec<Fault>) -> Scenario {
    let (rows, faults): (_, &'static [Fault]) = (FIRST + BETWEEN * (faults.len() + 1), faults.leak());
    let with = |seed| Scenario { name: "alone", seed, interval, rows, taught, faults, restart: None };
    let is_calm = |scenario: &Scenario| {
        let trace = scenario.trace();
        let mut ends = faults.iter().filter(|fault| fault.signal == 2).map(|fault| fault.until);
        ends.all(|end| trace[end].values[2].is_some_and(|value| value < 1.5))
    };
    (1..100).map(with).find(is_calm).unwrap()
}

/// The strikes that open an incident of the signal they strike.
fn opening(interval: u64, taught: usize, long: usize) -> Vec<Fault> {
    let scenario = scenario(interval, taught, struck(long));
    let trace = scenario.trace();
    let said = driver::run(&scenario);
    let changes = said.iter().flat_map(|said| said.changes.iter().map(move |change| (said.at, change)));
    let opens: Vec<_> = changes
        .filter(|(_, change)| change.incident.is_some() && change.transition.reason == Reason::Persisted)
        .map(|(at, change)| (at, change.metric.get("metric_name").unwrap()))
        .collect();
    let is_its = |fault: &Fault, at: Timestamp, metric: &str| {
        metric == SIGNALS[fault.signal]
            && at >= trace[fault.from].at
            && at < trace[fault.from + BETWEEN - 1].at
    };
    let opens = |fault: &&Fault| opens.iter().any(|(at, metric)| is_its(fault, *at, metric));
    scenario.faults.iter().filter(opens).copied().collect()
}

#[test]
fn a_value_that_stands_alone_opens_no_incident_however_far_out_it_is() {
    for taught in [0, 500] {
        for (interval, longest) in [(1, 2), (10, 2), (30, 1)] {
            for long in 1..=longest {
                let opening = opening(interval, taught, long);
                assert!(
                    opening.is_empty(),
                    "{long} values each {interval} s, {taught} rows taught: {opening:#?}"
                );
            }
        }
    }
}

#[test]
fn values_that_last_open_one_however_short_the_time() {
    for interval in [1, 10, 30] {
        let opening = opening(interval, 500, 12);
        assert_eq!(opening.len(), HEIGHTS.len() * SIGNALS.len(), "each {interval} s: {opening:#?}");
    }
}
