//! What there is to watch in a pod: by `dwcp.io/targets`, `dwcp.io/port`, `prometheus.io/port`, the name of a port, or,
//! failing all, where a node exporter listens. Only loopback: what is elsewhere is somebody else's to watch.

use reqwest::Url;
use serde_json::Value;

use super::annotation::{annotation, ours, running};
use super::policy::Policy;
use super::settings::{Settings, bad};
use super::{Left, Skip};
use crate::setting::is_loopback;

/// Where a node exporter listens.
const NODE_EXPORTER: u16 = 9100;
/// Targets of one pod; more are a mistake.
const MOST: usize = 16;

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) port: u16,
    /// Whether it reports the node rather than the pod.
    pub(super) is_node: bool,
}

/// The pod's targets; empty where its ConfigMap is to name them.
pub(super) fn find(
    pod: &Value,
    policy: &Policy,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<Vec<Target>, Left> {
    let on_node = match ours(pod, "scope") {
        None => None,
        Some("node") => Some(true),
        Some("pod") => Some(false),
        Some(other) => return Err(bad("scope", format!("{other:?} is neither node nor pod"))),
    };
    let urls = match annotated(pod)? {
        Some(urls) => urls,
        None if settings.config_map.is_some() => return Ok(Vec::new()),
        None => discovered(pod, warnings),
    };
    if urls.len() > MOST {
        return Err(bad("targets", format!("{} are too many; at most {MOST}", urls.len())));
    }
    let mut targets: Vec<Target> = Vec::new();
    for text in urls {
        let Some(port) = port_of(&text, policy, warnings)? else { continue };
        if is_of_the_node(pod, port) {
            warnings.push(format!(
                "dwcp-anomaly: {text} is left out: in the node's network no container of this pod listens on {port}, so \
                 it is another's; a node exporter is watched in its own pod or by the DaemonSet"
            ));
            continue;
        }
        let is_node = on_node.unwrap_or_else(|| declares(pod, port).is_some_and(is_node_exporter));
        match targets.iter().find(|known| known.port == port) {
            None => targets.push(Target { url: text, port, is_node }),
            Some(known) if known.url == text => {}
            Some(known) => {
                let told = format!(
                    "{} and {text} have one port, so nobody could tell their signals apart; name them in a ConfigMap, each \
                     with a label of its own",
                    known.url
                );
                return Err(bad("targets", told));
            }
        }
    }
    if targets.is_empty() {
        return Err(Left::new(
            Skip::NoTarget,
            "nothing to watch in this pod; set dwcp.io/port or dwcp.io/targets",
        ));
    }
    Ok(targets)
}

/// Targets that annotations of ours name.
fn annotated(pod: &Value) -> Result<Option<Vec<String>>, Left> {
    if let Some(list) = ours(pod, "targets") {
        let urls: Vec<String> =
            list.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
        if urls.is_empty() {
            return Err(bad("targets", "names none; write URLs such as http://127.0.0.1:9100/metrics"));
        }
        return Ok(Some(urls));
    }
    let path = path(ours(pod, "path").unwrap_or("/metrics")).map_err(|told| bad("path", told))?;
    let Some(port) = ours(pod, "port") else {
        if ours(pod, "path").is_none() {
            return Ok(None);
        }
        // A path alone is for the port that is found.
        let port = by_annotation_of_prometheus(pod).or_else(|| by_name(pod).first().copied());
        return Ok(Some(vec![url("http", port.unwrap_or(NODE_EXPORTER), path)]));
    };
    let port = number(port).ok_or_else(|| bad("port", format!("{port:?} is no port")))?;
    Ok(Some(vec![url("http", port, path)]))
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

fn path(text: &str) -> Result<&str, String> {
    let is_path = text.starts_with('/') && text.len() <= 256;
    if is_path && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\') {
        Ok(text)
    } else {
        Err(format!("{text:?} is no path such as /metrics"))
    }
}

fn url(scheme: &str, port: u16, path: &str) -> String {
    format!("{scheme}://127.0.0.1:{port}{path}")
}

/// Targets by what others say of the pod, which is a hint and never an error.
fn discovered(pod: &Value, warnings: &mut Vec<String>) -> Vec<String> {
    let hint = |name: &str| annotation(pod, &format!("prometheus.io/{name}")).map(str::trim);
    let scheme = if hint("scheme") == Some("https") { "https" } else { "http" };
    let path = hint("path").and_then(|text| path(text).ok()).unwrap_or("/metrics");
    if hint("scrape") != Some("false") {
        match hint("port").map(number) {
            Some(Some(port)) => return vec![url(scheme, port, path)],
            Some(None) => {
                warnings.push("dwcp-anomaly: prometheus.io/port is no port, and ignored".to_owned());
            }
            None => {}
        }
    }
    let named = by_name(pod);
    if !named.is_empty() {
        return named.into_iter().map(|port| url(scheme, port, path)).collect();
    }
    let assumed = url("http", NODE_EXPORTER, "/metrics");
    if pod["spec"]["hostNetwork"] != true {
        warnings.push(format!(
            "dwcp-anomaly: no annotation or port name says where metrics are; assuming {assumed}; set dwcp.io/port"
        ));
    }
    vec![assumed]
}

fn by_annotation_of_prometheus(pod: &Value) -> Option<u16> {
    annotation(pod, "prometheus.io/port").and_then(|text| number(text.trim()))
}

/// Ports whose name, or whose container, says that they have metrics.
fn by_name(pod: &Value) -> Vec<u16> {
    let mut found = Vec::new();
    for container in running(pod) {
        for (port, name) in ports(container) {
            let says_so = name.contains("metrics") || name.contains("prometheus");
            if (says_so || is_node_exporter(container)) && !found.contains(&port) {
                found.push(port);
            }
        }
    }
    found
}

/// TCP ports of a container, with their names.
fn ports(container: &Value) -> impl Iterator<Item = (u16, &str)> {
    let all = container["ports"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter(|port| port["protocol"].as_str().unwrap_or("TCP") == "TCP").filter_map(|port| {
        let number = u16::try_from(port["containerPort"].as_u64()?).ok()?;
        Some((number, port["name"].as_str().unwrap_or_default()))
    })
}

fn declares(pod: &Value, port: u16) -> Option<&Value> {
    running(pod).find(|container| ports(container).any(|(number, _)| number == port))
}

fn is_node_exporter(container: &Value) -> bool {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    name.contains("node-exporter") || name.contains("node_exporter")
}

/// In the node's network, a port that the pod does not declare is another's.
fn is_of_the_node(pod: &Value, port: u16) -> bool {
    pod["spec"]["hostNetwork"] == true && declares(pod, port).is_none()
}

/// The port of a target that may be watched; `None`, with a warning, where it reports the node from elsewhere.
fn port_of(text: &str, policy: &Policy, warnings: &mut Vec<String>) -> Result<Option<u16>, Left> {
    let host = text.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    if text == "embedded://host" || host.contains("$(") {
        warnings.push(format!(
            "dwcp-anomaly: {text} is left out: it reports the node, which is watched in the node exporter's own pod or by \
             the DaemonSet"
        ));
        return Ok(None);
    }
    let wrong = |told: &str| bad("targets", format!("{text:?} {told}"));
    let url = Url::parse(text).map_err(|_| wrong("is no URL such as http://127.0.0.1:9100/metrics"))?;
    if !["http", "https"].contains(&url.scheme()) || text.len() > 512 {
        return Err(wrong("is neither http://… nor https://…"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("targets", "a URL has a user or password; those belong into a Secret"));
    }
    let host = url.host_str().unwrap_or_default();
    if !is_loopback(host) {
        return Err(wrong("is not on loopback; a sidecar watches its own pod only"));
    }
    let port = url.port_or_known_default().unwrap_or_default();
    let allowed = policy.target_ports;
    if !(allowed.min..=allowed.max).contains(&port) {
        return Err(bad("port", format!("{port} is not within {} and {}", allowed.min, allowed.max)));
    }
    Ok(Some(port))
}
