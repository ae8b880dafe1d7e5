//! `/metrics`: the synthetic series of every target, and the sidecar's own.
//!
//! No data means that a series is absent, never its last value.

use std::collections::HashMap;
use std::fmt::Write as _;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::Shared;
use crate::detect::verdict::{Detector, Severity};
use crate::engine::snapshot::{DetectorStatus, IncidentKey, MetricSnapshot, Snapshot, TargetSnapshot};
use crate::negotiate::{self, Format};
use crate::series::Labels;

/// Bytes that the series of one metric take, about.
const A_METRIC: usize = 2 << 10;

pub(super) async fn answer(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let snapshot = shared.snapshot.borrow().clone();
    negotiate::answer(&headers, |format| page(&snapshot, &(shared.own)(), format))
}

/// The whole page; `own` is in OpenMetrics without its last line.
pub fn page(snapshot: &Snapshot, own: &str, format: Format) -> String {
    let metrics: usize = snapshot.targets.iter().map(|target| target.metrics.len()).sum();
    let mut page = Page { text: String::with_capacity((16 << 10) + metrics * A_METRIC), format };
    targets(&mut page, snapshot);
    detectors(&mut page, snapshot);
    signals(&mut page, snapshot);
    incidents(&mut page, snapshot);
    negotiate::put(own, format, &mut page.text);
    page.text
}

struct Page {
    text: String,
    format: Format,
}

impl Page {
    /// A family's head; of a counter `name` is without `_total`.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let suffix = if kind == "counter" && self.format == Format::Text { "_total" } else { "" };
        let _ = write!(self.text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
    }

    fn sample<'a>(&mut self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>, value: f64) {
        self.text.push_str(name);
        let mut comma = '{';
        for (name, value) in labels {
            self.text.push(comma);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape_into(value, &mut self.text);
            self.text.push('"');
            comma = ',';
        }
        self.text.push_str(if comma == ',' { "} " } else { " " });
        let _ = if value.is_nan() {
            writeln!(self.text, "NaN")
        } else if value.is_infinite() {
            writeln!(self.text, "{}", if value > 0.0 { "+Inf" } else { "-Inf" })
        } else {
            writeln!(self.text, "{value}")
        };
    }

    /// A gauge with one sample for each target that has it.
    fn per_target(
        &mut self,
        snapshot: &Snapshot,
        (name, kind, help): (&str, &str, &str),
        value: impl Fn(&TargetSnapshot) -> Option<f64>,
    ) {
        self.family(name, kind, help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for target in &snapshot.targets {
            if let Some(value) = value(target) {
                self.sample(&format!("{name}{suffix}"), target.labels.iter(), value);
            }
        }
    }

    /// A gauge with one sample for each enabled detector that has it.
    fn per_detector(
        &mut self,
        snapshot: &Snapshot,
        (name, help): (&str, &str),
        value: impl Fn(&DetectorStatus) -> Option<f64>,
    ) {
        self.family(name, "gauge", help);
        for target in &snapshot.targets {
            for detector in target.detectors.iter().filter(|detector| detector.enabled) {
                if let Some(value) = value(detector) {
                    let model = [("model_type", detector.detector.name())];
                    self.sample(name, target.labels.iter().chain(model), value);
                }
            }
        }
    }

    /// A gauge with one sample for each metric that has it.
    fn per_metric(
        &mut self,
        snapshot: &Snapshot,
        (name, help): (&str, &str),
        value: impl Fn(&MetricSnapshot) -> Option<f64>,
    ) {
        self.family(name, "gauge", help);
        for target in &snapshot.targets {
            for metric in &target.metrics {
                if let Some(value) = value(metric) {
                    self.sample(name, target.labels.iter().chain(metric.labels.iter()), value);
                }
            }
        }
    }
}

/// A label's value; most need no escape, and go in at once.
fn escape_into(value: &str, text: &mut String) {
    let mut rest = value;
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        text.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

fn targets(page: &mut Page, snapshot: &Snapshot) {
    page.per_target(
        snapshot,
        ("dwcp_target_up", "gauge", "Whether the last scrape of the target succeeded."),
        |t| t.up.map(|up| f64::from(u8::from(up))),
    );
    page.per_target(snapshot, ("dwcp_metrics_processed", "counter", "Samples taken in."), |t| {
        Some(t.processed as f64)
    });
    page.per_target(
        snapshot,
        ("dwcp_scrape_lines_rejected", "counter", "Lines of the target's pages that were no samples."),
        |t| Some(t.rejected as f64),
    );
    page.per_target(
        snapshot,
        ("dwcp_samples_refused", "counter", "Samples refused because the window or the signal was full."),
        |t| Some(t.refused as f64),
    );
    page.family(
        "dwcp_samples_out_of_bounds",
        "counter",
        "Values of a signal that are impossible by its min and max.",
    );
    for target in &snapshot.targets {
        for (signal, count) in &target.out_of_bounds {
            let metric = [("metric_name", signal.as_str())];
            let labels = target.labels.iter().chain(metric);
            page.sample("dwcp_samples_out_of_bounds_total", labels, *count as f64);
        }
    }
    page.per_target(
        snapshot,
        (
            "dwcp_signal_glitches",
            "counter",
            "Counters that fell by less than a tenth and did not begin anew.",
        ),
        |t| Some(t.glitches as f64),
    );
    page.per_target(
        snapshot,
        (
            "dwcp_samples_too_far_ahead",
            "counter",
            "Samples refused because the exporter stamped them more than ten minutes ahead.",
        ),
        |t| Some(t.ahead as f64),
    );
    page.per_target(snapshot, ("dwcp_window_series", "gauge", "Raw series held."), |t| Some(t.series as f64));
    page.per_target(snapshot, ("dwcp_window_bytes", "gauge", "Bytes of the raw series' buffers."), |t| {
        Some(t.window_bytes as f64)
    });
    page.per_target(
        snapshot,
        (
            "dwcp_false_alert_budget_used_ratio",
            "gauge",
            "Incidents at warning or above opened in the last 24 h by false_alerts_per_day; true ones count.",
        ),
        |t| Some(t.budget_used),
    );
    page.per_target(
        snapshot,
        ("dwcp_last_verdict_timestamp_seconds", "gauge", "When the target was last judged."),
        |t| Some(t.last_verdict?.seconds()),
    );
    page.per_target(snapshot, ("dwcp_check_interval_seconds", "gauge", "Time between checks."), |_| {
        Some(snapshot.interval.as_secs_f64())
    });
}

fn detectors(page: &mut Page, snapshot: &Snapshot) {
    page.per_detector(
        snapshot,
        ("dwcp_detector_ready", "Whether the detector votes: 0 warming up, 1 voting."),
        |detector| Some(f64::from(u8::from(detector.ready))),
    );
    page.per_detector(
        snapshot,
        (
            "dwcp_model_trained_timestamp_seconds",
            "Time of the newest row the detector's model was fitted on.",
        ),
        |detector| Some(detector.trained_at?.seconds()),
    );
}

fn signals(page: &mut Page, snapshot: &Snapshot) {
    page.per_metric(snapshot, ("dwcp_signal_value", "The signal's value."), |m| m.value);
    page.per_metric(snapshot, ("dwcp_signal_expected", "Where the signal is expected."), |m| {
        Some(m.band?.expected)
    });
    page.per_metric(snapshot, ("dwcp_signal_lower", "Lower end of the signal's band."), |m| {
        Some(m.band?.lower)
    });
    page.per_metric(snapshot, ("dwcp_signal_upper", "Upper end of the signal's band."), |m| {
        Some(m.band?.upper)
    });
    page.per_metric(
        snapshot,
        ("dwcp_anomaly_score", "Weighted mean of the detectors' confidences, 0 to 1."),
        |m| Some(m.assessment?.score),
    );
    page.per_metric(
        snapshot,
        ("dwcp_anomaly_strength", "How strange the value is, from 0 up and unbounded: sort by it."),
        |m| m.strength,
    );
    page.per_metric(
        snapshot,
        ("dwcp_signal_anomalous", "Whether the signal's score exceeds the ensemble's threshold."),
        |m| Some(f64::from(u8::from(m.assessment?.score > snapshot.threshold))),
    );
    page.per_metric(snapshot, ("dwcp_anomaly_deviation_sigma", "Distance from expected, in sigmas."), |m| {
        Some(m.assessment?.deviation_sigma)
    });
    page.per_metric(
        snapshot,
        (
            "dwcp_signal_drift_index",
            "Population stability index of the last day against the training; above 0.25 much has changed.",
        ),
        |m| m.drift,
    );
    page.family(
        "dwcp_anomaly_confidence",
        "gauge",
        "A detector's calibrated confidence, 0 to 1; ensemble: of the voters.",
    );
    for target in &snapshot.targets {
        for metric in &target.metrics {
            let Some(assessment) = metric.assessment else { continue };
            let labels =
                |model| target.labels.iter().chain(metric.labels.iter()).chain([("model_type", model)]);
            for (detector, confidence) in Detector::ALL.into_iter().zip(assessment.confidences) {
                if let Some(confidence) = confidence {
                    page.sample("dwcp_anomaly_confidence", labels(detector.name()), confidence);
                }
            }
            page.sample("dwcp_anomaly_confidence", labels("ensemble"), assessment.confidence);
        }
    }
}

fn incidents(page: &mut Page, snapshot: &Snapshot) {
    page.family("dwcp_anomaly_firing", "gauge", "Whether an incident of that severity fires.");
    let each_severity = |page: &mut Page, target: &TargetSnapshot, metric: &MetricSnapshot| {
        for severity in Severity::ALL {
            let labels =
                target.labels.iter().chain(metric.labels.iter()).chain([("severity", severity.name())]);
            page.sample("dwcp_anomaly_firing", labels, f64::from(u8::from(metric.firing == Some(severity))));
        }
    };
    for target in &snapshot.targets {
        target.metrics.iter().for_each(|metric| each_severity(page, target, metric));
    }
    page.family(
        "dwcp_anomalies_detected",
        "counter",
        "Incidents, once for each detector that voted and once for the ensemble.",
    );
    for ((target, metric, severity, model), count) in counts(snapshot) {
        let more = [("severity", severity.name()), ("model_type", model)];
        page.sample(
            "dwcp_anomalies_detected_total",
            target.iter().chain(metric.iter()).chain(more),
            count as f64,
        );
    }
}

/// What a count is of: target, metric, severity and model.
type Counted<'a> = (&'a Labels, &'a Labels, Severity, &'static str);

/// Counts begin at 0, of the ensemble and of every detector that is enabled, so that `increase()` sees the first incident.
fn counts(snapshot: &Snapshot) -> Vec<(Counted<'_>, u64)> {
    let name = |key: &IncidentKey| key.detector.map_or("ensemble", Detector::name);
    let opened = snapshot.opened.iter();
    let mut opened: HashMap<Counted<'_>, u64> =
        opened.map(|(key, count)| ((&key.target, &key.metric, key.severity, name(key)), *count)).collect();
    let mut counts = Vec::new();
    for target in &snapshot.targets {
        for metric in &target.metrics {
            for severity in Severity::ALL {
                let enabled = target.detectors.iter().filter(|detector| detector.enabled);
                for model in enabled.map(|detector| detector.detector.name()).chain(["ensemble"]) {
                    let counted = (&target.labels, &metric.labels, severity, model);
                    counts.push((counted, opened.remove(&counted).unwrap_or(0)));
                }
            }
        }
    }
    let mut others: Vec<_> = opened.into_iter().collect();
    others.sort();
    counts.extend(others);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labels_value_is_escaped_where_it_must_be() {
        for (value, expect) in [("a", "a"), ("", ""), ("a\\b\"c\nd", "a\\\\b\\\"c\\nd"), ("ü\"", "ü\\\"")] {
            let mut text = String::new();
            escape_into(value, &mut text);
            assert_eq!(text, expect);
        }
    }
}
