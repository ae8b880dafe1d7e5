//! What a bad ConfigMap does to a sidecar: nothing that would keep its pod from starting.

use std::time::{Duration, Instant};

use crate::servers::{free_port, get, wait_for};
use crate::webhook_server::{run_sidecar, run_sidecar_with};

/// Files that a ConfigMap may bring.
const BROKEN: [&str; 12] = [
    "check_interval: never",
    "unknown: 1",
    "signals: [{name: a, expr: 'sum('}]",
    "signals: {}",
    "scrape: {targets: [{url: 'ftp://x'}]}",
    "detector: {ensemble_threshold: 7}",
    "window: {max_bytes: 1B}",
    "alert: {alertmanagers: [{url: ''}]}",
    "\t- tabs",
    "a: [",
    "\u{0}",
    "- just\n- a list",
];

#[test]
fn with_every_broken_configuration_the_sidecar_is_alive_within_a_second_and_takes_up_the_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("anomaly-detection.yaml");
    for text in BROKEN.iter().copied().map(Some).chain([None]) {
        let _ = std::fs::remove_file(&file);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        // The quickest of three, as other tests use the machine too.
        let took: Vec<Duration> = (0..3).map(|_| time_to_health(&file)).collect();
        assert!(took.iter().min().unwrap() < &Duration::from_secs(1), "{text:?}: {took:?}");
    }
}

fn time_to_health(file: &std::path::Path) -> Duration {
    let (port, began) = (free_port(), Instant::now());
    let _sidecar = run_sidecar(file, port, &[]);
    let url = format!("http://127.0.0.1:{port}");
    wait_for("health", Duration::from_secs(10), || get(&format!("{url}/-/healthy")).is_some());
    let took = began.elapsed();
    assert!(get(&format!("{url}/-/ready")).is_none(), "the file is not broken");
    took
}

#[test]
fn a_config_map_is_taken_up_through_its_symlinks_and_its_pods_targets_stay() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // As the kubelet lays it out: a link to a link that is exchanged.
    let lay = |version: &str, text: &str| {
        std::fs::create_dir(path(version)).unwrap();
        std::fs::write(path(version).join("anomaly-detection.yaml"), text).unwrap();
        std::os::unix::fs::symlink(path(version), path("next")).unwrap();
        std::fs::rename(path("next"), path("..data")).unwrap();
    };
    lay("..1", "check_interval: never\n");
    let file = path("anomaly-detection.yaml");
    std::os::unix::fs::symlink("..data/anomaly-detection.yaml", &file).unwrap();
    let port = free_port();
    let defaults = r#"{"check_interval":"500ms","scrape":{"targets":[{"url":"http://127.0.0.1:1/metrics","labels":{"pod":"web-1"},"scope":"pod"}]}}"#;
    let _sidecar = run_sidecar(&file, port, &[("DWCP_DEFAULTS", defaults)]);
    let page = || get(&format!("http://127.0.0.1:{port}/metrics")).unwrap_or_default();
    wait_for("health", Duration::from_secs(5), || {
        get(&format!("http://127.0.0.1:{port}/-/healthy")).is_some()
    });
    assert!(page().contains("dwcp_config_last_reload_successful 0"));
    lay("..2", "signals: [{name: level, expr: level}]\n");
    wait_for("the good file", Duration::from_secs(35), || {
        page().contains("dwcp_config_last_reload_successful 1")
    });
    wait_for("the pod's target", Duration::from_secs(5), || page().contains("pod=\"web-1\""));
}

#[test]
fn no_bad_value_of_a_flag_ends_a_degraded_sidecar() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("c.yaml");
    std::fs::write(&config, "signals: []\n").unwrap();
    for flag in [
        "--web.external-url=http://fd00:10:244::1f:10091",
        "--web.external-url=http://:10091",
        "--web.external-url=nope",
        "--web.config.file=/none",
        "--web.enable-changes=maybe",
        "--log.level=loud",
        "--log.format=xml",
    ] {
        let port = free_port();
        let _sidecar = run_sidecar_with(&config, port, &[], &[flag]);
        let url = format!("http://127.0.0.1:{port}");
        wait_for(flag, Duration::from_secs(10), || get(&format!("{url}/-/healthy")).is_some());
        // Nobody knows who may read them while that file is bad.
        assert_eq!(get(&format!("{url}/metrics")).is_some(), !flag.contains("web.config"), "{flag}");
    }
}

#[test]
fn a_port_that_is_taken_is_listened_at_once_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("c.yaml");
    std::fs::write(&config, "signals: []\n").unwrap();
    let port = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let _sidecar = run_sidecar_with(&config, port, &[], &[]);
    let log = directory.path().join("log");
    let said = || std::fs::read_to_string(&log).unwrap();
    wait_for("a word about it", Duration::from_secs(10), || {
        said().contains("running degraded: nobody is answered") && said().contains("msg=serving")
    });
    drop(taken);
    wait_for("health", Duration::from_secs(10), || {
        get(&format!("http://127.0.0.1:{port}/-/healthy")).is_some()
    });
}
