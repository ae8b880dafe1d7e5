//! Drives the engine over traces as `run` does, and writes down what it says.

use dwcp_anomaly::backtest::Verdict;
use dwcp_anomaly::config::Config;
use dwcp_anomaly::detect::ensemble::Lesson;
use dwcp_anomaly::engine::{Change, Engine, Event, Fit, Health, Setup, Teaching};
use dwcp_anomaly::scrape::config::Target;
use dwcp_anomaly::series::{Batch, Timestamp};
use dwcp_anomaly::setting::Span;
use dwcp_anomaly::signal::Definition;

use crate::trace::{Row, SIGNALS, Scenario};

/// Share of the taught rows that models are fitted on.
const STUDIED: f64 = 0.7;

/// What was said at one check.
#[derive(Clone, Debug)]
pub struct Said {
    pub at: Timestamp,
    pub verdict: Verdict,
    /// Score of each signal.
    pub scores: Vec<Option<f64>>,
    pub changes: Vec<Change>,
}

/// The default configuration with the signals of a trace, which are columns as `backtest` takes them.
pub fn config(interval: u64, instances: &[&str]) -> Config {
    let mut config = Config { check_interval: Span::seconds(interval), ..Config::default() };
    config.signals = SIGNALS.iter().map(|name| Definition::plain(name)).collect();
    for instance in instances {
        let mut target = Target::new("http://10.0.0.1:9100/metrics");
        target.labels.insert("instance".to_owned(), (*instance).to_owned());
        config.scrape.targets.push(target);
    }
    config
}

/// An engine for that configuration, set up as `run` sets its own up.
pub fn engine(config: &Config) -> Engine {
    let setup: Setup = dwcp_anomaly::app::setup(config, "host", 10091);
    assert_eq!(setup.signals.len(), SIGNALS.len());
    Engine::new(setup)
}

/// Takes in what `batches` hold of one scrape.
pub fn take(engine: &mut Engine, target: usize, batches: Vec<Batch>) {
    let exposed = batches.iter().map(|batch| batch.samples.len()).sum();
    let last = batches.len().saturating_sub(1);
    for (nth, batch) in batches.into_iter().enumerate() {
        let health = (nth == last).then(|| Health { exposed, ..Health::default() });
        engine.step(Event::Batch(target, batch, health));
    }
}

/// Judges a target; fits run at once, and the engine takes them up when they are due.
pub fn judge(engine: &mut Engine, target: usize, at: Timestamp) -> Said {
    let step = engine.step(Event::Tick(target, at));
    for Fit { target, asked, what } in step.tasks {
        engine.step(Event::Install(Fit { target, asked, what: what.run(&mut || ()) }));
    }
    let judgement = engine.judgement(target).unwrap();
    let scores = judgement.verdict.metrics.iter().map(|metric| Some(metric.assessment?.score));
    Said { at, verdict: Verdict::of(&judgement), scores: scores.collect(), changes: step.changes }
}

/// Has a target learn from rows that are known to be normal.
pub fn teach(engine: &mut Engine, rows: &[Row]) {
    let studied = (rows.len() as f64 * STUDIED) as usize;
    for (nth, row) in rows.iter().enumerate() {
        if nth == studied {
            for task in engine.courses(0) {
                engine.step(Event::Teach(0, Teaching::Equip(task.run(&mut || ()))));
            }
        }
        take(engine, 0, vec![row.batch()]);
        let lesson = if nth < studied { Lesson::Study } else { Lesson::Rehearse };
        engine.step(Event::Teach(0, Teaching::Row(row.at, lesson)));
    }
    if !rows.is_empty() {
        engine.step(Event::Teach(0, Teaching::Done));
    }
}

/// Everything that is said of a scenario's trace after what is taught of it.
pub fn run(scenario: &Scenario) -> Vec<Said> {
    let mut engine = engine(&config(scenario.interval, &["one"]));
    let rows = scenario.trace();
    let (taught, judged) = rows.split_at(scenario.taught);
    teach(&mut engine, taught);
    let say = |row: &Row| {
        take(&mut engine, 0, vec![row.batch()]);
        judge(&mut engine, 0, row.at)
    };
    judged.iter().map(say).collect()
}
