//! kubectl and kubernetes-validate, and what a pod must be like.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The oldest and the newest version whose schemas there are.
pub const VERSIONS: [&str; 2] = ["1.25.0", "1.37.0"];

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A program among the tools, which are made when they are first needed.
pub fn program(name: &str) -> String {
    static PLACE: OnceLock<String> = OnceLock::new();
    let place = PLACE.get_or_init(|| {
        let made = Command::new(root().join("tests/kubernetes/tools")).output().unwrap();
        let told = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "tests/kubernetes/tools: {told}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    });
    format!("{place}/{name}")
}

/// Validates a text of manifests strictly; kinds of others, which have no schema there, are passed over.
pub fn validate(manifests: &str, versions: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("all.yaml");
    std::fs::write(&file, manifests).unwrap();
    for version in versions {
        let done = Command::new(program("kubernetes-validate"))
            .args(["--strict", "-k", version, file.to_str().unwrap()])
            .output()
            .unwrap();
        let told = [done.stdout, done.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        let passed = told.matches(" passed for resource ").count();
        assert!(done.status.success() && passed > 0, "{version}: {told}\n{manifests}");
        for line in told.lines().filter(|line| line.contains("find schema")) {
            let theirs = ["monitoring.coreos.com/", "cert-manager.io/"];
            assert!(theirs.iter().any(|group| line.contains(group)), "{version}: {line}");
        }
    }
}

/// Objects of a text of manifests.
pub fn objects(manifests: &str) -> Vec<Value> {
    let documents = manifests.split("\n---\n").map(|document| document.trim_start_matches("---\n"));
    documents.filter(|text| !text.trim().is_empty()).map(|text| yaml_serde::from_str(text).unwrap()).collect()
}

/// What the profile `restricted` of Pod Security asks of a container.
pub fn is_restricted(container: &Value) {
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"]["drop"][0], "ALL");
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert!(security["runAsUser"].as_u64().unwrap() > 0);
    assert!(container["ports"].as_array().into_iter().flatten().all(|port| port.get("hostPort").is_none()));
}

/// The sidecar of a pod.
pub fn sidecar(pod: &Value) -> Option<&Value> {
    let kinds = ["containers", "initContainers"];
    let mut all = kinds.iter().flat_map(|kind| pod["spec"][*kind].as_array().into_iter().flatten());
    all.find(|container| container["name"] == "dwcp-anomaly")
}
