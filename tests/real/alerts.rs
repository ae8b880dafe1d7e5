//! Every Alertmanager hears of everything; and a vector can be judged without any.

use std::time::Duration;

use serde_json::Value;

use crate::servers::{
    active, alertmanager, alertmanager_at, free_port, request, sidecar, value, wait_for, wait_until_all_vote,
};
use crate::synthetic::Synthetic;

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn every_alertmanager_is_told_and_one_that_hangs_or_comes_late_delays_no_other() {
    // Accepts by the kernel and never answers.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, late_port) = (alertmanager(), free_port());
    let target = Synthetic::start();
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
    let target = Synthetic::start();
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
