//! `AdmissionReview`: a request in, a response out. The response always allows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Decision, Place, Policy, Skip, decide};

/// The versions whose request and response we know; they differ in nothing that we read.
const VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];
/// Longest warning that every version of `kubectl` shows whole.
const WARNING: usize = 256;
/// Warnings in one response.
const WARNINGS: usize = 16;

/// Values in one review. An object that an API server takes has a few thousand, but millions fit into the bytes of a body, and
/// each takes hundreds once it is read.
const VALUES: usize = 50_000;

/// A body that is no `AdmissionReview` of a version we know: a 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an AdmissionReview of admission.k8s.io/v1: {0}")]
pub struct NotAReview(String);

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The review with its response.
    pub review: Value,
    /// Why the pod stays as it is, if it does.
    pub skipped: Option<Skip>,
}

/// Answers one request.
pub fn answer(body: &[u8], policy: &Policy) -> Result<Answer, NotAReview> {
    let wrong = |told: &str| NotAReview(told.to_owned());
    if values(body) > VALUES {
        return Err(NotAReview(format!("it has more than {VALUES} values")));
    }
    // The reader bounds the depth.
    let review: Value = serde_json::from_slice(body).map_err(|error| NotAReview(error.to_string()))?;
    let version = review["apiVersion"].as_str().unwrap_or_default();
    if review["kind"] != "AdmissionReview" || !VERSIONS.contains(&version) {
        return Err(wrong("its kind or apiVersion is another"));
    }
    let request = &review["request"];
    let uid = request["uid"]
        .as_str()
        .filter(|uid| !uid.is_empty())
        .ok_or_else(|| wrong("it has no request.uid"))?;
    let decision = if is_new_pod(request) {
        let namespace = request["namespace"].as_str().unwrap_or_default().to_owned();
        decide(&request["object"], &Place { namespace, owner_kind: String::new() }, policy)
    } else {
        Decision { outcome: Err(Skip::NotANewPod), warnings: Vec::new() }
    };
    let response = response(uid, &decision);
    Ok(Answer {
        review: json!({"apiVersion": version, "kind": "AdmissionReview", "response": response}),
        skipped: decision.outcome.err(),
    })
}

/// How many values the JSON of `body` has at most, told by what parts them.
fn values(body: &[u8]) -> usize {
    let (mut count, mut is_text) = (0, false);
    let mut rest = body.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' if is_text => drop(rest.next()),
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

/// Dry runs too: a patch has no side effect.
fn is_new_pod(request: &Value) -> bool {
    let kind = &request["kind"];
    let is_pod = kind["kind"] == "Pod" && kind["group"].as_str().unwrap_or_default().is_empty();
    let is_whole = request["subResource"].as_str().unwrap_or_default().is_empty();
    is_pod && is_whole && request["operation"] == "CREATE" && request["object"].is_object()
}

fn response(uid: &str, decision: &Decision) -> Value {
    let mut response = json!({"uid": uid, "allowed": true});
    if let Ok(operations) = &decision.outcome {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(Value::from(operations.as_slice()).to_string()));
    }
    if !decision.warnings.is_empty() {
        response["warnings"] = decision.warnings.iter().take(WARNINGS).map(|told| short(told)).collect();
    }
    response
}

/// One line, and no longer than is shown.
fn short(told: &str) -> String {
    let line: String = told.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() <= WARNING {
        return line;
    }
    let end = (0..=WARNING - 3).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
    format!("{}...", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review() -> Value {
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "u", "operation": "CREATE", "namespace": "shop", "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "object": {"metadata": {"labels": {"dwcp.io/inject": "true"}}, "spec": {"containers": [{"name": "a"}]}},
            },
        })
    }

    #[test]
    fn a_review_of_more_values_than_any_pod_has_is_not_read() {
        for (filler, is_read) in [
            (r#"{"a":1},"#.repeat(900_000), false),
            ("[],".repeat(60_000), false),
            (format!(r#""{}","#, r#"a\",{["#.repeat(500_000)), true),
            (r#"{"a":1},"#.repeat(20_000), true),
        ] {
            let mut body = review().to_string();
            body.insert_str(1, &format!(r#""extra":[{filler}0],"#));
            let told = answer(body.as_bytes(), &Policy::default()).err().map(|error| error.to_string());
            assert_eq!(told.is_none(), is_read, "{told:?}");
            assert!(told.is_none_or(|told| told.ends_with("it has more than 50000 values")));
        }
    }

    fn answered(review: &Value) -> Result<Answer, NotAReview> {
        answer(review.to_string().as_bytes(), &Policy::default())
    }

    #[test]
    fn a_new_pod_is_patched_in_the_version_of_its_request() {
        for version in VERSIONS {
            let mut review = review();
            review["apiVersion"] = json!(version);
            let answer = answered(&review).unwrap();
            assert_eq!(answer.skipped, None);
            assert_eq!(answer.review["apiVersion"], version);
            let response = &answer.review["response"];
            assert_eq!((&response["uid"], &response["allowed"]), (&json!("u"), &json!(true)));
            let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
            assert!(serde_json::from_slice::<Vec<Value>>(&patch).unwrap().len() > 3);
        }
    }

    #[test]
    fn what_is_no_review_is_refused_and_what_is_no_new_pod_is_allowed() {
        for (pointer, value) in [
            ("/apiVersion", json!("admission.k8s.io/v2")),
            ("/kind", json!("Pod")),
            ("/request", json!(null)),
            ("/request/uid", json!(7)),
            ("/request/uid", json!("")),
        ] {
            let mut review = review();
            *review.pointer_mut(pointer).unwrap() = value;
            assert!(answered(&review).is_err(), "{review}");
        }
        for (pointer, value) in [
            ("/request/operation", json!("UPDATE")),
            ("/request/object", json!(null)),
            ("/request/object", json!([])),
            ("/request/kind", json!("Pod")),
            ("/request/kind/kind", json!("Deployment")),
            ("/request/kind/group", json!("x")),
        ] {
            let mut review = review();
            *review.pointer_mut(pointer).unwrap() = value;
            let answer = answered(&review).unwrap();
            assert_eq!(answer.skipped, Some(Skip::NotANewPod), "{review}");
            assert_eq!(answer.review["response"], json!({"uid": "u", "allowed": true}));
        }
        for body in ["", "{", "null", "[]", "\u{0}\u{1}", &"[".repeat(100_000), &"{\"a\":".repeat(5_000)] {
            assert!(answer(body.as_bytes(), &Policy::default()).is_err());
        }
        assert!(answer(&[0xff, 0xfe, 0x00], &Policy::default()).is_err());
    }

    #[test]
    fn a_warning_is_one_line_that_is_shown_whole() {
        assert_eq!(short("a\nb"), "a b");
        let long = short(&"é".repeat(500));
        assert!(long.len() <= WARNING && long.ends_with("..."), "{long}");
    }
}
