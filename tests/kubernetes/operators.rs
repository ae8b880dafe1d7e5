//! Objects of the Prometheus operator and of cert-manager, held to their types.

use serde_json::{Value, json};

use crate::manifests::render;
use crate::servers::tool;
use crate::tools::{objects, root};

const GROUPS: [&str; 2] = ["monitoring.coreos.com/v1", "cert-manager.io/v1"];

/// What is wrong with `objects`, of which all are of those groups; tests/all installs what it takes.
fn problems(objects: &[Value]) -> String {
    let modules = root().join("target/kubernetes");
    assert!(modules.join("node_modules/typescript").exists(), "no typescript; tests/all installs it");
    let script = root().join("tests/kubernetes/operators.mjs");
    let arguments = [script.to_str().unwrap(), modules.to_str().unwrap()];
    let (status, said) = tool("node", &arguments, &Value::from(objects).to_string());
    assert_eq!(status == 0, said.trim().is_empty(), "{said}");
    said
}

#[test]
fn what_operators_are_given_is_what_they_know() {
    let mut all = Vec::new();
    for overlay in ["self-managed", "cert-manager", "dev", "daemonset", "mutating-admission-policy"] {
        let rendered = objects(&render(&format!("overlays/{overlay}")));
        let theirs: Vec<_> =
            rendered.into_iter().filter(|o| GROUPS.iter().any(|g| o["apiVersion"] == *g)).collect();
        assert!(theirs.iter().any(|object| object["kind"] == "PodMonitor"), "{overlay} is not scraped");
        all.extend(theirs);
    }
    for kind in ["PodMonitor", "PrometheusRule", "Issuer", "Certificate"] {
        assert!(all.iter().any(|object| object["kind"] == kind), "no {kind}");
    }
    assert_eq!(problems(&all).trim(), "");
}

#[test]
fn a_field_that_an_operator_does_not_know_or_takes_otherwise_is_found() {
    let rendered = objects(&render("overlays/cert-manager"));
    for (kind, pointer, name, value) in [
        ("PodMonitor", "/spec/podMetricsEndpoints/0", "honourLabels", json!(true)),
        ("PodMonitor", "/spec/podMetricsEndpoints/0/relabelings/0", "action", json!("keeps")),
        ("PrometheusRule", "/spec/groups/0/rules/0", "for", json!("soon")),
        ("PrometheusRule", "/spec/groups/0", "intervall", json!("1m")),
        ("Certificate", "/spec", "secret", json!("tls")),
    ] {
        let mut object = rendered.iter().find(|object| object["kind"] == kind).unwrap().clone();
        object.pointer_mut(pointer).unwrap()[name] = value;
        let said = problems(&[object]);
        assert!(said.contains(name), "{kind} {name}: {said}");
    }
}

/// Whoever names a container as ours could otherwise tell of any job in any namespace.
#[test]
fn a_sidecar_in_a_tenants_pod_cannot_say_whose_it_is() {
    let rendered = objects(&render("pods"));
    let monitor = rendered.iter().find(|object| object["kind"] == "PodMonitor").unwrap();
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["honorLabels"], false);
    let forced = |label: &str| {
        let rules = endpoint["relabelings"].as_array().unwrap();
        rules.iter().find(|rule| rule["targetLabel"] == label).unwrap().clone()
    };
    assert_eq!(forced("job")["replacement"], "dwcp-anomaly");
    assert_eq!(forced("namespace")["sourceLabels"], json!(["__meta_kubernetes_namespace"]));
    let taken: Vec<_> = endpoint["metricRelabelings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|rule| rule.get("targetLabel"))
        .collect();
    assert_eq!(taken, ["instance"]);
}
