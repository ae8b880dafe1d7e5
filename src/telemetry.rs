//! What the sidecar says of itself: log lines and its own metrics.

pub mod log;
mod stderr;

use std::hash::Hash;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::notify::counters::Counters;
use crate::series::Labels;
use crate::supervisor::Tasks;

/// The sidecar's own metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// From a scrape's end to the published verdict, by target.
    detection_latency: Family<Vec<(String, String)>, Histogram>,
    scrape_failures: Family<Failed, Counter>,
    sidecar: Family<Vec<(String, String)>, Gauge>,
    reload_successful: Gauge,
    reload_time: Gauge,
    state: StateMetrics,
    memory_limit: Gauge,
    memory_shed: Gauge,
    failed_logins: Family<FailedLogin, Counter>,
    /// Alerts by endpoint.
    pub alerts: Counters,
    /// Long-lived tasks.
    pub tasks: Tasks,
}

/// Buckets of the detection latency, in seconds.
const LATENCIES: [f64; 11] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    instance: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailedLogin {
    reason: &'static str,
}

/// How keeping the state goes.
#[derive(Clone, Debug)]
struct StateMetrics {
    writes: Family<Wrote, Counter>,
    written_at: Gauge,
    pauses: Histogram,
    damaged: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Wrote {
    outcome: &'static str,
}

impl StateMetrics {
    fn register(registry: &mut Registry) -> Self {
        let pauses = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1];
        let all = Self {
            writes: Family::default(),
            written_at: Gauge::default(),
            pauses: Histogram::new(pauses),
            damaged: Counter::default(),
        };
        // They begin at 0, so that `increase()` sees the first failure.
        for outcome in ["success", "failure"] {
            drop(all.writes.get_or_create(&Wrote { outcome }));
        }
        registry.register("dwcp_state_writes", "Files of the state written, by outcome", all.writes.clone());
        registry.register(
            "dwcp_state_last_write_timestamp_seconds",
            "When a file of the state was last written",
            all.written_at.clone(),
        );
        registry.register(
            "dwcp_state_pause_seconds",
            "How long the engine paused to hand out its state",
            all.pauses.clone(),
        );
        registry.register(
            "dwcp_state_damaged_files",
            "Files of the state set aside at the start",
            all.damaged.clone(),
        );
        all
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Telemetry {
    /// The metrics, and the registry that writes them.
    pub fn new() -> (Self, Registry) {
        let mut registry = Registry::default();
        let telemetry = Self {
            state: StateMetrics::register(&mut registry),
            memory_limit: Gauge::default(),
            memory_shed: Gauge::default(),
            detection_latency: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
            scrape_failures: Family::default(),
            sidecar: Family::default(),
            reload_successful: Gauge::default(),
            reload_time: Gauge::default(),
            failed_logins: Family::default(),
            alerts: Counters::default(),
            tasks: Tasks::default(),
        };
        for reason in ["bad_credentials", "too_many"] {
            drop(telemetry.failed_logins.get_or_create(&FailedLogin { reason }));
        }
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        let all = &telemetry;
        registry.register("dwcp_build_info", "The version that runs", build);
        registry.register(
            "dwcp_memory_limit_bytes",
            "What the process may take, 0 for no limit; from four fifths of it on something is given up",
            all.memory_limit.clone(),
        );
        registry.register(
            "dwcp_memory_shed_level",
            "What was given up for memory: 1 coarse tiers, 2 LSTM, 3 forest size, 4 and up series",
            all.memory_shed.clone(),
        );
        registry.register(
            "dwcp_anomaly_detection_latency_seconds",
            "From the end of a scrape to the published verdict",
            all.detection_latency.clone(),
        );
        registry.register(
            "dwcp_scrape_failures",
            "Scrapes that failed, by reason",
            all.scrape_failures.clone(),
        );
        registry.register("dwcp_sidecar_info", "Where the page about the target is", all.sidecar.clone());
        registry.register(
            "dwcp_config_last_reload_successful",
            "Whether the last reading of the configuration succeeded",
            all.reload_successful.clone(),
        );
        registry.register(
            "dwcp_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read with success",
            all.reload_time.clone(),
        );
        registry.register(
            "dwcp_web_failed_logins",
            "Logins that were refused, by reason",
            all.failed_logins.clone(),
        );
        registry.register(
            "dwcp_task_restarts",
            "Long-lived tasks begun again after a panic",
            all.tasks.restarts(),
        );
        registry.register("dwcp_alerts_sent", "Alerts taken by the endpoint", all.alerts.sent.clone());
        registry.register(
            "dwcp_alerts_failed",
            "Alerts not delivered to the endpoint",
            all.alerts.failed.clone(),
        );
        registry.register(
            "dwcp_alerts_dropped",
            "Alerts given up: too many, or over before they could be told",
            all.alerts.dropped.clone(),
        );
        registry.register(
            "dwcp_alerts_queue_length",
            "Alerts that wait or are under way to the endpoint",
            all.alerts.queue_length.clone(),
        );
        registry.register(
            "dwcp_alerts_latency_seconds",
            "From a request with alerts to the endpoint's answer",
            all.alerts.latency.clone(),
        );
        (telemetry, registry)
    }

    /// A verdict on `target` was published so long after its scrape had ended.
    pub fn judged(&self, target: &Labels, after: Duration) {
        self.detection_latency.get_or_create(&owned(target)).observe(after.as_secs_f64());
    }

    /// These targets are watched from now on, and `page` is where people read of them: so that a rule's annotation can
    /// link there from any series of theirs.
    pub fn watches(&self, targets: &[Labels], page: &str) {
        self.sidecar.clear();
        for target in targets {
            self.sidecar.get_or_create(&owned(&target.with([("page", page)]))).set(1);
        }
    }

    /// `target` is not watched any more.
    pub fn left(&self, target: &Labels) {
        self.detection_latency.remove(&owned(target));
    }

    /// A scrape of `instance` failed.
    pub fn scrape_failed(&self, instance: &str, reason: &'static str) {
        self.scrape_failures.get_or_create(&Failed { instance: instance.to_owned(), reason }).inc();
    }

    /// The process may take so many bytes; 0 for no limit.
    pub fn memory_limit(&self, bytes: u64) {
        self.memory_limit.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So much has been given up for memory.
    pub fn memory_shed(&self, level: u32) {
        self.memory_shed.set(level.into());
    }

    /// A login was refused.
    pub fn login_failed(&self, reason: &'static str) {
        self.failed_logins.get_or_create(&FailedLogin { reason }).inc();
    }

    /// A file of the state was written at this Unix time, or could not be.
    pub fn state_written(&self, at: Option<i64>) {
        let outcome = if at.is_some() { "success" } else { "failure" };
        self.state.writes.get_or_create(&Wrote { outcome }).inc();
        if let Some(at) = at {
            self.state.written_at.set(at);
        }
    }

    /// The engine paused for so long to hand out its state.
    pub fn state_paused(&self, pause: Duration) {
        self.state.pauses.observe(pause.as_secs_f64());
    }

    /// A file of the state could not be read and was set aside.
    pub fn state_damaged(&self) {
        self.state.damaged.inc();
    }

    /// The configuration was read, with this outcome, at this Unix time.
    pub fn reloaded(&self, successful: bool, at: i64) {
        self.reload_successful.set(i64::from(successful));
        if successful {
            self.reload_time.set(at);
        }
    }
}

fn owned(labels: &Labels) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The registry and the process's own figures, in OpenMetrics without the last line.
pub fn write(registry: &Registry) -> String {
    let mut page = String::new();
    // Writing to memory cannot fail; what a metric could not say is left out.
    let _ = text::encode_registry(&mut page, registry);
    lost_lines(&mut page);
    process(&mut page);
    page
}

/// Kept outside of the registry: lines are logged before there is one.
fn lost_lines(page: &mut String) {
    use std::fmt::Write;
    let (name, lost) = ("dwcp_log_lines_lost", stderr::lost());
    let help = "Log lines that standard error did not take";
    let _ = write!(page, "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {lost}\n");
}

/// What Prometheus' client libraries show of a process.
fn process(page: &mut String) {
    use std::fmt::Write;
    let Ok(process) = procfs::process::Process::myself() else { return };
    let Ok(stat) = process.stat() else { return };
    let ticks = procfs::ticks_per_second() as f64;
    let boot = procfs::boot_time_secs().unwrap_or(0) as f64;
    let mut gauge = |name: &str, kind: &str, help: &str, value: f64| {
        let suffix = if kind == "counter" { "_total" } else { "" };
        let _ = write!(page, "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name}{suffix} {value}\n");
    };
    let cpu = (stat.utime + stat.stime) as f64 / ticks;
    gauge("process_cpu_seconds", "counter", "Total user and system CPU time spent in seconds", cpu);
    let resident = stat.rss * procfs::page_size();
    gauge("process_resident_memory_bytes", "gauge", "Resident memory size in bytes", resident as f64);
    let start = boot + stat.starttime as f64 / ticks;
    gauge(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds",
        start,
    );
    if let Ok(open) = process.fd_count() {
        gauge("process_open_fds", "gauge", "Number of open file descriptors", open as f64);
    }
}
