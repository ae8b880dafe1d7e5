//! Everything hostile at once, and the sidecar does its work all the same.
//!
//! A hostile exporter, hostile clients, hostile configurations and relayed alerts, a wall clock that steps, and a kill -9:
//! verdicts come in time, memory stays under its limit, and a fault of an honest host beside it all is told. It takes about a
//! minute and a half, or as many more seconds as `DWCP_ATTACK_SECONDS` says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was measured is worth a line")]
#![allow(unreachable_pub, dead_code, reason = "the servers are shared with the other real tests")]

mod clients;
mod exporter;
#[path = "../real/servers.rs"]
mod servers;
#[path = "../real/synthetic.rs"]
mod synthetic;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use exporter::{Honest, hostile};
use servers::{Server, active, alertmanager, wait_for};

const LIMIT: u64 = 128 << 20;
const PATIENCE: Duration = Duration::from_mins(1);

/// The library that has the wall clock step.
fn clock(directory: &Path) -> String {
    let library = directory.join("clock.so").display().to_string();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attack/clock.c");
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o", &library, source, "-ldl"]).status();
    assert!(status.expect("cc; apt-get install gcc").success());
    library
}

fn configuration(honest: &Honest, hostile: &str, alertmanager: &Server, storage: &Path) -> String {
    format!(
        "check_interval: 1s\nscrape:\n  targets:\n    - {{url: '{}', labels: {{instance: honest}}}}\n    - {{url: '{hostile}', labels: \
         {{instance: hostile}}}}\nstorage: {{path: '{}'}}\nlimits: {{memory: {}MiB}}\nalert:\n  resend_delay: 5s\n  alertmanagers: \
         [{{url: '{}'}}]\n",
        honest.url(),
        storage.display(),
        LIMIT >> 20,
        alertmanager.url()
    )
}

fn plain(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Seconds since the honest host was judged, by the sidecar's own clock.
fn age(page: &str, shift: f64) -> Option<f64> {
    let judged = servers::value(page, "dwcp_last_verdict_timestamp_seconds", &["instance=\"honest\""])?;
    Some(servers::unix_now() + shift - judged)
}

fn tells_of_the_honest_host(alertmanager: &Server) -> bool {
    active(alertmanager, "cpu_usage").iter().any(|alert| alert["labels"]["instance"] == "honest")
}

#[test]
fn under_attack_verdicts_are_on_time_memory_is_bounded_and_a_fault_is_told_through_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let shift = directory.path().join("shift");
    let library = clock(directory.path());
    let (honest, hostile, alertmanager) = (Honest::start(), hostile(), alertmanager());
    let config = configuration(&honest, &hostile, &alertmanager, &directory.path().join("state"));
    let environment = [("LD_PRELOAD", library), ("CLOCK_SHIFT", shift.display().to_string())]
        .map(|(name, value)| (name.to_owned(), value));
    let mut sidecar =
        servers::sidecar_in_environment(&config, &["--web.enable-changes".to_owned()], &environment);
    if servers::in_time(PATIENCE, || sidecar.get("/-/ready").is_some()).is_none() {
        let log = std::fs::read_to_string(sidecar.directory.path().join("log")).unwrap();
        panic!("not ready: {log}");
    }

    let over = Arc::new(AtomicBool::new(false));
    let attackers = clients::attack(sidecar.port, &over);
    let step = |seconds: f64| std::fs::write(&shift, seconds.to_string()).unwrap();
    let more = std::env::var("DWCP_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (mut worst, mut largest) = (0.0_f64, 0.0_f64);
    let mut look = |sidecar: &Server, shift: f64| {
        let page = sidecar.get("/metrics").expect("an answer under attack");
        worst = worst.max(age(&page, shift).unwrap_or(0.0));
        largest = largest.max(plain(&page, "process_resident_memory_bytes ").unwrap_or(0.0));
    };
    for (nth, seconds) in [0.0, -1.5, -21.5, 0.0, 1.5].into_iter().enumerate() {
        step(seconds);
        let long = Duration::from_secs(12 + if nth == 0 { more } else { 0 });
        // The state that is looked at lasts this long, whatever is seen.
        let _ = servers::in_time(long, || {
            look(&sidecar, seconds);
            false
        });
    }
    assert!(!tells_of_the_honest_host(&alertmanager), "nothing has happened to it");

    honest.set(0.97);
    let took = wait_for("alert under attack", PATIENCE, || tells_of_the_honest_host(&alertmanager));
    println!("told after {took:?}");
    sidecar.kill();
    sidecar.start_again();
    sidecar.wait_ready();
    let firing = || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        page.lines().any(|line| {
            line.starts_with("dwcp_anomaly_firing{")
                && line.contains("honest")
                && line.contains("cpu_usage")
                && line.ends_with(" 1")
        })
    };
    wait_for("the incident to go on after a kill", PATIENCE, firing);
    look(&sidecar, 1.5);
    honest.set(0.2);
    wait_for("end of the alert", 2 * PATIENCE, || !tells_of_the_honest_host(&alertmanager));
    over.store(true, Ordering::Relaxed);
    for attacker in attackers {
        println!("{}", attacker.join().unwrap());
    }
    println!("oldest verdict {worst:.1} s, {:.0} MiB at most", largest / f64::from(1 << 20));
    assert!(worst < 10.0, "a verdict of {worst} s ago");
    assert!(largest < LIMIT as f64, "{largest} bytes resident");
}
