//! What the injector grants. What a pod's annotations ask for stays within it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::quantity::Quantity;
use super::sidecar::LEAST_STATE;
use crate::setting::Span;

/// The injector's own configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The sidecar's image.
    pub image: String,
    /// Further images that `dwcp.io/image` may name: whole, or their beginning up to a star.
    pub images: Vec<String>,
    /// Processors that the images are for, as Kubernetes names them; of any kind if it is empty.
    pub architectures: Vec<String>,
    /// Oldest version of any node of the cluster, such as "1.33"; empty if nobody knows.
    pub nodes_at_least: String,
    /// Which kind of container.
    pub sidecar: Kind,
    /// Namespaces that are left alone.
    pub excluded_namespaces: BTreeSet<String>,
    /// Where sidecars listen; the next ones are tried if it is taken.
    pub port: u16,
    /// Ports of targets that may be watched.
    pub target_ports: Ports,
    /// Shortest `dwcp.io/check-interval`.
    pub min_check_interval: Span,
    /// Longest `dwcp.io/check-interval`.
    pub max_check_interval: Span,
    /// What a sidecar gets.
    pub resources: Resources,
    /// The most that annotations may ask for.
    pub max_resources: Amounts,
    /// Size of the volume for its state.
    pub state_size: Quantity,
    /// Whether `dwcp.io/secret` may name a Secret, and so turn native channels on.
    pub secrets: bool,
    /// Sets of settings that `dwcp.io/profile` picks from.
    pub profiles: BTreeMap<String, Profile>,
    /// Configuration of every sidecar, in the form of its own file; what the pod's ConfigMap says goes over it.
    pub defaults: Value,
}

/// Which kind of container a sidecar is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Native where every node is known to be 1.33 or newer, classic otherwise.
    #[default]
    Auto,
    /// An initial container that stays; asks for nodes of 1.29 or newer, as older ones drop it silently and the pod hangs.
    Native,
    /// A container after the others.
    Classic,
}

/// A range of ports, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// Lowest.
    pub min: u16,
    /// Highest.
    pub max: u16,
}

/// Requests and limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Reserved.
    pub requests: Amounts,
    /// At most.
    pub limits: Amounts,
}

/// Of CPU and memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// Cores.
    pub cpu: Quantity,
    /// Bytes.
    pub memory: Quantity,
}

/// A set of settings with a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Instead of the policy's.
    pub resources: Option<Resources>,
    /// Over the policy's defaults.
    pub defaults: Value,
}

fn amounts(cpu: &str, memory: &str) -> Amounts {
    #[expect(clippy::expect_used, reason = "the policy's own constants, read by every test")]
    let read = |text: &str| text.parse().expect("a quantity");
    Amounts { cpu: read(cpu), memory: read(memory) }
}

impl Default for Policy {
    fn default() -> Self {
        let light = Profile {
            resources: Some(Resources { requests: amounts("5m", "24Mi"), limits: amounts("100m", "64Mi") }),
            defaults: json!({
                "check_interval": "30s",
                "window": {"max_bytes": "8MiB"},
                "detector": {"lstm_autoencoder": {"enabled": false}},
            }),
        };
        Self {
            image: format!("dwcp-anomaly:{}", env!("CARGO_PKG_VERSION")),
            images: Vec::new(),
            architectures: ["amd64", "arm64"].map(str::to_owned).into(),
            nodes_at_least: String::new(),
            sidecar: Kind::Auto,
            excluded_namespaces: ["kube-system", "kube-public", "kube-node-lease"].map(str::to_owned).into(),
            port: 10091,
            target_ports: Ports { min: 1, max: u16::MAX },
            min_check_interval: Span::seconds(2),
            max_check_interval: Span::seconds(300),
            resources: Resources { requests: amounts("10m", "48Mi"), limits: amounts("250m", "128Mi") },
            max_resources: amounts("1", "512Mi"),
            state_size: amounts("0", "128Mi").memory,
            secrets: true,
            profiles: BTreeMap::from([
                ("standard".to_owned(), Profile::default()),
                ("light".to_owned(), light),
            ]),
            defaults: json!({}),
        }
    }
}

/// Bytes that `limits.memory` of a sidecar's own configuration asks for as well.
const LEAST_MEMORY: f64 = 16.0 * 1024.0 * 1024.0;
/// Nodes from which on every one takes native sidecars without a gate.
const NATIVE_BY_DEFAULT: (u32, u32) = (1, 33);
/// Nodes from which on they are there at all, unless somebody turned them off.
const NATIVE_AT_ALL: (u32, u32) = (1, 29);

impl Policy {
    /// Reads a policy, and says what is wrong with it, one line a problem.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let is_empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if is_empty {
            return Ok(Self::default());
        }
        let policy: Self = serde_path_to_error::deserialize(yaml_serde::Deserializer::from_str(text))
            .map_err(|error| {
                let path = error.path().to_string();
                vec![format!("{path}: {}; see k8s/base/policy.yaml", error.into_inner())]
            })?;
        let problems = policy.problems();
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }

    /// What is wrong with it, one line a problem.
    pub fn problems(&self) -> Vec<String> {
        let is_version = self.nodes_at_least.is_empty() || self.nodes().is_some();
        let is_new_enough = self.nodes().is_some_and(|nodes| nodes >= NATIVE_AT_ALL);
        let is_sound = |of: &Resources| {
            self.grants(&of.limits).is_ok()
                && of.requests.cpu.amount() <= of.limits.cpu.amount()
                && of.requests.memory.amount() <= of.limits.memory.amount()
        };
        let of_profiles = self.profiles.values().filter_map(|profile| profile.resources.as_ref());
        let all_sound = of_profiles.chain([&self.resources]).all(is_sound);
        let is_mapping = |value: &Value| value.is_object() || value.is_null();
        let wrong = [
            (
                self.image.is_empty() || self.image.contains(char::is_whitespace),
                "image: names no image; give one such as registry.example/dwcp-anomaly:1.0",
            ),
            (!is_version, "nodes_at_least: is no version such as \"1.33\""),
            (
                self.sidecar == Kind::Native && !is_new_enough,
                "sidecar: native needs nodes_at_least of 1.29 or newer; older nodes drop it and the pod hangs",
            ),
            (self.port < 1024, "port: must be 1024 or above, as the sidecar is not root"),
            (self.target_ports.min > self.target_ports.max, "target_ports: min is above max"),
            (
                self.min_check_interval.0 < Duration::from_millis(100),
                "min_check_interval: must be at least 100ms",
            ),
            (
                self.min_check_interval > self.max_check_interval,
                "max_check_interval: is below min_check_interval",
            ),
            (
                !all_sound,
                "resources: requests must be within limits, those within max_resources, and memory at least 16Mi",
            ),
            (
                LEAST_STATE.parse::<Quantity>().is_ok_and(|least| self.state_size.amount() < least.amount()),
                "state_size: must be at least 8Mi",
            ),
            (
                !is_mapping(&self.defaults) || !self.profiles.values().all(|p| is_mapping(&p.defaults)),
                "defaults: must be a mapping, as in a configuration file",
            ),
        ];
        wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, told)| told.to_owned()).collect()
    }

    /// Whether a sidecar is an initial container that stays.
    pub(super) fn is_native(&self) -> bool {
        match self.sidecar {
            Kind::Native => true,
            Kind::Classic => false,
            Kind::Auto => self.nodes().is_some_and(|nodes| nodes >= NATIVE_BY_DEFAULT),
        }
    }

    fn nodes(&self) -> Option<(u32, u32)> {
        let text = self.nodes_at_least.trim_start_matches('v');
        let (major, rest) = text.split_once('.')?;
        let minor = rest.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Fails if `limits` are above the most, or below what it takes.
    pub(super) fn grants(&self, limits: &Amounts) -> Result<(), String> {
        if limits.memory.amount() < LEAST_MEMORY {
            return Err(format!("memory {} is less than the 16Mi that a sidecar starts in", limits.memory));
        }
        let of = [
            ("cpu", &limits.cpu, &self.max_resources.cpu),
            ("memory", &limits.memory, &self.max_resources.memory),
        ];
        for (name, asked, most) in of {
            if asked.amount() > most.amount() {
                return Err(format!(
                    "{name} {asked} is more than the {most} that the injector's policy grants"
                ));
            }
        }
        Ok(())
    }

    /// Whether `image` is the policy's own or on its list.
    pub(super) fn allows_image(&self, image: &str) -> bool {
        let matches = |allowed: &String| match allowed.strip_suffix('*') {
            Some(beginning) => image.starts_with(beginning),
            None => image == allowed,
        };
        image == self.image || self.images.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_is_the_default_only_where_every_node_is_known_to_take_it() {
        for (nodes, kind, native) in [
            ("", "auto", Ok(false)),
            ("1.32", "auto", Ok(false)),
            ("1.33", "auto", Ok(true)),
            ("v1.36.2", "auto", Ok(true)),
            ("1.33", "classic", Ok(false)),
            ("1.29", "native", Ok(true)),
            ("1.28", "native", Err(())),
            ("", "native", Err(())),
            ("new", "auto", Err(())),
        ] {
            let policy = Policy::read(&format!("nodes_at_least: '{nodes}'\nsidecar: {kind}\n"));
            assert_eq!(policy.map(|policy| policy.is_native()).map_err(|_| ()), native, "{nodes} {kind}");
        }
    }

    #[test]
    fn a_bad_policy_says_which_key_and_what_would_be_right() {
        for (text, told) in [
            ("imagee: x", "unknown field"),
            ("port: 80", "port: must be 1024"),
            ("image: ''", "image:"),
            ("image: 'x y'", "image:"),
            ("state_size: 4Mi", "state_size:"),
            ("resources: {requests: {cpu: 1m, memory: 1Ki}, limits: {cpu: 2m, memory: 1Mi}}", "resources:"),
            ("resources: {requests: {cpu: 1, memory: 1Mi}, limits: {cpu: 500m, memory: 32Mi}}", "resources:"),
            ("resources: {requests: {cpu: 1, memory: 1Mi}, limits: {cpu: 2, memory: 32Mi}}", "resources:"),
            ("state_size: big", "state_size:"),
            ("target_ports: {min: 9, max: 1}", "target_ports:"),
            ("defaults: 7", "defaults:"),
        ] {
            let problems = Policy::read(text).unwrap_err().join("\n");
            assert!(problems.contains(told), "{text}: {problems}");
        }
        assert_eq!(Policy::read("# nothing\n"), Ok(Policy::default()));
        assert_eq!(Policy::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn an_image_is_allowed_whole_or_by_its_beginning() {
        let policy = Policy::read("image: a/b:1\nimages: ['r.example/x:2', 'r.example/team/*']").unwrap();
        for (image, allowed) in [
            ("a/b:1", true),
            ("r.example/x:2", true),
            ("r.example/x:3", false),
            ("r.example/team/y", true),
            ("evil/r.example/team/y", false),
        ] {
            assert_eq!(policy.allows_image(image), allowed, "{image}");
        }
    }
}
