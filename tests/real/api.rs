//! The API as programs use it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::servers::{Server, request, sidecar, wait_for, wait_until_all_vote};
use crate::synthetic::Synthetic;

const JSON: &str = "Content-Type: application/json";
const BASE: &str = "/api/v1/monitoring/anomaly";

fn ask(sidecar: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, text) = request(method, &format!("{}{BASE}{path}", sidecar.url()), &[JSON], body).unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{method} {path}: {text}")))
}

fn config_of(target: &Synthetic, storage: &Path) -> String {
    format!(
        "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}'}}]\nsignals: [{{name: level, unit: '%', expr: level}}]\n\
         storage: {{path: '{}'}}\nalert:\n  alertmanagers: [{{url: 'http://u:hunter2@127.0.0.1:9', basic_auth: {{username: a, password: hunter3}}}}]\n",
        target.url(),
        storage.display()
    )
}

#[test]
fn settings_are_changed_whole_or_not_at_all_and_survive_a_restart() {
    let (target, storage) = (Synthetic::start(), tempfile::tempdir().unwrap());
    let config = config_of(&target, storage.path());
    let first = sidecar(&config);
    let threshold = |answer: &Value| {
        let (data, key) = (&answer["data"], "detector.ensemble_threshold");
        (data["effective"]["detector"]["ensemble_threshold"].clone(), data["sources"][key].clone())
    };
    let (status, before) = ask(&first, "GET", "/config", "");
    assert_eq!((status, threshold(&before)), (200, (json!(0.6), json!("default"))));
    assert_eq!(before["data"]["sources"]["check_interval"], "file");
    let text = before.to_string();
    assert!(!text.contains("hunter") && text.contains("<secret>"), "{text}");
    for (body, part) in [
        (json!({"detector": {"ensemble_threshold": 0.8}, "incident": {"for": 0}}), "incident.for"),
        (json!({"detector": {"ensemble_threshold": 7}}), "not between 0 and 1"),
        (json!({"scrape": {"targets": []}}), "only comes from the file"),
        (json!({"signals": [{"name": "a", "expr": "sum("}]}), "signals[0].expr"),
    ] {
        let (status, answer) = ask(&first, "PUT", "/config", &body.to_string());
        assert_eq!(
            (status, &answer["status"], &answer["errorType"]),
            (400, &json!("error"), &json!("bad_data"))
        );
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
    }
    assert_eq!(threshold(&ask(&first, "GET", "/config", "").1).0, 0.6, "all or nothing");
    let change = json!({"detector": {"ensemble_threshold": 0.7}, "alert": {"throttle_duration": "7m"}});
    let (status, after) = ask(&first, "PUT", "/config", &change.to_string());
    assert_eq!((status, threshold(&after)), (200, (json!(0.7), json!("overlay"))), "{after}");
    assert_eq!(after["data"]["overlay"], change);
    wait_for("the new threshold", Duration::from_secs(10), || {
        ask(&first, "GET", "/status", "").1["data"]["threshold"] == 0.7
    });
    drop(first);
    let second = sidecar(&config);
    assert_eq!(threshold(&ask(&second, "GET", "/config", "").1), (json!(0.7), json!("overlay")));
    let (status, dropped) = ask(&second, "DELETE", "/config", "");
    assert_eq!((status, threshold(&dropped)), (200, (json!(0.6), json!("default"))));
    drop(second);
    assert_eq!(threshold(&ask(&sidecar(&config), "GET", "/config", "").1).0, 0.6);
}

#[test]
fn an_incident_is_explained_and_its_window_handed_out() {
    let (target, storage) = (Synthetic::start(), tempfile::tempdir().unwrap());
    let sidecar = sidecar(&config_of(&target, storage.path()));
    wait_until_all_vote(&sidecar);
    assert_eq!(ask(&sidecar, "GET", "/explain", "").0, 404);
    target.set(100.0);
    let mut incident = Value::Null;
    wait_for("incident", Duration::from_mins(1), || {
        let (_, recent) = ask(&sidecar, "GET", "/recent", "");
        incident = recent["data"][0].clone();
        incident.is_object()
    });
    let fields = [
        "metric_name",
        "severity",
        "score",
        "confidence",
        "deviation_sigma",
        "value",
        "expected",
        "started_at",
        "ended_at",
        "reason",
        "votes",
        "labels",
    ];
    for field in fields {
        assert!(incident.get(field).is_some(), "{field}: {incident}");
    }
    let summary = incident["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("level 10") && summary.contains(", expected ") && summary.contains("z-score"),
        "{summary}"
    );
    let (status, account) =
        ask(&sidecar, "GET", &format!("/explain?id={}", incident["id"].as_str().unwrap()), "");
    assert_eq!(status, 200);
    let detectors = account["data"]["detectors"].as_array().unwrap();
    assert!(detectors.len() >= 3, "{account}");
    for vote in detectors.iter().filter(|vote| vote["voted"] == true) {
        assert!(vote["raw_score"].as_f64() >= vote["threshold"].as_f64(), "{vote}");
        assert_eq!(vote["attribution"][0]["metric_name"], "level");
        assert!(vote["looks"][0]["window"]["values"].as_u64() >= Some(1), "{vote}");
    }
    assert!(detectors.iter().any(|vote| vote["voted"] == true));
    assert!(account["data"]["window"].as_array().unwrap().len() > 10);
    let (_, status) = ask(&sidecar, "GET", "/status", "");
    for key in ["enabled", "ready", "uptime", "targets", "detectors", "signals", "alerting"] {
        assert!(status["data"].get(key).is_some(), "{key}");
    }
    let url = format!("{}{BASE}/window?metric_name=level", sidecar.url());
    let arrow = Command::new("curl")
        .args(["-sS", "-H", "Accept: application/vnd.apache.arrow.stream", &url])
        .output()
        .unwrap();
    let mut reader = arrow::ipc::reader::StreamReader::try_new(arrow.stdout.as_slice(), None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert!(batch.num_rows() > 30 && batch.column_by_name("zscore").is_some());
    let (root, picture) = (Path::new(env!("CARGO_MANIFEST_DIR")), storage.path().join("level.png"));
    let plotted = Command::new(root.join("target/clients/bin/python"))
        .arg(root.join("examples/plot_window.py"))
        .args(["--url", &sidecar.url(), "--metric", "level", "--output", picture.to_str().unwrap()])
        .output()
        .expect("target/clients; tests/all installs it");
    assert!(plotted.status.success(), "{}", String::from_utf8_lossy(&plotted.stderr));
    assert!(std::fs::read(picture).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn schemathesis_finds_no_failure() {
    let (target, storage) = (Synthetic::start(), tempfile::tempdir().unwrap());
    let sidecar = sidecar(&config_of(&target, storage.path()));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/bin/schemathesis");
    // A body that fits the schema may still not fit together, as a name given twice: that is a 400 and no failure.
    let output = Command::new(&program)
        .args(["run", &format!("{}/api/v1/openapi.json", sidecar.url())])
        .args(["--exclude-checks=positive_data_acceptance", "--max-examples=10", "--seed=1", "--no-color"])
        .current_dir(storage.path())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; tests/all installs it", program.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
