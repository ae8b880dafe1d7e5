//! A peer that answers late, and one that does not answer: found as anomalies, and gone with the fault.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::servers::{Server, active, alertmanager, sidecar, value, wait_for, wait_until_all_vote};
use crate::synthetic::{Synthetic, answer, serve};

const MINUTE: Duration = Duration::from_mins(1);

/// Passes one exchange on to `upstream`, later by what a test sets and a little that strays.
struct Proxy {
    address: SocketAddr,
    millis: Arc<AtomicU64>,
}

impl Proxy {
    fn before(upstream: SocketAddr) -> Self {
        let millis = Arc::new(AtomicU64::new(5));
        let delay = Arc::clone(&millis);
        let turn = AtomicU64::new(0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let stray = turn.fetch_add(1, Ordering::Relaxed) * 7919 % 1500;
                let wait =
                    Duration::from_millis(delay.load(Ordering::Relaxed)) + Duration::from_micros(stray);
                std::thread::spawn(move || pass(stream, upstream, wait));
            }
        });
        Self { address, millis }
    }

    fn set(&self, millis: u64) {
        self.millis.store(millis, Ordering::Relaxed);
    }
}

fn pass(mut client: TcpStream, upstream: SocketAddr, wait: Duration) {
    let mut request = [0; 4096];
    let Ok(length) = client.read(&mut request) else { return };
    let Ok(mut server) = TcpStream::connect(upstream) else { return };
    let mut body = Vec::new();
    if server.write_all(&request[..length]).is_ok() && server.read_to_end(&mut body).is_ok() {
        std::thread::sleep(wait);
        // Whoever asked may have given up.
        let _ = client.write_all(&body);
    }
}

fn watching(peer: &str, signal: &str, alertmanager: &Server) -> (Synthetic, Server) {
    let target = Synthetic::start();
    let config = format!(
        "check_interval: 300ms\nscrape:\n  targets: [{{url: '{}'}}]\nprobe:\n  interval: 200ms\n  timeout: 150ms\n  targets: [{peer}]\n\
         signals: [{signal}]\nalert:\n  resend_delay: 1s\n  alertmanagers: [{{url: '{}'}}]\n",
        target.url(),
        alertmanager.url()
    );
    let sidecar = sidecar(&config);
    wait_until_all_vote(&sidecar);
    (target, sidecar)
}

#[test]
fn a_path_that_becomes_slow_is_found_and_resolved() {
    let upstream = serve(|stream| answer(stream, "fine\n"));
    let (proxy, alertmanager) = (Proxy::before(upstream), alertmanager());
    let peer = format!("{{http: 'http://{}/healthz'}}", proxy.address);
    let signal = "{name: latency, unit: ms, direction: up, min_deviation: 20, expr: 'avg(dwcp_probe_rtt_seconds) * 1e3'}";
    let (_target, sidecar) = watching(&peer, signal, &alertmanager);
    assert!(active(&alertmanager, "latency").is_empty());
    let latency = || value(&sidecar.get("/metrics").unwrap(), "dwcp_signal_value", &["latency"]);
    assert!(latency().is_some_and(|millis| millis >= 5.0), "{:?}", latency());
    proxy.set(90);
    wait_for("alert of latency", MINUTE, || !active(&alertmanager, "latency").is_empty());
    proxy.set(5);
    wait_for("end of it", MINUTE, || active(&alertmanager, "latency").is_empty());
}

/// Accepts what comes until told to leave it in a backlog of one.
struct Listener {
    address: SocketAddr,
    is_open: Arc<std::sync::atomic::AtomicBool>,
}

impl Listener {
    fn start() -> Self {
        let (told, address) = std::sync::mpsc::channel();
        let is_open = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let accepts = Arc::clone(&is_open);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let listener = socket.listen(1).unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    if accepts.load(Ordering::Relaxed) {
                        let _ = tokio::time::timeout(Duration::from_millis(10), listener.accept()).await;
                    } else {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            });
        });
        Self { address: address.recv().unwrap(), is_open }
    }
}

#[test]
fn a_backlog_that_fills_is_found_as_loss_and_resolved() {
    let (listener, alertmanager) = (Listener::start(), alertmanager());
    let peer = format!("{{tcp: '{}'}}", listener.address);
    let signal = "{name: packet_loss, unit: '%', direction: up, min_deviation: 0.5, expr: 'avg(dwcp_probe_loss_ratio) * 100'}";
    let (_target, sidecar) = watching(&peer, signal, &alertmanager);
    assert!(active(&alertmanager, "packet_loss").is_empty());
    listener.is_open.store(false, Ordering::Relaxed);
    wait_for("alert of loss", MINUTE, || !active(&alertmanager, "packet_loss").is_empty());
    listener.is_open.store(true, Ordering::Relaxed);
    wait_for("end of it", MINUTE, || active(&alertmanager, "packet_loss").is_empty());
    assert_eq!(value(&sidecar.get("/metrics").unwrap(), "dwcp_signal_value", &["packet_loss"]), Some(0.0));
}
