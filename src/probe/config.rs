//! The section `probe`.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Address, Span};

/// Peers asked in one round, at most.
const MOST_PEERS: usize = 100;

/// Who is probed, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Time between probes of a peer.
    pub interval: Span,
    /// For one probe; never longer than the interval. What takes longer is lost.
    pub timeout: Span,
    /// The peers.
    pub targets: Vec<Peer>,
}

/// One peer: `{tcp: "10.0.0.1:443"}` or `{http: "http://10.0.0.1/healthz"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peer {
    /// Address of which the connect is timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// URL of which the first byte is timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Address>,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval: Span::seconds(1), timeout: Span::seconds(1), targets: Vec::new() }
    }
}

impl fmt::Display for Peer {
    /// As the label `target` of its series says it: without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.tcp, &self.http) {
            (Some(address), _) => write!(f, "tcp://{address}"),
            // A label without a mark of what was left out, as ever.
            (None, Some(url)) => f.write_str(&url.to_string().replacen("<secret>@", "", 1)),
            (None, None) => f.write_str("nothing"),
        }
    }
}

impl Config {
    /// Key path, below `probe`, and problem of everything that is wrong.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut must = |holds: bool, key: &str, problem: &str| {
            if !holds {
                found.push((key.to_owned(), problem.to_owned()));
            }
        };
        let interval = Duration::from_millis(100)..=Duration::from_hours(1);
        must(interval.contains(&self.interval.0), "interval", "must be 100ms to 1h, such as 1s");
        must(!self.timeout.0.is_zero(), "timeout", "must be above 0, such as 1s");
        must(self.targets.len() <= MOST_PEERS, "targets", "has more than 100 peers; keep those that matter");
        let mut known = HashSet::new();
        for (at, peer) in self.targets.iter().enumerate() {
            let problem = peer.problem();
            must(problem.is_none(), &format!("targets[{at}]"), &problem.unwrap_or_default());
            must(
                known.insert(peer.to_string()),
                &format!("targets[{at}]"),
                "is probed twice, or differs from another in what is not shown alone; remove one",
            );
        }
        found
    }
}

impl Peer {
    fn problem(&self) -> Option<String> {
        match (&self.tcp, &self.http) {
            (Some(address), None) => (!is_address(address)).then(|| {
                format!("{address:?} is no address with a port, such as 10.0.0.1:443 or \"[::1]:443\"")
            }),
            (None, Some(url)) => url.problem().map(|problem| format!("{url:?} {problem}")),
            _ => Some("needs either tcp or http".to_owned()),
        }
    }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (is_bracketed || !host.contains([':', '/', '@', ' ']));
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(tcp: Option<&str>, http: Option<&str>) -> Vec<(String, String)> {
        let peer = Peer { tcp: tcp.map(str::to_owned), http: http.map(Address::new) };
        Config { targets: vec![peer], ..Config::default() }.problems()
    }

    #[test]
    fn a_peer_is_an_address_with_a_port_or_a_url() {
        for good in ["10.0.0.1:443", "db.example:5432", "[::1]:80"] {
            assert_eq!(problems(Some(good), None), [], "{good}");
        }
        for bad in ["10.0.0.1", "10.0.0.1:", ":80", "host:0", "host:65536", "::1:80", "http://a:80", ""] {
            let told = problems(Some(bad), None);
            assert!(told[0].0 == "targets[0]" && told[0].1.contains("no address"), "{bad}: {told:?}");
        }
        assert_eq!(problems(None, Some("https://a/healthz")), []);
        assert!(problems(None, Some("ftp://a"))[0].1.contains("neither http"));
        assert!(problems(None, None)[0].1.contains("needs either"));
        assert!(problems(Some("a:1"), Some("http://a"))[0].1.contains("needs either"));
    }

    #[test]
    fn a_peer_given_twice_and_times_out_of_range_are_told() {
        let peer = Peer { tcp: Some("a:1".to_owned()), http: None };
        let config = Config {
            interval: Span(Duration::from_millis(50)),
            timeout: Span::seconds(0),
            targets: vec![peer.clone(), peer],
        };
        let keys: Vec<String> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["interval", "timeout", "targets[1]"]);
    }

    #[test]
    fn a_password_is_not_told() {
        let url = Address::new("https://user:hunter2@a.example/x?key=hunter2");
        assert_eq!(Peer { http: Some(url), tcp: None }.to_string(), "https://a.example/x?key=<secret>");
    }
}
