//! What is shipped to start with: the systemd unit, the compose file with all that it mounts, the example of a service.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::servers::{
    alertmanager, free_port, get, node_exporter, prometheus_with, sidecar, tool, unix_now, value, wait_for,
};
use crate::synthetic::{answer, serve};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dwcp-anomaly");

fn shipped(name: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Value {
    yaml_serde::from_str(text).unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The unit, with this build as its program.
fn unit() -> String {
    shipped("configs/systemd/dwcp-anomaly.service").replace("/usr/local/bin/dwcp-anomaly", PROGRAM)
}

#[test]
fn systemd_finds_the_unit_sound_and_little_exposed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dwcp-anomaly.service");
    std::fs::write(&file, unit()).unwrap();
    let file = file.to_str().unwrap();
    let (status, said) = tool("systemd-analyze", &["verify", file], "");
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("dwcp-anomaly")).collect();
    assert!(status == 0 && about_it.is_empty(), "{said}");
    // Of ten, where an unhardened service has 9.6.
    let (status, said) =
        tool("systemd-analyze", &["security", "--offline=true", "--threshold=15", "--no-pager", file], "");
    assert_eq!(status, 0, "{said}");
}

#[test]
fn the_command_of_the_unit_serves_with_its_configuration_and_with_a_bad_one() {
    let unit = unit();
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    for (config, ready) in [("{}", true), ("no_such_key: 1", false)] {
        std::fs::write(&file, config).unwrap();
        let port = free_port();
        let command = command
            .replace("/etc/dwcp-anomaly/config.yaml", file.to_str().unwrap())
            .replace("$ARGS", &format!("--web.listen-address=127.0.0.1:{port}"));
        let mut parts = command.split(' ');
        let mut child = Command::new(parts.next().unwrap())
            .args(parts)
            .current_dir(&directory)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ask = |path: &str| get(&format!("http://127.0.0.1:{port}{path}"));
        wait_for("health", Duration::from_secs(20), || ask("/-/healthy").is_some());
        wait_for("the configuration's fate", Duration::from_secs(20), || {
            let told = format!("dwcp_config_last_reload_successful {}", u8::from(ready));
            ask("/-/ready").is_some() == ready && ask("/metrics").is_some_and(|page| page.contains(&told))
        });
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "{config}");
    }
}

#[test]
fn compose_takes_the_file_and_everything_it_mounts_is_there() {
    let root = env!("CARGO_MANIFEST_DIR");
    let (status, said) =
        tool("docker-compose", &["-f", &format!("{root}/configs/compose.yaml"), "config"], "");
    assert_eq!(status, 0, "{said}");
    let compose = yaml(&shipped("configs/compose.yaml"));
    let mut mounted = Vec::new();
    for (name, service) in compose["services"].as_object().unwrap() {
        for port in list(&service["ports"]) {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} is open to others: {port}");
        }
        for volume in list(&service["volumes"]) {
            let parts: Vec<&str> = volume.as_str().unwrap().split(':').collect();
            if parts[0].starts_with('.') {
                assert!(
                    std::path::Path::new(root).join("configs").join(parts[0]).exists(),
                    "{name}: {volume}"
                );
                assert_eq!(parts[2], "ro", "{name} may change {volume}");
                mounted.push(parts[1].to_owned());
            } else if !parts[0].starts_with('/') {
                assert!(compose["volumes"].get(parts[0]).is_some(), "{name}: {volume} is declared nowhere");
            }
        }
        let files =
            list(&service["command"]).filter_map(|flag| flag.as_str()?.strip_prefix("--config.file="));
        for file in files {
            assert!(mounted.iter().any(|at| at == file), "{name} reads {file}, which is not mounted");
        }
    }
}

#[test]
fn grafana_finds_its_prometheus_and_its_dashboard() {
    let compose = yaml(&shipped("configs/compose.yaml"));
    let grafana = &compose["services"]["grafana"];
    let source = yaml(&shipped("configs/grafana/provisioning/datasources/prometheus.yaml"));
    let source = &source["datasources"][0];
    assert_eq!((&source["type"], &source["isDefault"]), (&"prometheus".into(), &true.into()));
    let host = source["url"].as_str().unwrap().trim_start_matches("http://").split(':').next().unwrap();
    assert!(compose["services"].get(host).is_some(), "{host}");
    let provider = yaml(&shipped("configs/grafana/provisioning/dashboards/dwcp-anomaly.yaml"));
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let dashboard = format!("{path}/dwcp-anomaly-detection-dashboard.json");
    let is_mounted =
        list(&grafana["volumes"]).any(|v| v.as_str().unwrap().contains(&format!(":{dashboard}:")));
    assert!(is_mounted, "{dashboard}");
    assert_eq!(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], dashboard);
}

#[test]
fn the_servers_of_the_compose_file_work_together() {
    let (exporter, alertmanager) = (node_exporter(), alertmanager());
    let (status, said) = tool(
        "amtool",
        &["check-config", &format!("{}/configs/compose/alertmanager.yaml", env!("CARGO_MANIFEST_DIR"))],
        "",
    );
    assert_eq!(status, 0, "{said}");
    let local = |port: u16| format!("127.0.0.1:{port}");
    let fit = |text: String| {
        text.replace("node-exporter:9100", &local(exporter.port))
            .replace("alertmanager:9093", &local(alertmanager.port))
            .replace("interval: 10s", "interval: 1s")
    };
    let state = tempfile::tempdir().unwrap();
    let config = fit(shipped("configs/compose/sidecar.yaml"))
        .replace("/var/lib/dwcp-anomaly", state.path().to_str().unwrap());
    let sidecar = sidecar(&format!("check_interval: 1s\n{config}"));
    let config = fit(shipped("configs/compose/prometheus.yaml"))
        .replace("dwcp-anomaly:10091", &local(sidecar.port))
        .replace("localhost:9090", &local(exporter.port))
        .replace("/etc/prometheus/rules", &format!("{}/rules", env!("CARGO_MANIFEST_DIR")));
    let prometheus = prometheus_with(&config);
    let ask = |path: &str| -> Value { serde_json::from_str(&prometheus.get(path).unwrap()).unwrap() };
    let series = |query: &str| ask(&format!("/api/v1/query?query={query}"))["data"]["result"].clone();
    wait_for("four jobs up", Duration::from_secs(30), || list(&series("up==1")).count() == 4);
    wait_for("a signal", Duration::from_secs(30), || list(&series("dwcp_signal_value")).count() > 0);
    let signals = series("dwcp_signal_value");
    for signal in list(&signals) {
        let labels = &signal["metric"];
        assert_eq!((&labels["instance"], &labels["job"]), (&"node".into(), &"node".into()), "{labels}");
    }
    let groups = ask("/api/v1/rules");
    let names: Vec<&Value> = list(&groups["data"]["groups"]).map(|group| &group["name"]).collect();
    assert_eq!(names, ["dwcp-anomaly-rate", "dwcp-detection-latency", "dwcp-self-monitoring"]);
    wait_for("the Alertmanager", Duration::from_secs(30), || {
        list(&ask("/api/v1/alertmanagers")["data"]["activeAlertmanagers"]).count() == 1
    });
}

/// A web service that answers fifty requests a second, of which as many as told are errors.
fn service() -> (String, Arc<AtomicU64>) {
    let errors = Arc::new(AtomicU64::new(0));
    let (told, began) = (Arc::clone(&errors), unix_now());
    let address = serve(move |stream| {
        let since = unix_now() - began;
        let (requests, errors) = (50.0 * since, told.load(Ordering::Relaxed) as f64 * since);
        let failed = format!("http_requests_total{{code=\"503\"}} {errors}\n");
        let page = format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {requests}\n{}\
             # TYPE http_request_duration_seconds histogram\n\
             http_request_duration_seconds_bucket{{le=\"0.1\"}} {}\n\
             http_request_duration_seconds_bucket{{le=\"0.5\"}} {requests}\n\
             http_request_duration_seconds_bucket{{le=\"+Inf\"}} {requests}\n\
             http_request_duration_seconds_sum {requests}\nhttp_request_duration_seconds_count {requests}\n",
            if errors > 0.0 { &failed } else { "" },
            0.9 * requests,
        );
        answer(stream, &page);
    });
    (format!("http://{address}/metrics"), errors)
}

#[test]
fn the_signals_of_the_example_service_have_values_with_and_without_errors() {
    let (url, errors) = service();
    let config =
        shipped("configs/monitoring/http-error-rate.yaml").replace("http://127.0.0.1:8080/metrics", &url);
    let sidecar = sidecar(&format!("check_interval: 1s\n{config}"));
    let signal = |name: &str| {
        let page = sidecar.get("/metrics").unwrap_or_default();
        value(&page, "dwcp_signal_value", &[&format!("\"{name}\"")])
    };
    wait_for("requests", Duration::from_secs(20), || {
        signal("requests").is_some_and(|v| (v - 50.0).abs() < 5.0)
    });
    assert_eq!(signal("error_rate"), Some(0.0), "no 5xx series yet");
    let p95 = signal("request_latency_p95").unwrap();
    assert!((p95 - 300.0).abs() < 1.0, "half of the way from 0.1 s to 0.5 s: {p95}");
    errors.store(10, Ordering::Relaxed);
    wait_for("a sixth of errors", Duration::from_secs(20), || {
        signal("error_rate").is_some_and(|rate| (rate - 100.0 / 6.0).abs() < 3.0)
    });
}
