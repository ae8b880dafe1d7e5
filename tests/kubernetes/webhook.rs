//! Reviews over real TLS.

use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};

use crate::servers::{request, tool, value, wait_for};
use crate::tools::{VERSIONS, is_restricted, root, sidecar, validate};
use crate::webhook_server::{Webhook, certify};

/// The pod after the response's patch.
fn patched(pod: &Value, response: &Value) -> Option<Value> {
    let patch = response["patch"].as_str()?;
    assert_eq!(response["patchType"], "JSONPatch");
    let bytes = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_slice(&bytes).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    Some(pod)
}

/// The requests recorded from API servers of 1.20 and 1.36, with their names.
fn recorded() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(root().join("tests/kubernetes/reviews")).unwrap();
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    let mut all: Vec<_> = files.map(read).collect();
    all.sort_by(|a: &(String, Value), b| a.0.cmp(&b.0));
    all
}

#[test]
fn every_recorded_review_is_answered_and_what_is_injected_is_valid_and_restricted() {
    for (policy, injected) in [("{}", 7), ("nodes_at_least: '1.33'", 8)] {
        let webhook = Webhook::start(policy);
        let reviews = recorded();
        assert_eq!(reviews.len(), 22);
        let mut pods = Vec::new();
        for (name, review) in reviews {
            let response = webhook.review(&review);
            let request = &review["request"];
            assert_eq!(response["uid"], request["uid"], "{name}");
            assert_eq!(response["allowed"], true, "{name}");
            let Some(pod) = patched(&request["object"], &response) else { continue };
            assert_eq!(request["operation"], "CREATE", "{name}");
            is_restricted(sidecar(&pod).unwrap());
            let mut again = review.clone();
            again["request"]["object"] = pod.clone();
            assert!(webhook.review(&again).get("patch").is_none(), "{name}: injected twice");
            // The server names it later; the validator wants one now.
            let mut named = pod;
            if named["metadata"]["name"].is_null() {
                named["metadata"]["name"] = json!(name.replace(".json", ""));
            }
            pods.push(named.to_string());
        }
        assert_eq!(pods.len(), injected, "{policy}");
        // Older schemas do not know a container's own restartPolicy.
        let versions = if injected == 8 { &VERSIONS[1..] } else { &VERSIONS[..] };
        validate(&pods.join("\n---\n"), versions);
        let page = webhook.get("/metrics").unwrap();
        let counted = value(&page, "dwcp_injector_requests_total", &["outcome=\"injected\""]).unwrap();
        assert_eq!(counted, injected as f64);
        assert!(value(&page, "dwcp_injector_skips_total", &["not_a_new_pod"]).unwrap() >= 13.0);
        assert!(value(&page, "dwcp_injector_skips_total", &["not_asked"]).unwrap() >= 1.0);
    }
}

#[test]
fn what_is_malformed_is_answered_and_nothing_crashes() {
    let webhook = Webhook::start("{}");
    let (_, good) = recorded().swap_remove(2);
    let text = good.to_string();
    let mut bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\xff\xfe\x00\x01".to_vec(),
        vec![b'['; 1 << 20],
        br#"{"a":"#.repeat(200_000),
        vec![b'x'; 20 << 20],
        text.replace("admission.k8s.io/v1", "admission.k8s.io/v9").into_bytes(),
        text.replace("\"uid\":", "\"uuid\":").into_bytes(),
        text.replace("AdmissionReview", "Pod").into_bytes(),
    ];
    // Bytes that are always the same, though nobody chose them.
    let mut state = 7_u64;
    bodies.extend((0..20).map(|_| {
        (0..2000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect()
    }));
    for body in &bodies {
        let (status, told) =
            webhook.post(body).unwrap_or_else(|| panic!("no answer to {} bytes", body.len()));
        assert_eq!(status, 400, "{told}");
    }
    let mut odd = Vec::new();
    for (pointer, with) in [
        ("/request/object", json!(null)),
        ("/request/object", json!(7)),
        ("/request/object", json!({})),
        ("/request/object/spec", json!([])),
        ("/request/object/spec/containers", json!({})),
        ("/request/object/spec/containers", json!([null])),
        ("/request/object/spec/containers/0/ports", json!("x")),
        ("/request/object/spec/containers/0/resources", json!([1])),
        ("/request/object/metadata/annotations", json!([])),
        ("/request/object/metadata", json!("x")),
        ("/request/kind", json!(null)),
        ("/request/operation", json!(1)),
        ("/request/namespace", json!({})),
    ] {
        let mut review = good.clone();
        *review.pointer_mut(pointer).unwrap() = with;
        odd.push(review);
    }
    // Every part of the text, cut off and doubled.
    for review in odd {
        assert_eq!(webhook.review(&review)["allowed"], true, "{review}");
    }
    for cut in (1..text.len()).step_by(97) {
        assert_eq!(webhook.post(&text.as_bytes()[..cut]).unwrap().0, 400);
    }
    assert!(webhook.review(&good).get("patch").is_some(), "it still works");
    let page = webhook.get("/metrics").unwrap();
    assert!(value(&page, "dwcp_injector_requests_total", &["malformed"]).unwrap() >= 31.0);
    assert_eq!(tool("promtool", &["check", "metrics"], &page), (0, String::new()));
}

#[test]
fn a_warning_says_why_a_pod_stays_bare() {
    let webhook = Webhook::start("{}");
    let (_, mut review) = recorded().swap_remove(2);
    review["request"]["object"]["metadata"]["annotations"]["dwcp.io/port"] = json!("many");
    let response = webhook.review(&review);
    assert!(response.get("patch").is_none());
    assert!(response["warnings"][0].as_str().unwrap().contains("dwcp.io/port"), "{response}");
    let page = webhook.get("/metrics").unwrap();
    assert_eq!(value(&page, "dwcp_injector_skips_total", &["bad_annotation"]), Some(1.0));
}

#[test]
fn a_new_certificate_is_taken_up_without_a_restart_and_a_bad_one_is_not() {
    let webhook = Webhook::start("{}");
    let (_, review) = recorded().swap_remove(2);
    certify(webhook.directory.path());
    // Until then the client, which trusts only the new one, is not served.
    let patience = Duration::from_secs(30);
    let body = review.to_string();
    wait_for("new certificate", patience, || {
        webhook.post(body.as_bytes()).is_some_and(|(status, _)| status == 200)
    });
    std::fs::write(webhook.directory.path().join("tls.key"), "nonsense").unwrap();
    let failures = || value_of(&webhook.get("/metrics").unwrap(), "dwcp_injector_certificate_failures_total");
    wait_for("failure", patience, || failures() == Some(1.0));
    assert!(webhook.post(body.as_bytes()).is_some(), "the one before stays");
    let expiry =
        value_of(&webhook.get("/metrics").unwrap(), "dwcp_injector_certificate_expiry_timestamp_seconds");
    assert!(expiry.unwrap() > 1.7e9);
}

fn value_of(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn it_goes_on_serving_until_everybody_knows_that_it_leaves() {
    let mut webhook = Webhook::start("{}");
    let (_, review) = recorded().swap_remove(2);
    let id = webhook.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let readyz = format!("http://127.0.0.1:{}/readyz", webhook.metrics);
    wait_for("unreadiness", Duration::from_secs(1), || {
        request("GET", &readyz, &[], "").is_some_and(|(status, _)| status == 503)
    });
    assert_eq!(webhook.review(&review)["allowed"], true);
    assert!(webhook.finish().success());
}

#[test]
fn a_bad_policy_or_certificate_ends_it_with_status_2_and_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    for (policy, certificate, told) in [
        ("imagee: x", "tls.crt", "imagee"),
        ("sidecar: native", "tls.crt", "1.29"),
        ("defaults: {check_intervall: 1s}", "tls.crt", "check_intervall"),
        ("profiles: {odd: {defaults: {alert: {resend_delay: 0s}}}}", "tls.crt", "resend_delay"),
        ("{}", "none.crt", "none.crt"),
        ("{}", "policy.yaml", "policy.yaml"),
    ] {
        std::fs::write(path("policy.yaml"), policy).unwrap();
        let arguments = [
            "injector",
            &format!("--policy.file={}", path("policy.yaml")),
            &format!("--tls.cert-file={}", path(certificate)),
            &format!("--tls.key-file={}", path("tls.key")),
        ];
        let (status, said) = crate::servers::tool(env!("CARGO_BIN_EXE_dwcp-anomaly"), &arguments, "");
        assert_eq!(status, 2, "{policy}: {said}");
        assert!(said.contains(told), "{policy}: {said}");
    }
}
