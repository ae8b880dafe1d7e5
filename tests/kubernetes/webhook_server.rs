//! The injector as a process, with a certificate of its own, and its client.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::servers::{free_port, get, wait_for};

pub struct Webhook {
    child: std::process::Child,
    pub directory: tempfile::TempDir,
    pub port: u16,
    pub metrics: u16,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a new certificate for localhost; it is its own authority.
pub fn certify(directory: &std::path::Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
}

impl Webhook {
    pub fn start(policy: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        certify(directory.path());
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("policy.yaml"), policy).unwrap();
        let arguments = [
            format!("--policy.file={}", path("policy.yaml")),
            format!("--tls.cert-file={}", path("tls.crt")),
            format!("--tls.key-file={}", path("tls.key")),
        ];
        Self::start_with(&arguments, directory).ready()
    }

    pub fn start_with(arguments: &[String], directory: tempfile::TempDir) -> Self {
        let (port, metrics) = (free_port(), free_port());
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dwcp-anomaly"))
            .arg("injector")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--metrics.listen-address=127.0.0.1:{metrics}"))
            .arg("--shutdown-delay=1s")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, directory, port, metrics }
    }

    pub fn ready(self) -> Self {
        wait_for("injector", Duration::from_secs(10), || self.get("/readyz").is_some());
        self
    }

    pub fn get(&self, path: &str) -> Option<String> {
        get(&format!("http://127.0.0.1:{}{path}", self.metrics))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn finish(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// Posts a body as an API server does; status and answer.
    pub fn post(&self, body: &[u8]) -> Option<(u16, String)> {
        let sent = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(sent.path(), body).unwrap();
        let authority = self.directory.path().join("tls.crt");
        let done = Command::new("curl")
            .args(["-s", "--max-time", "20", "-w", "\n%{http_code}", "--cacert", authority.to_str().unwrap()])
            .args(["-H", "Content-Type: application/json", "--data-binary"])
            .arg(format!("@{}", sent.path().display()))
            .arg(format!("https://localhost:{}/inject?timeout=3s", self.port))
            .output()
            .unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n')?;
        let status = status.parse().ok().filter(|status| *status > 0)?;
        Some((status, body.to_owned()))
    }

    /// The response to a review.
    pub fn review(&self, review: &Value) -> Value {
        let (status, body) = self.post(review.to_string().as_bytes()).unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["response"].clone()
    }
}

/// A sidecar as it is injected, ended when it is dropped.
pub struct Sidecar(std::process::Child);

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn run_sidecar(config: &std::path::Path, port: u16, environment: &[(&str, &str)]) -> Sidecar {
    run_sidecar_with(config, port, environment, &["--log.level=error"])
}

/// The same with other flags. What it says goes to `log` beside the configuration.
pub fn run_sidecar_with(
    config: &std::path::Path,
    port: u16,
    environment: &[(&str, &str)],
    flags: &[&str],
) -> Sidecar {
    let log = std::fs::File::create(config.with_file_name("log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_dwcp-anomaly"))
        .args(["run", "--config.on-error=degraded"])
        .args(flags)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .envs(environment.iter().copied())
        .env("DWCP__STORAGE__PATH", "")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Sidecar(child)
}
