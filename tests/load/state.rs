//! How long the engine pauses for its state, and how long a start with all of it takes: windows and tiers full, the normal
//! past of ten weeks.

use std::time::{Duration, Instant};

use dwcp_anomaly::config::Config;
use dwcp_anomaly::engine::{Engine, Event, Health, Memories};
use dwcp_anomaly::scrape::config::Target;
use dwcp_anomaly::series::{Batch, Labels, Origin, Sample, Timestamp};
use dwcp_anomaly::state::{Directory, Known};

/// As many as 16 MiB hold.
const SERIES: usize = 1600;
const NOW: i64 = 1_700_000_000;

fn config() -> Config {
    let mut config = Config::default();
    config.scrape.targets.push(Target::new("http://10.0.0.1:9100/metrics"));
    config
}

fn engine() -> Engine {
    Engine::new(dwcp_anomaly::app::setup(&config(), "host", 10091))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// Rows of all signals, one each `step` seconds, up to `until`.
fn memories(rows: i64, step: i64, until: i64) -> Memories {
    let signals: Vec<String> = config().signals.iter().map(|signal| signal.name.clone()).collect();
    let value = |row: i64, column: usize| Some((row * 7919 % 1009) as f64 / 100.0 + column as f64);
    Memories {
        times: (0..rows).map(|row| at(until - (rows - row) * step)).collect(),
        values: (0..rows).flat_map(|row| (0..signals.len()).map(move |column| value(row, column))).collect(),
        signals,
    }
}

/// A scrape that has every series.
fn scrape(engine: &mut Engine, second: i64) {
    let sample = |series: usize| {
        let name = [("__name__", "node_cpu_seconds_total".to_owned()), ("cpu", series.to_string())];
        let labels = Labels::new(name.into_iter().chain([("mode", "idle".to_owned())]));
        Sample { labels, value: second as f64, at: None }
    };
    let samples = (0..SERIES).map(sample).collect();
    let batch = Batch { origin: Origin::Scrape, at: at(second), samples };
    engine.step(Event::Batch(0, batch, Some(Health::default())));
}

fn full() -> Engine {
    let mut engine = engine();
    let target = engine.keep()[0].about.labels.clone();
    let late = 6000 * 10;
    let begin = NOW - 1000 * 10;
    assert!(engine.recall(&target, &memories(6000, 10, begin), &memories(70 * 288, 300, begin - late)));
    for row in 0..1000 {
        scrape(&mut engine, begin + row * 10);
    }
    engine.step(Event::Tick(0, at(NOW)));
    engine
}

#[test]
fn the_engine_pauses_less_than_20_ms_for_its_state_and_starts_with_it_within_a_second() {
    let mut engine = full();
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let mut pauses = Vec::new();
    for row in 1..=5 {
        let began = Instant::now();
        let kept = engine.keep();
        let incidents = engine.incidents();
        let mut pause = began.elapsed();
        // What is written while it is shared is copied once.
        let began = Instant::now();
        scrape(&mut engine, NOW + 10 * row);
        pause += began.elapsed();
        pauses.push(pause);
        for target in &kept {
            directory.write_target(target, &mut Known::default()).unwrap();
        }
        directory.write_settled(&incidents).unwrap();
    }
    let began = Instant::now();
    let loaded = directory.load();
    let mut restored = self::engine();
    restored.restore(loaded.targets, loaded.incidents);
    let start = began.elapsed();
    let bytes: u64 =
        std::fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    println!("{} MiB of state: pauses {pauses:?}, start {start:?}", bytes >> 20);
    assert_eq!(restored.snapshot().targets[0].series, engine.snapshot().targets[0].series);
    assert!(pauses.iter().min().unwrap() <= &Duration::from_millis(20), "{pauses:?}");
    assert!(start <= Duration::from_secs(1), "{start:?}");
}
