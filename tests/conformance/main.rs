//! Our answers against those of others: PromQL's here, of a real Prometheus over the same samples; the detectors' in
//! `detectors`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod detectors;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_anomaly::exposition::{Everything, Format, Reader};
use dwcp_anomaly::series::{Batch, Origin, Timestamp};
use dwcp_anomaly::signal::{Fill, Macros, Plan, Selections};
use dwcp_anomaly::window::{Limits, Window};
use rand_core::Rng;
use serde_json::Value;

const START: i64 = 1_700_000_000;

/// Counters that restart, gauges with gaps, values that are no numbers; twenty minutes, one sample each 15 s or so.
fn samples() -> String {
    let mut random = rand_pcg::Pcg64Mcg::new(11);
    let mut text = String::new();
    for (name, kind) in [("c", "counter"), ("g", "gauge"), ("h", "gauge"), ("single", "gauge")] {
        let _ = writeln!(text, "# TYPE {name} {kind}");
        let suffix = if kind == "counter" { "_total" } else { "" };
        let instances: &[&str] = if name == "single" { &["x"] } else { &["a", "b", "c"] };
        for instance in instances {
            let mut value = f64::from(random.next_u32() % 100);
            for step in 0..80 {
                let jitter = f64::from(random.next_u32() % 900) / 1000.0;
                let at = START as f64 + f64::from(step) * 15.0 + jitter;
                if random.next_u32().is_multiple_of(9) {
                    continue;
                }
                value = match kind {
                    "counter" if random.next_u32().is_multiple_of(23) => f64::from(random.next_u32() % 10),
                    "counter" => value + f64::from(random.next_u32() % 1000) / 7.0,
                    _ => f64::from(random.next_u32() % 2000) / 13.0 - 50.0,
                };
                let shown = match (name, random.next_u32() % 40) {
                    ("h", 0) => "NaN".to_owned(),
                    ("h", 1) => "+Inf".to_owned(),
                    _ => value.to_string(),
                };
                let _ = writeln!(
                    text,
                    "{name}{suffix}{{instance=\"{instance}\",zone=\"z{}\"}} {shown} {at:.3}",
                    instance.len()
                );
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn over(text: &str, directory: &Path) -> Self {
        let (file, data) = (directory.join("in.om"), directory.join("data"));
        std::fs::write(&file, text).unwrap();
        let arguments =
            ["tsdb", "create-blocks-from", "openmetrics", file.to_str().unwrap(), data.to_str().unwrap()];
        let made = Command::new("promtool").args(arguments).stdout(Stdio::null()).status();
        assert!(made.expect("promtool; apt-get install prometheus").success());
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=100y", "--log.level=error"])
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus; apt-get install prometheus");
        let prometheus = Self { child, port };
        let began = Instant::now();
        while prometheus.get("/-/ready", &[]).is_none_or(|body| !body.contains("Ready")) {
            assert!(began.elapsed() < Duration::from_secs(20), "Prometheus is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        prometheus
    }

    fn get(&self, path: &str, parameters: &[String]) -> Option<String> {
        let mut command = Command::new("curl");
        command.args(["-sgG", &format!("http://127.0.0.1:{}{path}", self.port)]);
        for parameter in parameters {
            command.args(["--data-urlencode", parameter]);
        }
        Some(String::from_utf8(command.output().ok()?.stdout).ok()?).filter(|body| !body.is_empty())
    }

    fn query(&self, expr: &str, at: f64) -> Value {
        let answer = self.get("/api/v1/query", &[format!("query={expr}"), format!("time={at}")]).unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}

fn window(text: &str) -> Window {
    let mut samples = Reader::new(Arc::new(Everything)).read(text.as_bytes(), Format::OpenMetrics).samples;
    samples.sort_by_key(|sample| sample.at);
    let mut window = Window::new(Limits { samples: 100, bytes: 1 << 24 });
    window.push(&Batch { origin: Origin::Scrape, at: Timestamp::from_millis(1), samples });
    window
}

const MACROS: Macros = Macros { rate_interval: Duration::from_mins(1) };

fn ours(window: &Window, expr: &str, at: f64) -> Result<Value, String> {
    let plan = Plan::parse(expr, &MACROS).map_err(|error| error.to_string())?;
    let at = Timestamp::from_seconds(at);
    let value = plan.eval(window.view(), at, Fill::AsPrometheus, &mut Selections::default());
    value.map(|value| value.to_json(at)).map_err(|error| error.to_string())
}

/// Series by their labels, with their values; the order of a result is not part of the answer.
fn results(data: &Value) -> Vec<(String, Vec<f64>)> {
    let numbers = |points: &[Value]| points.iter().map(|p| p[1].as_str().unwrap().parse().unwrap()).collect();
    let Some(list) = data["result"].as_array().filter(|_| data["resultType"] != "scalar") else {
        return Vec::new();
    };
    let series = |s: &Value| {
        let values = s["values"].as_array().cloned().unwrap_or_else(|| vec![s["value"].clone()]);
        (s["metric"].to_string(), numbers(&values))
    };
    let mut all: Vec<(String, Vec<f64>)> = list.iter().map(series).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The same arithmetic in another order of roundings: 64 ulps at most.
fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 64.0 * f64::EPSILON * a.abs().max(b.abs())
}

/// Says how many values were compared.
fn check(window: &Window, prometheus: &Prometheus, expr: &str, at: f64) -> usize {
    let theirs = prometheus.query(expr, at);
    match ours(window, expr, at) {
        Ok(data) => {
            assert_eq!(theirs["status"], "success", "{expr} at {at}: {theirs}; ours {data}");
            let theirs = &theirs["data"];
            assert_eq!(data["resultType"], theirs["resultType"], "{expr}");
            if data["resultType"] == "scalar" {
                let number = |v: &Value| v["result"][1].as_str().unwrap().parse::<f64>().unwrap();
                assert!(close(number(&data), number(theirs)), "{expr} at {at}: {data} {theirs}");
                return 1;
            }
            let (ours, theirs) = (results(&data), results(theirs));
            let same = ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(a, b)| {
                    a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(&b.1).all(|(a, b)| close(*a, *b))
                });
            assert!(same, "{expr} at {at}:\nours   {ours:?}\ntheirs {theirs:?}");
            ours.iter().map(|(_, values)| values.len()).sum()
        }
        Err(error) => {
            assert_eq!(
                theirs["status"], "error",
                "{expr} at {at}: we refuse with {error}; they say {theirs}"
            );
            1
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a list")]
fn expressions() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for function in ["rate", "irate", "increase", "delta", "idelta", "changes", "resets"] {
        for range in ["20s", "45s", "1m", "5m"] {
            all.push(format!("{function}(c_total[{range}])"));
            all.push(format!("{function}(g[{range}] offset 90s)"));
        }
    }
    for function in ["avg", "min", "max", "sum", "count", "stddev", "stdvar", "last"] {
        for series in ["g", "h", "c_total"] {
            all.push(format!("{function}_over_time({series}[2m])"));
        }
    }
    for q in ["0", "0.3", "0.5", "0.99", "1", "-1", "2"] {
        all.push(format!("quantile_over_time({q}, g[3m])"));
        all.push(format!("quantile({q}, g)"));
    }
    for op in ["+", "-", "*", "/", "%", "^", "==", "!=", "<", "<=", ">", ">="] {
        all.push(format!("g {op} 3"));
        all.push(format!("3 {op} g"));
        all.push(format!("g {op} on(instance) c_total"));
        all.push(format!("g {op} ignoring(zone) h"));
        all.push(format!("g {op} on(zone) group_left single"));
        all.push(format!("single {op} on(zone) group_right(instance) g"));
    }
    for op in ["==", "!=", "<", "<=", ">", ">="] {
        all.push(format!("g {op} bool 3"));
        all.push(format!("g {op} bool on(instance) h"));
        all.push(format!("2 {op} bool 3"));
    }
    for op in ["and", "or", "unless"] {
        all.push(format!("g {op} h"));
        all.push(format!("g {op} on(instance) single"));
        all.push(format!("(g > 0) {op} ignoring(zone) (h > 0)"));
    }
    for aggregation in ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"] {
        for grouping in
            ["", " by (zone)", " by (instance)", " without (instance)", " without (zone, instance)"]
        {
            all.push(format!("{aggregation}{grouping} (g)"));
        }
        all.push(format!("{aggregation}(h)"));
        all.push(format!("{aggregation}(rate(c_total[1m]))"));
    }
    for function in
        ["abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "round", "timestamp"]
    {
        all.push(format!("{function}(g)"));
    }
    all.extend(
        [
            "g",
            "c_total{instance=\"a\"}",
            "g{instance!=\"a\"}",
            "g{instance=~\"a|b\"}",
            "g{instance!~\"a.*\"}",
            "g{instance=~\".\"}",
            "{__name__=~\"g|h\"}",
            "g{nolabel=\"\"}",
            "g{zone=~\"z\"}",
            "missing",
            "g offset 5m",
            "g offset -1m",
            "c_total[1m]",
            "h[90s] offset 30s",
            "clamp(g, -5, 5)",
            "clamp(g, 5, -5)",
            "clamp_min(g, 0)",
            "clamp_max(h, 0)",
            "round(g, 5)",
            "round(g, 0.1)",
            "scalar(single)",
            "scalar(g)",
            "vector(3)",
            "time()",
            "-g",
            "-3",
            "1 + 2 * 3 ^ 2 ^ 0.5 - -1",
            "5 % 3",
            "-5 % 3",
            "1 / 0",
            "0 / 0",
            "g / 0",
            "sum(g) / count(g)",
            "100 * (1 - avg(rate(c_total[1m])))",
            "sum by (zone) (rate(c_total[2m])) / on(zone) single",
            "g + on(zone) h",
            "g * on(zone) group_left h",
            "sum(missing)",
            "missing or vector(0)",
            "g == g",
            "h != h",
            "max_over_time(h[10m])",
            "min_over_time(h[10m])",
            "rate(c_total[1ms])",
            "avg_over_time({__name__=~\"g|h\"}[2m])",
            "abs({__name__=~\"g|h\"})",
            "- {__name__=~\"g|h\"}",
            "time() - timestamp(g)",
            "g > 0 > bool 1",
        ]
        .map(str::to_owned),
    );
    all
}

#[test]
fn our_answers_are_prometheus_answers_and_where_it_refuses_we_do() {
    let text = samples();
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::over(&text, directory.path());
    let window = window(&text);
    let all = expressions();
    let mut compared = 0;
    for at in [START + 3, START + 45, START + 301, START + 777, START + 1188, START + 1475] {
        for expr in &all {
            compared += check(&window, &prometheus, expr, at as f64 + 0.25);
        }
    }
    println!("{} expressions at 6 instants, {compared} values", all.len());
    assert!(
        compared > 6 * all.len(),
        "more than one value an expression, or little was compared: {compared}"
    );
}
