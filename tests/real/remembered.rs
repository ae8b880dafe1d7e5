//! A week that a real Prometheus remembers: models fitted on it, and a sidecar that starts with it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::recorded::{noise, now};
use crate::servers::{Server, free_port, prometheus_remembering, sidecar, tool, value, wait_for};
use crate::synthetic::{answer, serve_at};

const WEEK: u64 = 7 * 86_400;
/// Seconds between scrapes, as most Prometheus servers have it.
const STEP: u64 = 15;

/// A day's swing of a share of time, added up from the beginning of time: what a counter of it has come to.
fn swung(at: f64, mean: f64, swing: f64) -> f64 {
    let day = std::f64::consts::TAU / 86_400.0;
    mean * at + swing / day * (1.0 - (day * at).cos())
}

/// Labels and name of a series, and what it is at a time.
type Remembered = (String, &'static str, Box<dyn Fn(u64) -> f64>);

/// The series of a node of two processors and one network device.
fn series() -> Vec<Remembered> {
    let mut all: Vec<Remembered> = Vec::new();
    for (seed, cpu) in [(1, "0"), (2, "1")] {
        let busy = move |at: u64| swung(at as f64, 0.3, 0.15) + 0.1 * noise(seed, at);
        all.push((format!("cpu=\"{cpu}\",mode=\"user\""), "node_cpu_seconds_total", Box::new(busy)));
        let idle = move |at: u64| at as f64 - busy(at);
        all.push((format!("cpu=\"{cpu}\",mode=\"idle\""), "node_cpu_seconds_total", Box::new(idle)));
    }
    for (seed, name, mean, swing) in [
        (3, "node_network_receive_bytes_total", 2e6, 1e6),
        (4, "node_network_transmit_bytes_total", 1e6, 5e5),
        (5, "node_network_receive_packets_total", 2e3, 1e3),
        (6, "node_network_transmit_packets_total", 1e3, 5e2),
    ] {
        let sent = move |at: u64| (swung(at as f64, mean, swing) + 0.3 * mean * noise(seed, at)).floor();
        all.push(("device=\"eth0\"".to_owned(), name, Box::new(sent)));
    }
    for name in [
        "node_network_receive_errs_total",
        "node_network_receive_drop_total",
        "node_network_transmit_errs_total",
        "node_network_transmit_drop_total",
    ] {
        all.push(("device=\"eth0\"".to_owned(), name, Box::new(|_| 0.0)));
    }
    let segments = |at: u64| (swung(at as f64, 800.0, 300.0) + 100.0 * noise(7, at)).floor();
    all.push((String::new(), "node_netstat_Tcp_OutSegs", Box::new(segments)));
    let again = |at: u64| (swung(at as f64, 2.0, 0.8) + noise(8, at)).floor();
    all.push((String::new(), "node_netstat_Tcp_RetransSegs", Box::new(again)));
    all.push((String::new(), "node_memory_MemTotal_bytes", Box::new(|_| 8e9)));
    let free = |at: u64| {
        (5e9 + 5e8 * (at as f64 / 86_400.0 * std::f64::consts::TAU).cos() + 5e7 * noise(9, at)).floor()
    };
    all.push((String::new(), "node_memory_MemAvailable_bytes", Box::new(free)));
    all
}

/// The last week until `end`, of the target at `instance`.
fn openmetrics(instance: &str, end: u64) -> String {
    let mut text = String::new();
    let mut last = "";
    for (labels, name, at) in series() {
        if last != name {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            writeln!(text, "# TYPE {} {kind}", name.trim_end_matches("_total")).unwrap();
        }
        last = name;
        let comma = if labels.is_empty() { "" } else { "," };
        for time in (end - WEEK..end).step_by(STEP as usize) {
            writeln!(
                text,
                "{name}{{{labels}{comma}instance=\"{instance}\",job=\"node\"}} {} {time}",
                at(time)
            )
            .unwrap();
        }
    }
    text + "# EOF\n"
}

fn page() -> String {
    let at = now();
    let line = |(labels, name, value): &Remembered| format!("{name}{{{labels}}} {}\n", value(at));
    series().iter().map(line).collect()
}

/// A Prometheus that remembers a week of the exporter that goes on with it.
fn world() -> (Server, SocketAddr) {
    let port = free_port();
    let prometheus = prometheus_remembering(&openmetrics(&format!("here:{port}"), now()));
    (prometheus, serve_at(port, |stream| answer(stream, &page())))
}

fn ready(sidecar: &Server, model: &str) -> bool {
    let page = sidecar.get("/metrics").unwrap_or_default();
    value(&page, "dwcp_detector_ready", &[&format!("model_type=\"{model}\"")]) == Some(1.0)
}

#[test]
fn with_a_week_in_prometheus_three_detectors_vote_within_ten_seconds_of_the_start() {
    let (prometheus, exporter) = world();
    let began = Instant::now();
    let sidecar = sidecar(&format!(
        "scrape: {{targets: [{{url: 'http://{exporter}/metrics'}}]}}\nhistory: {{prometheus_url: '{}', range: 7d}}\n",
        prometheus.url()
    ));
    let left = Duration::from_secs(10).saturating_sub(began.elapsed());
    wait_for("vote of three", left, || {
        ["zscore", "seasonal_esd", "isolation_forest"].iter().all(|model| ready(&sidecar, model))
    });
    println!("three detectors vote {:?} after the start", began.elapsed());
    let log = std::fs::read_to_string(sidecar.directory.path().join("log")).unwrap();
    assert!(log.contains("the past is remembered") && !log.contains("panicked"), "{log}");
    wait_for("verdict", Duration::from_secs(45), || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        value(&page, "dwcp_anomaly_score", &["metric_name=\"cpu_usage\""]).is_some()
    });
    let page = sidecar.get("/metrics").unwrap();
    let score = value(&page, "dwcp_anomaly_score", &["metric_name=\"cpu_usage\""]).unwrap();
    assert!(score < 0.6, "what goes on as it was is normal: {score}");
}

#[test]
fn models_are_trained_on_what_prometheus_remembers_and_used() {
    let (prometheus, exporter) = world();
    let directory = tempfile::tempdir().unwrap();
    let models = directory.path().join("models").display().to_string();
    let config = format!(
        "scrape: {{targets: [{{url: 'http://{exporter}/metrics'}}]}}\ndetector: {{models: {{path: '{models}'}}}}\n"
    );
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, &config).unwrap();
    let program = env!("CARGO_BIN_EXE_dwcp-anomaly");
    let instance = format!("instance=here:{}", exporter.port());
    let url = prometheus.url();
    let train = |more: &[&str]| {
        let file = file.display().to_string();
        let arguments = [
            "train",
            "isolation-forest",
            "--prometheus.url",
            &url,
            "--output",
            &models,
            "--config.file",
            &file,
        ];
        tool(program, &[&arguments[..], more].concat(), "")
    };
    let (status, said) = train(&["--range", "3h", "--prometheus.match", &instance]);
    assert!(
        status == 0 && said.contains("version 000001: isolation_forest on 1081 rows of 7 signals"),
        "{said}"
    );
    assert!(said.contains("latency: has no value in any row; it is left to what comes later\n"), "{said}");
    assert!(said.contains("error_rate: is 0 in every row; it is left to what comes later\n"), "{said}");
    for (more, part) in [
        (
            ["--range", "3h", "--prometheus.match", "instance=elsewhere:1"],
            "none of the configured signals in the last 3h",
        ),
        (["--range", "10m", "--prometheus.match", &instance], "at least 100 are needed"),
    ] {
        let (status, said) = train(&more);
        let last = said.lines().last().unwrap();
        assert!(status == 1 && last.starts_with("dwcp-anomaly: ") && last.contains(part), "{status} {said}");
    }
    let sidecar = sidecar(&config);
    wait_for("the forest", Duration::from_secs(5), || ready(&sidecar, "isolation_forest"));
}
