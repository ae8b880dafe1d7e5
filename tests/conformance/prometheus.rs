//! A real Prometheus over samples of ours.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dwcp_anomaly::series::Labels;
use dwcp_anomaly::setting::{Redirects, http_client};
use serde_json::Value;

/// The value that says that a series has ended.
pub const STALE: u64 = 0x7ff0_0000_0000_0002;

pub struct Prometheus {
    child: Child,
    port: u16,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Over OpenMetrics text with timestamps.
    pub fn over(text: &str, directory: &Path) -> Self {
        let (file, data) = (directory.join("in.om"), directory.join("data"));
        std::fs::write(&file, text).unwrap();
        let arguments =
            ["tsdb", "create-blocks-from", "openmetrics", file.to_str().unwrap(), data.to_str().unwrap()];
        let made = Command::new("promtool").args(arguments).stdout(Stdio::null()).status();
        assert!(made.expect("promtool; apt-get install prometheus").success());
        Self::empty(directory)
    }

    /// Over what lies in `directory`, if anything.
    pub fn empty(directory: &Path) -> Self {
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver"])
            .args(["--enable-feature=promql-negative-offset,promql-at-modifier", "--log.level=error"])
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus; apt-get install prometheus");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = http_client(Duration::from_secs(30), Redirects::SameHost).unwrap().0;
        let prometheus = Self { child, port, client, runtime };
        let began = Instant::now();
        while !prometheus.is_ready() {
            assert!(began.elapsed() < Duration::from_secs(20), "Prometheus is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        prometheus
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn is_ready(&self) -> bool {
        let asked = self.client.get(self.url("/-/ready"));
        self.runtime.block_on(async { asked.send().await.is_ok_and(|answer| answer.status().is_success()) })
    }

    /// The answer, whatever its status.
    pub fn query(&self, expr: &str, at: f64) -> Value {
        let form = [("query", expr.to_owned()), ("time", at.to_string())];
        let asked = self.client.post(self.url("/api/v1/query")).form(&form);
        self.runtime.block_on(async { asked.send().await.unwrap().json().await.unwrap() })
    }

    /// Has it take in series, each with ascending times in Unix milliseconds.
    pub fn write(&self, series: &[(Labels, Vec<(i64, f64)>)]) {
        let body = snappy(&request(series));
        let asked = self
            .client
            .post(self.url("/api/v1/write"))
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .body(body);
        self.runtime.block_on(async {
            let answer = asked.send().await.unwrap();
            let status = answer.status();
            assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
        });
    }
}

/// A `WriteRequest` of remote write, in protobuf.
fn request(series: &[(Labels, Vec<(i64, f64)>)]) -> Vec<u8> {
    let mut request = Vec::new();
    for (labels, samples) in series {
        let mut one = Vec::new();
        for (name, value) in labels.iter() {
            let mut pair = Vec::new();
            field(&mut pair, 1, name.as_bytes());
            field(&mut pair, 2, value.as_bytes());
            field(&mut one, 1, &pair);
        }
        for (at, value) in samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend(value.to_bits().to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, *at as u64);
            field(&mut one, 2, &sample);
        }
        field(&mut request, 1, &one);
    }
    request
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Snappy's block format, in which nothing has to be compressed.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, bytes.len() as u64);
    for piece in bytes.chunks(1 << 16) {
        out.push(61 << 2);
        out.extend(((piece.len() - 1) as u16).to_le_bytes());
        out.extend(piece);
    }
    out
}
