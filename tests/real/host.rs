//! The embedded collector against the real node_exporter, on the same machine at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;

use dwcp_anomaly::exposition::{Everything, Format, Page, Reader};
use dwcp_anomaly::hostmetrics::{Root, collect};

use crate::servers::{node_exporter, tool};

fn read(text: &[u8]) -> Page {
    let page = Reader::new(Arc::new(Everything)).read(text, Format::Text);
    assert_eq!((page.rejected, page.duplicates), (0, 0));
    page
}

/// The series that both should have, with their values.
fn common(page: Page) -> BTreeMap<String, f64> {
    let prefixes = [
        "node_cpu_seconds_total",
        "node_cpu_guest_seconds_total",
        "node_memory_",
        "node_load",
        "node_network_receive_",
        "node_network_transmit_",
        "node_disk_",
        "node_netstat_",
        "node_pressure_",
        "node_boot_time_seconds",
        "node_forks_total",
        "node_intr_total",
        "node_context_switches_total",
        "node_procs_",
    ];
    // From netlink, ethtool and udev, which the embedded collector does without.
    let left_out =
        ["node_network_receive_nohandler_total", "node_network_transmit_queue_length", "node_disk_info"];
    let is_common =
        |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix)) && !left_out.contains(&name);
    let samples = page.samples.into_iter().filter(|sample| is_common(sample.labels.name()));
    samples.map(|sample| (sample.labels.to_string(), sample.value)).collect()
}

fn types(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

#[test]
fn the_embedded_collector_has_the_series_types_and_values_of_node_exporter() {
    let exporter = node_exporter();
    let before_text = exporter.get("/metrics").unwrap();
    let mut ours = Vec::new();
    collect(&Root::default(), &mut ours).unwrap();
    let after = common(read(exporter.get("/metrics").unwrap().as_bytes()));
    let ours_text = String::from_utf8(ours.clone()).unwrap();
    let (before, ours) = (common(read(before_text.as_bytes())), common(read(&ours)));
    let missing: Vec<_> = before.keys().filter(|series| !ours.contains_key(*series)).collect();
    let extra: Vec<_> = ours.keys().filter(|series| !before.contains_key(*series)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
    let theirs = types(&before_text);
    for (name, kind) in types(&ours_text) {
        if let Some(their_kind) = theirs.get(name) {
            assert_eq!(kind, *their_kind, "{name}");
        }
    }
    let mut compared = 0;
    for (series, value) in &ours {
        let family = series.split('{').next().unwrap();
        if theirs.get(family) == Some(&"counter") {
            // Ticks of the CPU counters are 10 ms and read one after another.
            let (low, high) = (before[series] - 0.011, after[series] + 0.011);
            assert!((low..=high).contains(value), "{series}: {value} is not within {low} to {high}");
            compared += 1;
        }
    }
    for constant in [
        "node_memory_MemTotal_bytes",
        "node_memory_SwapTotal_bytes",
        "node_boot_time_seconds",
        "node_netstat_Ip_Forwarding",
    ] {
        assert_eq!(ours[constant], before[constant], "{constant}");
    }
    assert!(compared > 50, "{compared} counters");
}

#[test]
fn promtool_takes_the_embedded_page_as_it_takes_node_exporters() {
    let mut ours = Vec::new();
    collect(&Root::default(), &mut ours).unwrap();
    let (status, said) = tool("promtool", &["check", "metrics"], &String::from_utf8(ours).unwrap());
    // Complaints about names are complaints about node_exporter's names.
    assert!(status == 0 || status == 3, "{status}: {said}");
}
