//! At home in Kubernetes: a pod that asks for it gets the sidecar.
//!
//! The core is pure and synchronous: a pod, where it is, and the injector's [`Policy`] give a [`Decision`], a patch or
//! the reason why there is none. The webhook ([`server`]) and `inject -f` ([`manifest`]) drive this one core.
//!
//! What API servers taught: a patch that does not apply and `allowed: false` fail the pod even under `failurePolicy:
//! Ignore`. So nothing here ever refuses a pod; the patch only adds, and is applied and checked before it is handed out.

mod annotation;
pub mod authority;
pub mod certificate;
pub mod manifest;
pub mod metrics;
mod patch;
pub mod policy;
mod qos;
mod quantity;
pub mod review;
pub mod server;
mod settings;
mod sidecar;
mod skip;
mod system;
mod target;
mod wish;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use policy::Policy;
pub use skip::Skip;

/// Name of the container, and the mark by which an injected pod is known: annotations travel with copied templates.
pub const CONTAINER: &str = "dwcp-anomaly";

/// Where a pod is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its namespace; empty if that is not known yet.
    pub namespace: String,
    /// Kind of what made it, such as `Job`; empty for a pod by itself.
    pub owner_kind: String,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The operations of a JSON patch, or why there is none.
    pub outcome: Result<Vec<Value>, Skip>,
    /// For the person who made the pod; `kubectl` prints them.
    pub warnings: Vec<String>,
}

/// Decides about a pod. Never fails: whatever is wrong with it, it is left as it is.
pub fn decide(pod: &Value, place: &Place, policy: &Policy) -> Decision {
    let mut warnings = Vec::new();
    let outcome = attempt(pod, place, policy, &mut warnings);
    // A pod that did not ask is nobody's business.
    if let Err(skip) = &outcome
        && let Some(told) = skip.warning()
    {
        warnings.push(format!("dwcp-anomaly: not injected: {told}"));
    }
    Decision { outcome: outcome.map_err(|skip| skip.reason), warnings }
}

/// A reason, and what there is to say about it.
struct Left {
    reason: Skip,
    detail: String,
}

impl Left {
    fn new(reason: Skip, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    fn warning(&self) -> Option<&str> {
        (!self.detail.is_empty()).then_some(self.detail.as_str())
    }
}

fn attempt(
    pod: &Value,
    place: &Place,
    policy: &Policy,
    warnings: &mut Vec<String>,
) -> Result<Vec<Value>, Left> {
    wish::check(pod)?;
    if annotation::annotation(pod, annotation::MIRROR).is_some() {
        let told = "it mirrors a static pod, which the kubelet has started from its file; use inject -f on that file";
        return Err(Left::new(Skip::MirrorPod, told));
    }
    if policy.excluded_namespaces.contains(&place.namespace) {
        let told = format!("the namespace {} is excluded by the injector's policy", place.namespace);
        return Err(Left::new(Skip::ExcludedNamespace, told));
    }
    let shape = patch::Shape::of(pod)?;
    shape.is_free(policy)?;
    let settings = settings::read(pod, policy, warnings)?;
    let targets = target::find(pod, policy, &settings, warnings)?;
    let sidecar = sidecar::build(pod, place, policy, &settings, &targets)?;
    patch::build(pod, &sidecar)
}
