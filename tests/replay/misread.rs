//! Values that an exporter reads wrongly are no anomaly, and hide none.

use std::cell::Cell;

use dwcp_anomaly::engine::Engine;
use dwcp_anomaly::series::{Batch, Sample};

use crate::host::{Fault, Host};
use crate::{HOUR, Happened, config, feed, opened, setup};

/// Half an hour of quiet, what is misread, and a quarter of an hour later all CPUs busy.
const MISREAD: u64 = HOUR / 2;
const FAULT: f64 = MISREAD as f64 + 900.0;
const INTERVAL: u64 = 10;

fn replayed(engine: &mut Engine, misread: impl Fn(u64, &mut Batch)) -> Vec<Happened> {
    let mut host = Host::new(5).with(Fault::Cpu, FAULT, FAULT + 300.0);
    let mut happened = Vec::new();
    for second in 0..FAULT as u64 + 300 {
        host.live(second as f64);
        let now = second + 1;
        if now.is_multiple_of(INTERVAL) {
            let mut batch = host.scrape(now as f64);
            misread(now, &mut batch);
            happened.extend(feed(engine, batch, false));
        }
    }
    happened
}

/// Adds to a counter of the host, whichever its labels.
fn add(batch: &mut Batch, name: &str, by: f64) {
    let of_name = batch.samples.iter_mut().filter(|sample| sample.labels.name() == name);
    of_name.take(1).for_each(|sample| sample.value += by);
}

#[test]
fn a_counter_that_steps_back_for_a_scrape_or_for_good_is_no_anomaly_and_hides_none() {
    for (name, by, scrapes) in [
        ("node_cpu_seconds_total", -12.0, 1),
        ("node_cpu_seconds_total", -30.0, 1),
        ("node_cpu_seconds_total", -30.0, 3),
        ("node_network_receive_bytes_total", -4e6, 1),
        ("node_network_receive_bytes_total", -4e6, 1000),
        ("node_netstat_Tcp_RetransSegs", -5.0, 1),
    ] {
        let mut engine = Engine::new(setup(&config(INTERVAL)));
        let happened = replayed(&mut engine, |now, batch| {
            if (MISREAD..MISREAD + scrapes * INTERVAL).contains(&now) {
                add(batch, name, by);
            }
        });
        let metrics: Vec<&str> = opened(&happened).iter().map(|h| h.metric.as_str()).collect();
        assert_eq!(metrics, ["cpu_usage"], "{name} {by} for {scrapes} scrapes");
        let counted = engine.snapshot().targets[0].glitches;
        assert_eq!(counted, 1, "{name} {by} for {scrapes} scrapes");
    }
}

#[test]
fn a_counter_that_begins_anew_is_no_anomaly_and_no_misreading() {
    let mut engine = Engine::new(setup(&config(INTERVAL)));
    let counted = Cell::new(0.0);
    let happened = replayed(&mut engine, |now, batch| {
        let received = |sample: &&Sample| sample.labels.name() == "node_network_receive_bytes_total";
        if now == MISREAD {
            counted.set(batch.samples.iter().find(received).unwrap().value);
        }
        add(batch, "node_network_receive_bytes_total", -counted.get());
    });
    let metrics: Vec<&str> = opened(&happened).iter().map(|h| h.metric.as_str()).collect();
    assert_eq!((metrics, engine.snapshot().targets[0].glitches), (vec!["cpu_usage"], 0));
}

#[test]
fn an_impossible_value_is_no_data_for_its_reason_is_counted_and_hides_nothing() {
    let mut engine = Engine::new(setup(&config(INTERVAL)));
    let mut seen = Vec::new();
    let mut told = Vec::new();
    let mut host = Host::new(5).with(Fault::Cpu, FAULT, FAULT + 300.0);
    let mut happened = Vec::new();
    for second in 0..FAULT as u64 + 300 {
        host.live(second as f64);
        let now = second + 1;
        if !now.is_multiple_of(INTERVAL) {
            continue;
        }
        let mut batch = host.scrape(now as f64);
        // A core that idles five seconds a second, for a minute, and goes on from there.
        let extra = now.clamp(MISREAD, MISREAD + 60) - MISREAD;
        add(&mut batch, "node_cpu_seconds_total", 20.0 * extra as f64);
        happened.extend(feed(&mut engine, batch, false));
        let target = engine.snapshot().targets[0].clone();
        let cpu =
            target.metrics.iter().find(|m| m.labels.get("metric_name") == Some("cpu_usage")).unwrap().clone();
        seen.extend(cpu.value);
        told.extend(cpu.no_data.filter(|_| now > MISREAD));
    }
    let counted = &engine.snapshot().targets[0].out_of_bounds;
    let of = |name: &str| counted.iter().find(|(signal, _)| signal == name).unwrap().1;
    assert!(told.len() >= 6 && told.iter().all(|why| why.contains("min and max allow 0 to 100")), "{told:?}");
    assert_eq!((of("cpu_usage"), of("bandwidth")), (told.len() as u64, 0));
    assert!(seen.iter().all(|value| (0.0..=100.0).contains(value)));
    let metrics: Vec<&str> = opened(&happened).iter().map(|h| h.metric.as_str()).collect();
    assert_eq!(metrics, ["cpu_usage"]);
}

#[test]
fn bands_and_expectations_stay_within_what_is_possible() {
    let mut engine = Engine::new(setup(&config(INTERVAL)));
    let mut host = Host::new(6);
    for second in 0..HOUR {
        host.live(second as f64);
        if (second + 1).is_multiple_of(INTERVAL) {
            feed(&mut engine, host.scrape((second + 1) as f64), false);
            for metric in &engine.snapshot().targets[0].metrics {
                let Some(band) = metric.band else { continue };
                let highest = if metric.unit == "%" { 100.0 } else { f64::INFINITY };
                for value in [band.lower, band.expected, band.upper] {
                    assert!((0.0..=highest).contains(&value), "{} {band:?}", metric.labels);
                }
            }
        }
    }
}
