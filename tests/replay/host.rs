//! A host that idles, with what hosts do when they idle, and faults to break it with.

use dwcp_anomaly::series::{Batch, Labels, Origin, Sample, Timestamp};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

/// When the simulation starts, in Unix seconds.
pub const EPOCH: f64 = 1_700_000_000.0;

/// What can happen to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// All CPUs are busy.
    Cpu,
    /// Two fifths of memory are taken.
    Memory,
    /// Memory is taken bit by bit, and given back but for a rest, which goes slowly.
    Leak,
    /// A hundred megabits a second.
    Bandwidth,
    /// A little more CPU than usual.
    Slight,
}

impl Fault {
    pub fn metric(self) -> &'static str {
        match self {
            Self::Cpu | Self::Slight => "cpu_usage",
            Self::Memory | Self::Leak => "memory_usage",
            Self::Bandwidth => "bandwidth",
        }
    }
}

pub struct Host {
    random: Pcg64Mcg,
    faults: Vec<(Fault, f64, f64)>,
    idle: [f64; 4],
    received: f64,
    segments: f64,
    retransmits: f64,
    drift: f64,
    labels: Vec<Labels>,
}

const MEMORY: f64 = 16.0 * 1024.0 * 1024.0 * 1024.0;

impl Host {
    pub fn new(seed: u64) -> Self {
        let cpu = (0..4).map(|cpu| {
            Labels::new([
                ("__name__", "node_cpu_seconds_total".to_owned()),
                ("cpu", cpu.to_string()),
                ("mode", "idle".to_owned()),
            ])
        });
        let device = |name: &str| Labels::new([("__name__", name), ("device", "eth0")]);
        let plain = |name: &str| Labels::new([("__name__", name)]);
        let labels = cpu.chain([
            plain("node_memory_MemAvailable_bytes"),
            plain("node_memory_MemTotal_bytes"),
            device("node_network_receive_bytes_total"),
            device("node_network_transmit_bytes_total"),
            plain("node_netstat_Tcp_OutSegs"),
            plain("node_netstat_Tcp_RetransSegs"),
        ]);
        Self {
            random: Pcg64Mcg::new(u128::from(seed) << 1 | 1),
            faults: Vec::new(),
            idle: [1e5; 4],
            received: 1e9,
            segments: 1e6,
            retransmits: 1e3,
            drift: 0.0,
            labels: labels.collect(),
        }
    }

    /// The same host with a fault, in seconds from the start.
    #[must_use]
    pub fn with(mut self, fault: Fault, from: f64, until: f64) -> Self {
        self.faults.push((fault, from, until));
        self
    }

    fn unit(&mut self) -> f64 {
        f64::from(self.random.next_u32()) / f64::from(u32::MAX)
    }

    /// Share of the second from `at` on in which `fault` holds.
    fn share(&self, fault: Fault, at: f64) -> f64 {
        let overlap =
            |(_, from, until): &&(Fault, f64, f64)| (until.min(at + 1.0) - from.max(at)).clamp(0.0, 1.0);
        self.faults.iter().filter(|(f, ..)| *f == fault).map(|f| overlap(&f)).sum()
    }

    /// Share of memory that is taken at `at`, a sixtieth each second, or left of that.
    fn leaked(&self, at: f64) -> f64 {
        let leaked = |(_, from, until): &(Fault, f64, f64)| match at {
            _ if at < *from => 0.0,
            _ if at < *until => (at - from) / 60.0,
            _ => 0.03 * (-(at - until) / 60.0).exp(),
        };
        self.faults.iter().filter(|(fault, ..)| *fault == Fault::Leak).map(leaked).sum()
    }

    /// One second of life: a busy moment each ten minutes, traffic that comes in bursts, memory that wanders.
    pub fn live(&mut self, second: f64) {
        let job = if second % 600.0 < 4.0 { 0.15 } else { 0.0 };
        for cpu in 0..4 {
            let own = 0.01 + 0.02 * self.unit();
            let busy = own + job + 0.25 * self.share(Fault::Slight, second);
            let busy = busy.min(1.0).max(self.share(Fault::Cpu, second) * 0.97);
            self.idle[cpu] += 1.0 - busy;
        }
        let burst = if self.unit() < 0.02 { 60e3 * self.unit() } else { 0.0 };
        self.received += 2e3 + 3e3 * self.unit() + burst + 12.5e6 * self.share(Fault::Bandwidth, second);
        let sent = 20.0 + (20.0 * self.unit()).floor();
        self.segments += sent;
        self.retransmits += if self.unit() < 0.002 { 1.0 } else { 0.0 };
        self.drift = (self.drift + (self.unit() - 0.5) * 1e-4).clamp(-0.01, 0.01);
    }

    fn values(&mut self, at: f64) -> Vec<f64> {
        let used = 0.3 + self.drift + 0.4 * self.share(Fault::Memory, at).ceil() + self.leaked(at);
        let noise = (self.unit() - 0.5) * 1e-3;
        let mut values = self.idle.map(|seconds| (seconds * 100.0).floor() / 100.0).to_vec();
        values.extend([
            MEMORY * (1.0 - used - noise),
            MEMORY,
            self.received.floor(),
            5e8,
            self.segments,
            self.retransmits,
        ]);
        values
    }

    /// What a scrape shows, `at` seconds after the start.
    pub fn scrape(&mut self, at: f64) -> Batch {
        let values = self.values(at);
        let samples = self.labels.iter().zip(values);
        let samples = samples.map(|(labels, value)| Sample { labels: labels.clone(), value, at: None });
        Batch { origin: Origin::Scrape, at: Timestamp::from_seconds(EPOCH + at), samples: samples.collect() }
    }
}
