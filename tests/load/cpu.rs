//! Load on the CPUs of this machine becomes an alert in a real Alertmanager, for as long as it lasts.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::{
    active, alertmanager, machine, node_exporter, prometheus, sidecar, stress, wait_for, wait_until_all_vote,
};
use crate::watching;

#[test]
fn load_on_the_cpus_is_an_alert_within_ten_seconds_fires_to_its_end_and_resolves_within_a_minute() {
    let _machine = machine();
    let (exporter, alertmanager) = (node_exporter(), alertmanager());
    let sidecar = sidecar(&watching(&exporter, &alertmanager));
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
    let took = wait_for("end of the alert", Duration::from_mins(1), || {
        active(&alertmanager, "cpu_usage").is_empty()
    });
    println!("cpu_usage: resolved {took:?} after the load ended");
}
