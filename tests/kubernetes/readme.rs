//! The README's commands for Kubernetes. What they say to a cluster is said to a stand-in for kubectl, which validates it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::tools::{VERSIONS, program, root, validate};

#[test]
fn the_commands_for_kubernetes_do_what_the_readme_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dwcp-anomaly"), path("dwcp-anomaly")).unwrap();
    // `kustomize` is the real one's; what is applied is kept.
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = kustomize ]; then exec {} \"$@\"; fi\necho \"$@\" >>{}\n[ \"$2\" = -f ] && cat >{}\nexit 0\n",
        program("kubectl"),
        path("said").display(),
        path("applied").display()
    );
    std::fs::write(path("kubectl"), script).unwrap();
    std::fs::set_permissions(path("kubectl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let search = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```bash\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert_eq!(commands.len(), 6);
    for command in commands {
        let _ = std::fs::remove_file(path("applied"));
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", command])
            .current_dir(root())
            .env("PATH", &search)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let applied = std::fs::read_to_string(path("applied")).unwrap_or_default();
        let told = String::from_utf8(output.stdout).unwrap();
        let manifests = if command.ends_with("-f -") { applied } else { told };
        if !command.starts_with("kubectl delete") {
            validate(&manifests, &VERSIONS);
        }
    }
    let said = std::fs::read_to_string(path("said")).unwrap();
    let webhook_goes = said.find("delete mutatingwebhookconfiguration dwcp-injector").unwrap();
    assert!(webhook_goes < said.find("delete -f -").unwrap(), "{said}");
}
