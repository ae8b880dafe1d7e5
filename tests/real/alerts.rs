//! Faults on this machine become alerts in a real Alertmanager, for as long as they last.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::{
    Server, alertmanager, alertmanager_at, machine, node_exporter, prometheus, request, sidecar, stress,
    value, wait_for,
};

const MINUTE: Duration = Duration::from_mins(1);

fn config(interval: &str, target: &str, alertmanagers: &[&Server]) -> String {
    let list: Vec<String> = alertmanagers.iter().map(|am| format!("{{url: '{}'}}", am.url())).collect();
    format!(
        "check_interval: {interval}\nscrape:\n  targets: [{{url: '{target}'}}]\nalert:\n  resend_delay: 5s\n  alertmanagers: [{}]\n",
        list.join(", ")
    )
}

/// Alerts of one metric that Alertmanager holds as active.
fn active(alertmanager: &Server, metric: &str) -> Vec<Value> {
    let body = alertmanager.get("/api/v2/alerts?active=true").unwrap_or_default();
    let all: Vec<Value> = serde_json::from_str(&body).unwrap_or_default();
    let is_it = |alert: &Value| alert["labels"]["metric_name"] == metric;
    all.into_iter().filter(is_it).collect()
}

fn wait_until_all_vote(sidecar: &Server) {
    wait_for("vote of three detectors", 3 * MINUTE, || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        page.lines().filter(|line| line.starts_with("dwcp_detector_ready") && line.ends_with(" 1")).count()
            == 3
    });
}

#[test]
fn load_on_the_cpus_is_an_alert_within_ten_seconds_fires_to_its_end_and_resolves_within_a_minute() {
    let _machine = machine();
    let (exporter, alertmanager) = (node_exporter(), alertmanager());
    let sidecar = sidecar(&config("1s", &format!("{}/metrics", exporter.url()), &[&alertmanager]));
    let prometheus = prometheus(&[sidecar.port]);
    wait_until_all_vote(&sidecar);
    let load = stress(&["--cpu", "0", "--timeout", "60s"]);
    let began = Instant::now();
    let took = wait_for("alert on cpu_usage", Duration::from_secs(10), || {
        !active(&alertmanager, "cpu_usage").is_empty()
    });
    println!("cpu_usage: alert after {took:?}");
    let alert = &active(&alertmanager, "cpu_usage")[0];
    assert_eq!(alert["labels"]["alertname"], "DwcpAnomaly");
    assert_eq!(alert["labels"]["instance"], format!("here:{}", exporter.port));
    assert_eq!(alert["labels"]["job"], "node");
    while began.elapsed() < Duration::from_secs(59) {
        assert!(
            !active(&alertmanager, "cpu_usage").is_empty(),
            "resolved {:?} into the load",
            began.elapsed()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    let query = "/api/v1/query?query=dwcp_anomaly_score%3E0.6";
    let answer: Value = serde_json::from_str(&prometheus.get(query).unwrap()).unwrap();
    let metrics: Vec<&Value> =
        answer["data"]["result"].as_array().unwrap().iter().map(|r| &r["metric"]["metric_name"]).collect();
    assert!(metrics.iter().any(|m| **m == "cpu_usage"), "{metrics:?}");
    load.finish();
    let took = wait_for("end of the alert", MINUTE, || active(&alertmanager, "cpu_usage").is_empty());
    println!("cpu_usage: resolved {took:?} after the load ended");
}

#[test]
fn memory_in_use_is_an_alert_on_memory_usage() {
    let _machine = machine();
    let (exporter, alertmanager) = (node_exporter(), alertmanager());
    let sidecar = sidecar(&config("1s", &format!("{}/metrics", exporter.url()), &[&alertmanager]));
    wait_until_all_vote(&sidecar);
    let load = stress(&["--vm", "1", "--vm-bytes", "40%", "--vm-keep", "--timeout", "40s"]);
    let took = wait_for("alert on memory_usage", Duration::from_secs(20), || {
        !active(&alertmanager, "memory_usage").is_empty()
    });
    println!("memory_usage: alert after {took:?}");
    load.finish();
    let took = wait_for("end of the alert", MINUTE, || active(&alertmanager, "memory_usage").is_empty());
    println!("memory_usage: resolved {took:?} after the load ended");
}

#[test]
fn every_alertmanager_is_told_and_one_that_hangs_or_comes_late_delays_no_other() {
    let _machine = machine();
    // Accepts by the kernel and never answers.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, late_port) = (alertmanager(), crate::servers::free_port());
    let target = crate::targets::Synthetic::start();
    let config = format!(
        "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}'}}]\nsignals: [{{name: level, expr: level}}]\nalert:\n  resend_delay: 1s\n  \
         alertmanagers: [{{url: 'http://{}'}}, {{url: '{}'}}, {{url: 'http://127.0.0.1:{late_port}'}}]\n",
        target.url(),
        hanging.local_addr().unwrap(),
        first.url(),
    );
    let sidecar = sidecar(&config);
    wait_until_all_vote(&sidecar);
    target.set(100.0);
    wait_for("alert", Duration::from_secs(10), || !active(&first, "level").is_empty());
    let late = alertmanager_at(late_port);
    wait_for("alert at the late one", MINUTE, || !active(&late, "level").is_empty());
    target.set(0.0);
    for alertmanager in [&first, &late] {
        wait_for("end", MINUTE, || active(alertmanager, "level").is_empty());
    }
    let page = sidecar.get("/metrics").unwrap();
    assert!(value(&page, "dwcp_alerts_sent_total", &[&first.url()]).unwrap() >= 2.0);
    assert!(value(&page, "dwcp_alerts_failed_total", &[&late.url()]).unwrap() >= 1.0);
}

#[test]
fn a_vector_can_be_judged_and_nothing_changes_by_it() {
    let target = crate::targets::Synthetic::start();
    let config = format!(
        "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}'}}]\nsignals: [{{name: level, expr: level}}]\n",
        target.url()
    );
    let sidecar = sidecar(&config);
    wait_until_all_vote(&sidecar);
    let url = format!("{}/api/v1/monitoring/anomaly/detect", sidecar.url());
    let json = "Content-Type: application/json";
    let (status, body) = request("POST", &url, &[json], "{\"level\": 500}").unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &answer["data"]["anomalous"], &answer["data"]["metric_name"]),
        (200, &true.into(), &"level".into()),
        "{body}"
    );
    let (_, body) = request("POST", &url, &[json], "").unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["data"]["anomalous"], false, "{body}");
    for (headers, body, expect) in [
        (vec![json], "{\"no_such\": 1}", 400),
        (vec![json], "[1]", 400),
        (vec!["Content-Type: text/plain"], "{}", 415),
    ] {
        assert_eq!(request("POST", &url, &headers, body).unwrap().0, expect, "{body}");
    }
    let recent = sidecar.get("/api/v1/monitoring/anomaly/recent?duration=24h").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&recent).unwrap()["data"], serde_json::json!([]));
}
