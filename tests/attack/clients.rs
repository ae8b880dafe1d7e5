//! Clients that mean no good.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::servers::{request, unix_now};

/// Idle connections held open.
const IDLE: usize = 100;
const JSON: [&str; 1] = ["Content-Type: application/json"];

/// Attackers of the sidecar at `port` that go on until it is `over`; each says what came of it.
pub fn attack(port: u16, over: &Arc<AtomicBool>) -> Vec<JoinHandle<String>> {
    let spawn = |attacker: fn(u16, &AtomicBool) -> String| {
        let over = Arc::clone(over);
        std::thread::spawn(move || attacker(port, &over))
    };
    [idle, configurations, relayed, strangers].map(spawn).into()
}

/// Holds connections without a word, or with half of one.
fn idle(port: u16, over: &AtomicBool) -> String {
    let mut held: Vec<TcpStream> = Vec::new();
    let mut opened = 0;
    while !over.load(Ordering::Relaxed) {
        while held.len() < IDLE {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { break };
            let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a");
            held.push(stream);
            opened += 1;
        }
        held.retain_mut(|stream| !matches!(stream.read(&mut [0; 64]), Ok(0)));
        std::thread::sleep(Duration::from_millis(200));
    }
    format!("{opened} idle connections")
}

/// Configurations that take long to look at.
fn configurations(port: u16, over: &AtomicBool) -> String {
    let url = format!("http://127.0.0.1:{port}/api/v1/monitoring/anomaly/config");
    let bomb = |nth: usize| {
        format!("{{\"name\":\"s{nth}\",\"expr\":\"up{{a=~\\\"(\\\\\\\\w{{900}}){{900}}\\\"}}\"}}")
    };
    let signals: Vec<String> = (0..200).map(bomb).collect();
    let body = format!("{{\"signals\":[{}]}}", signals.join(","));
    let subqueries = "{\"signals\":[{\"name\":\"s\",\"expr\":\"sum_over_time(up[1y:1ms])\"}]}";
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        for body in [body.as_str(), subqueries] {
            let began = Instant::now();
            let status = request("PUT", &url, &JSON, body).map(|(status, _)| status);
            assert_ne!(status, Some(200), "{body}");
            slowest = slowest.max(began.elapsed());
            count += 1;
        }
    }
    format!("{count} configurations, the slowest answer after {slowest:?}")
}

/// Alerts of other sidecars that nobody can have.
fn relayed(port: u16, over: &AtomicBool) -> String {
    let url = format!("http://127.0.0.1:{port}/api/v2/alerts");
    let long = "x".repeat(200_000);
    let posts = [
        "[{\"labels\":{\"alertname\":\"A\"},\"startsAt\":\"2026-01-01T00:00:00Z\",\"endsAt\":\"9999-12-31T23:59:59-12:00\"}]".to_owned(),
        "[{\"labels\":{\"alertname\":\"B\"},\"startsAt\":\"0000-01-01T00:00:00+14:00\"}]".to_owned(),
        format!("[{{\"labels\":{{\"alertname\":\"C{}\",\"long\":\"{long}\"}}}}]", unix_now()),
        "[{\"labels\":{}}]".to_owned(),
        "[".repeat(100_000),
    ];
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        for post in &posts {
            let _ = request("POST", &url, &JSON, post);
            count += 1;
        }
    }
    format!("{count} relayed posts")
}

/// Requests of another host's name, of no method, and of no end.
fn strangers(port: u16, over: &AtomicBool) -> String {
    let mut count = 0;
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000));
    let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "X-Header: a\r\n".repeat(5000));
    let requests = [
        "PUT /api/v1/monitoring/anomaly/config HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}",
        "POST /-/quit HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
        long.as_str(),
        headers.as_str(),
    ];
    while !over.load(Ordering::Relaxed) {
        for text in requests {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.read(&mut [0; 1024]);
            count += 1;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    format!("{count} strange requests")
}
