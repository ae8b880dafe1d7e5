//! The path every sample takes: read a page, take it in, judge it.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]
#![allow(unreachable_pub, dead_code, reason = "the simulated host is shared with the replay tests")]

#[path = "../replay/host.rs"]
mod host;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dwcp_anomaly::config::Config;
use dwcp_anomaly::detect::lstm::{Buffers, Course, Recipe};
use dwcp_anomaly::detect::surprisal::Raw;
use dwcp_anomaly::detect::training_set::TrainingSet;
use dwcp_anomaly::detect::{Fit as _, Scorer as _};
use dwcp_anomaly::engine::{Engine, Event, Fit, Setup};
use dwcp_anomaly::exposition::{Format, Reader, Wanted};
use dwcp_anomaly::scrape::config::Target;
use dwcp_anomaly::series::{Batch, Labels, Origin, Timestamp};
use dwcp_anomaly::setting::Span;
use dwcp_anomaly::signal::Plan;
use dwcp_anomaly::window::{Limits, Window};

/// Samples of a node_exporter's page.
const SAMPLES: usize = 507;

/// A page as long and as varied as a node_exporter's.
fn page(turn: usize) -> String {
    let mut page = String::new();
    let mut count = 0;
    let mut family = |name: &str, labels: &[String]| {
        let _ = writeln!(page, "# HELP {name} Some words about what this is.\n# TYPE {name} counter");
        for labels in labels {
            if count < SAMPLES {
                let _ = writeln!(page, "{name}{labels} {}", (turn * 1000 + count) as f64 * 1.25e3);
                count += 1;
            }
        }
    };
    let modes = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
    let cpus: Vec<String> =
        (0..2).flat_map(|c| modes.map(|m| format!("{{cpu=\"{c}\",mode=\"{m}\"}}"))).collect();
    family("node_cpu_seconds_total", &cpus);
    for name in ["MemAvailable", "MemTotal", "Cached", "Buffers"] {
        family(&format!("node_memory_{name}_bytes"), &[String::new()]);
    }
    let devices: Vec<String> = ["eth0", "lo", "veth1"].map(|d| format!("{{device=\"{d}\"}}")).to_vec();
    for way in ["receive", "transmit"] {
        for what in ["bytes", "packets", "errs", "drop"] {
            family(&format!("node_network_{way}_{what}_total"), &devices);
        }
    }
    for name in ["node_netstat_Tcp_OutSegs", "node_netstat_Tcp_RetransSegs"] {
        family(name, &[String::new()]);
    }
    for at in 0..120 {
        family(
            &format!("node_other_metric_{at}_total"),
            &["sda", "sdb", "dm-0", "nvme0n1"].map(|d| format!("{{device=\"{d}\"}}")),
        );
    }
    page
}

fn setup() -> Setup {
    let mut config = Config { check_interval: Span::seconds(1), ..Config::default() };
    config.scrape.targets.push(Target::new("http://10.0.0.1:9100/metrics"));
    dwcp_anomaly::app::setup(&config, "host", 10091)
}

struct Selected(Vec<Plan>);

impl Wanted for Selected {
    fn name(&self, name: &str) -> bool {
        self.0.iter().flat_map(Plan::selectors).any(|selector| selector.may_want(name))
    }
    fn series(&self, labels: &Labels) -> bool {
        self.0.iter().flat_map(Plan::selectors).any(|selector| selector.wants(labels, &Labels::empty()))
    }
}

fn read_and_take_in(criterion: &mut Criterion) {
    let plans = setup().signals.into_iter().map(|(_, plan)| plan).collect();
    let mut reader = Reader::new(Arc::new(Selected(plans)));
    let mut window = Window::new(Limits { samples: 1000, bytes: 16 << 20 });
    let pages: Vec<String> = (0..8).map(page).collect();
    let mut turn = 0_i64;
    criterion.bench_function("read and take in a page of 507 samples", |bencher| {
        bencher.iter(|| {
            turn += 1;
            let page = reader.read(pages[turn as usize % 8].as_bytes(), Format::Text);
            assert_eq!((page.exposed, page.rejected), (SAMPLES, 0));
            window.push(&Batch {
                origin: Origin::Scrape,
                at: Timestamp::from_millis(turn * 1000),
                samples: page.samples,
            });
        });
    });
}

/// Fits run on a thread of their own in the sidecar, so they are not part of a step.
fn step(engine: &mut Engine, batch: Batch) -> Duration {
    let at = batch.at;
    let began = Instant::now();
    black_box(engine.step(Event::Batch(0, batch, None)));
    let step = engine.step(Event::Tick(0, at));
    let took = began.elapsed();
    for Fit { target, asked, what } in step.tasks {
        engine.step(Event::Install(Fit { target, asked, what: what.run(&mut || ()) }));
    }
    took
}

fn engine_step(criterion: &mut Criterion) {
    let mut engine = Engine::new(setup());
    let mut host = host::Host::new(1);
    let mut second = 0.0;
    let mut next = || {
        host.live(second);
        second += 1.0;
        host.scrape(second)
    };
    // Windows, memory and calibration are full after this.
    for _ in 0..5000 {
        step(&mut engine, next());
    }
    let mut times: Vec<Duration> = (0..20_000).map(|_| step(&mut engine, next())).collect();
    times.sort();
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    println!(
        "engine step, seven signals: mean {mean:?}, p99 {:?}, worst {:?}",
        times[times.len() * 99 / 100],
        times[times.len() - 1]
    );
    criterion.bench_function("engine step with seven signals", |bencher| {
        bencher.iter_custom(|turns| (0..turns).map(|_| step(&mut engine, next())).sum());
    });
}

/// What the autoencoder adds to a step, at one pace.
fn reconstruction(criterion: &mut Criterion) {
    const STEPS: usize = 30;
    let row =
        |at: usize| (0..7).map(|metric| Some((at as f64 * 0.1 * f64::from(metric + 1)).sin())).collect();
    let rows: Vec<Vec<Option<f64>>> = (0..2000).map(row).collect();
    let past = TrainingSet::new((0..2000).collect(), rows.concat(), vec![true; 7], 1);
    let model = Recipe { steps: STEPS, seed: 1 }.fit(&past).unwrap();
    let before: VecDeque<_> = rows[..STEPS - 1].iter().cloned().collect();
    let (mut buffers, mut raw) = (Buffers::default(), Raw::default());
    criterion.bench_function("reconstruct thirty rows of seven metrics", |bencher| {
        bencher.iter(|| {
            model.score(Course { before: &before, last: &rows[STEPS - 1] }, &mut buffers, &mut raw);
            assert!(black_box(&raw).vector.is_some());
        });
    });
}

criterion_group!(benches, read_and_take_in, reconstruction, engine_step);
criterion_main!(benches);
