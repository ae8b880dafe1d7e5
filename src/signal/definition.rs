//! A signal as the configuration defines it, and the seven that are there by default.

use serde::{Deserialize, Serialize};

use crate::detect::effect_filter::EffectFilter;

/// Labels that are ours, or that Prometheus would take for something else: no target has them, nor a signal's output.
pub const TAKEN_LABELS: [&str; 6] = ["metric_name", "severity", "model_type", "alertname", "le", "quantile"];

/// Share of what is expected up to which a deviation is nobody's business.
pub(super) const RELATIVE: f64 = 0.01;

fn min_deviation_ratio() -> f64 {
    RELATIVE
}

/// On which side of expected a value may be anomalous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// On either.
    #[default]
    Both,
    /// Above only.
    Up,
    /// Below only.
    Down,
}

/// One entry of `signals`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Signal)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Value of the label `metric_name`.
    pub name: String,
    /// Unit of the value, for people.
    #[serde(default)]
    pub unit: String,
    /// Side that matters.
    #[serde(default)]
    pub direction: Direction,
    /// Deviations from expected up to this are nobody's business; in the signal's unit.
    #[serde(default)]
    pub min_deviation: f64,
    /// The same as a share of what is expected; the larger of both holds.
    #[serde(default = "min_deviation_ratio")]
    pub min_deviation_ratio: f64,
    /// The least value that is possible, in the signal's unit: one below it was read wrongly, and is no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest value that is possible, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Whether it is an anomaly where what recurs, as a daily backup does, is missing.
    #[serde(default)]
    pub expects: bool,
    /// PromQL.
    pub expr: String,
    /// Overrides the link to the sidecar's own runbook page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook_url: Option<String>,
}

impl Definition {
    /// A signal of which nothing is known but its name.
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            unit: String::new(),
            direction: Direction::Both,
            min_deviation: 0.0,
            min_deviation_ratio: RELATIVE,
            min: None,
            max: None,
            expects: false,
            expr: name.to_owned(),
            runbook_url: None,
        }
    }

    /// What matters about the signal.
    pub fn effect_filter(&self) -> EffectFilter {
        EffectFilter {
            above: self.direction != Direction::Down,
            below: self.direction != Direction::Up,
            min_deviation: self.min_deviation,
            relative: self.min_deviation_ratio,
            lowest: self.min.unwrap_or(f64::NEG_INFINITY),
            highest: self.max.unwrap_or(f64::INFINITY),
            recurrences: self.expects,
        }
    }
}

/// Devices that only mirror traffic of others.
const REAL_DEVICES: &str = r#"device!~"lo|veth.*|docker.*|br-.*|cni.*|cali.*|flannel.*|virbr.*|ifb.*""#;

/// Bandwidth, latency, packet loss, jitter, CPU, memory and error rate.
pub fn defaults() -> Vec<Definition> {
    let both_ways = |what: &str| {
        let one = |way: &str| {
            format!("sum(rate(node_network_{way}_{what}_total{{{REAL_DEVICES}}}[$__rate_interval]))")
        };
        format!("({} + {})", one("receive"), one("transmit"))
    };
    let signal = |name: &str, unit: &str, direction, min_deviation, expr: String| Definition {
        name: name.to_owned(),
        unit: unit.to_owned(),
        direction,
        min_deviation,
        min_deviation_ratio: RELATIVE,
        min: Some(0.0),
        max: (unit == "%").then_some(100.0),
        expects: false,
        expr,
        runbook_url: None,
    };
    let (up, both) = (Direction::Up, Direction::Both);
    let bandwidth = format!("{} * 8 / 1e6", both_ways("bytes"));
    // Where little is sent, more may be lost or broken than one a second: that is all of it, not more than all.
    let loss = "avg(dwcp_probe_loss_ratio) * 100 or clamp_max(100 * sum(rate(node_netstat_Tcp_RetransSegs[$__rate_interval])) \
                / clamp_min(sum(rate(node_netstat_Tcp_OutSegs[$__rate_interval])), 1), 100)";
    let errors = format!(
        "clamp_max(100 * ({} + {}) / clamp_min({}, 1), 100)",
        both_ways("errs"),
        both_ways("drop"),
        both_ways("packets")
    );
    let cpu = r#"100 * (1 - avg(rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval])))"#;
    let memory = "100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)";
    vec![
        signal("bandwidth", "Mbps", both, 1.0, bandwidth),
        signal("latency", "ms", up, 2.0, "avg(dwcp_probe_rtt_seconds) * 1e3".to_owned()),
        signal("packet_loss", "%", up, 0.5, loss.to_owned()),
        signal("jitter", "ms", up, 1.0, "avg(dwcp_probe_jitter_seconds) * 1e3".to_owned()),
        signal("cpu_usage", "%", up, 10.0, cpu.to_owned()),
        signal("memory_usage", "%", up, 5.0, memory.to_owned()),
        signal("error_rate", "%", up, 0.5, errors),
    ]
}
