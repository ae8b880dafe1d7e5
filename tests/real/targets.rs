//! Targets good and bad, and that the bad ones keep the good from nothing.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::servers::{node_exporter, request, sidecar, tool, unix_now, value, wait_for};
use crate::synthetic::{Synthetic, serve};

fn says(head: &'static str, body: &'static str) -> SocketAddr {
    serve(move |mut stream| {
        let _ = write!(
            stream,
            "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    })
}

#[test]
fn bad_targets_are_told_by_reason_and_keep_the_good_one_from_nothing() {
    let good = Synthetic::start();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let endless = serve(move |mut stream| {
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1073741824\r\n\r\n"
        );
        let line = "level 1 \n".repeat(1000);
        while stream.write_all(line.as_bytes()).is_ok() {
            counted.fetch_add(line.len() as u64, Ordering::Relaxed);
        }
    });
    let hanging = serve(|stream| {
        let _ = stream.peek(&mut [0; 1]);
        std::thread::park();
    });
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bad = [
        ("timeout", hanging),
        ("not_metrics", says("200 OK\r\nContent-Type: text/html", "<html>hello</html>")),
        ("not_metrics", says("200 OK\r\nContent-Type: text/plain", "what is this?\n")),
        ("status", says("503 Unavailable", "level 1\n")),
        (
            "broken",
            serve(|mut stream| drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nlevel"))),
        ),
        ("connect", closed),
        ("too_large", endless),
    ];
    let targets: Vec<String> =
        bad.iter().map(|(_, address)| format!("    - url: 'http://{address}/metrics'\n")).collect();
    let config = format!(
        "check_interval: 500ms\nscrape:\n  timeout: 400ms\n  max_body_size: 1MiB\n  targets:\n    - url: '{}'\n{}signals: [{{name: level, expr: level}}]\n",
        good.url(),
        targets.concat()
    );
    let sidecar = sidecar(&config);
    let reported = |reason: &str, address: &SocketAddr| {
        let page = sidecar.get("/metrics").unwrap_or_default();
        let instance = format!("instance=\"here:{}\"", address.port());
        value(&page, "dwcp_scrape_failures_total", &[&instance, &format!("reason=\"{reason}\"")])
            .is_some_and(|n| n >= 3.0)
            && value(&page, "dwcp_target_up", &[&instance]) == Some(0.0)
            && value(&page, "dwcp_signal_value", &[&instance]).is_none()
    };
    for (reason, address) in &bad {
        wait_for(&format!("failures for {reason}"), Duration::from_secs(20), || reported(reason, address));
    }
    // Every check of the good target: as many samples as intervals have passed, give or take the first and the last.
    let instance = good.url().rsplit_once(':').unwrap().1.trim_end_matches("/metrics").to_owned();
    let taken = || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        value(&page, "dwcp_metrics_processed_total", &[&format!("here:{instance}\"")]).unwrap_or(0.0)
    };
    let (before, began) = (taken(), std::time::Instant::now());
    wait_for("twenty more checks", Duration::from_secs(20), || taken() >= before + 20.0);
    let intervals = began.elapsed().as_secs_f64() / 0.5;
    assert!((19.0..=22.0).contains(&intervals), "20 checks took {intervals} intervals");
    assert!(sent.load(Ordering::Relaxed) < 200 << 20, "a page is dropped once it is too large");
    assert_eq!(sidecar.get("/-/healthy").as_deref(), Some("dwcp-anomaly is healthy.\n"));
}

#[test]
fn a_target_that_vanishes_shows_no_last_value_and_comes_back() {
    let exporter = node_exporter();
    let port = exporter.port;
    let sidecar = sidecar(&format!(
        "check_interval: 500ms\nscrape:\n  targets: [{{url: '{}/metrics'}}]\n",
        exporter.url()
    ));
    let memory =
        || value(&sidecar.get("/metrics").unwrap_or_default(), "dwcp_signal_value", &["memory_usage"]);
    wait_for("memory_usage", Duration::from_secs(10), || memory().is_some());
    drop(exporter);
    wait_for("no memory_usage", Duration::from_secs(10), || memory().is_none());
    let page = sidecar.get("/metrics").unwrap();
    assert_eq!(value(&page, "dwcp_target_up", &[&format!("here:{port}")]), Some(0.0));
}

#[test]
fn a_query_gives_what_the_exporter_says() {
    let exporter = node_exporter();
    let url = format!("{}/metrics", exporter.url());
    let program = env!("CARGO_BIN_EXE_dwcp-anomaly");
    let (status, said) =
        tool(program, &["query", "--target", &url, "-o", "json", "node_memory_MemTotal_bytes"], "");
    let answer: serde_json::Value =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let total = exporter
        .get("/metrics")
        .unwrap()
        .lines()
        .find_map(|l| l.strip_prefix("node_memory_MemTotal_bytes ")?.parse::<f64>().ok())
        .unwrap();
    assert_eq!(status, 0);
    assert_eq!(answer["result"][0]["value"][1].as_str().unwrap().parse::<f64>().unwrap(), total);
    let cpu = "100 * (1 - avg(rate(node_cpu_seconds_total{mode=\"idle\"}[$__rate_interval])))";
    let (status, said) = tool(program, &["query", "--target", &url, "--interval", "500ms", cpu], "");
    assert_eq!(status, 0, "{said}");
    let used: f64 = said.split(" => ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((0.0..=100.0).contains(&used), "{said}");
    for (arguments, code, part) in [
        (["query", "--target", &url, "histogram_count(up)"], 2, "histogram_count"),
        (["query", "--target", "http://127.0.0.1:1/metrics", "up"], 1, "cannot connect"),
    ] {
        let (status, said) = tool(program, &arguments, "");
        assert!(status == code && said.contains(part), "{status} {said}");
    }
}

#[test]
fn the_last_verdict_is_absent_before_the_first_and_stands_still_while_its_target_is_down() {
    let exporter = node_exporter();
    let config = format!(
        "check_interval: 200ms\nscrape: {{targets: [{{url: '{}/metrics'}}]}}\nsignals: [{{name: load, expr: node_load1}}]\n",
        exporter.url()
    );
    let sidecar = sidecar(&config);
    let read = |name: &str| value(&sidecar.get("/metrics").unwrap_or_default(), name, &["job=\"node\""]);
    let last = || read("dwcp_last_verdict_timestamp_seconds");
    wait_for("a scrape", Duration::from_secs(10), || read("dwcp_target_up") == Some(1.0));
    assert_eq!((last(), read("dwcp_check_interval_seconds")), (None, Some(0.2)));
    wait_for("a verdict", Duration::from_mins(1), || last().is_some());
    assert!((unix_now() - last().unwrap()).abs() < 5.0);
    drop(exporter);
    wait_for("the end of the target", Duration::from_secs(10), || read("dwcp_target_up") == Some(0.0));
    let stands_at = last();
    let checks = || read("dwcp_anomaly_detection_latency_seconds_count").unwrap();
    let before = checks();
    wait_for("five checks more", Duration::from_secs(10), || checks() >= before + 5.0);
    assert!(stands_at.is_some() && last() == stands_at);

    let file = sidecar.directory.path().join("config.yaml");
    std::fs::write(file, config.replace("targets: [{", "targets: [{labels: {job: other}, ")).unwrap();
    let (status, said) = request("POST", &format!("{}/-/reload", sidecar.url()), &[], "").unwrap();
    assert_eq!(status, 200, "{said}");
    wait_for("series of the new name only", Duration::from_secs(10), || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        page.contains("dwcp_sidecar_info{instance=\"here:") && !page.contains("job=\"node\"")
    });
}
