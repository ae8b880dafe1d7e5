//! What may not matter to what the engine says: which of the two drivers asks, how targets are ordered, and in which
//! order and how often the batches between two checks come.
//!
//! A batch of a scrape is one whole scrape, so a scrape is never cut into several: the second would be late.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use dwcp_anomaly::backtest::Replay;
use dwcp_anomaly::config::Config;
use dwcp_anomaly::dataset::{Columns, Dataset};
use dwcp_anomaly::series::{Batch, Labels, Origin, Sample};
use dwcp_anomaly::signal::{Definition, Direction};
use proptest::prelude::*;

use crate::driver::{self, Said};
use crate::golden::SCENARIOS;
use crate::trace::{Fault, Kind, Row, SIGNALS, Scenario};

/// All of it but the target's name, to the last bit: a float's `Debug` names it uniquely.
fn words(said: &[Said]) -> Vec<String> {
    let word = |said: &Said| {
        let mut said = said.clone();
        for change in &mut said.changes {
            change.target = Labels::empty();
            if let Some(incident) = &mut change.incident {
                incident.target = Labels::empty();
            }
        }
        format!("{said:?}")
    };
    said.iter().map(word).collect()
}

#[test]
fn a_backtest_of_a_recorded_run_is_the_run() {
    for scenario in &SCENARIOS {
        let run = driver::run(scenario);
        let replay = Replay {
            config: Config::default(),
            signals: Vec::new(),
            interval: Duration::from_secs(scenario.interval),
            train_rows: scenario.taught,
            fits: None,
        };
        let outcome = replay.run(&scenario.dataset(), &mut |_, _| ());
        assert_eq!(outcome.verdicts.len(), scenario.taught + run.len());
        for (row, (said, backtested)) in run.iter().zip(&outcome.verdicts[scenario.taught..]).enumerate() {
            let of_run = format!("{:?}", said.verdict);
            assert_eq!(of_run, format!("{backtested:?}"), "{} row {row}", scenario.name);
        }
    }
}

const FAULTY: std::ops::Range<usize> = 500..540;

/// A column around 50, further up or down by `fault` for forty rows.
fn faulty(fault: f64) -> Dataset {
    let mut random = rand_pcg::Pcg64Mcg::new(17);
    let mut text = "timestamp,load".to_owned();
    for row in 0..700 {
        let noise = f64::from(random.next_u32()) / f64::from(u32::MAX);
        let fault = if FAULTY.contains(&row) { fault } else { 0.0 };
        write!(text, "\n{},{}", 1_700_000_000 + 10 * row, 50.0 + noise + fault).unwrap();
    }
    Dataset::parse(text.as_bytes(), Path::new("faulty"), &Columns::default()).unwrap()
}

/// Whether a dip and a rise by 30 alert, where so much matters of the column.
fn alerts(signals: &[Definition]) -> [bool; 2] {
    let alerts = |fault: f64| {
        let (config, interval) = (Config::default(), Duration::from_secs(10));
        let replay = Replay { config, signals: signals.to_vec(), interval, train_rows: 400, fits: None };
        let outcome = replay.run(&faulty(fault), &mut |_, _| ());
        outcome.verdicts[FAULTY].iter().any(|verdict| verdict.alert)
    };
    [alerts(-30.0), alerts(30.0)]
}

#[test]
fn what_a_configuration_says_of_a_signal_holds_for_the_column_of_its_name() {
    let load =
        |direction, min_deviation| [Definition { direction, min_deviation, ..Definition::plain("load") }];
    assert_eq!(alerts(&[]), [true, true], "both sides matter where nothing is said");
    assert_eq!(alerts(&load(Direction::Up, 0.0)), [false, true]);
    assert_eq!(alerts(&load(Direction::Down, 0.0)), [true, false]);
    assert_eq!(alerts(&load(Direction::Both, 40.0)), [false, false]);
    let other = Definition { direction: Direction::Up, ..Definition::plain("other") };
    assert_eq!(alerts(&[other]), [true, true], "what is said of another column");
}

/// Scenarios of one interval: targets of one engine.
fn side_by_side() -> [&'static Scenario; 3] {
    let of = |name: &str| SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    [of("steps-10s"), of("ramp-10s"), of("vanishing-10s")]
}

/// What is said of three targets in one engine, in the order of their names, if they stand and are asked in `order`.
fn said_in(order: &[usize], rows: usize) -> Vec<Vec<String>> {
    let traces = side_by_side().map(Scenario::trace);
    let names = ["a", "b", "c"];
    let instances: Vec<&str> = order.iter().map(|target| names[*target]).collect();
    let mut engine = driver::engine(&driver::config(10, &instances));
    let mut said: Vec<Vec<Said>> = vec![Vec::new(); names.len()];
    let mut rest = traces.each_ref().map(|trace| trace[..rows].iter());
    while rest.iter().all(|rows| rows.len() > 0) {
        for (place, target) in order.iter().enumerate() {
            if let Some(row) = rest[*target].next() {
                driver::take(&mut engine, place, vec![row.batch()]);
                said[*target].push(driver::judge(&mut engine, place, row.at));
            }
        }
    }
    said.iter().map(|said| words(said)).collect()
}

#[test]
fn how_targets_are_ordered_changes_nothing_and_neither_do_the_others() {
    let rows = 470;
    let reference = said_in(&[0, 1, 2], rows);
    assert!(reference.iter().flatten().any(|said| said.contains("Persisted")), "or nothing is compared");
    for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        assert!(said_in(&order, rows) == reference, "in the order {order:?}");
    }
    for (scenario, among) in side_by_side().into_iter().zip(&reference) {
        let alone = driver::run(scenario);
        assert!(&words(&alone[..rows]) == among, "{} alone and among others", scenario.name);
    }
}

/// Signals that a probe brings rather than the scrape.
const PROBED: usize = 1;
/// Seconds before a check at which the probe has answered.
const ANSWERS: [u64; 2] = [6, 3];

/// The batches of one row, in one of the ways in which they may come: each bit of `way` turns one thing round.
fn batches(row: &Row, way: u8) -> Vec<Batch> {
    let whole = row.batch();
    let is_probed = |sample: &Sample| SIGNALS[SIGNALS.len() - PROBED..].contains(&sample.labels.name());
    let (probed, mut scraped): (Vec<Sample>, Vec<Sample>) = whole.samples.into_iter().partition(is_probed);
    let answer = |before: &u64| Batch {
        origin: Origin::Probe,
        at: row.at - Duration::from_secs(*before),
        samples: probed.clone(),
    };
    let mut probes: Vec<Batch> = ANSWERS.iter().map(answer).collect();
    let is_set = |bit: u8| way >> bit & 1 == 1;
    if is_set(0) {
        scraped.reverse();
    }
    let mut scrapes = vec![Batch { origin: Origin::Scrape, at: row.at, samples: scraped }];
    if is_set(1) {
        scrapes.push(scrapes[0].clone());
    }
    if is_set(2) {
        scrapes.push(Batch { samples: Vec::new(), ..scrapes[0].clone() });
    }
    if is_set(3) {
        probes.extend(probes.clone());
    }
    if is_set(4) { [scrapes, probes].concat() } else { [probes, scrapes].concat() }
}

const ROWS: usize = 130;
const EARLY: &[Fault] = &[Fault { kind: Kind::Step, signal: 0, from: 100, until: 120, height: 40.0 }];

/// What is said of a trace with an early fault, the batches of each row coming in its own way.
fn said_of(ways: &[u8]) -> Vec<String> {
    let scenario = Scenario { rows: ROWS, faults: EARLY, ..SCENARIOS[0] };
    let mut engine = driver::engine(&driver::config(scenario.interval, &["one"]));
    let say = |(row, way): (&Row, &u8)| {
        driver::take(&mut engine, 0, batches(row, *way));
        driver::judge(&mut engine, 0, row.at)
    };
    words(&scenario.trace().iter().zip(ways).map(say).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_batches_and_their_repetition_change_nothing(ways in proptest::collection::vec(0_u8..32, ROWS)) {
        let plain = said_of(&[0; ROWS]);
        prop_assert!(plain.iter().any(|said| said.contains("Persisted")), "or nothing is compared");
        prop_assert_eq!(said_of(&ways), plain);
    }
}
