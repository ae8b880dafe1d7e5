//! Whether this process runs in a container: there /proc is the node's, which nobody asked us to watch.

use std::path::Path;

/// The kernel's number for the PID namespace that a machine starts with.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The signs, with the file system's root and the environment as given.
///
/// Kubernetes and systemd-nspawn set a variable. Docker and Podman leave a file; but so do virtual machines whose disk
/// was made from a container's image, so the file counts only where the process has a PID namespace or an overlay
/// root of its own.
pub fn in_container(root: &Path, environment: impl Fn(&str) -> Option<String>) -> bool {
    let variables = ["KUBERNETES_SERVICE_HOST", "container"];
    if variables.iter().any(|name| environment(name).is_some_and(|value| !value.is_empty())) {
        return true;
    }
    let files = [".dockerenv", "run/.containerenv"];
    files.iter().any(|file| root.join(file).exists()) && (has_own_pids(root) || has_overlay_root(root))
}

fn has_own_pids(root: &Path) -> bool {
    let namespace = std::fs::read_link(root.join("proc/self/ns/pid"));
    namespace.map_or(true, |link| link != Path::new(FIRST_PID_NAMESPACE))
}

fn has_overlay_root(root: &Path) -> bool {
    let mounts = std::fs::read_to_string(root.join("proc/self/mounts")).unwrap_or_default();
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some("/") && words.next() == Some("overlay")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(pid_namespace: &str, mounts: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/self/ns")).unwrap();
        std::os::unix::fs::symlink(pid_namespace, root.path().join("proc/self/ns/pid")).unwrap();
        std::fs::write(root.path().join("proc/self/mounts"), mounts).unwrap();
        root
    }

    const DISK: &str = "/dev/vda / ext4 rw 0 0\n";

    #[test]
    fn a_variable_tells_a_container() {
        let machine = root(FIRST_PID_NAMESPACE, DISK);
        let variable = |set: &'static str| move |name: &str| (name == set).then(|| "10.0.0.1".to_owned());
        assert!(!in_container(machine.path(), |_| None));
        assert!(in_container(machine.path(), variable("KUBERNETES_SERVICE_HOST")));
        assert!(in_container(machine.path(), variable("container")));
    }

    #[test]
    fn a_file_tells_one_only_beside_a_namespace_or_a_root_of_its_own() {
        for (namespace, mounts, expect) in [
            ("pid:[4026532445]", DISK, true),
            (FIRST_PID_NAMESPACE, "overlay / overlay rw 0 0\n", true),
            (FIRST_PID_NAMESPACE, DISK, false),
        ] {
            let root = root(namespace, mounts);
            assert!(!in_container(root.path(), |_| None));
            std::fs::write(root.path().join(".dockerenv"), "").unwrap();
            assert_eq!(in_container(root.path(), |_| None), expect, "{namespace} {mounts}");
        }
    }
}
