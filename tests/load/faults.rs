//! Faults of this machine become alerts in a real Alertmanager, for as long as they last.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::{
    Server, active, alertmanager, machine, node_exporter, of_memory, prometheus, sidecar, stress, wait_for,
    wait_until_all_vote,
};

const MINUTE: Duration = Duration::from_mins(1);

fn config(interval: &str, target: &str, alertmanagers: &[&Server]) -> String {
    let list: Vec<String> = alertmanagers.iter().map(|am| format!("{{url: '{}'}}", am.url())).collect();
    format!(
        "check_interval: {interval}\nscrape:\n  targets: [{{url: '{target}'}}]\nalert:\n  resend_delay: 5s\n  alertmanagers: [{}]\n",
        list.join(", ")
    )
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
    let load = stress(&["--vm", "1", "--vm-bytes", &of_memory(40), "--vm-keep", "--timeout", "40s"]);
    let took = wait_for("alert on memory_usage", Duration::from_secs(20), || {
        !active(&alertmanager, "memory_usage").is_empty()
    });
    println!("memory_usage: alert after {took:?}");
    load.finish();
    let took = wait_for("end of the alert", MINUTE, || active(&alertmanager, "memory_usage").is_empty());
    println!("memory_usage: resolved {took:?} after the load ended");
}
