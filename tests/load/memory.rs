//! Memory in use on this machine becomes an alert in a real Alertmanager.

use std::time::Duration;

use crate::servers::{
    active, alertmanager, machine, node_exporter, of_memory, sidecar, stress, wait_for, wait_until_all_vote,
};
use crate::watching;

#[test]
fn memory_in_use_is_an_alert_on_memory_usage() {
    let _machine = machine();
    let (exporter, alertmanager) = (node_exporter(), alertmanager());
    let sidecar = sidecar(&watching(&exporter, &alertmanager));
    wait_until_all_vote(&sidecar);
    let load = stress(&["--vm", "1", "--vm-bytes", &of_memory(40), "--vm-keep", "--timeout", "40s"]);
    let took = wait_for("alert on memory_usage", Duration::from_secs(20), || {
        !active(&alertmanager, "memory_usage").is_empty()
    });
    println!("memory_usage: alert after {took:?}");
    load.finish();
    let took = wait_for("end of the alert", Duration::from_mins(1), || {
        active(&alertmanager, "memory_usage").is_empty()
    });
    println!("memory_usage: resolved {took:?} after the load ended");
}
