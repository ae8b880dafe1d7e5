//! Fits that come late, out of order, or never: a backtest that is told when they took effect says what the run said.

use std::path::Path;
use std::time::Duration;

use dwcp_anomaly::backtest::{Replay, Schedule};
use dwcp_anomaly::config::Config;
use dwcp_anomaly::detect::fit_tasks::Model;
use dwcp_anomaly::engine::held::Taken;
use dwcp_anomaly::engine::{Engine, Event, Fit};
use dwcp_anomaly::state::{Directory, Known};
use proptest::prelude::*;

use crate::driver;
use crate::golden::SCENARIOS;
use crate::trace::Scenario;

/// Checks between asking for a fit and its effect, if it is back by then.
const DELAY: u64 = dwcp_anomaly::detect::fit_tasks::DELAY;

/// What the engine said at each check, and the fits that took effect.
struct Run {
    said: Vec<String>,
    taken: Vec<Taken>,
}

/// Runs a scenario in which the nth fit is back after so many checks, or never; at the check `restart` the process ends
/// with whatever is under way.
fn run(scenario: &Scenario, back_after: &[Option<u64>], restart: Option<u64>) -> Run {
    let place = tempfile::tempdir().unwrap();
    let config = driver::config(scenario.interval, &["one"]);
    let mut engine = driver::engine(&config);
    let mut under_way: Vec<(u64, Fit<Model>)> = Vec::new();
    let mut run = Run { said: Vec::new(), taken: Vec::new() };
    let mut back_after = back_after.iter().copied().cycle();
    for (check, row) in (1..).zip(scenario.trace()) {
        if restart == Some(check) {
            engine = restarted(engine, &config, place.path());
            under_way.clear();
        }
        // Of those that are back the last is handed in first.
        let back: Vec<_> = under_way.extract_if(.., |(back, _)| *back <= check).collect();
        back.into_iter().rev().for_each(|(_, fit)| drop(engine.step(Event::Install(fit))));
        driver::take(&mut engine, 0, vec![row.batch()]);
        let step = engine.step(Event::Tick(0, row.at));
        for (Fit { target, asked, what }, back) in step.tasks.into_iter().zip(&mut back_after) {
            let fit = Fit { target, asked, what: what.run(&mut || ()) };
            under_way.extend(back.map(|back| (check + back, fit)));
        }
        run.taken.extend(step.taken);
        let verdict = dwcp_anomaly::backtest::Verdict::of(&engine.judgement(0).unwrap());
        run.said.push(format!("{verdict:?}"));
    }
    run
}

/// Another process goes on.
fn restarted(mut engine: Engine, config: &Config, place: &Path) -> Engine {
    let directory = Directory::open(place).unwrap();
    for target in engine.keep() {
        directory.write_target(&target, &mut Known::default()).unwrap();
    }
    directory.write_settled(&engine.incidents()).unwrap();
    let loaded = directory.load();
    let mut engine = driver::engine(config);
    engine.restore(loaded.targets, loaded.incidents);
    engine
}

/// What a backtest says of the same samples when it is told when fits took effect, as `run` has written it.
fn backtest(scenario: &Scenario, taken: &[Taken]) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    taken.iter().for_each(|one| directory.note_fits(std::slice::from_ref(one)).unwrap());
    let text = std::fs::read_to_string(place.path().join("fits.jsonl")).unwrap_or_default();
    let replay = Replay {
        config: Config::default(),
        signals: Vec::new(),
        interval: Duration::from_secs(scenario.interval),
        train_rows: 0,
        fits: Some(Schedule::parse(&text, None).unwrap()),
    };
    let outcome = replay.run(&scenario.dataset(), &mut |_, _| ());
    outcome.verdicts.iter().map(|verdict| format!("{verdict:?}")).collect()
}

fn scenario(name: &str) -> &'static Scenario {
    SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap()
}

fn is_late(taken: &Taken) -> bool {
    taken.effective > taken.asked + DELAY
}

/// The first rows that differ.
fn difference(run: &Run, backtest: &[String]) -> Option<String> {
    let row = run.said.iter().zip(backtest).position(|(one, other)| one != other)?;
    Some(format!("row {row}: {} and {}; taken {:?}", run.said[row], backtest[row], run.taken))
}

#[test]
fn a_backtest_says_what_a_run_with_a_late_fit_has_said() {
    let scenario = scenario("steps-10s");
    let in_time: Vec<String> =
        driver::run(scenario).iter().map(|said| format!("{:?}", said.verdict)).collect();
    let run = run(scenario, &[Some(0), Some(320)], None);
    assert!(run.taken.iter().any(is_late), "{:?}", run.taken);
    assert!(difference(&run, &in_time).is_some(), "or its lateness would not matter");
    assert_eq!(difference(&run, &backtest(scenario, &run.taken)), None);
}

#[test]
fn a_backtest_says_what_a_run_has_said_that_lost_its_fits_with_the_process() {
    let scenario = scenario("steps-10s");
    let run = run(scenario, &[Some(40)], Some(250));
    let asked: Vec<u64> = run.taken.iter().map(|taken| taken.asked).collect();
    assert!(asked.contains(&250), "the one that was lost is asked for again: {asked:?}");
    assert_eq!(difference(&run, &backtest(scenario, &run.taken)), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whenever_fits_come_a_backtest_that_knows_it_says_the_same(
        back_after in proptest::collection::vec(proptest::option::weighted(0.8, 0_u64..200), 6),
        restart in proptest::option::of(40_u64..500),
    ) {
        let scenario = scenario("vanishing-10s");
        let run = run(scenario, &back_after, restart);
        prop_assert_eq!(difference(&run, &backtest(scenario, &run.taken)), None);
    }

    #[test]
    fn in_which_order_fits_come_changes_nothing_as_long_as_none_is_late(
        back_after in proptest::collection::vec((0..DELAY).prop_map(Some), 6),
    ) {
        let scenario = scenario("ramp-10s");
        let in_time: Vec<String> = driver::run(scenario).iter().map(|said| format!("{:?}", said.verdict)).collect();
        let run = run(scenario, &back_after, None);
        prop_assert!(!run.taken.is_empty() && !run.taken.iter().any(is_late));
        prop_assert_eq!(difference(&run, &in_time), None);
    }
}
