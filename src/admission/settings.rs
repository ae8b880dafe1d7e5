//! What a pod's annotations set, each validated and held to the policy.
//!
//! | annotation | sets |
//! |---|---|
//! | `dwcp.io/port`, `dwcp.io/path` | where the exporter answers on loopback |
//! | `dwcp.io/targets` | several targets, as URLs parted by commas |
//! | `dwcp.io/scope` | `node` or `pod`: whose alerts they are |
//! | `dwcp.io/config-map` | a ConfigMap with `anomaly-detection.yaml` |
//! | `dwcp.io/secret` | a Secret for native channels, mounted as files |
//! | `dwcp.io/check-interval` | time between checks |
//! | `dwcp.io/cpu-request`, `-limit`, `dwcp.io/memory-request`, `-limit` | resources |
//! | `dwcp.io/profile` | one of the policy's profiles |
//! | `dwcp.io/image` | the image, if the policy lists it |

use serde_json::Value;

use super::annotation::{METRICS_PORT, PREFIX, VERSION, ours};
use super::policy::{Amounts, Policy, Profile, Resources};
use super::quantity::Quantity;
use super::{Left, Skip};
use crate::setting::Span;

const KNOWN: [&str; 14] = [
    "inject",
    "port",
    "path",
    "targets",
    "scope",
    "config-map",
    "secret",
    "check-interval",
    "cpu-request",
    "cpu-limit",
    "memory-request",
    "memory-limit",
    "profile",
    "image",
];

/// What annotations set; targets are read apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) image: String,
    pub(super) config_map: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) check_interval: Option<Span>,
    pub(super) resources: Resources,
    pub(super) profile: Profile,
}

/// Reads them; the first that is bad leaves the pod bare.
pub(super) fn read(pod: &Value, policy: &Policy, warnings: &mut Vec<String>) -> Result<Settings, Left> {
    are_texts(pod)?;
    warn_of_unknown(pod, warnings);
    let profile = match ours(pod, "profile") {
        None => Profile::default(),
        Some(name) => policy.profiles.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = policy.profiles.keys().map(String::as_str).collect();
            bad("profile", format!("{name:?} is none of {}", names.join(", ")))
        })?,
    };
    let image = ours(pod, "image").unwrap_or(&policy.image).to_owned();
    if !policy.allows_image(&image) {
        return Err(bad("image", format!("{image:?} is not on the injector's list")));
    }
    let secret = object_name(pod, "secret")?;
    if secret.is_some() && !policy.secrets {
        return Err(bad("secret", "the injector's policy grants no Secret"));
    }
    let base = profile.resources.as_ref().unwrap_or(&policy.resources);
    Ok(Settings {
        image,
        config_map: object_name(pod, "config-map")?,
        secret,
        check_interval: check_interval(pod, policy)?,
        resources: resources(pod, policy, base)?,
        profile,
    })
}

/// A bad annotation.
pub(super) fn bad(name: &str, problem: impl std::fmt::Display) -> Left {
    Left::new(Skip::BadAnnotation, format!("{PREFIX}{name}: {problem}"))
}

fn annotations(pod: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let all = pod["metadata"]["annotations"].as_object();
    all.into_iter().flatten().filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)))
}

fn are_texts(pod: &Value) -> Result<(), Left> {
    match annotations(pod).find(|(_, value)| !value.is_string()) {
        Some((name, value)) => Err(bad(name, format!("{value} is no text; put it in quotes"))),
        None => Ok(()),
    }
}

fn warn_of_unknown(pod: &Value, warnings: &mut Vec<String>) {
    for (name, _) in annotations(pod) {
        let full = format!("{PREFIX}{name}");
        if !KNOWN.contains(&name) && full != VERSION && full != METRICS_PORT {
            warnings.push(format!("dwcp-anomaly: {full} is no setting of this version, and ignored"));
        }
    }
}

/// Name of another object of the namespace.
fn object_name(pod: &Value, name: &str) -> Result<Option<String>, Left> {
    let Some(text) = ours(pod, name) else { return Ok(None) };
    let is_word = |part: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(ends) && part.ends_with(ends) && part.chars().all(|c| ends(c) || c == '-')
    };
    if text.len() > 253 || !text.split('.').all(is_word) {
        return Err(bad(name, format!("{text:?} is no name of an object")));
    }
    Ok(Some(text.to_owned()))
}

fn check_interval(pod: &Value, policy: &Policy) -> Result<Option<Span>, Left> {
    const NAME: &str = "check-interval";
    let Some(text) = ours(pod, NAME) else { return Ok(None) };
    let span: Span = text.parse().map_err(|error| bad(NAME, error))?;
    let (least, most) = (policy.min_check_interval, policy.max_check_interval);
    if !(least..=most).contains(&span) {
        return Err(bad(NAME, format!("{span} is not within {least} and {most}")));
    }
    Ok(Some(span))
}

fn resources(pod: &Value, policy: &Policy, base: &Resources) -> Result<Resources, Left> {
    let of = |what: &str| -> Result<(Quantity, Quantity), Left> {
        let (request, limit) = (format!("{what}-request"), format!("{what}-limit"));
        let pick = |amounts: &Amounts| {
            if what == "cpu" { amounts.cpu.clone() } else { amounts.memory.clone() }
        };
        let asked_request = quantity(pod, &request)?;
        let mut most = quantity(pod, &limit)?.unwrap_or_else(|| pick(&base.limits));
        let mut least = asked_request.clone().unwrap_or_else(|| pick(&base.requests));
        if least.amount() > most.amount() {
            match (&asked_request, ours(pod, &limit)) {
                // Only the limit was lowered, or only the request raised: the other follows.
                (None, _) => least = most.clone(),
                (Some(_), None) => most = least.clone(),
                (Some(_), Some(_)) => {
                    return Err(bad(&request, format!("{least} is above the limit {most}")));
                }
            }
        }
        Ok((least, most))
    };
    let (cpu, memory) = (of("cpu")?, of("memory")?);
    let limits = Amounts { cpu: cpu.1, memory: memory.1 };
    policy.grants(&limits).map_err(|told| bad("cpu-limit and memory-limit", told))?;
    Ok(Resources { requests: Amounts { cpu: cpu.0, memory: memory.0 }, limits })
}

fn quantity(pod: &Value, name: &str) -> Result<Option<Quantity>, Left> {
    let Some(text) = ours(pod, name) else { return Ok(None) };
    let quantity: Quantity = text.parse().map_err(|error| bad(name, error))?;
    if quantity.amount() <= 0.0 {
        return Err(bad(name, "must be above 0"));
    }
    Ok(Some(quantity))
}
