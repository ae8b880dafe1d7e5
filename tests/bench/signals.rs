//! What a check of a hundred signals over two thousand series costs: what they read, and the whole with what is judged.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dwcp_anomaly::config::Config;
use dwcp_anomaly::engine::{Engine, Event, Fit, Setup};
use dwcp_anomaly::scrape::config::Target;
use dwcp_anomaly::series::{Batch, Labels, Origin, Sample, Timestamp};
use dwcp_anomaly::setting::{ByteSize, Span};
use dwcp_anomaly::signal::{Definition, Macros, Plan, Selections};
use dwcp_anomaly::window::{Limits, Window};

const SIGNALS: usize = 100;
const FAMILIES: usize = 100;
/// Series of a family, by device and mode.
const DEVICES: usize = 5;
const MODES: usize = 4;
const MACROS: Macros = Macros { rate_interval: Duration::from_secs(40) };

/// What people write, of the family `F`.
const EXPRESSIONS: [&str; 10] = [
    "sum(rate(F[$__rate_interval]))",
    "100 * (1 - avg(rate(F{mode=\"m0\"}[$__rate_interval])))",
    "sum by (device) (rate(F[$__rate_interval]))",
    "100 * sum(rate(F{mode=~\"m1|m2\"}[$__rate_interval])) / clamp_min(sum(rate(F[$__rate_interval])), 1)",
    "F{device=\"d0\",mode=\"m0\"} / ignoring(mode, le) F{device=\"d0\",mode=\"m1\"}",
    "topk(3, max by (device) (rate(F{device!~\"d4|lo\"}[$__rate_interval])))",
    "avg_over_time(F{mode=\"m0\",device=\"d1\"}[5m])",
    "histogram_quantile(0.9, sum by (le) (rate(F[5m])))",
    "max by (device) (deriv(F{mode=\"m3\"}[10m]))",
    "sum without (mode) (F) - sum without (mode) (F offset 5m)",
];

fn labels(family: usize, device: usize, mode: usize) -> Labels {
    let bound = ["0.1", "0.5", "1", "+Inf"][mode];
    Labels::new([
        ("__name__", format!("family_{family}_total")),
        ("device", format!("d{device}")),
        ("mode", format!("m{mode}")),
        ("le", bound.to_owned()),
    ])
}

/// Counters that never go at quite the same pace.
fn scrape(series: &[Labels], turn: i64) -> Batch {
    let sample = |(at, labels): (usize, &Labels)| {
        let value = turn as f64 * (1.0 + at as f64 / 100.0) + (turn as f64 * (1.7 + at as f64)).sin();
        Sample { labels: labels.clone(), value, at: None }
    };
    let samples = series.iter().enumerate().map(sample).collect();
    Batch { origin: Origin::Scrape, at: Timestamp::from_millis(turn * 10_000), samples }
}

fn series() -> Vec<Labels> {
    let of_family =
        |family| (0..DEVICES * MODES).map(move |series| labels(family, series / MODES, series % MODES));
    (0..FAMILIES).flat_map(of_family).collect()
}

fn expression(at: usize) -> String {
    EXPRESSIONS[at % EXPRESSIONS.len()].replace('F', &format!("family_{at}_total"))
}

fn read_signals(criterion: &mut Criterion) {
    let series = series();
    let mut window = Window::new(Limits { samples: 1000, bytes: 64 << 20 });
    (0..1500).for_each(|turn| window.push(&scrape(&series, turn)));
    assert_eq!(window.len(), 2000);
    let plan = |at: usize| (Plan::signal(&expression(at), &MACROS).unwrap(), Selections::default());
    let mut plans: Vec<(Plan, Selections)> = (0..SIGNALS).map(plan).collect();
    let at = window.newest().unwrap();
    criterion.bench_function("read 100 signals over 2000 series", |bencher| {
        bencher.iter(|| {
            for (plan, selections) in &mut plans {
                let read = plan.read(window.view(), at, selections).unwrap();
                assert!(!black_box(read).values.is_empty());
            }
        });
    });
    let mut turn = 1500;
    criterion.bench_function("take in a scrape of 2000 series and read 100 signals", |bencher| {
        bencher.iter(|| {
            window.push(&scrape(&series, turn));
            let at = Timestamp::from_millis(turn * 10_000);
            turn += 1;
            for (plan, selections) in &mut plans {
                black_box(plan.read(window.view(), at, selections).unwrap());
            }
        });
    });
}

fn setup(expression: impl Fn(usize) -> String) -> Setup {
    let mut config = Config { check_interval: Span::seconds(10), ..Config::default() };
    config.window.max_bytes = ByteSize(64 << 20);
    config.scrape.targets.push(Target::new("http://10.0.0.1:9100/metrics"));
    let signal = |at| Definition { expr: expression(at), ..Definition::plain(&format!("signal_{at}")) };
    config.signals = (0..SIGNALS).map(signal).collect();
    dwcp_anomaly::app::setup(&config, "host", 10091)
}

/// What a check took; fits run on a thread of their own in the sidecar, so they are no part of it.
fn check(engine: &mut Engine, batch: Batch) -> Duration {
    let at = batch.at;
    let began = Instant::now();
    engine.step(Event::Batch(0, batch, None));
    let step = engine.step(Event::Tick(0, at));
    let took = began.elapsed();
    for Fit { target, asked, what } in step.tasks {
        engine.step(Event::Install(Fit { target, asked, what: what.run(&mut || ()) }));
    }
    took
}

/// The whole of a check, where every signal is one metric, and where a signal is as many as it yields.
fn judge_signals(criterion: &mut Criterion) {
    for expression in [|at| format!("max({})", expression(at)), expression] {
        let series = series();
        let mut engine = Engine::new(setup(expression));
        let mut turn = 0;
        let mut next = || {
            turn += 1;
            scrape(&series, turn)
        };
        for _ in 0..1500 {
            check(&mut engine, next());
        }
        let metrics = engine.snapshot().targets[0].metrics.len();
        assert!(metrics >= SIGNALS, "only {metrics} metrics are judged");
        let name = format!("take in a scrape of 2000 series, read 100 signals and judge {metrics} metrics");
        criterion.bench_function(&name, |bencher| {
            bencher.iter_custom(|checks| (0..checks).map(|_| check(&mut engine, next())).sum());
        });
    }
}

criterion_group!(benches, read_signals, judge_signals);
criterion_main!(benches);
