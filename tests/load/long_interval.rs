//! Steps of bandwidth where checks are ten seconds apart.

use std::time::{Duration, Instant};

use crate::servers::{alertmanager, sidecar, wait_for};
use crate::synthetic::Traffic;
use crate::{fires, watching_traffic};

#[test]
fn each_ten_seconds_a_step_is_an_alert_within_forty_half_of_them_within_twenty() {
    let traffic: Vec<Traffic> = (0..7).map(|_| Traffic::start(100.0)).collect();
    let alertmanager = alertmanager();
    let sidecar = sidecar(&watching_traffic("10s", &traffic, &alertmanager));
    let is_voting = |page: &str, at: usize| {
        let instance = format!("instance=\"host{at}\"");
        let ready = |line: &&str| line.starts_with("dwcp_detector_ready") && line.contains(&instance);
        page.lines().filter(ready).filter(|line| line.ends_with(" 1")).count() >= 2
    };
    wait_for("vote on every target", Duration::from_mins(8), || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        (0..traffic.len()).all(|at| is_voting(&page, at))
    });
    // Targets are scraped at times of their own, so one moment lies anywhere between two scrapes.
    traffic.iter().for_each(|traffic| traffic.set(400.0));
    let began = Instant::now();
    let mut delays = vec![None; traffic.len()];
    wait_for("alert on every target", Duration::from_secs(40), || {
        for (at, delay) in delays.iter_mut().enumerate().filter(|(_, delay)| delay.is_none()) {
            *delay = fires(&alertmanager, &format!("host{at}")).then(|| began.elapsed());
        }
        delays.iter().all(Option::is_some)
    });
    delays.sort();
    println!("a step at ten seconds: alerts after {delays:?}");
    assert!(delays[delays.len() / 2] <= Some(Duration::from_secs(20)), "{delays:?}");
}
