//! The page as a person sees it, in a real browser.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::servers::{machine, node_exporter, of_memory, sidecar, stress};

/// tests/all installs it; the walk itself is tests/browser/walk.mjs.
#[test]
fn a_person_walks_the_page_through_a_fault() {
    let _machine = machine();
    let (exporter, storage) = (node_exporter(), tempfile::tempdir().unwrap());
    let sidecar = sidecar(&format!(
        "check_interval: 500ms\nscrape:\n  targets: [{{url: '{}/metrics'}}]\nstorage: {{path: '{}'}}\n\
         signals:\n  - {{name: memory_usage, unit: '%', direction: up, min_deviation: 5, \
         expr: '100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)'}}\n  \
         - {{name: load, unit: tasks, direction: up, min_deviation: 50, expr: node_load1}}\n  \
         - {{name: latency, unit: ms, expr: 'avg(dwcp_probe_rtt_seconds) * 1e3'}}\n",
        exporter.url(),
        storage.path().display()
    ));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = root.join("target/browser");
    assert!(
        modules.join("node_modules/playwright-core").exists(),
        "no playwright-core; tests/all installs it"
    );
    let mut walk = Command::new("node")
        .arg(root.join("tests/browser/walk.mjs"))
        .args([sidecar.url().as_str(), modules.to_str().unwrap()])
        .arg(storage.path().join("profile"))
        // Pictures for the README, where somebody asks for them.
        .args(std::env::var_os("PICTURES"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node; apt-get install nodejs");
    let mut said = BufReader::new(walk.stdout.take().unwrap()).lines();
    let mut fault = None;
    if said.next().unwrap().unwrap() == "fault" {
        fault = Some(stress(&[
            "--vm",
            "1",
            "--vm-bytes",
            &of_memory(30),
            "--vm-keep",
            "--vm-hang",
            "0",
            "--timeout",
            "300s",
        ]));
        writeln!(walk.stdin.as_mut().unwrap(), "there").unwrap();
    }
    assert!(walk.wait().unwrap().success(), "what is wrong is told above");
    drop(fault);
}
