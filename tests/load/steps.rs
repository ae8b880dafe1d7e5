//! A step of bandwidth, from an exporter made for it, becomes an alert in a real Alertmanager.

use std::time::{Duration, Instant};

use crate::servers::{alertmanager, sidecar, wait_for, wait_until_all_vote};
use crate::synthetic::Traffic;
use crate::{fires, watching_traffic};

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn each_second_a_step_of_bandwidth_is_an_alert_within_ten_seconds_until_it_ends() {
    let (traffic, alertmanager) = ([Traffic::start(100.0)], alertmanager());
    let sidecar = sidecar(&watching_traffic("1s", &traffic, &alertmanager));
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
