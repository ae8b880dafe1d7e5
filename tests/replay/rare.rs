//! What no distance from the expected value shows: a signal that freezes where it is, and traffic that is lost at its quietest
//! hour.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use dwcp_anomaly::backtest::{Replay, Verdict};
use dwcp_anomaly::config::Config;
use dwcp_anomaly::dataset::{Columns, Dataset};
use dwcp_anomaly::signal::Definition;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

/// Checks of a day, one a minute.
const DAY: usize = 1440;
const TAUGHT: usize = 4 * DAY;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Frozen,
    Lost,
}

/// Five days of traffic, a latency that follows it and a memory that does not; traffic has `fault` from `from` on for `long`
/// checks.
fn recording(fault: Fault, from: usize, long: usize) -> Dataset {
    let mut random = Pcg64Mcg::new(41);
    let mut noise = || f64::from(random.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0;
    let mut text = String::from("timestamp,traffic,latency,memory");
    let mut frozen = 0.0;
    for row in 0..TAUGHT + DAY {
        let hour = (row % DAY) as f64 / 60.0;
        let load = 0.5 - 0.45 * ((hour - 3.0) / 24.0 * std::f64::consts::TAU).cos();
        let mut traffic = 400.0 * load * (1.0 + 0.15 * noise());
        if (from..from + long).contains(&row) {
            traffic = if fault == Fault::Lost { 0.0 } else { frozen };
        } else {
            frozen = traffic;
        }
        let (latency, memory) = (4.0 + 6.0 * load + 0.5 * noise(), 40.0 + noise());
        write!(text, "\n{},{traffic},{latency},{memory}", 1_700_006_400 + 60 * row).unwrap();
    }
    Dataset::parse(text.as_bytes(), Path::new("rare"), &Columns::default()).unwrap()
}

fn replayed(fault: Fault, from: usize, long: usize) -> Vec<Verdict> {
    let replay = Replay {
        config: Config::default(),
        signals: Vec::new(),
        interval: Duration::from_mins(1),
        train_rows: TAUGHT,
        fits: None,
    };
    replay.run(&recording(fault, from, long), &mut |_, _| ()).verdicts
}

#[test]
fn a_signal_that_freezes_and_traffic_lost_at_night_are_incidents_until_they_end() {
    // Checks until it is told: an incident needs three, and ten are unchanged by themselves.
    let cases = [(Fault::Lost, 3 * 60, 5), (Fault::Frozen, 10 * 60, 15)];
    for (fault, since_midnight, soon) in cases {
        let (from, long) = (TAUGHT + since_midnight, 90);
        let rows = replayed(fault, from, long);
        let told: Vec<usize> = (from..from + long).filter(|row| rows[*row].alert).collect();
        let first = told.first().copied().unwrap_or(usize::MAX);
        assert!(first <= from + soon, "{fault:?} at {from}: {told:?}");
        assert_eq!(told.len(), from + long - first, "{fault:?} is told of until it ends");
        assert!(told.iter().all(|row| rows[*row].metric == "traffic"), "{fault:?}");
        let later = rows[from + long + 10..].iter().filter(|row| row.alert).count();
        assert_eq!(later, 0, "{fault:?} has ended");
    }
}

/// Nights whose backup is taught. Three of them lie within the part of a training that seasons are found in.
const NIGHTS: usize = 5 * DAY;

/// Days of a disk that a backup is written to at half past two, but on the last one where it does not run.
fn backups(runs: bool, expects: bool, false_alerts_per_day: f64) -> Vec<Verdict> {
    let mut random = Pcg64Mcg::new(42);
    let mut noise = || f64::from(random.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0;
    let mut text = String::from("timestamp,disk,memory");
    for row in 0..NIGHTS + DAY {
        let is_backup = (150..170).contains(&(row % DAY)) && (runs || row < NIGHTS);
        let disk = if is_backup { 80.0 } else { 5.0 } + 2.0 * noise();
        write!(text, "\n{},{disk},{}", 1_700_006_400 + 60 * row, 40.0 + noise()).unwrap();
    }
    let mut config = Config::default();
    config.detector.false_alerts_per_day = false_alerts_per_day;
    let replay = Replay {
        config,
        signals: vec![Definition { expects, ..Definition::plain("disk") }],
        interval: Duration::from_mins(1),
        train_rows: NIGHTS,
        fits: None,
    };
    let data = Dataset::parse(text.as_bytes(), Path::new("backups"), &Columns::default()).unwrap();
    replay.run(&data, &mut |_, _| ()).verdicts
}

#[test]
fn a_backup_that_did_not_run_is_an_incident_where_it_is_expected() {
    // Noise alone may have one of the false alerts that are allowed by default within a day, so the rest of it is looked at
    // where next to none is allowed.
    let watched = [(1.0, 330), (0.01, DAY)];
    let nights = [(true, true), (true, false), (false, false), (false, true)];
    for ((allowed, until), (runs, expects)) in
        watched.into_iter().flat_map(|w| nights.map(|night| (w, night)))
    {
        let rows = backups(runs, expects, allowed);
        let told: Vec<usize> = (0..until).filter(|minute| rows[NIGHTS + minute].alert).collect();
        let is_missing = !runs && expects;
        assert_eq!(!told.is_empty(), is_missing, "runs {runs}, expected {expects}: {told:?}");
        // It may come half an hour late, and is told of for as long as it might have come.
        assert!(told.first().is_none_or(|first| (170..230).contains(first)), "{told:?}");
        assert!(told.last().is_none_or(|last| *last < 300), "{told:?}");
        assert!(told.iter().all(|minute| rows[NIGHTS + minute].metric == "disk"), "{told:?}");
    }
}
