//! What the sidecar serves, by the judgement of Prometheus' own tools; and how it behaves as a process.

use std::process::Command;
use std::time::Duration;

use crate::servers::{
    alertmanager_at, free_port, node_exporter, node_exporter_at, request, sidecar, tool, value, wait_for,
};

#[test]
fn promtool_has_nothing_to_say_about_our_page_fresh_or_full() {
    let exporter = node_exporter();
    let sidecar = sidecar(&format!(
        "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}/metrics'}}]\n",
        exporter.url()
    ));
    let check = || tool("promtool", &["check", "metrics"], &sidecar.get("/metrics").unwrap());
    assert_eq!(check(), (0, String::new()), "fresh");
    wait_for("verdicts", Duration::from_mins(1), || {
        value(&sidecar.get("/metrics").unwrap_or_default(), "dwcp_anomaly_score", &["cpu_usage"]).is_some()
    });
    assert_eq!(check(), (0, String::new()), "full");
    for model in ["isolation_forest", "lstm_autoencoder", "zscore", "seasonal_esd", "ensemble"] {
        let counted = ["cpu_usage", "severity=\"critical\"", model];
        let page = sidecar.get("/metrics").unwrap();
        assert!(
            value(&page, "dwcp_anomalies_detected_total", &counted).is_some(),
            "{model} counts from 0 on"
        );
    }
    let accept = "Accept: application/openmetrics-text;version=1.0.0";
    let (_, page) = request("GET", &format!("{}/metrics", sidecar.url()), &[accept], "").unwrap();
    assert!(page.ends_with("# EOF\n") || page.ends_with("# EOF"), "{}", &page[page.len() - 100..]);
    let families = [
        "dwcp_anomalies_detected_total",
        "dwcp_anomaly_confidence",
        "dwcp_anomaly_detection_latency_seconds_bucket",
        "dwcp_metrics_processed_total",
        "dwcp_anomaly_score",
        "dwcp_anomaly_strength",
        "dwcp_anomaly_deviation_sigma",
        "dwcp_anomaly_firing",
        "dwcp_signal_value",
        "dwcp_signal_expected",
        "dwcp_signal_lower",
        "dwcp_signal_upper",
        "dwcp_detector_ready",
        "dwcp_false_alert_budget_used_ratio",
        "dwcp_build_info",
        "dwcp_target_up",
        "dwcp_config_last_reload_successful",
    ];
    for family in families {
        assert!(page.contains(&format!("\n{family}")), "{family} is missing");
    }
    for path in ["/", "/runbook/cpu_usage", "/-/healthy", "/-/ready", "/api/v1/monitoring/anomaly/status"] {
        assert!(sidecar.get(path).is_some(), "{path}");
    }
    assert_eq!(request("GET", &format!("{}/runbook/nonsense", sidecar.url()), &[], "").unwrap().0, 404);
}

#[test]
fn a_bad_file_leaves_the_running_configuration_in_place_and_a_good_one_replaces_it() {
    let exporter = node_exporter();
    let config = |signal: &str| {
        format!(
            "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}/metrics'}}]\nsignals: [{{name: {signal}, expr: node_load1}}]\n",
            exporter.url()
        )
    };
    let sidecar = sidecar(&config("first"));
    let file = sidecar.directory.path().join("config.yaml");
    let has = |signal: &str| {
        value(&sidecar.get("/metrics").unwrap_or_default(), "dwcp_signal_value", &[signal]).is_some()
    };
    let successful = || {
        sidecar
            .get("/metrics")
            .unwrap()
            .lines()
            .find_map(|l| l.strip_prefix("dwcp_config_last_reload_successful ").map(str::to_owned))
    };
    wait_for("first signal", Duration::from_secs(10), || has("\"first\""));
    std::fs::write(&file, "signals: [{name: a b, expr: 'sum('}]").unwrap();
    let reload = || request("POST", &format!("{}/-/reload", sidecar.url()), &[], "").unwrap();
    let (status, said) = reload();
    assert_eq!(status, 500);
    assert!(said.contains("config.yaml:1") && said.contains("signals[0].expr"), "{said}");
    assert_eq!(successful().as_deref(), Some("0"));
    assert!(has("\"first\""));
    std::fs::write(&file, config("second")).unwrap();
    assert_eq!(reload().0, 200);
    assert_eq!(successful().as_deref(), Some("1"));
    wait_for("second signal", Duration::from_secs(10), || has("\"second\"") && !has("\"first\""));
    std::fs::write(&file, config("third")).unwrap();
    assert!(Command::new("kill").args(["-HUP", &sidecar.id().to_string()]).status().unwrap().success());
    wait_for("third signal", Duration::from_secs(10), || has("\"third\""));
}

#[test]
fn bad_usage_and_bad_configuration_have_status_2_and_say_what_to_do() {
    let program = env!("CARGO_BIN_EXE_dwcp-anomaly");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    std::fs::write(&file, "detector:\n  zscore: {weight: 2}\n").unwrap();
    let file = file.to_str().unwrap();
    let [rows, scores] = ["rows.csv", "scores.csv"].map(|name| directory.path().join(name));
    std::fs::write(&rows, "timestamp,a\n1,2\n2,3\n").unwrap();
    let [rows, scores] = [&rows, &scores].map(|path| path.to_str().unwrap());
    for (arguments, status, part) in [
        (vec!["check-config", file], 2, "c.yaml:2: detector.zscore.weight: 2 is not between 0 and 1"),
        (vec!["run", "--config.file", file], 2, "c.yaml:2: detector.zscore.weight"),
        (vec!["run", "--config.file", "/no/such.yaml"], 2, "/no/such.yaml: cannot be read"),
        (vec!["run", "--no-such-flag"], 2, "--no-such-flag"),
        (vec!["run", "--log.level=loud"], 2, "--log.level"),
        (vec!["check-config", "configs/monitoring/anomaly-detection.yaml"], 0, "SUCCESS"),
        (vec!["--version"], 0, "dwcp-anomaly 0."),
        (vec!["run", "--version"], 0, "dwcp-anomaly 0."),
        (vec!["run", "--web.listen-address=bogus"], 2, "give HOST:PORT or :PORT, such as"),
        (vec!["run", "--web.external-url=bogus"], 2, "is no URL"),
        (vec!["query", "--target", "nope", "a"], 2, "--target: \"nope\" is neither"),
        (
            vec!["query", "--target", "http://127.0.0.1:1/", "a", "--interval", "0s"],
            2,
            "--interval: 0s is too short",
        ),
        (vec!["inject", "-f", "-", "--image", ""], 2, "--image names no image"),
        (vec!["routes", "test", "--config.file", "x", "a b=c"], 2, "is no name of a label"),
        (vec!["backtest", "--data", file, "--output", file], 2, "would be lost; name another file"),
        (vec!["backtest", "--data", rows, "--output", "/no/such/s.csv"], 2, "cannot be written to"),
        (
            vec!["backtest", "--data", rows, "--output", scores, "--label-column", "x"],
            2,
            "no column is called x",
        ),
        (vec!["backtest", "--data", rows, "--output", scores, "--interval", "0s"], 2, "must be above 0"),
    ] {
        let (code, said) = tool(program, &arguments, "");
        assert!(code == status && said.contains(part), "{arguments:?}: {code} {said}");
    }
}

#[test]
fn a_reader_that_has_left_is_an_error_in_a_line() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = Command::new(env!("CARGO_BIN_EXE_dwcp-anomaly"))
        .args(["check-config", "configs/monitoring/anomaly-detection.yaml"])
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(said, "dwcp-anomaly: standard output: Broken pipe (os error 32)\n");
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn labels_of_a_signal_that_the_target_has_are_told_apart_for_a_real_prometheus() {
    let address = crate::synthetic::serve(|stream| {
        let labels = "instance=\"other\",job=\"o\",severity=\"x\",le=\"1\"";
        crate::synthetic::answer(stream, &format!("# TYPE b gauge\nb{{{labels}}} 3\n"));
    });
    let sidecar = sidecar(&format!(
        "check_interval: 200ms\nscrape: {{targets: [{{url: 'http://{address}/metrics'}}]}}\nsignals: [{{name: b, expr: b}}]\n"
    ));
    let is_there = |page: &str| page.contains("\ndwcp_signal_value{");
    wait_for("the signal", Duration::from_secs(20), || {
        is_there(&sidecar.get("/metrics").unwrap_or_default())
    });
    let page = sidecar.get("/metrics").unwrap();
    let line = page.lines().find(|line| line.starts_with("dwcp_signal_value{")).unwrap();
    for label in
        ["instance=\"here:", "exported_instance=\"other\"", "exported_severity=\"x\"", "exported_le=\"1\""]
    {
        assert!(line.contains(label), "{line}");
    }
    assert_eq!(tool("promtool", &["check", "metrics"], &page), (0, String::new()));
    let prometheus = crate::servers::prometheus(&[sidecar.port]);
    wait_for("it up in Prometheus", Duration::from_secs(30), || {
        let answer = prometheus.get("/api/v1/query?query=dwcp_signal_value").unwrap_or_default();
        answer.contains("exported_instance")
    });
}

#[test]
fn degraded_it_serves_and_takes_up_the_good_file_when_it_comes() {
    let exporter = node_exporter();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    std::fs::write(&file, "chek_interval: 1s\n").unwrap();
    let port = free_port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dwcp-anomaly"))
        .current_dir(directory.path())
        .args(["run", "--config.on-error=degraded", &format!("--web.listen-address=127.0.0.1:{port}")])
        .arg(format!("--config.file={}", file.display()))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    wait_for("health", Duration::from_secs(1), || crate::servers::get(&url("/-/healthy")).is_some());
    assert_eq!(request("GET", &url("/-/ready"), &[], "").unwrap().0, 503);
    let good =
        format!("check_interval: 200ms\nscrape:\n  targets: [{{url: '{}/metrics'}}]\n", exporter.url());
    std::fs::write(&file, good).unwrap();
    // It looks by itself.
    wait_for("readiness", Duration::from_secs(35), || crate::servers::get(&url("/-/ready")).is_some());
    wait_for("a signal", Duration::from_secs(10), || {
        let page = crate::servers::get(&url("/metrics")).unwrap_or_default();
        value(&page, "dwcp_signal_value", &["memory_usage"]).is_some()
    });
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success(), "SIGTERM drains");
}

#[test]
fn what_was_set_while_running_and_is_bad_now_can_be_dropped_while_degraded() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("overlay.json"), r#"{"severity": {"critical": {"sigma": 6}}}"#).unwrap();
    let config = format!(
        "severity: {{warning: {{sigma: 7}}, critical: {{sigma: 8}}}}\nstorage: {{path: '{}'}}\n",
        data.display()
    );
    let sidecar = crate::servers::sidecar_with(&config, &["--config.on-error=degraded".to_owned()]);
    wait_for("health", Duration::from_secs(5), || sidecar.get("/-/healthy").is_some());
    let ready = || request("GET", &format!("{}/-/ready", sidecar.url()), &[], "").unwrap().0;
    assert_eq!(ready(), 503);
    assert!(sidecar.get("/").unwrap().contains("<h1>The configuration is bad</h1>"));
    let url = format!("{}/api/v1/monitoring/anomaly/config", sidecar.url());
    let (status, said) = request("DELETE", &url, &["Content-Type: application/json"], "").unwrap();
    assert_eq!(status, 200, "{said}");
    assert_eq!(ready(), 200);
    let page = sidecar.get("/metrics").unwrap();
    assert!(page.contains("\ndwcp_config_last_reload_successful 1\n"));
    assert!(sidecar.get("/").unwrap().contains("<h1>Nothing is watched</h1>"));
}

#[test]
fn the_configurations_in_the_readme_are_sound() {
    let readme = include_str!("../../README.md");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    let path = file.to_str().unwrap();
    let blocks: Vec<&str> =
        readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        let rules = format!("{}/rules", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(&file, block.replace("/etc/prometheus/rules", &rules)).unwrap();
        let (status, said) = if block.starts_with("scrape_configs:") || block.starts_with("rule_files:") {
            tool("promtool", &["check", "config", path], "")
        } else {
            tool(env!("CARGO_BIN_EXE_dwcp-anomaly"), &["check-config", path], "")
        };
        assert_eq!(status, 0, "{block}: {said}");
    }
}

/// The commands in the README's blocks, one a line.
fn readme_commands() -> Vec<&'static str> {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).collect()
}

/// The command as it can be run here: what would change this machine changes a directory, `root`, and no containers start,
/// of which the file is read all the same.
fn at_hand(command: &str) -> String {
    command
        .replace("docker compose ", "docker-compose ")
        .replace("up --build", "config")
        .replace("sudo ", "")
        .replace("target/release/dwcp-anomaly", "dwcp-anomaly")
        .replace(" /usr/", " root/usr/")
        .replace(" /etc/", " root/etc/")
        .replace("systemctl enable --now", "systemctl --root=$PWD/root enable")
}

/// Where Python is that has what an example needs; tests/all makes it.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/bin");

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let readme = include_str!("../../README.md");
    let directory = tempfile::tempdir().unwrap();
    let with_alertmanager = readme
        .split("```yaml\n")
        .map(|rest| rest.split("```").next().unwrap())
        .find(|b| b.contains("\nalert:"));
    std::fs::write(directory.path().join("config.yaml"), with_alertmanager.unwrap()).unwrap();
    let row = |i: u32| format!("{},{}\n", 1_700_000_000 + 10 * i, i * 7919 % 101);
    let recording: String = (0..300).map(row).collect();
    std::fs::write(directory.path().join("recording.csv"), format!("timestamp,load\n{recording}")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dwcp-anomaly"), directory.path().join("dwcp-anomaly"))
        .unwrap();
    for name in ["rules", "tests", "configs", "examples"] {
        let there = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::os::unix::fs::symlink(there, directory.path().join(name)).unwrap();
    }
    let path = [directory.path().to_str().unwrap(), CLIENTS, &std::env::var("PATH").unwrap()].join(":");
    let (_exporter, _alertmanager) = (node_exporter_at(9100), alertmanager_at(9093));
    let routes = "route: {receiver: ops}\nreceivers: [{name: ops}]\n";
    std::fs::write(directory.path().join("alertmanager.yml"), routes).unwrap();
    for command in readme_commands() {
        // The second command is the one that runs this test; the first builds what is tested here.
        if command == "bash tests/all" {
            continue;
        }
        // Of the library, which has a test of its own.
        if command.contains("--example") {
            continue;
        }
        let command = at_hand(&command.replace("cargo run --release --", "dwcp-anomaly"));
        let shell = |command: &str| {
            let mut shell = Command::new("bash");
            shell.args(["-c", command]).current_dir(directory.path()).env("PATH", &path);
            shell
        };
        let begin = |command: &str| {
            let child =
                shell(&format!("exec {command}")).stderr(std::process::Stdio::null()).spawn().unwrap();
            wait_for(&format!("readiness of {command}"), Duration::from_secs(15), || {
                crate::servers::get("http://127.0.0.1:10091/-/ready").is_some()
            });
            wait_for(&format!("a signal of {command}"), Duration::from_secs(30), || {
                let page = crate::servers::get("http://127.0.0.1:10091/metrics").unwrap_or_default();
                value(&page, "dwcp_signal_value", &["memory_usage"]).is_some()
            });
            child
        };
        let end = |mut child: std::process::Child| {
            let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
            assert!(asked.success() && child.wait().unwrap().success(), "{command} does not end well");
        };
        if !command.starts_with("dwcp-anomaly run") {
            let asked = command.starts_with("python3 ").then(|| begin("dwcp-anomaly run"));
            let output = shell(&command).output().unwrap();
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            let is_quiet = command.starts_with("install ");
            assert!(
                is_quiet || !output.stdout.is_empty() || !output.stderr.is_empty(),
                "{command} says nothing"
            );
            asked.into_iter().for_each(end);
            continue;
        }
        end(begin(&command));
    }
}
