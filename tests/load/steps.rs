//! Steps of bandwidth, from an exporter made for it, become alerts in a real Alertmanager. They need no machine to
//! themselves: what they watch is not this machine.

use std::time::{Duration, Instant};

use crate::servers::{Server, active, alertmanager, sidecar, wait_for, wait_until_all_vote};
use crate::synthetic::Traffic;

const MINUTE: Duration = Duration::from_mins(1);

fn config(interval: &str, targets: &[Traffic], alertmanager: &Server) -> String {
    let target = |(at, traffic): (usize, &Traffic)| {
        format!("{{url: '{}', labels: {{instance: 'host{at}'}}}}", traffic.url())
    };
    let list: Vec<String> = targets.iter().enumerate().map(target).collect();
    format!(
        "check_interval: {interval}\nscrape:\n  targets: [{}]\nalert:\n  resend_delay: 5s\n  alertmanagers: [{{url: '{}'}}]\n",
        list.join(", "),
        alertmanager.url()
    )
}

fn fires(alertmanager: &Server, instance: &str) -> bool {
    active(alertmanager, "bandwidth").iter().any(|alert| alert["labels"]["instance"] == instance)
}

#[test]
fn each_second_a_step_of_bandwidth_is_an_alert_within_ten_seconds_until_it_ends() {
    let (traffic, alertmanager) = ([Traffic::start(100.0)], alertmanager());
    let sidecar = sidecar(&config("1s", &traffic, &alertmanager));
    wait_until_all_vote(&sidecar);
    traffic[0].set(400.0);
    let began = Instant::now();
    let took = wait_for("alert on bandwidth", Duration::from_secs(10), || fires(&alertmanager, "host0"));
    println!("bandwidth: alert after {took:?}");
    while began.elapsed() < MINUTE {
        assert!(fires(&alertmanager, "host0"), "resolved {:?} into the step", began.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    traffic[0].set(100.0);
    let took = wait_for("end of the alert", MINUTE, || !fires(&alertmanager, "host0"));
    println!("bandwidth: resolved {took:?} after the step ended");
}

#[test]
fn each_ten_seconds_a_step_is_an_alert_within_forty_half_of_them_within_twenty() {
    let traffic: Vec<Traffic> = (0..7).map(|_| Traffic::start(100.0)).collect();
    let alertmanager = alertmanager();
    let sidecar = sidecar(&config("10s", &traffic, &alertmanager));
    let is_voting = |page: &str, at: usize| {
        let instance = format!("instance=\"host{at}\"");
        let ready = |line: &&str| line.starts_with("dwcp_detector_ready") && line.contains(&instance);
        page.lines().filter(ready).filter(|line| line.ends_with(" 1")).count() >= 2
    };
    wait_for("vote on every target", Duration::from_mins(8), || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        (0..traffic.len()).all(|at| is_voting(&page, at))
    });
    let mut delays = Vec::new();
    for (at, traffic) in traffic.iter().enumerate() {
        traffic.set(400.0);
        let instance = format!("host{at}");
        delays
            .push(wait_for("alert within 40 s", Duration::from_secs(40), || fires(&alertmanager, &instance)));
    }
    delays.sort();
    println!("a step at ten seconds: alerts after {delays:?}");
    assert!(delays[delays.len() / 2] <= Duration::from_secs(20), "{delays:?}");
}
