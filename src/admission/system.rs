//! Whether a pod's containers run on Linux, as the sidecar does, as far as the pod says.

use serde_json::Value;

use super::annotation::list;

const SYSTEM: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];
/// Of nodes with Windows only.
const WINDOWS_BUILD: &str = "node.kubernetes.io/windows-build";

/// Why it cannot run on Linux, if it says so.
pub(super) fn elsewhere(pod: &Value) -> Option<&'static str> {
    let (spec, selector) = (&pod["spec"], &pod["spec"]["nodeSelector"]);
    let selected = SYSTEM.map(|label| &selector[label]);
    let said: Vec<&str> =
        selected.into_iter().chain([&spec["os"]["name"]]).filter_map(Value::as_str).collect();
    if said.iter().any(|name| *name != "linux") {
        return Some("its node selector or os names another system");
    }
    if !selector[WINDOWS_BUILD].is_null() {
        return Some("its node selector asks for a build of Windows");
    }
    if !may_be_on_linux(&spec["affinity"]["nodeAffinity"]) {
        return Some("its node affinity asks for another system");
    }
    // Where a pod says that it is for Linux, nobody looks at them.
    if said.is_empty() && has_windows_options(pod) {
        return Some("it has windowsOptions");
    }
    None
}

/// One of the terms is enough; of a term every part must hold.
fn may_be_on_linux(affinity: &Value) -> bool {
    let terms = &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let Some(terms) = terms.as_array().filter(|terms| !terms.is_empty()) else { return true };
    let parts = |term: &Value| term["matchExpressions"].as_array().cloned().unwrap_or_default();
    terms.iter().any(|term| parts(term).iter().all(holds_on_linux))
}

fn holds_on_linux(part: &Value) -> bool {
    let key = part["key"].as_str().unwrap_or_default();
    let operator = part["operator"].as_str().unwrap_or_default();
    if key == WINDOWS_BUILD {
        return ["NotIn", "DoesNotExist"].contains(&operator);
    }
    if !SYSTEM.contains(&key) {
        return true;
    }
    let names_linux = part["values"].as_array().is_some_and(|values| values.iter().any(|v| v == "linux"));
    match operator {
        "In" => names_linux,
        "NotIn" => !names_linux,
        // Every node has the label.
        operator => operator != "DoesNotExist",
    }
}

fn has_windows_options(pod: &Value) -> bool {
    let of = |whose: &Value| {
        let options = &whose["securityContext"]["windowsOptions"];
        options.as_object().is_some_and(|options| !options.is_empty())
    };
    let all = ["containers", "initContainers"].into_iter().flat_map(|name| list(pod, name));
    of(&pod["spec"]) || all.into_iter().any(of)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn affine(terms: &Value) -> Value {
        let required = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    }

    fn term(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }

    #[test]
    fn a_pod_is_elsewhere_only_if_nothing_that_it_says_lets_it_run_on_linux() {
        let windows = json!({"windowsOptions": {"runAsUserName": "ContainerUser"}});
        let os = "kubernetes.io/os";
        for (spec, is_elsewhere) in [
            (json!({}), false),
            (json!({"os": {"name": "windows"}}), true),
            (json!({"nodeSelector": {os: "windows"}}), true),
            (json!({"nodeSelector": {"beta.kubernetes.io/os": "windows"}}), true),
            (json!({"nodeSelector": {os: "linux"}}), false),
            (json!({"nodeSelector": {"node.kubernetes.io/windows-build": "10.0.20348"}}), true),
            (affine(&json!([term(os, "In", &["windows"])])), true),
            (affine(&json!([term("beta.kubernetes.io/os", "In", &["windows"])])), true),
            (affine(&json!([term(os, "In", &["windows", "linux"])])), false),
            (affine(&json!([term(os, "NotIn", &["linux"])])), true),
            (affine(&json!([term(os, "NotIn", &["windows"])])), false),
            (affine(&json!([term(os, "DoesNotExist", &[])])), true),
            (affine(&json!([term(os, "Exists", &[])])), false),
            (affine(&json!([term("node.kubernetes.io/windows-build", "Exists", &[])])), true),
            (affine(&json!([term("node.kubernetes.io/windows-build", "DoesNotExist", &[])])), false),
            (affine(&json!([term(os, "In", &["windows"]), term(os, "In", &["linux"])])), false),
            (affine(&json!([term(os, "In", &["windows"]), term(os, "NotIn", &["linux"])])), true),
            (affine(&json!([term("zone", "In", &["a"])])), false),
            (affine(&json!([])), false),
            (json!({"securityContext": windows}), true),
            (json!({"securityContext": {"windowsOptions": {}}}), false),
            (json!({"containers": [{"name": "a", "securityContext": windows}]}), true),
            (json!({"initContainers": [{"name": "a", "securityContext": windows}]}), true),
            (json!({"securityContext": windows, "os": {"name": "linux"}}), false),
        ] {
            assert_eq!(elsewhere(&json!({"spec": spec})).is_some(), is_elsewhere, "{spec}");
        }
        let preferred = json!([{"weight": 1, "preference": term(os, "In", &["windows"])}]);
        let affinity = json!({"preferredDuringSchedulingIgnoredDuringExecution": preferred});
        assert_eq!(elsewhere(&json!({"spec": {"affinity": {"nodeAffinity": affinity}}})), None);
    }
}
