//! Nothing is said while all is well.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::servers::{machine, node_exporter, sidecar};

/// Signals with the deviation that matters for each, as configured by default.
const SIGNALS: [(&str, f64); 5] = [
    ("bandwidth", 1.0),
    ("packet_loss", 0.5),
    ("cpu_usage", 10.0),
    ("memory_usage", 5.0),
    ("error_rate", 0.5),
];

fn metric(line: &str) -> Option<&str> {
    line.split("metric_name=\"").nth(1)?.split('"').next()
}

/// Values and firing metrics on a page.
fn look(page: &str) -> (HashMap<String, f64>, Vec<String>) {
    let mut values = HashMap::new();
    let mut firing = Vec::new();
    for line in page.lines() {
        let Some(name) = metric(line) else { continue };
        if line.starts_with("dwcp_signal_value{") {
            values.insert(name.to_owned(), line.rsplit_once(' ').unwrap().1.parse().unwrap());
        } else if line.starts_with("dwcp_anomaly_firing{")
            && line.ends_with(" 1")
            && !line.contains("severity=\"info\"")
        {
            firing.push(name.to_owned());
        }
    }
    (values, firing)
}

#[test]
fn five_minutes_of_this_machine_bring_no_alert_unless_a_signal_left_the_range_of_the_minute_before() {
    let _machine = machine();
    let exporter = node_exporter();
    let sidecar = sidecar(&format!(
        "check_interval: 1s\nscrape:\n  targets: [{{url: '{}/metrics'}}]\n",
        exporter.url()
    ));
    let mut past: HashMap<&str, VecDeque<f64>> = HashMap::new();
    let mut known: Vec<String> = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(5) {
        let (values, firing) = look(&sidecar.get("/metrics").unwrap_or_default());
        for (name, _) in SIGNALS {
            if let Some(value) = values.get(name) {
                let past = past.entry(name).or_default();
                past.push_back(*value);
                if past.len() > 80 {
                    past.pop_front();
                }
            }
        }
        for name in firing.iter().filter(|name| !known.contains(name)) {
            let (_, min_deviation) = SIGNALS.iter().find(|(signal, _)| signal == name).unwrap();
            let values: Vec<f64> = past[name.as_str()].iter().copied().collect();
            // It fires a few checks after it began: the minute before ends ahead of those.
            let (before, since) = values.split_at(values.len().saturating_sub(15));
            let range =
                |values: &[f64]| values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
            let (was, is) = (range(before), range(since));
            println!("{name} fires after {:?}: {is:?} since, {was:?} in the minute before", began.elapsed());
            let left = is.1 > was.1 + min_deviation || is.0 < was.0 - min_deviation;
            assert!(left, "{name} fires though it stayed within its range");
        }
        known = firing;
        std::thread::sleep(Duration::from_secs(1));
    }
}
