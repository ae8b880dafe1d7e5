//! Real load on this machine, and none: a binary of its own, because most of its tests must have the machine to themselves.
//!
//! They begin in the order of their names, a few at a time: those that watch something else, and mostly wait,
//! are named so that they run beside those that take turns with the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "how soon it was is worth a line")]
#![allow(unreachable_pub, dead_code, reason = "the servers are shared with the other real tests")]

mod calm;
mod faults;
mod long_interval;
#[path = "../real/servers.rs"]
mod servers;
mod steps;
#[path = "../real/synthetic.rs"]
mod synthetic;

use servers::{Server, active};
use synthetic::Traffic;

/// A sidecar that watches an exporter each second.
fn watching(exporter: &Server, alertmanager: &Server) -> String {
    let target = format!("{{url: '{}/metrics'}}", exporter.url());
    configuration("1s", &[target], alertmanager)
}

/// A sidecar that watches the traffic of `host0` and those after it.
fn watching_traffic(interval: &str, hosts: &[Traffic], alertmanager: &Server) -> String {
    let target = |(at, host): (usize, &Traffic)| {
        format!("{{url: '{}', labels: {{instance: 'host{at}'}}}}", host.url())
    };
    let targets: Vec<String> = hosts.iter().enumerate().map(target).collect();
    configuration(interval, &targets, alertmanager)
}

fn configuration(interval: &str, targets: &[String], alertmanager: &Server) -> String {
    format!(
        "check_interval: {interval}\nscrape:\n  targets: [{}]\nalert:\n  resend_delay: 5s\n  alertmanagers: [{{url: '{}'}}]\n",
        targets.join(", "),
        alertmanager.url()
    )
}

/// Whether an alert on a host's bandwidth is active.
fn fires(alertmanager: &Server, instance: &str) -> bool {
    active(alertmanager, "bandwidth").iter().any(|alert| alert["labels"]["instance"] == instance)
}
