//! The engine over a simulated host in virtual time: quiet when idle, quick when it breaks, the same every time; and over
//! short traces of which is kept what it said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod again;
mod alone;
mod attribution;
mod clock;
mod driver;
mod golden;
mod host;
mod kept;
mod late;
mod misread;
mod properties;
mod rare;
mod ready;
mod repeated;
mod several;
mod soon;
mod trace;

use std::time::Duration;

use dwcp_anomaly::config::Config;
use dwcp_anomaly::engine::snapshot::Snapshot;
use dwcp_anomaly::engine::{Engine, Event, Fit, Health, Setup};
use dwcp_anomaly::incident::{Reason, State};
use dwcp_anomaly::scrape::CONFIRM;
use dwcp_anomaly::scrape::config::Target;
use dwcp_anomaly::series::{Batch, Labels, Origin, Sample, Timestamp};
use dwcp_anomaly::setting::{Ratio, Span};
use dwcp_anomaly::signal::Definition;
use host::{Fault, Host};

fn config(interval: u64) -> Config {
    let mut config = Config { check_interval: Span::seconds(interval), ..Config::default() };
    config.scrape.targets.push(Target::new("http://10.0.0.1:9100/metrics"));
    config
}

fn setup(config: &Config) -> Setup {
    dwcp_anomaly::app::setup(config, "host", 10091)
}

/// What became of an incident, when.
#[derive(Clone, Debug, PartialEq)]
struct Happened {
    at: Timestamp,
    metric: String,
    to: State,
    reason: Reason,
}

/// Feeds one batch and says what fired and what ended. Fits run at once; the engine takes them up when they are due.
fn feed(engine: &mut Engine, batch: Batch, confirms: bool) -> Vec<Happened> {
    let at = batch.at;
    let health = Health { exposed: batch.samples.len(), ..Health::default() };
    engine.step(Event::Batch(0, batch, Some(health)));
    let step = engine.step(if confirms { Event::Confirm(0, at) } else { Event::Tick(0, at) });
    for Fit { target, asked, what } in step.tasks {
        engine.step(Event::Install(Fit { target, asked, what: what.run(&mut || ()) }));
    }
    let with_incident = step.changes.iter().filter(|change| change.incident.is_some());
    with_incident
        .map(|change| Happened {
            at,
            metric: change.metric.get("metric_name").unwrap().to_owned(),
            to: change.transition.to,
            reason: change.transition.reason,
        })
        .collect()
}

/// Scrapes `host` as the scraper does: every `interval` seconds, and more often while an incident is pending.
fn replay(engine: &mut Engine, host: &mut Host, from: u64, until: u64, interval: u64) -> Vec<Happened> {
    let mut happened = Vec::new();
    let soon = interval.div_ceil(u64::from(CONFIRM));
    let mut last = from;
    for second in from..until {
        host.live(second as f64);
        let now = second + 1;
        let regular = now.is_multiple_of(interval);
        let confirms = !regular && interval >= 3 && engine.is_pending(0) && now - last >= soon;
        if regular || confirms {
            last = now;
            happened.extend(feed(engine, host.scrape(now as f64), confirms));
        }
    }
    happened
}

fn opened(happened: &[Happened]) -> Vec<&Happened> {
    happened.iter().filter(|h| h.to == State::Firing && h.reason == Reason::Persisted).collect()
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

#[test]
fn a_day_of_an_idle_host_opens_at_most_one_incident() {
    for (interval, seed) in [(10, 1), (10, 2), (2, 3)] {
        let mut engine = Engine::new(setup(&config(interval)));
        let happened = replay(&mut engine, &mut Host::new(seed), 0, DAY, interval);
        let opened = opened(&happened);
        println!("every {interval} s, seed {seed}: {} incidents", opened.len());
        assert!(opened.len() <= 1, "every {interval} s, seed {seed}: {opened:#?}");
    }
}

/// Between the beginnings of two faults, and how long each lasts, in seconds.
const BETWEEN: u64 = 1200;
const LONG: f64 = 300.0;
/// Beginnings tried within one interval.
const OFFSETS: u64 = 6;

/// Seconds from each beginning of the fault to its incident, and from its end to the incident's.
fn delays(happened: &[Happened], fault: Fault, begins: &[f64]) -> Vec<(f64, f64)> {
    let delay = |begin: &f64| {
        let since = |h: &Happened| h.at.seconds() - host::EPOCH - begin;
        let during = happened
            .iter()
            .filter(|h| h.metric == fault.metric() && (0.0..BETWEEN as f64).contains(&since(h)));
        let first = |to: State| during.clone().find(|h| h.to == to).map(since);
        let fired = first(State::Firing).unwrap_or_else(|| panic!("{fault:?} at {begin}: nothing fired"));
        let ended = first(State::Resolved).unwrap_or_else(|| panic!("{fault:?} at {begin}: nothing ended"));
        (fired, ended - LONG)
    };
    begins.iter().map(delay).collect()
}

#[test]
fn a_step_is_an_incident_soon_and_until_its_end() {
    let faults = [Fault::Cpu, Fault::Memory, Fault::Bandwidth];
    for (interval, most, most_median, most_clear) in [(1, 10.0, 10.0, 60.0), (10, 40.0, 20.0, 120.0)] {
        let begin = |nth: u64| {
            let offset = interval as f64 * ((nth % OFFSETS) as f64 + 0.5) / OFFSETS as f64;
            (3 * HOUR + nth * BETWEEN) as f64 + offset
        };
        let mut host = Host::new(100 + interval);
        for (kind, fault) in faults.iter().enumerate() {
            for nth in 0..OFFSETS {
                let begin = begin(kind as u64 * OFFSETS + nth);
                host = host.with(*fault, begin, begin + LONG);
            }
        }
        let until = 3 * HOUR + faults.len() as u64 * OFFSETS * BETWEEN;
        let happened = replay(&mut Engine::new(setup(&config(interval))), &mut host, 0, until, interval);
        for (kind, fault) in faults.iter().enumerate() {
            let begins: Vec<f64> = (0..OFFSETS).map(|nth| begin(kind as u64 * OFFSETS + nth)).collect();
            let delays = delays(&happened, *fault, &begins);
            let mut took: Vec<f64> = delays.iter().map(|(fired, _)| *fired).collect();
            took.sort_by(f64::total_cmp);
            println!(
                "{fault:?} every {interval} s: {took:?}, ended {:?}",
                delays.iter().map(|d| d.1).collect::<Vec<_>>()
            );
            assert!(took[took.len() - 1] <= most, "{fault:?} every {interval} s: {took:?}");
            assert!(took[took.len() / 2] <= most_median, "{fault:?} every {interval} s: {took:?}");
            assert!(
                delays.iter().all(|(_, ended)| (0.0..=most_clear).contains(ended)),
                "{fault:?}: {delays:?}"
            );
        }
    }
}

/// A gauge that strays by a tenth of a step, and a step of 100 between two checks.
fn gauge(check: usize, fault: std::ops::Range<usize>, at: Timestamp) -> Batch {
    let noise = (check * 7919 % 11) as f64 / 10.0;
    let value = noise + if fault.contains(&check) { 100.0 } else { 0.0 };
    let sample = Sample { labels: Labels::new([("__name__", "level")]), value, at: None };
    Batch { origin: Origin::Scrape, at, samples: vec![sample] }
}

#[test]
fn the_end_of_a_fault_is_told_in_a_minute_however_often_is_looked_and_however_long_it_lasted() {
    for (interval, idle, lasts) in
        [(200, 60, 4), (200, 60, 30), (200, 400, 200), (1000, 90, 20), (1000, 600, 250)]
    {
        let mut config = config(1);
        config.check_interval = Span(Duration::from_millis(interval));
        config.signals = vec![Definition::plain("level")];
        let mut engine = Engine::new(setup(&config));
        let second = 1000 / interval as usize;
        let fault = idle * second..(idle + lasts) * second;
        let mut happened = Vec::new();
        for check in 0..fault.end + 60 * second {
            let at = Timestamp::from_millis(host::EPOCH as i64 * 1000 + check as i64 * interval as i64);
            happened.extend(feed(&mut engine, gauge(check, fault.clone(), at), false));
        }
        let told: Vec<(State, f64)> =
            happened.iter().map(|h| (h.to, h.at.seconds() - host::EPOCH - idle as f64)).collect();
        println!("every {interval} ms, {lasts} s after {idle} s: {told:?}");
        let told_of = |to: State| told.iter().find(|(state, _)| *state == to).map(|(_, at)| *at);
        assert!(told_of(State::Firing).is_some_and(|at| (0.0..=4.0).contains(&at)), "{told:?}");
        let end = lasts as f64..=lasts as f64 + 60.0;
        assert!(told_of(State::Resolved).is_some_and(|at| end.contains(&at)), "{told:?}");
    }
}

#[test]
fn the_same_batches_give_the_same_verdicts_and_an_idle_start_pages_nobody() {
    let run = || {
        let mut engine = Engine::new(setup(&config(10)));
        let mut host = Host::new(7).with(Fault::Cpu, 2.0 * HOUR as f64, 2.1 * HOUR as f64);
        let happened = replay(&mut engine, &mut host, 0, 3 * HOUR, 10);
        (happened, format!("{:?}", engine.snapshot().targets), engine.snapshot())
    };
    let (first, again): ((_, _, Snapshot), _) = (run(), run());
    assert_eq!(first.0, again.0);
    assert_eq!(first.1, again.1, "byte for byte");
    assert!(first.0.iter().all(|h| h.at.seconds() - host::EPOCH >= 2.0 * HOUR as f64), "{:?}", first.0);
}

#[test]
fn turning_a_knob_to_quieter_never_adds_incidents() {
    let count = |turn: &dyn Fn(&mut Config)| {
        let mut config = config(10);
        turn(&mut config);
        let mut engine = Engine::new(setup(&config));
        let mut host = Host::new(21);
        for (at, fault) in [(3, Fault::Cpu), (4, Fault::Memory), (5, Fault::Bandwidth), (6, Fault::Slight)] {
            host = host.with(fault, f64::from(at) * 3600.0, f64::from(at) * 3600.0 + 200.0);
        }
        opened(&replay(&mut engine, &mut host, 0, 7 * HOUR, 10)).len()
    };
    let thresholds = [0.5, 0.6, 0.8, 0.99]
        .map(|t| count(&|c: &mut Config| c.detector.ensemble_threshold = Ratio::new(t).unwrap()));
    assert!(thresholds.windows(2).all(|w| w[0] >= w[1]), "{thresholds:?}");
    assert!(thresholds[1] >= 3 && thresholds[3] < thresholds[1], "{thresholds:?}");
    let sigmas = [3.0, 20.0, 200.0].map(|t| count(&|c: &mut Config| c.detector.zscore.threshold = t));
    assert!(sigmas.windows(2).all(|w| w[0] >= w[1]), "{sigmas:?}");
    let shares =
        [0.01, 1e-6, 1e-12].map(|t| count(&|c: &mut Config| c.detector.isolation_forest.contamination = t));
    assert!(shares.windows(2).all(|w| w[0] >= w[1]), "{shares:?}");
}

#[test]
fn however_quiet_a_knob_is_turned_the_same_is_learned() {
    let evidence = |turn: &dyn Fn(&mut Config)| {
        let mut config = config(10);
        turn(&mut config);
        let mut engine = Engine::new(setup(&config));
        let mut host = Host::new(21);
        // One begins while another lasts, so that by another threshold another metric may stand for the target.
        for (at, fault) in
            [(120, Fault::Slight), (122, Fault::Cpu), (180, Fault::Memory), (183, Fault::Bandwidth)]
        {
            host = host.with(fault, f64::from(at) * 60.0, f64::from(at) * 60.0 + 300.0);
        }
        let mut evidence = Vec::new();
        for second in (10..=4 * HOUR).step_by(10) {
            (second - 10..second).for_each(|second| host.live(second as f64));
            feed(&mut engine, host.scrape(second as f64), false);
            evidence.push(engine.judgement(0).unwrap().verdict.evidence);
        }
        evidence
    };
    let by_default = evidence(&|_| ());
    assert!(by_default.iter().any(|evidence| *evidence > 3.0));
    let threshold = |t| evidence(&|c: &mut Config| c.detector.ensemble_threshold = Ratio::new(t).unwrap());
    assert_eq!(threshold(0.75), by_default);
    assert_eq!(threshold(0.99), by_default);
    assert_eq!(evidence(&|c: &mut Config| c.detector.zscore.threshold = 30.0), by_default);
    assert_eq!(evidence(&|c: &mut Config| c.detector.isolation_forest.contamination = 1e-6), by_default);
}

#[test]
fn a_level_held_for_longer_than_the_baseline_is_old_is_the_new_normal_and_no_recovery() {
    let mut engine = Engine::new(setup(&config(10)));
    let mut host = Host::new(5).with(Fault::Memory, HOUR as f64, 1e9);
    let happened = replay(&mut engine, &mut host, 0, 4 * HOUR, 10);
    let memory: Vec<_> = happened.iter().filter(|h| h.metric == "memory_usage").collect();
    let ends: Vec<_> = memory.iter().filter(|h| h.to == State::Resolved).collect();
    assert_eq!(ends.len(), 1, "{memory:#?}");
    assert_eq!(ends[0].reason, Reason::Adapted);
    let held = ends[0].at.seconds() - host::EPOCH - HOUR as f64;
    assert!((HOUR as f64 - 60.0..HOUR as f64 + 120.0).contains(&held), "held for {held} s");
}

#[test]
fn a_new_normal_that_is_undone_opens_nothing_and_the_same_step_after_that_does() {
    for seed in 5..9 {
        let (begin, undone, again) = (HOUR as f64, 3.5 * HOUR as f64, 5.0 * HOUR as f64);
        let mut host =
            Host::new(seed).with(Fault::Memory, begin, undone).with(Fault::Memory, again, again + 600.0);
        let mut engine = Engine::new(setup(&config(10)));
        let happened = replay(&mut engine, &mut host, 0, 6 * HOUR, 10);
        let memory = happened.iter().filter(|h| h.metric == "memory_usage");
        let adapted = memory.clone().any(|h| h.reason == Reason::Adapted);
        let opened = memory.filter(|h| h.reason == Reason::Persisted);
        let at: Vec<f64> = opened.map(|h| h.at.seconds() - host::EPOCH).collect();
        assert!(adapted && at.len() == 2, "{adapted} {at:?} with seed {seed}");
        assert!((begin..begin + 300.0).contains(&at[0]), "{at:?} with seed {seed}");
        assert!((again..again + 300.0).contains(&at[1]), "{at:?} with seed {seed}");
    }
}

#[test]
fn a_gap_in_time_neither_opens_nor_ends_anything_and_a_vanished_target_is_resolved_for_that_reason() {
    let mut engine = Engine::new(setup(&config(10)));
    let mut host = Host::new(9).with(Fault::Cpu, HOUR as f64, 1e9);
    let before = replay(&mut engine, &mut host, 0, HOUR + 120, 10);
    assert_eq!(opened(&before).len(), 1);
    let after = replay(&mut engine, &mut host, HOUR + 120 + 200, HOUR + 400, 10);
    assert_eq!(after, [], "it still fires after a gap of 200 s");
    let began = Timestamp::from_seconds(host::EPOCH + HOUR as f64 + 400.0);
    let empty = |i: u64| Batch {
        origin: Origin::Scrape,
        at: began + Duration::from_secs(10 * i),
        samples: Vec::new(),
    };
    let gone: Vec<_> = (0..60_u64).flat_map(|i| feed(&mut engine, empty(i), false)).collect();
    assert!(gone.iter().any(|h| h.reason == Reason::NoData && h.to == State::Resolved), "{gone:?}");
}
