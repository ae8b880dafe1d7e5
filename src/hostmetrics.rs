//! The host as `node_exporter` shows it, read from /proc in-process.
//!
//! Names, labels, units and types are `node_exporter`'s, so that everything downstream, people's dashboards included,
//! cannot tell the two apart. Each collector stands alone: one that fails says so in `node_scrape_collector_success`
//! and leaves the others be.

mod collectors;
pub mod container;
mod text;

use std::path::PathBuf;

use text::{Kind, Text};

/// Where the kernel's files are; other than the default where a container mounts the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// `/proc`.
    pub proc: PathBuf,
}

impl Default for Root {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc") }
    }
}

/// One part of the page; why it cannot be had.
type Collect = fn(&Root, &mut Text<'_>) -> Result<(), String>;

const COLLECTORS: [(&str, Collect); 8] = [
    ("cpu", collectors::cpu),
    ("meminfo", collectors::memory),
    ("loadavg", collectors::load),
    ("netdev", collectors::network),
    ("diskstats", collectors::disks),
    ("netstat", collectors::netstat),
    ("pressure", collectors::pressure),
    ("stat", collectors::stat),
];

/// Appends a page in the text format 0.0.4.
///
/// # Errors
/// When no collector could read anything: then this is no Linux host, or `/proc` is not mounted.
pub fn collect(root: &Root, page: &mut Vec<u8>) -> Result<(), String> {
    let mut outcomes = Vec::with_capacity(COLLECTORS.len());
    for (name, collector) in COLLECTORS {
        let before = page.len();
        let outcome = collector(root, &mut Text::new(page));
        if outcome.is_err() {
            page.truncate(before);
        }
        outcomes.push((name, outcome));
    }
    if outcomes.iter().all(|(_, outcome)| outcome.is_err()) {
        return Err(outcomes.into_iter().find_map(|(_, outcome)| outcome.err()).unwrap_or_default());
    }
    let mut text = Text::new(page);
    text.family("node_scrape_collector_success", "dwcp_anomaly: Whether a collector succeeded.", Kind::Gauge);
    for (name, outcome) in &outcomes {
        text.sample(
            "node_scrape_collector_success",
            &[("collector", name)],
            f64::from(u8::from(outcome.is_ok())),
        );
    }
    Ok(())
}

/// The host's name.
pub fn host_name(root: &Root) -> Option<String> {
    let name = std::fs::read_to_string(root.proc.join("sys/kernel/hostname")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
