//! Recordings and targets made for the tests of training: the same functions of time on both sides.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::synthetic::{answer, serve};

/// Signals of these tests, each a gauge of the same name.
pub const SIGNALS: [&str; 3] = ["load", "queue", "heat"];

/// A number in ±1 that looks random and is that of its seed.
pub fn noise(seed: u64, at: u64) -> f64 {
    let mut mixed = (at ^ seed << 40).wrapping_add(0x9e37_79b9_7f4a_7c15);
    for shift in [30, 27, 31] {
        mixed = (mixed ^ (mixed >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// What the signals normally are.
pub fn normal(seed: u64, at: u64) -> [f64; 3] {
    let common = 5.0 * (at as f64 / 40.0).sin() + noise(seed, at);
    [50.0 + common, 20.0 + 0.5 * common + 0.3 * noise(seed + 1, at), 70.0 + 2.0 * noise(seed + 2, at)]
}

/// A recording of `rows` seconds.
pub fn csv(seed: u64, rows: u64) -> String {
    csv_every(1.0, seed, rows)
}

/// A recording with a row each `interval` seconds.
pub fn csv_every(interval: f64, seed: u64, rows: u64) -> String {
    let mut text = format!("timestamp,{}\n", SIGNALS.join(","));
    for row in 0..rows {
        let [load, queue, heat] = normal(seed, row);
        let at = 1.7e9 + row as f64 * interval;
        writeln!(text, "{at},{load:.4},{queue:.4},{heat:.4}").unwrap();
    }
    text
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An exporter of the three.
pub fn exporter() -> SocketAddr {
    serve(|stream| {
        let values = normal(99, now());
        let lines = SIGNALS.iter().zip(values).map(|(name, value)| format!("{name} {value}\n"));
        answer(stream, &lines.collect::<String>());
    })
}

/// A configuration for it, checked every second.
pub fn config(exporter: SocketAddr, signals: &[&str], more: &str) -> String {
    let list: Vec<String> = signals.iter().map(|name| format!("{{name: {name}, expr: {name}}}")).collect();
    format!(
        "check_interval: 1s\nscrape: {{targets: [{{url: 'http://{exporter}/metrics'}}]}}\nsignals: [{}]\n{more}",
        list.join(", ")
    )
}
