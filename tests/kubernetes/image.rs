//! The image, without a container engine: its layout is assembled, taken apart, and its root run read-only as nobody.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::servers::{free_port, get, tool, wait_for};
use crate::tools::root;

/// What the image carries: the program that tests are built with, or the static one that `tests/kubernetes/static` builds.
fn program() -> String {
    std::env::var("DWCP_TEST_IMAGE_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_dwcp-anomaly").into())
}

fn assemble(directory: &Path) -> String {
    let (binary, out) = (program(), directory.join("image").display().to_string());
    let (status, said) = tool(root().join("k8s/oci").to_str().unwrap(), &[&binary, &out], "");
    assert_eq!(status, 0, "{said}");
    std::fs::read_to_string(directory.join("image/index.json")).unwrap()
}

/// The blob a descriptor names, whose digest and size are its own.
fn blob(image: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let path = image.join("blobs/sha256").join(digest);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), descriptor["size"].as_u64().unwrap());
    let (_, said) = tool("sha256sum", &[path.to_str().unwrap()], "");
    assert!(said.starts_with(digest), "{said}");
    path
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_image_is_whole_reproducible_and_runs_as_nobody_on_a_read_only_root() {
    let directory = tempfile::tempdir().unwrap();
    let first = assemble(directory.path());
    assert_eq!(assemble(directory.path()), first, "the same program, another image");
    let image = directory.path().join("image");
    let index: Value = serde_json::from_str(&first).unwrap();
    let manifest = read(&blob(&image, &index["manifests"][0]));
    let config = read(&blob(&image, &manifest["config"]));
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"][0], "/dwcp-anomaly");
    let layer = blob(&image, &manifest["layers"][0]);
    let place = directory.path().join("root");
    std::fs::create_dir(&place).unwrap();
    let (status, said) = tool("tar", &["-xzf", layer.to_str().unwrap(), "-C", place.to_str().unwrap()], "");
    assert_eq!(status, 0, "{said}");
    assert!(!place.join("bin").exists(), "no shell");
    for file in ["LICENSE", "THIRD_PARTY"] {
        assert!(place.join("licenses").join(file).exists(), "no {file} in the image");
    }
    bring_libraries(&place);
    run(&place);
}

#[test]
fn every_package_of_the_program_is_in_its_notices_and_in_its_bill_of_materials() {
    // Where the image has it from; what is there and up to date is left alone.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bom");
    let (status, said) = tool(root().join("k8s/bom").to_str().unwrap(), &[place.to_str().unwrap()], "");
    assert_eq!(status, 0, "{said}");
    let notices = std::fs::read_to_string(place.join("THIRD_PARTY")).unwrap();
    let named: BTreeSet<&str> = notices.lines().collect();
    let bill = read(&place.join("sbom.cdx.json"));
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let listed: BTreeSet<String> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| format!("{} {}", part["name"].as_str().unwrap(), part["version"].as_str().unwrap()))
        .collect();
    let packages = packages();
    assert!(packages.len() > 100, "{packages:?}");
    for package in packages {
        assert!(named.contains(package.as_str()), "{package} has no notice");
        assert!(listed.contains(&package), "{package} is not in the bill of materials");
    }
}

/// Name and version of everything that is linked into the program, by cargo's own account.
fn packages() -> Vec<String> {
    let manifest = root().join("Cargo.toml");
    let wanted =
        ["tree", "--edges=normal", "--prefix=none", "--no-dedupe", "--format={p}", "--manifest-path"];
    let (status, tree) = tool(env!("CARGO"), &[&wanted[..], &[manifest.to_str().unwrap()]].concat(), "");
    assert_eq!(status, 0, "{tree}");
    let name_and_version = |line: &str| {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
    };
    tree.lines()
        .filter_map(name_and_version)
        .filter(|package| !package.starts_with("dwcp-anomaly "))
        .collect()
}

/// A static program needs none; the one that tests are built with does.
fn bring_libraries(place: &Path) {
    let (_, said) = tool("ldd", &[&program()], "");
    for word in said.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = place.join(&word[1..]);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(word, to).unwrap();
    }
}

fn run(place: &Path) {
    let port = free_port();
    // In a mount namespace of its own, so that nothing of it is left.
    let script = format!(
        "set -e; mount --bind {0} {0}; mount -t tmpfs -o mode=1777 none {0}/var/lib/dwcp-anomaly; mount -o remount,ro,bind {0}; \
         exec chroot --userspec=65532:65532 {0} /dwcp-anomaly run --config.on-error=degraded \
         --config.file=/etc/dwcp-anomaly/none.yaml --web.listen-address=127.0.0.1:{port}",
        place.display()
    );
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .env("DWCP__STORAGE__PATH", "/var/lib/dwcp-anomaly")
        .env("DWCP__DETECTOR__MODELS__PATH", "/var/lib/dwcp-anomaly/models")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let url = format!("http://127.0.0.1:{port}/-/healthy");
    wait_for("health in the image", Duration::from_secs(10), || get(&url).is_some());
    let id = running.0.id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    assert!(status.contains("Uid:\t65532\t65532"), "{status}");
    let mounts = std::fs::read_to_string(format!("/proc/{id}/mountinfo")).unwrap();
    // Seen from within, where it is the root.
    let mut of_root =
        mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|parts| parts[4] == "/");
    assert!(of_root.next_back().unwrap()[5].starts_with("ro"), "{mounts}");
    assert!(Command::new("kill").args(["-TERM", &id.to_string()]).status().unwrap().success());
    assert!(running.0.wait().unwrap().success(), "SIGTERM drains");
}
