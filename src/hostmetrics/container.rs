//! Whether this process runs in a container: there /proc is the node's, which nobody asked us to watch.

use std::path::Path;

/// The signs, with the file system's root and the environment as given.
pub fn in_container(root: &Path, environment: impl Fn(&str) -> Option<String>) -> bool {
    // Docker and Podman leave a file, Kubernetes and systemd-nspawn a variable.
    let files = [".dockerenv", "run/.containerenv"];
    let variables = ["KUBERNETES_SERVICE_HOST", "container"];
    files.iter().any(|file| root.join(file).exists())
        || variables.iter().any(|name| environment(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_file_or_its_variable() {
        let root = tempfile::tempdir().unwrap();
        let variable = |set: &'static str| move |name: &str| (name == set).then(|| "10.0.0.1".to_owned());
        assert!(!in_container(root.path(), |_| None));
        assert!(in_container(root.path(), variable("KUBERNETES_SERVICE_HOST")));
        assert!(in_container(root.path(), variable("container")));
        std::fs::write(root.path().join(".dockerenv"), "").unwrap();
        assert!(in_container(root.path(), |_| None));
    }
}
