//! The same expressions, the same samples: the same answers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use dwcp_anomaly::exposition::{Everything, Format, Reader};
use dwcp_anomaly::series::{Batch, Origin, Timestamp};
use dwcp_anomaly::signal::{Fill, Macros, Plan, Selections};
use dwcp_anomaly::window::{Limits, Window};
use rand_core::Rng;
use serde_json::Value;

use crate::expressions::{picked, random};
use crate::prometheus::Prometheus;
use crate::windows::scraped;

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

fn window(text: &str) -> Window {
    let mut samples = Reader::new(Arc::new(Everything)).read(text.as_bytes(), Format::OpenMetrics).samples;
    samples.sort_by_key(|sample| sample.at);
    let mut window = Window::new(Limits { samples: 100, bytes: 1 << 24 });
    // None of them may lie far ahead of the scrape.
    let at = samples.iter().filter_map(|sample| sample.at).max().unwrap();
    window.push(&Batch { origin: Origin::Scrape, at, samples });
    window
}

const MACROS: Macros = Macros { rate_interval: Duration::from_mins(1) };

fn ours(window: &Window, expr: &str, at: f64) -> Result<Value, String> {
    let plan = Plan::parse(expr, &MACROS).map_err(|error| error.to_string())?;
    let at = Timestamp::from_seconds(at);
    let value = plan.eval(window.view(), at, Fill::AsPrometheus, &mut Selections::default());
    value.map(|value| value.to_json(at)).map_err(|error| error.to_string())
}

/// Series by their labels, with their values; but for `sort`, the order of a result is not part of the answer.
fn results(data: &Value, sorted: bool) -> Vec<(String, Vec<f64>)> {
    let numbers = |points: &[Value]| points.iter().map(|p| p[1].as_str().unwrap().parse().unwrap()).collect();
    let Some(list) = data["result"].as_array().filter(|_| data["resultType"] != "scalar") else {
        return Vec::new();
    };
    let series = |s: &Value| {
        let values = s["values"].as_array().cloned().unwrap_or_else(|| vec![s["value"].clone()]);
        (s["metric"].to_string(), numbers(&values))
    };
    let mut all: Vec<(String, Vec<f64>)> = list.iter().map(series).collect();
    if sorted {
        all.sort_by(|a, b| a.0.cmp(&b.0));
    }
    all
}

/// The same arithmetic in another order of roundings: 64 ulps at most.
fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 64.0 * f64::EPSILON * a.abs().max(b.abs())
}

/// Says how many values were compared, or how they differ.
fn check(window: &Window, prometheus: &Prometheus, expr: &str, at: f64) -> Result<usize, String> {
    let theirs = prometheus.query(expr, at);
    let differ = |ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        Err(format!("{expr} at {at}:\n  ours   {ours:?}\n  theirs {theirs:?}"))
    };
    let data = match ours(window, expr, at) {
        Err(_) if theirs["status"] == "error" => return Ok(0),
        Err(refused) => return differ(&refused, &theirs.to_string()),
        Ok(data) => data,
    };
    if theirs["status"] != "success" || data["resultType"] != theirs["data"]["resultType"] {
        return differ(&data.to_string(), &theirs.to_string());
    }
    let theirs = &theirs["data"];
    if data["resultType"] == "scalar" {
        let number = |v: &Value| v["result"][1].as_str().unwrap().parse::<f64>().unwrap();
        let (ours, theirs) = (number(&data), number(theirs));
        return if close(ours, theirs) { Ok(1) } else { differ(&ours, &theirs) };
    }
    let sorted = !expr.starts_with("sort");
    let (ours, theirs) = (results(&data, sorted), results(theirs, sorted));
    let same = ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|(a, b)| {
            a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(&b.1).all(|(a, b)| close(*a, *b))
        });
    if same { Ok(ours.iter().map(|(_, values)| values.len()).sum()) } else { differ(&ours, &theirs) }
}

fn assert_none(differences: &[String]) {
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} differ:\n{shown}", differences.len());
}

#[test]
fn our_answers_are_prometheus_answers_and_where_it_refuses_we_do() {
    let text = samples();
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::over(&text, directory.path());
    let window = window(&text);
    let all = picked();
    let (mut compared, mut differences) = (0, Vec::new());
    for at in [START + 3, START + 45, START + 301, START + 777, START + 1188, START + 1475] {
        for expr in &all {
            let expr = expr.replace("$T", &(START + 600).to_string());
            match check(&window, &prometheus, &expr, at as f64 + 0.25) {
                Ok(values) => compared += values,
                Err(difference) => differences.push(difference),
            }
        }
    }
    assert_none(&differences);
    println!("{} expressions at 6 instants, {compared} values", all.len());
    assert!(
        compared > 6 * all.len(),
        "more than one value an expression, or little was compared: {compared}"
    );
}

#[test]
fn they_are_over_any_window_and_for_any_expression() {
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::empty(directory.path());
    let windows: Vec<_> = (0..6).map(|day| scraped(100 + day, START + day as i64 * 86_400)).collect();
    windows.iter().for_each(|scraped| prometheus.write(&scraped.written));
    let mut instants = rand_pcg::Pcg64Mcg::new(7);
    let all: Vec<String> = picked().into_iter().chain(random(600)).collect();
    let (mut compared, mut spoke, mut differences) = (0, 0, Vec::new());
    for expr in &all {
        let mut values = 0;
        for scraped in &windows {
            let within = i64::from(instants.next_u32()) % (scraped.ended - scraped.began + 60);
            let expr = expr.replace("$T", &i64::midpoint(scraped.began, scraped.ended).to_string());
            match check(&scraped.window, &prometheus, &expr, (scraped.began + within) as f64 + 0.125) {
                Ok(some) => values += some,
                Err(difference) => differences.push(difference),
            }
        }
        compared += values;
        spoke += usize::from(values > 0);
    }
    assert_none(&differences);
    println!(
        "{} expressions over {} windows, {compared} values, {spoke} gave some",
        all.len(),
        windows.len()
    );
    assert!(spoke >= 500, "most expressions have an answer somewhere: {spoke}");
}
