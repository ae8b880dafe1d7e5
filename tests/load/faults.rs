//! Load on the CPUs of this machine, and then memory in use, become alerts in a real Alertmanager.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::{
    Server, active, alertmanager, machine, node_exporter, of_memory, prometheus, sidecar, stress, wait_for,
    wait_until_all_vote,
};
use crate::watching;

#[test]
fn load_is_an_alert_within_ten_seconds_fires_to_its_end_and_resolves_within_a_minute_and_so_does_memory_in_use()
 {
    let (exporter, alertmanager) = (node_exporter(), alertmanager());
    let sidecar = sidecar(&watching(&exporter, &alertmanager));
    let prometheus = prometheus(&[sidecar.port]);
    wait_until_all_vote(&sidecar);
    let _machine = machine();
    wait_for_end(&alertmanager, "cpu_usage");
    let load = stress(&["--cpu", "0", "--timeout", "60s"]);
    let began = Instant::now();
    wait_for_alert(&alertmanager, "cpu_usage", Duration::from_secs(10));
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
    assert!(scored_high(&prometheus).contains(&"cpu_usage".to_owned()), "{:?}", scored_high(&prometheus));
    load.finish();
    wait_for_end(&alertmanager, "cpu_usage");

    wait_for_end(&alertmanager, "memory_usage");
    let load = stress(&["--vm", "1", "--vm-bytes", &of_memory(40), "--vm-keep", "--timeout", "40s"]);
    wait_for_alert(&alertmanager, "memory_usage", Duration::from_secs(20));
    load.finish();
    wait_for_end(&alertmanager, "memory_usage");
}

fn wait_for_alert(alertmanager: &Server, metric: &str, patience: Duration) {
    let took = wait_for("the alert", patience, || !active(alertmanager, metric).is_empty());
    println!("{metric}: alert after {took:?}");
}

fn wait_for_end(alertmanager: &Server, metric: &str) {
    let took =
        wait_for("the end of the alert", Duration::from_mins(1), || active(alertmanager, metric).is_empty());
    println!("{metric}: none {took:?} later");
}

/// Metrics that a Prometheus, which scrapes the sidecar, has as anomalous.
fn scored_high(prometheus: &Server) -> Vec<String> {
    let query = "/api/v1/query?query=dwcp_anomaly_score%3E0.6";
    let answer: Value = serde_json::from_str(&prometheus.get(query).unwrap()).unwrap();
    let results = answer["data"]["result"].as_array().unwrap();
    results.iter().filter_map(|r| Some(r["metric"]["metric_name"].as_str()?.to_owned())).collect()
}
