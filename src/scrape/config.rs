//! The section `scrape`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
            targets: Vec::new(),
        }
    }
}

impl Target {
    /// A target without labels of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: Address::new(url), labels: BTreeMap::new(), scope: Scope::Node }
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
    fn configured_labels_win() {
        let mut target = Target::new("http://127.0.0.1:9100/metrics");
        target.labels =
            BTreeMap::from([("job".to_owned(), "edge".to_owned()), ("rack".to_owned(), "7".to_owned())]);
        let labels = target.final_labels("web1", 1);
        assert_eq!((labels["job"].as_str(), labels["rack"].as_str()), ("edge", "7"));
    }
}
