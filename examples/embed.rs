//! Detection inside a program that measures by itself: `cargo run --example embed [CONFIG.yaml]`.
//!
//! It trains on an hour of normal data, then feeds seven metrics every second of ten minutes, in the third of which a
//! process eats the CPU, and prints what it is told. Time is given, not waited for.

#![allow(unreachable_pub, reason = "a test runs it as well")]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use dwcp_anomaly::embed::{AlertManager, Detector, Pipeline, Timestamp, load};

/// Every key at its default.
pub const DEFAULT: &str = "configs/monitoring/anomaly-detection.yaml";
const SECOND: Duration = Duration::from_secs(1);

/// Bandwidth in Mbps, latency in ms, packet loss in %, jitter in ms, CPU, memory and errors in %.
fn measure(second: u64, cpu_fault: bool) -> Vec<f64> {
    let noise = |salt: u64| ((second * 7919 + salt * 104_729) % 1009) as f64 / 1009.0;
    let cpu = if cpu_fault { 97.0 } else { 20.0 };
    vec![
        80.0 + 10.0 * noise(1),
        12.0 + 2.0 * noise(2),
        0.1 * noise(3),
        1.0 + 0.5 * noise(4),
        cpu + 3.0 * noise(5),
        60.0 + noise(6),
        0.05 * noise(7),
    ]
}

/// Trains, feeds, and writes to `out` what it is told.
pub async fn run(file: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let config = load(file)?;
    let mut detector = Detector::new(&config);
    writeln!(out, "metrics: {}", detector.metrics().join(", "))?;

    let begin = Timestamp::from_seconds(1_700_000_000.0);
    let step = detector.interval();
    let row = |nth: u32| (begin + step * nth, measure((step * nth).as_secs(), false));
    let normal: Vec<_> = (0..360).map(row).collect();
    detector.train(&normal)?;

    let mut pipeline = Pipeline::new(detector, AlertManager::new(&config));
    pipeline.start();
    let begin = begin + step * 360;
    let mut known = 0;
    for second in 0..600 {
        let at = begin + SECOND * second;
        let cpu_fault = (120..180).contains(&second);
        let values = measure(3600 + u64::from(second), cpu_fault);
        let Some(verdict) = pipeline.feed(at, &values)? else { continue };
        if verdict.firing.len() != known {
            known = verdict.firing.len();
            let score = verdict.score.unwrap_or_default();
            let what = match verdict.firing.first() {
                Some(incident) => format!("{} fires", incident.metric_name()),
                None => "nothing fires any more".to_owned(),
            };
            writeln!(out, "{second} s: {what}, score {score:.2}")?;
            writeln!(out, "alerts: {}", serde_json::to_string(&pipeline.alert_manager().alerts(at))?)?;
        }
    }
    writeln!(out, "kept raw: {} values of cpu_usage", pipeline.raw("cpu_usage").len())?;
    pipeline.stop().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| DEFAULT.to_owned());
    run(Path::new(&file), &mut std::io::stdout()).await
}
