//! The section `scrape`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::exposition::Limits;
use crate::setting::{Address, ByteSize, Redirects, Span, is_loopback};

/// What is scraped, and with what patience.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// For the whole exchange; never longer than `check_interval`.
    pub timeout: Span,
    /// Of a decompressed page.
    pub max_body_size: ByteSize,
    /// Which redirects are followed.
    pub follow_redirects: Redirects,
    /// Samples of a page at most; a page with more fails whole. 0 is no limit, as for the three below.
    pub sample_limit: usize,
    /// Labels of a series at most, its name and the target's labels counted.
    pub label_limit: usize,
    /// Bytes of a label's name at most.
    pub label_name_length_limit: usize,
    /// Bytes of a label's value at most.
    pub label_value_length_limit: usize,
    /// The exporters.
    pub targets: Vec<Target>,
}

/// One exporter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `http://…`, `https://…` or [`EMBEDDED`].
    pub url: Address,
    /// Put on everything said about the target.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whose anomalies these are.
    #[serde(default)]
    pub scope: Scope,
    /// Instead of the section's, for this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_limit: Option<usize>,
    /// Likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_limit: Option<usize>,
    /// Likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_name_length_limit: Option<usize>,
    /// Likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_value_length_limit: Option<usize>,
}

/// Whether a target is the node or a pod on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Alerts are the node's and bear no pod labels.
    #[default]
    Node,
    /// Alerts are the pod's.
    Pod,
}

/// The host the sidecar runs on, without an exporter.
pub const EMBEDDED: &str = "embedded://host";

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Span::seconds(5),
            max_body_size: ByteSize(16 << 20),
            follow_redirects: Redirects::default(),
            sample_limit: 100_000,
            label_limit: 128,
            label_name_length_limit: 1024,
            label_value_length_limit: 8192,
            targets: Vec::new(),
        }
    }
}

impl Config {
    /// What a page of `target` may hold.
    pub fn limits(&self, target: &Target) -> Limits {
        let own = target.final_labels("host", 0);
        Limits {
            samples: target.sample_limit.unwrap_or(self.sample_limit),
            labels: target.label_limit.unwrap_or(self.label_limit),
            name_length: target.label_name_length_limit.unwrap_or(self.label_name_length_limit),
            value_length: target.label_value_length_limit.unwrap_or(self.label_value_length_limit),
            of_target: own.values().filter(|value| !value.is_empty()).count(),
        }
    }
}

impl Target {
    /// A target without labels of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Address::new(url),
            labels: BTreeMap::new(),
            scope: Scope::Node,
            sample_limit: None,
            label_limit: None,
            label_name_length_limit: None,
            label_value_length_limit: None,
        }
    }

    /// Final labels: job and instance by default, the configured ones over them. A loopback address says nothing to
    /// anybody elsewhere, so there the instance is `host` and the port; for the embedded collector it is our own.
    pub fn final_labels(&self, host: &str, own_port: u16) -> BTreeMap<String, String> {
        let url = self.url.reveal();
        let address = url.split("://").nth(1).unwrap_or_default();
        let address = address.split(['/', '?']).next().unwrap_or_default();
        let (name, port) = split_port(address, url.starts_with("https:"));
        let instance = match name {
            _ if url == EMBEDDED => format!("{host}:{own_port}"),
            name if is_loopback(name) => format!("{host}:{port}"),
            name => format!("{name}:{port}"),
        };
        let mut labels =
            BTreeMap::from([("job".to_owned(), "node".to_owned()), ("instance".to_owned(), instance)]);
        labels.extend(self.labels.clone());
        labels
    }
}

fn split_port(address: &str, is_https: bool) -> (&str, u16) {
    let address = address.rsplit('@').next().unwrap_or(address);
    let default = if is_https { 443 } else { 80 };
    match address.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or(default)),
        _ => (address, default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_says_which_host_it_is_from_afar() {
        for (url, instance) in [
            ("http://127.0.0.1:9100/metrics", "web1:9100"),
            ("http://localhost/metrics", "web1:80"),
            ("https://[::1]:9443/metrics?x=a:b", "web1:9443"),
            ("http://10.0.0.7:9100/metrics", "10.0.0.7:9100"),
            ("https://db.example/metrics", "db.example:443"),
            ("http://user:pass@db:9100/metrics", "db:9100"),
            (EMBEDDED, "web1:10091"),
        ] {
            let labels = Target::new(url).final_labels("web1", 10091);
            assert_eq!((labels["instance"].as_str(), labels["job"].as_str()), (instance, "node"), "{url}");
        }
    }

    #[test]
    fn a_targets_own_limit_counts_more_than_the_sections() {
        let mut target = Target::new("http://127.0.0.1:9100/metrics");
        target.labels = BTreeMap::from([("rack".to_owned(), "7".to_owned())]);
        (target.sample_limit, target.label_limit) = (Some(0), Some(9));
        let limits = Config { label_value_length_limit: 5, ..Config::default() }.limits(&target);
        let expected = Limits { samples: 0, labels: 9, name_length: 1024, value_length: 5, of_target: 3 };
        assert_eq!(limits, expected);
    }

    #[test]
    fn configured_labels_win() {
        let mut target = Target::new("http://127.0.0.1:9100/metrics");
        target.labels =
            BTreeMap::from([("job".to_owned(), "edge".to_owned()), ("rack".to_owned(), "7".to_owned())]);
        let labels = target.final_labels("web1", 1);
        assert_eq!((labels["job"].as_str(), labels["rack"].as_str()), ("edge", "7"));
    }
}
