//! `status`: what is going on.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Failure, Success, success};
use crate::detect::verdict::Detector;
use crate::engine::snapshot::{DetectorStatus, MetricSnapshot, TargetSnapshot};
use crate::series::{Labels, Timestamp};
use crate::serve::Shared;

/// Everything at one glance. Times are Unix seconds.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// Whether anything is judged.
    enabled: bool,
    /// Whether a configuration is loaded.
    ready: bool,
    /// Seconds since the start.
    uptime: f64,
    /// The same, whole.
    uptime_seconds: u64,
    version: &'static str,
    /// `detector.ensemble_threshold`.
    threshold: f64,
    /// Incidents that fire.
    firing: usize,
    targets: Vec<TargetStatus>,
    /// The detectors of all targets.
    detectors: Vec<DetectorOf>,
    /// The signals of all targets.
    signals: Vec<SignalOf>,
    alerting: Alerting,
}

#[derive(Serialize, ToSchema)]
struct TargetStatus {
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    instance: String,
    url: String,
    /// Whether the last scrape succeeded; null before the first.
    up: Option<bool>,
    /// Why it failed.
    failure: Option<String>,
    last_scrape: Option<f64>,
    /// Samples the last scrape exposed.
    samples: u64,
    rejected_lines: u64,
    /// Raw series held.
    series: usize,
    /// Score of the target as a whole.
    score: Option<f64>,
    false_alert_budget_used_ratio: f64,
    detectors: Vec<DetectorEntry>,
    signals: Vec<SignalEntry>,
}

#[derive(Serialize, ToSchema)]
struct DetectorOf {
    instance: String,
    #[serde(flatten)]
    detector: DetectorEntry,
}

#[derive(Serialize, ToSchema)]
struct DetectorEntry {
    #[schema(value_type = String)]
    model_type: Detector,
    enabled: bool,
    ready: bool,
    /// What it waits for while it does not vote.
    waiting_for: Option<String>,
    weight: f64,
    model_version: Option<String>,
    trained_at: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct SignalOf {
    instance: String,
    #[serde(flatten)]
    signal: SignalEntry,
}

/// A signal as it is now; null is no data.
#[derive(Serialize, ToSchema)]
pub(super) struct SignalEntry {
    metric_name: String,
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    unit: String,
    value: Option<f64>,
    /// Why there is no value.
    no_data: Option<String>,
    expected: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    score: Option<f64>,
    /// How strange it is, from 0 up and unbounded: what to sort by.
    strength: Option<f64>,
    confidence: Option<f64>,
    deviation_sigma: Option<f64>,
    drift: Option<f64>,
    /// Severity of the incident that fires.
    firing: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
struct Alerting {
    /// Addresses of the configured Alertmanagers.
    alertmanagers: Vec<String>,
    /// How alerts fared, for each endpoint that got any.
    deliveries: Vec<Delivery>,
}

/// Alerts of one endpoint since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::serve) struct Delivery {
    pub(in crate::serve) notifier: String,
    pub(in crate::serve) endpoint: String,
    pub(in crate::serve) sent: u64,
    pub(in crate::serve) failed: u64,
    pub(in crate::serve) dropped: u64,
}

/// What is going on: targets, detectors, signals and alerting.
#[utoipa::path(get, path = "/api/v1/monitoring/anomaly/status", responses(
    (status = 200, body = Success<Status>), (status = 401, body = Failure)
))]
pub(super) async fn status(State(shared): State<Shared>) -> Response {
    let snapshot = shared.snapshot.borrow().clone();
    let targets = &snapshot.targets;
    let alertmanagers = shared.settings.borrow().alertmanagers.clone();
    success(Status {
        enabled: snapshot.enabled,
        ready: shared.ready.load(Ordering::Relaxed),
        uptime: shared.started.elapsed().as_secs_f64(),
        uptime_seconds: shared.started.elapsed().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
        threshold: snapshot.threshold,
        firing: snapshot.incidents.iter().filter(|incident| incident.ended_at.is_none()).count(),
        targets: targets.iter().map(|target| target_status(target)).collect(),
        detectors: targets.iter().flat_map(|target| detectors_of(target)).collect(),
        signals: targets.iter().flat_map(|target| signals_of(target)).collect(),
        alerting: Alerting { alertmanagers, deliveries: deliveries(&(shared.own)()) },
    })
}

fn target_status(target: &TargetSnapshot) -> TargetStatus {
    TargetStatus {
        labels: target.labels.clone(),
        instance: instance(target),
        url: target.url.to_string(),
        up: target.up,
        failure: target.failure.clone(),
        last_scrape: target.last_scrape.map(Timestamp::seconds),
        samples: target.samples,
        rejected_lines: target.rejected,
        series: target.series,
        score: target.assessment.map(|a| a.score),
        false_alert_budget_used_ratio: target.budget_used,
        detectors: target.detectors.iter().map(detector_entry).collect(),
        signals: target.metrics.iter().map(signal_entry).collect(),
    }
}

fn instance(target: &TargetSnapshot) -> String {
    target.labels.get("instance").unwrap_or_default().to_owned()
}

fn detectors_of(target: &TargetSnapshot) -> impl Iterator<Item = DetectorOf> + '_ {
    let of = |status| DetectorOf { instance: instance(target), detector: detector_entry(status) };
    target.detectors.iter().map(of)
}

fn signals_of(target: &TargetSnapshot) -> impl Iterator<Item = SignalOf> + '_ {
    let of = |metric| SignalOf { instance: instance(target), signal: signal_entry(metric) };
    target.metrics.iter().map(of)
}

fn detector_entry(status: &DetectorStatus) -> DetectorEntry {
    DetectorEntry {
        model_type: status.detector,
        enabled: status.enabled,
        ready: status.ready,
        waiting_for: status.waiting_for.clone(),
        weight: status.weight,
        model_version: status.model_version.clone(),
        trained_at: status.trained_at.map(Timestamp::seconds),
    }
}

pub(super) fn signal_entry(metric: &MetricSnapshot) -> SignalEntry {
    SignalEntry {
        metric_name: metric.name().to_owned(),
        labels: metric.labels.clone(),
        unit: metric.unit.clone(),
        value: metric.value,
        no_data: metric.no_data.clone(),
        expected: metric.band.map(|band| band.expected),
        lower: metric.band.map(|band| band.lower),
        upper: metric.band.map(|band| band.upper),
        score: metric.assessment.map(|a| a.score),
        strength: metric.strength,
        confidence: metric.assessment.map(|a| a.confidence),
        deviation_sigma: metric.assessment.map(|a| a.deviation_sigma),
        drift: metric.drift,
        firing: metric.firing.map(crate::detect::verdict::Severity::name),
    }
}

/// Read from the sidecar's own metrics, so that the status and `/metrics` never disagree.
pub(in crate::serve) fn deliveries(own: &str) -> Vec<Delivery> {
    let mut found: BTreeMap<(String, String), Delivery> = BTreeMap::new();
    for line in own.lines().filter_map(|line| line.strip_prefix("dwcp_alerts_")) {
        let Some((kind, rest)) = line.split_once("_total{") else { continue };
        let Some((labels, value)) = rest.rsplit_once("} ") else { continue };
        let label = |name: &str| {
            let begun = labels.split_once(&format!("{name}=\""))?.1;
            Some(begun.split_once('"')?.0.to_owned())
        };
        let (Some(notifier), Some(endpoint)) = (label("notifier"), label("endpoint")) else { continue };
        let delivery = found.entry((notifier.clone(), endpoint.clone())).or_default();
        (delivery.notifier, delivery.endpoint) = (notifier, endpoint);
        let count = value.parse::<f64>().unwrap_or_default() as u64;
        match kind {
            "sent" => delivery.sent += count,
            "failed" => delivery.failed += count,
            "dropped" => delivery.dropped += count,
            _ => {}
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_those_of_the_metrics_page() {
        let own = "# TYPE dwcp_alerts_sent counter\n\
                   dwcp_alerts_sent_total{notifier=\"alertmanager\",endpoint=\"http://a:9093\"} 7\n\
                   dwcp_alerts_failed_total{endpoint=\"http://a:9093\",notifier=\"alertmanager\"} 2\n\
                   dwcp_alerts_dropped_total{notifier=\"slack\",endpoint=\"x\"} 1\n";
        let told = deliveries(own);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].sent, told[0].failed, told[0].dropped), (7, 2, 0));
        assert_eq!((told[1].notifier.as_str(), told[1].dropped), ("slack", 1));
    }
}
