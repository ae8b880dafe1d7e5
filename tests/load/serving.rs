//! How quick the answers are, and what it costs when many look.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::servers::{Server, machine, sidecar, wait_for};
use crate::synthetic::{answer, serve};

/// A sidecar with so many signals, judged.
fn with_signals(count: usize, interval: &str) -> Server {
    let tick = std::sync::atomic::AtomicU64::new(0);
    let address = serve(move |stream| {
        let noise = tick.fetch_add(1, std::sync::atomic::Ordering::Relaxed) * 7919;
        let line = |i: u64| format!("m{i} {}\n", (noise + i * 31) % 101);
        answer(stream, &(0..count as u64).map(line).collect::<String>());
    });
    let signal = |i: usize| format!("  - {{name: m{i}, unit: '%', expr: m{i}}}\n");
    let signals: String = (0..count).map(signal).collect();
    let sidecar = sidecar(&format!(
        "check_interval: {interval}\nbuffer_size: 100\nscrape:\n  targets: [{{url: 'http://{address}/metrics'}}]\nstorage: {{path: ''}}\n\
         window: {{max_bytes: 64MiB}}\ndetector: {{isolation_forest: {{trees: 10}}, lstm_autoencoder: {{enabled: false}}}}\nsignals:\n{signals}"
    ));
    let last = format!("metric_name=\"m{}\"", count - 1);
    wait_for("scores of all", Duration::from_mins(8), || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        page.lines().any(|line| line.starts_with("dwcp_anomaly_score{") && line.contains(&last))
    });
    sidecar
}

/// Median times to the first byte and to the last.
fn times(sidecar: &Server, path: &str) -> (Duration, Duration) {
    let once = || {
        let mut stream = TcpStream::connect(("127.0.0.1", sidecar.port)).unwrap();
        let began = Instant::now();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        let first = began.elapsed();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        (first, began.elapsed())
    };
    let mut all: Vec<_> = (0..41)
        .map(|_| {
            // Apart, so that checks fall in between as they would.
            std::thread::sleep(Duration::from_millis(50));
            once()
        })
        .collect();
    all.sort();
    let first = all[20].0;
    all.sort_by_key(|(_, last)| *last);
    (first, all[20].1)
}

/// Processor time of a process so far.
fn processor_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn the_series_of_a_thousand_signals_take_ten_milliseconds() {
    let _machine = machine();
    let sidecar = with_signals(1000, "1s");
    let (_, whole) = times(&sidecar, "/metrics");
    println!("/metrics with 1000 signals: {whole:?}");
    assert!(whole <= Duration::from_millis(10), "{whole:?}");
}

#[test]
fn the_pages_first_byte_with_a_hundred_signals_takes_twenty_milliseconds_and_a_hundred_viewers_little() {
    let _machine = machine();
    let sidecar = with_signals(100, "1s");
    let (first, whole) = times(&sidecar, "/");
    println!("the page with 100 signals: first byte {first:?}, last {whole:?}");
    assert!(first <= Duration::from_millis(20), "{first:?}");
    drop(sidecar);
    let sidecar = with_signals(7, "1s");
    let id = sidecar.id();
    let cost = |during: Duration| {
        let before = processor_time(id);
        std::thread::sleep(during);
        processor_time(id).saturating_sub(before).as_secs_f64() / during.as_secs_f64()
    };
    let alone = cost(Duration::from_secs(20));
    let viewers: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", sidecar.port)).unwrap();
            write!(stream, "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()))
        })
        .collect();
    // Each is sent everything at first; what counts is what follows.
    std::thread::sleep(Duration::from_secs(3));
    let watched = cost(Duration::from_secs(20));
    println!("a core's share: {alone:.4} alone, {watched:.4} with {} viewers", viewers.len());
    // A check each second is ten times what is configured by default.
    assert!(watched - alone <= 0.02, "{watched} of a core, {alone} of it alone");
    drop(sidecar);
}
