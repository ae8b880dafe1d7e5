//! A snapshot to try answers on.
#![cfg(test)]

use std::sync::Arc;

use crate::detect::verdict::{Assessment, Band, Detector};
use crate::engine::snapshot::{DetectorStatus, MetricSnapshot, Snapshot, TargetSnapshot};
use crate::series::{Labels, Timestamp};

pub(super) fn labels(instance: &str) -> Labels {
    Labels::new([("instance", instance), ("job", "node")])
}

pub(super) fn metric(name: &str) -> Labels {
    Labels::new([("metric_name", name)])
}

/// One target with `metrics`, judged at `at` by all detectors.
pub(super) fn snapshot(metrics: &[&str], at: Timestamp) -> Snapshot {
    let target = TargetSnapshot {
        last_verdict: None,
        labels: labels("web-1"),
        url: crate::setting::Address::new("http://web-1:9100/metrics"),
        node_scope: true,
        up: Some(true),
        failure: None,
        last_scrape: Some(at),
        samples: 500,
        processed: 500,
        rejected: 0,
        series: 20,
        window_bytes: 1000,
        refused: 0,
        out_of_bounds: vec![("cpu_usage".to_owned(), 0)],
        glitches: 0,
        ahead: 0,
        detectors: Detector::ALL.map(|detector| DetectorStatus {
            detector,
            enabled: true,
            weight: 0.25,
            ready: true,
            waiting_for: None,
            trained_at: None,
            model_version: None,
        }),
        assessment: Some(Assessment::default()),
        consensus: None,
        budget_used: 0.0,
        metrics: metrics.iter().map(|name| metric_snapshot(name, at)).collect(),
    };
    Snapshot { at, enabled: true, threshold: 0.6, targets: vec![Arc::new(target)], ..Snapshot::default() }
}

fn metric_snapshot(name: &str, at: Timestamp) -> MetricSnapshot {
    MetricSnapshot {
        labels: metric(name),
        unit: "%".to_owned(),
        value: Some(20.0 + (at.millis() % 7) as f64),
        no_data: None,
        outside: 0,
        band: Some(Band { expected: 22.0, lower: 12.0, upper: 32.0 }),
        assessment: Some(Assessment {
            score: 0.1,
            confidences: [Some(0.1); Detector::COUNT],
            ..Assessment::default()
        }),
        strength: Some(0.5),
        firing: None,
        drift: None,
        runbook_url: None,
    }
}
