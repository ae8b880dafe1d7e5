//! An honest host, and an exporter that does everything wrong in turn.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::servers::unix_now;
use crate::synthetic::{answer, serve};

/// A host whose one CPU is as busy as the test says, give or take two points.
pub struct Honest {
    url: String,
    busy: Arc<Mutex<f64>>,
}

impl Honest {
    pub fn start() -> Self {
        let busy = Arc::new(Mutex::new(0.2));
        let told = Arc::clone(&busy);
        let idle = Mutex::new((1e5, Instant::now(), 1_u32));
        let address = serve(move |stream| {
            let mut idle = idle.lock().unwrap();
            idle.2 = idle.2.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let stray = 0.04 * (f64::from(idle.2 >> 8) / f64::from(1_u32 << 24) - 0.5);
            idle.0 += idle.1.elapsed().as_secs_f64() * (1.0 - *told.lock().unwrap() - stray).clamp(0.0, 1.0);
            idle.1 = Instant::now();
            let name = "node_cpu_seconds_total";
            answer(stream, &format!("# TYPE {name} counter\n{name}{{cpu=\"0\",mode=\"idle\"}} {}\n", idle.0));
        });
        Self { url: format!("http://{address}/metrics"), busy }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn set(&self, busy: f64) {
        *self.busy.lock().unwrap() = busy;
    }
}

/// The address of an exporter whose pages are wrong, each in another way.
pub fn hostile() -> String {
    let turn = AtomicUsize::new(0);
    let address = serve(move |stream| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        match turn % 8 {
            0 => answer(stream, &churn(turn)),
            1 => answer(stream, &long_labels(turn)),
            2 => answer(stream, &stamped(turn)),
            3 => answer(stream, &nonsense()),
            4 => cut(stream),
            5 => answer(stream, &impossible(turn)),
            6 => flood(stream),
            _ => drop(stream),
        }
    });
    format!("http://{address}/metrics")
}

/// Thousands of series that nobody has seen before, some of which the signals want.
fn churn(turn: usize) -> String {
    let mut page = String::new();
    for nth in 0..15_000 {
        let _ = writeln!(page, "node_network_receive_bytes_total{{device=\"eth{turn}x{nth}\"}} {nth}");
    }
    page
}

fn long_labels(turn: usize) -> String {
    let value = "x".repeat(1 << 20);
    (0..6).fold(String::new(), |mut page, nth| {
        let _ = writeln!(page, "node_cpu_seconds_total{{cpu=\"{turn}{nth}{value}\",mode=\"idle\"}} {nth}");
        page
    })
}

/// Samples from tomorrow, from before the epoch, and from the end of time.
fn stamped(turn: usize) -> String {
    let now = unix_now() * 1e3;
    let mut page = String::new();
    for (nth, at) in [now + 864e5, now + 18e4, -1.0, 9.2e18].into_iter().enumerate() {
        let _ = writeln!(page, "node_cpu_seconds_total{{cpu=\"{nth}\",mode=\"idle\"}} {turn} {at:.0}");
    }
    page
}

fn nonsense() -> String {
    "node_cpu_seconds_total{cpu=\"0\" 1\n}{\n\u{0}\u{7f}\nnode_memory_MemTotal_bytes NaN\nx -Inf\n"
        .repeat(20_000)
}

/// Says that more comes than does.
fn cut(mut stream: TcpStream) {
    let _ = stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9000000\r\n\r\nnode_cpu_sec",
    );
}

fn impossible(turn: usize) -> String {
    let back = if turn.is_multiple_of(16) { 1e300 } else { -1e300 };
    format!(
        "node_cpu_seconds_total{{cpu=\"0\",mode=\"idle\"}} {back}\nnode_memory_MemTotal_bytes 0\nnode_memory_MemAvailable_bytes \
         {back}\n"
    )
}

/// A page without an end.
fn flood(mut stream: TcpStream) {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
    let line = "a_series_of_no_use{path=\"/\"} 1\n".repeat(2048);
    let mut sent = stream.write_all(head);
    for _ in 0..2000 {
        sent = sent.and_then(|()| stream.write_all(line.as_bytes()));
    }
}
