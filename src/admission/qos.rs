//! A pod's quality of service, which says who is evicted first: the sidecar must not change it.

use serde_json::Value;

use super::annotation::list;
use super::quantity::Quantity;

/// The class as Kubernetes computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Every container has limits for CPU and memory, and requests equal to them.
    Guaranteed,
    /// Some container requests some of either.
    Burstable,
    /// Nobody requests anything.
    BestEffort,
}

/// The pod's class by its containers. A zero counts as nothing; a request that is missing is the limit.
pub(super) fn class(pod: &Value) -> Class {
    let all = || list(pod, "containers").iter().chain(list(pod, "initContainers"));
    if all().all(|container| !has_any(container)) {
        return Class::BestEffort;
    }
    if all().all(is_guaranteed) { Class::Guaranteed } else { Class::Burstable }
}

/// Whether the pod as a whole has resources: then a container may not add to them.
pub(super) fn of_pod(pod: &Value) -> bool {
    let resources = &pod["spec"]["resources"];
    ["requests", "limits"].iter().any(|kind| resources[kind].as_object().is_some_and(|map| !map.is_empty()))
}

fn amount(container: &Value, kind: &str, name: &str) -> Option<f64> {
    let value = &container["resources"][kind][name];
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    // What we cannot read is some amount that equals no other.
    let amount =
        if value.is_null() { 0.0 } else { text.parse::<Quantity>().map_or(f64::NAN, |q| q.amount()) };
    (amount != 0.0).then_some(amount)
}

fn has_any(container: &Value) -> bool {
    let kinds = ["requests", "limits"];
    kinds.iter().any(|kind| ["cpu", "memory"].iter().any(|name| amount(container, kind, name).is_some()))
}

fn is_guaranteed(container: &Value) -> bool {
    ["cpu", "memory"].iter().all(|name| {
        let limit = amount(container, "limits", name);
        let request = amount(container, "requests", name);
        limit.is_some() && (request.is_none() || request == limit)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_class_is_the_one_kubernetes_computes() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        let guaranteed = json!({"limits": both, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        for (resources, class_) in [
            (json!([{}]), Class::BestEffort),
            (json!([{"requests": {"cpu": "0"}, "limits": {"ephemeral-storage": "1Gi"}}]), Class::BestEffort),
            (json!([guaranteed]), Class::Guaranteed),
            (json!([{"limits": both}]), Class::Guaranteed),
            (json!([{"limits": both}, {}]), Class::Burstable),
            (json!([{"requests": both}]), Class::Burstable),
            (json!([{"limits": {"cpu": "1"}}]), Class::Burstable),
        ] {
            let containers: Vec<_> =
                resources.as_array().unwrap().iter().map(|r| json!({"resources": r})).collect();
            assert_eq!(class(&json!({"spec": {"containers": containers}})), class_, "{resources}");
        }
    }
}
