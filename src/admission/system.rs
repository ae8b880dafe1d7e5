//! Whether a pod's containers run where the sidecar does: on Linux, on a processor that its image is for, as far as the pod says.

use serde_json::Value;

use super::annotation::list;

const SYSTEM: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];
const ARCHITECTURE: [&str; 2] = ["kubernetes.io/arch", "beta.kubernetes.io/arch"];
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
    if !may_be_placed(spec, holds_on_linux) {
        return Some("its node affinity asks for another system");
    }
    // Where a pod says that it is for Linux, nobody looks at them.
    if said.is_empty() && has_windows_options(pod) {
        return Some("it has windowsOptions");
    }
    None
}

/// Why it cannot run on Linux with one of these processors, if it says so; there are any of them where the list is empty.
pub(super) fn on_other_processors(pod: &Value, ours: &[String]) -> Option<&'static str> {
    let spec = &pod["spec"];
    let is_ours = |name: &str| ours.iter().any(|known| known == name);
    let mut selected = ARCHITECTURE.iter().filter_map(|label| spec["nodeSelector"][label].as_str());
    if ours.is_empty() {
        None
    } else if selected.any(|name| !is_ours(name)) {
        Some("its node selector asks for another")
    } else if !may_be_placed(spec, |part| holds_on_linux(part) && holds_with(part, ours)) {
        Some("its node affinity asks for another")
    } else {
        None
    }
}

/// Whether its required affinity allows a node. One of the terms is enough; of a term every part must hold.
fn may_be_placed(spec: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = &required["nodeSelectorTerms"];
    let Some(terms) = terms.as_array().filter(|terms| !terms.is_empty()) else { return true };
    terms.iter().any(|term| term["matchExpressions"].as_array().is_none_or(|parts| parts.iter().all(&holds)))
}

fn holds_on_linux(part: &Value) -> bool {
    if part["key"] == WINDOWS_BUILD {
        return part["operator"] == "NotIn" || part["operator"] == "DoesNotExist";
    }
    !SYSTEM.iter().any(|label| part["key"] == *label) || allows(part, &["linux".to_owned()])
}

fn holds_with(part: &Value, ours: &[String]) -> bool {
    !ARCHITECTURE.iter().any(|label| part["key"] == *label) || allows(part, ours)
}

/// Whether a part about a label that every node has allows one of `ours`.
fn allows(part: &Value, ours: &[String]) -> bool {
    let names = |value: &String| part["values"].as_array().is_some_and(|all| all.iter().any(|v| v == value));
    match part["operator"].as_str().unwrap_or_default() {
        "In" => ours.iter().any(names),
        "NotIn" => !ours.iter().all(names),
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

    #[test]
    fn a_pod_has_other_processors_only_if_nothing_that_it_says_lets_it_run_on_ours() {
        let ours = ["amd64", "arm64"].map(str::to_owned);
        let (os, arch) = ("kubernetes.io/os", "kubernetes.io/arch");
        let both = |system: &str, processor: &str| {
            json!({"matchExpressions": [
                {"key": os, "operator": "In", "values": [system]},
                {"key": arch, "operator": "In", "values": [processor]},
            ]})
        };
        for (spec, has_others) in [
            (json!({}), false),
            (json!({"nodeSelector": {arch: "arm64"}}), false),
            (json!({"nodeSelector": {arch: "s390x"}}), true),
            (json!({"nodeSelector": {"beta.kubernetes.io/arch": "ppc64le"}}), true),
            (affine(&json!([term(arch, "In", &["s390x"])])), true),
            (affine(&json!([term(arch, "In", &["s390x", "amd64"])])), false),
            (affine(&json!([term(arch, "NotIn", &["amd64"])])), false),
            (affine(&json!([term(arch, "NotIn", &["amd64", "arm64"])])), true),
            (affine(&json!([term(arch, "In", &["s390x"]), term("zone", "In", &["a"])])), false),
            (affine(&json!([both("linux", "s390x"), both("windows", "amd64")])), true),
            (affine(&json!([both("linux", "s390x"), both("linux", "amd64")])), false),
        ] {
            let pod = json!({"spec": spec});
            assert_eq!(on_other_processors(&pod, &ours).is_some(), has_others, "{spec}");
            assert_eq!(on_other_processors(&pod, &[]), None, "{spec}");
        }
    }
}
