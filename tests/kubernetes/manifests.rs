//! Manifests under kubectl, kubernetes-validate and promtool.

use serde_json::Value;

use crate::servers::tool;
use crate::tools::{VERSIONS, is_restricted, objects, program, root, sidecar, validate};

const BINARY: &str = env!("CARGO_BIN_EXE_dwcp-anomaly");

pub fn render(directory: &str) -> String {
    let path = root().join("k8s").join(directory);
    let output = std::process::Command::new(program("kubectl")).arg("kustomize").arg(path).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{directory}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn every_overlay_renders_and_is_valid() {
    for overlay in ["self-managed", "cert-manager", "dev", "daemonset"] {
        validate(&render(&format!("overlays/{overlay}")), &VERSIONS);
    }
    // Admission policies that change something are there from 1.36 on.
    validate(&render("overlays/mutating-admission-policy"), &["1.36.0", "1.37.0"]);
    validate(&render("example"), &VERSIONS);
}

#[test]
fn the_webhook_is_asked_about_new_pods_that_bear_the_label_and_never_stops_one() {
    let all = objects(&render("overlays/cert-manager"));
    let webhooks = of_kind(&all, "MutatingWebhookConfiguration");
    let webhook = &webhooks[0]["webhooks"][0];
    assert_eq!(webhook["failurePolicy"], "Ignore");
    assert_eq!(webhook["sideEffects"], "None");
    assert_eq!(webhook["reinvocationPolicy"], "IfNeeded");
    assert!((2..=5).contains(&webhook["timeoutSeconds"].as_u64().unwrap()));
    assert_eq!(webhook["rules"].as_array().unwrap().len(), 1);
    assert_eq!(webhook["rules"][0]["operations"], serde_json::json!(["CREATE"]));
    assert_eq!(webhook["rules"][0]["resources"], serde_json::json!(["pods"]));
    assert_eq!(webhook["rules"][0]["scope"], "Namespaced");
    let excluded = webhook["namespaceSelector"]["matchExpressions"][0]["values"].to_string();
    assert!(excluded.contains("kube-system") && excluded.contains("dwcp-system"), "{excluded}");
}

#[test]
fn the_injectors_own_pods_are_restricted_and_hold_no_token_they_do_not_need() {
    for (overlay, token) in [("cert-manager", false), ("self-managed", true), ("dev", true)] {
        let all = objects(&render(&format!("overlays/{overlay}")));
        let deployments = of_kind(&all, "Deployment");
        let pod = &deployments[0]["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], token, "{overlay}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(!of_kind(&all, "Role").is_empty(), token, "{overlay}: permissions without a use for them");
        assert_eq!(of_kind(&all, "PodDisruptionBudget").is_empty(), overlay == "dev");
    }
}

#[test]
fn the_policy_in_the_base_is_the_default_written_out() {
    let (status, said) = tool(BINARY, &["inject", "--policy.file=k8s/base/policy.yaml", "-f", "-"], "a: b\n");
    assert_eq!((status, said.as_str()), (0, "a: b\n"));
    let base = std::fs::read_to_string(root().join("k8s/base/policy.yaml")).unwrap();
    let read = dwcp_anomaly::admission::Policy::read(&base).unwrap();
    assert_eq!(read, dwcp_anomaly::admission::Policy::default());
}

#[test]
fn the_rules_for_the_operator_are_those_of_the_repository() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("rule.yaml");
    let (status, said) =
        tool(root().join("k8s/prometheusrule").to_str().unwrap(), &[made.to_str().unwrap()], "");
    assert_eq!(status, 0, "{said}");
    let text = std::fs::read_to_string(&made).unwrap();
    let kept = std::fs::read_to_string(root().join("k8s/rules/prometheusrule.yaml")).unwrap();
    assert!(text == kept, "rules/ has changed: run k8s/prometheusrule");
    let rule: Value = yaml_serde::from_str(&text).unwrap();
    are_rules(&rule);
    let groups = rule["spec"]["groups"].as_array().unwrap().len();
    let files = std::fs::read_dir(root().join("rules")).into_iter().flatten();
    let in_file = |path: std::path::PathBuf| {
        let is_rules = path.extension().is_some_and(|extension| extension == "yaml");
        let text = if is_rules { std::fs::read_to_string(path).unwrap() } else { "{}".to_owned() };
        let file: Value = yaml_serde::from_str(&text).unwrap();
        file["groups"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(groups, files.map(|entry| in_file(entry.unwrap().path())).sum::<usize>());
}

/// The specification of a `PrometheusRule` is a file of rules.
fn are_rules(rule: &Value) {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yaml");
    std::fs::write(&rules, yaml_serde::to_string(&rule["spec"]).unwrap()).unwrap();
    let (status, said) = tool("promtool", &["check", "rules", rules.to_str().unwrap()], "");
    assert_eq!(status, 0, "{said}");
}

#[test]
fn every_rule_that_an_overlay_brings_is_one_for_promtool() {
    let of_injector = ["self-managed", "cert-manager", "dev"].map(|overlay| (overlay, 2));
    let without = ["daemonset", "mutating-admission-policy"].map(|overlay| (overlay, 1));
    for (overlay, files) in of_injector.into_iter().chain(without) {
        let all = objects(&render(&format!("overlays/{overlay}")));
        let rules = of_kind(&all, "PrometheusRule");
        assert_eq!(rules.len(), files, "{overlay}");
        rules.iter().for_each(|rule| are_rules(rule));
    }
}

#[test]
fn what_inject_writes_is_valid_and_injected_once() {
    let example = render("example");
    for (policy, versions) in [("{}", &VERSIONS[..]), ("nodes_at_least: '1.33'", &VERSIONS[1..])] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.yaml");
        std::fs::write(&file, policy).unwrap();
        let policy = format!("--policy.file={}", file.display());
        let inject = |text: &str| {
            let (status, said) = tool(BINARY, &["inject", &policy, "-f", "-"], text);
            assert_eq!(status, 0, "{said}");
            said
        };
        let once = inject(&example);
        validate(&once, versions);
        assert_eq!(inject(&once), once);
        let all = objects(&once);
        let deployments = of_kind(&all, "Deployment");
        is_restricted(sidecar(&deployments[0]["spec"]["template"]).unwrap());
    }
}

#[test]
fn what_is_no_manifest_is_refused_with_its_line() {
    let (status, said) = tool(BINARY, &["inject", "-f", "-"], "a: b\n---\nkind: [\n");
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("line "), "{said}");
    let (status, said) = tool(BINARY, &["inject", "-f", "/nowhere.yaml"], "");
    assert!(status == 2 && said.contains("/nowhere.yaml"), "{said}");
}

#[test]
fn the_test_before_a_real_api_server_fails_without_one() {
    let script = root().join("tests/kubernetes/cluster");
    let output = std::process::Command::new(script).env_remove("KUBE_APISERVER").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("set KUBE_APISERVER"));
}
