//! Steps soon after the start, when little is known yet and the calibration rests on few scores.

use std::time::Duration;

use dwcp_anomaly::config::Config;
use dwcp_anomaly::engine::Engine;
use dwcp_anomaly::incident::State;
use dwcp_anomaly::scrape::CONFIRM;
use dwcp_anomaly::series::{Batch, Labels, Origin, Sample, Timestamp};
use dwcp_anomaly::setting::Span;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use crate::host::EPOCH;
use crate::{Happened, config, feed, setup};

/// What an exporter exposes at a time, in milliseconds from the start.
trait Exporter {
    fn scrape(&mut self, at: u64) -> Vec<Sample>;
}

fn unit(random: &mut Pcg64Mcg) -> f64 {
    f64::from(random.next_u32()) / f64::from(u32::MAX)
}

fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels.iter().copied().chain([("__name__", name)]);
    Sample { labels: Labels::new(labels), value, at: None }
}

/// A machine that uses so large a share of its memory.
fn memory(used: f64) -> Vec<Sample> {
    let total = 24e9;
    vec![
        sample("node_memory_MemTotal_bytes", &[], total),
        sample("node_memory_MemAvailable_bytes", &[], (total * (1.0 - used)).floor()),
    ]
}

/// Traffic of 100 Mbit/s that strays by a tenth, fourfold from a time on.
struct Traffic {
    random: Pcg64Mcg,
    bytes: f64,
    before: u64,
    step: u64,
}

impl Exporter for Traffic {
    fn scrape(&mut self, at: u64) -> Vec<Sample> {
        let stray = 0.9 + 0.2 * unit(&mut self.random);
        let raised = at.saturating_sub(self.step.max(self.before));
        let passed = (at - self.before) as f64 + 3.0 * raised as f64;
        self.bytes += passed / 1000.0 * 100.0 * stray * 1e6 / 8.0;
        self.before = at;
        let device = [("device", "eth0")];
        vec![
            sample("node_network_receive_bytes_total", &device, self.bytes.floor()),
            sample("node_network_transmit_bytes_total", &device, 1e6),
        ]
    }
}

/// Memory that hardly moves but for a program that now and then takes up to three points of it for some seconds; 12 points
/// more are in use from a time on.
struct Still {
    random: Pcg64Mcg,
    used: f64,
    taken: f64,
    step: u64,
}

impl Exporter for Still {
    fn scrape(&mut self, at: u64) -> Vec<Sample> {
        if unit(&mut self.random) < 0.3 {
            self.used += (unit(&mut self.random) - 0.5) * 4e-5;
        }
        if unit(&mut self.random) < 0.02 {
            self.taken = 0.03 * unit(&mut self.random);
        } else if unit(&mut self.random) < 0.2 {
            self.taken = 0.0;
        }
        let used = self.used + self.taken + if at >= self.step { 0.12 } else { 0.0 };
        memory(used)
    }
}

/// Memory of a machine that compiles: programs take up to six points of it for half a minute. From a time on it climbs from 4 to
/// 35 % for so long, and stays there.
struct Climbing {
    random: Pcg64Mcg,
    taken: f64,
    from: u64,
    takes: u64,
}

impl Exporter for Climbing {
    fn scrape(&mut self, at: u64) -> Vec<Sample> {
        if unit(&mut self.random) < 0.3 {
            self.taken = 0.06 * unit(&mut self.random);
        }
        let climbed = (at.saturating_sub(self.from) as f64 / self.takes as f64).min(1.0);
        let used = 0.04 + self.taken + 0.31 * climbed;
        memory(used)
    }
}

/// Two busy cores: 60 % give or take 5, 20 % for half a minute before `fault` by four minutes, and 97 % from then on.
struct Dipping {
    random: Pcg64Mcg,
    idle: f64,
    before: u64,
    fault: u64,
}

impl Exporter for Dipping {
    fn scrape(&mut self, at: u64) -> Vec<Sample> {
        let dip = self.fault - 240_000;
        let usage = match at {
            at if at >= self.fault => 97.0,
            at if (dip..dip + 30_000).contains(&at) => 20.0,
            _ => 55.0 + 10.0 * unit(&mut self.random),
        };
        self.idle += (at - self.before) as f64 / 1000.0 * (1.0 - usage / 100.0);
        self.before = at;
        ["0", "1"]
            .map(|cpu| sample("node_cpu_seconds_total", &[("cpu", cpu), ("mode", "idle")], self.idle))
            .into()
    }
}

/// Scrapes every `interval` milliseconds from `phase` on, and more often while an incident is pending.
fn watch(config: &Config, exporter: &mut impl Exporter, phase: u64, until: u64) -> Vec<Happened> {
    let interval = config.check_interval.0.as_millis() as u64;
    let soon = interval.div_ceil(u64::from(CONFIRM));
    let mut engine = Engine::new(setup(config));
    let (mut happened, mut next) = (Vec::new(), phase);
    while next < until {
        let is_regular = (next - phase).is_multiple_of(interval);
        let at = Timestamp::from_seconds(EPOCH + next as f64 / 1000.0);
        let batch = Batch { origin: Origin::Scrape, at, samples: exporter.scrape(next) };
        happened.extend(feed(&mut engine, batch, !is_regular));
        let regular = phase + ((next - phase) / interval + 1) * interval;
        let confirms = interval >= 3000 && engine.is_pending(0);
        next = if confirms { regular.min(next + soon) } else { regular };
    }
    happened
}

/// Seconds from `step` to the first incident on `metric` after it.
fn delay(happened: &[Happened], metric: &str, step: u64) -> Option<f64> {
    let after = |h: &Happened| h.at.seconds() - EPOCH - step as f64 / 1000.0;
    let fired = |h: &&Happened| h.metric == metric && h.to == State::Firing && after(h) >= 0.0;
    happened.iter().find(fired).map(after)
}

fn random(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::new(u128::from(seed) << 1 | 1)
}

const SEEDS: u64 = 12;

/// That all were found, within `most` seconds and half of them within `median`.
fn expect(what: &str, delays: &[Option<f64>], median: f64, most: f64) {
    let mut took: Vec<f64> = delays.iter().map(|delay| delay.unwrap_or(f64::INFINITY)).collect();
    took.sort_by(f64::total_cmp);
    assert!(took[took.len() / 2] <= median && took[took.len() - 1] <= most, "{what}: {took:.1?}");
}

#[test]
fn a_step_is_found_from_the_first_minute_of_voting_on() {
    let mut delays = Vec::new();
    for seed in 0..SEEDS {
        for checks in [32, 36, 42, 60, 100, 200] {
            let step = checks * 10_000 + seed * 797 % 10_000;
            let mut traffic = Traffic { random: random(seed), bytes: 0.0, before: 0, step };
            let happened = watch(&config(10), &mut traffic, 500, step + 120_000);
            delays.push(delay(&happened, "bandwidth", step));
        }
    }
    expect("fourfold traffic, each ten seconds", &delays, 20.0, 40.0);
}

#[test]
fn what_matters_is_found_on_a_signal_that_is_still_but_for_what_does_not() {
    let mut config = config(1);
    config.check_interval = Span(Duration::from_millis(500));
    let mut delays = Vec::new();
    for seed in 0..SEEDS {
        for seconds in [20, 60, 120, 300] {
            let step = seconds * 1000;
            let mut still = Still { random: random(seed), used: 0.025, taken: 0.0, step };
            let happened = watch(&config, &mut still, 0, step + 60_000);
            delays.push(delay(&happened, "memory_usage", step));
        }
    }
    expect("twelve points more memory, each half second", &delays, 5.0, 15.0);
}

#[test]
fn what_memory_has_become_is_told_in_the_first_hour_however_softly_it_climbed() {
    for minutes in [1, 3, 10] {
        let takes = minutes * 60_000;
        let mut delays = Vec::new();
        for seed in 0..SEEDS {
            for start in [3, 10, 30] {
                let from = start * 60_000;
                let mut climbing = Climbing { random: random(seed), taken: 0.0, from, takes };
                let happened = watch(&config(10), &mut climbing, 500, from + takes + 300_000);
                delays.push(delay(&happened, "memory_usage", from));
            }
        }
        let seconds = minutes as f64 * 60.0;
        expect(&format!("31 points in {minutes} minutes"), &delays, seconds, seconds + 180.0);
    }
}

#[test]
fn a_fault_is_told_in_the_first_hour_after_a_dip_to_the_side_that_does_not_matter() {
    let mut delays = Vec::new();
    for seed in 0..SEEDS {
        for start in [10, 20, 40] {
            let fault = start * 60_000;
            let mut dipping = Dipping { random: random(seed), idle: 0.0, before: 0, fault };
            let happened = watch(&config(10), &mut dipping, 500, fault + 300_000);
            delays.push(delay(&happened, "cpu_usage", fault));
        }
    }
    expect("97 % of the cores four minutes after a dip", &delays, 60.0, 120.0);
}
