//! The JSON API, in Prometheus' envelope.

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::sync::oneshot;

use super::{DetectRequest, Shared};
use crate::engine::snapshot::{DetectorStatus, MetricSnapshot, TargetSnapshot};
use crate::incident::Incident;
use crate::series::Timestamp;
use crate::setting::Span;

fn success(data: &Value) -> Response {
    Json(json!({"status": "success", "data": data})).into_response()
}

pub(super) fn error(status: StatusCode, kind: &str, text: impl Into<String>) -> Response {
    (status, Json(json!({"status": "error", "errorType": kind, "error": text.into()}))).into_response()
}

fn bad(text: impl Into<String>) -> Response {
    error(StatusCode::BAD_REQUEST, "bad_data", text)
}

pub(super) async fn not_found(uri: Uri) -> Response {
    error(StatusCode::NOT_FOUND, "not_found", format!("nothing at {}", uri.path()))
}

pub(super) async fn method_not_allowed(uri: Uri) -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "bad_data", format!("this method is not for {}", uri.path()))
}

/// What is going on.
pub(super) async fn status(State(shared): State<Shared>) -> Response {
    let snapshot = shared.snapshot.borrow().clone();
    success(&json!({
        "enabled": snapshot.enabled,
        "ready": shared.ready.load(std::sync::atomic::Ordering::Relaxed),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
        "targets": snapshot.targets.iter().map(|target| target_json(target)).collect::<Vec<_>>(),
        "alerting": {"alertmanagers": *shared.alerting},
    }))
}

fn target_json(target: &TargetSnapshot) -> Value {
    json!({
        "labels": target.labels,
        "url": target.url,
        "up": target.up,
        "failure": target.failure,
        "last_scrape": target.last_scrape.map(super::super::series::Timestamp::seconds),
        "samples": target.samples,
        "rejected_lines": target.rejected,
        "series": target.series,
        "score": target.assessment.map(|a| a.score),
        "detectors": target.detectors.iter().map(detector_json).collect::<Vec<_>>(),
        "signals": target.metrics.iter().map(metric_json).collect::<Vec<_>>(),
    })
}

fn detector_json(status: &DetectorStatus) -> Value {
    json!({
        "model_type": status.detector,
        "enabled": status.enabled,
        "ready": status.ready,
        "waiting_for": status.waiting_for,
        "weight": status.weight,
        "model_version": status.model_version,
        "trained_at": status.trained_at.map(Timestamp::seconds),
    })
}

fn metric_json(metric: &MetricSnapshot) -> Value {
    json!({
        "labels": metric.labels,
        "metric_name": metric.name(),
        "unit": metric.unit,
        "value": metric.value,
        "no_data": metric.no_data,
        "expected": metric.band.map(|band| band.expected),
        "lower": metric.band.map(|band| band.lower),
        "upper": metric.band.map(|band| band.upper),
        "score": metric.assessment.map(|a| a.score),
        "deviation_sigma": metric.assessment.map(|a| a.deviation_sigma),
        "firing": metric.firing,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recent {
    duration: Option<String>,
}

/// Incidents, newest first.
pub(super) async fn recent(
    State(shared): State<Shared>,
    query: Result<Query<Recent>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return bad(rejection.body_text()),
    };
    let span: Span = match query.duration.as_deref().unwrap_or("24h").parse() {
        Ok(span) => span,
        Err(wrong) => return bad(format!("duration: {wrong}")),
    };
    let snapshot = shared.snapshot.borrow().clone();
    let since = snapshot.at - span.0;
    let is_recent = |incident: &&Incident| incident.ended_at.is_none_or(|ended| ended >= since);
    let incidents: Vec<Value> = snapshot.incidents.iter().filter(is_recent).map(incident_json).collect();
    success(&json!(incidents))
}

fn incident_json(incident: &Incident) -> Value {
    let votes: HashMap<&str, f64> = incident.votes().map(|(detector, c)| (detector.name(), c)).collect();
    let labels = incident.target.with(incident.metric.iter());
    json!({
        "metric_name": incident.metric_name(),
        "severity": incident.severity(),
        "score": incident.worst.score,
        "confidence": incident.worst.confidence,
        "deviation_sigma": incident.worst.deviation_sigma,
        "value": incident.value,
        "expected": incident.expected,
        "started_at": incident.started_at.seconds(),
        "ended_at": incident.ended_at.map(super::super::series::Timestamp::seconds),
        "reason": incident.reason,
        "votes": votes,
        "also": incident.also,
        "labels": labels,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    target: Option<String>,
}

/// A verdict on the current windows, or on a posted vector; changes nothing.
pub(super) async fn detect(
    State(shared): State<Shared>,
    query: Result<Query<Target>, axum::extract::rejection::QueryRejection>,
    body: Bytes,
) -> Response {
    let target = match query {
        Ok(Query(query)) => query.target,
        Err(rejection) => return bad(rejection.body_text()),
    };
    let is_empty = body.trim_ascii().is_empty() || body.trim_ascii() == b"{}";
    let values = if is_empty { None } else { Some(serde_json::from_slice::<HashMap<String, f64>>(&body)) };
    let values = match values.transpose() {
        Ok(values) => values,
        Err(error) => {
            return bad(format!(
                "the body must be an object of metrics and numbers, such as {{\"cpu_usage\": 97}}: {error}"
            ));
        }
    };
    let (reply, answer) = oneshot::channel();
    if shared.detect.send(DetectRequest { target, values, reply }).await.is_err() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the engine has ended");
    }
    match answer.await {
        Ok(Ok(detection)) => {
            let assessment = detection.assessment.unwrap_or_default();
            success(&json!({
                "target": detection.target,
                "at": detection.at.seconds(),
                "score": detection.assessment.map(|a| a.score),
                "anomalous": detection.anomalous,
                "severity": detection.severity,
                "confidence": assessment.confidence,
                "deviation_sigma": assessment.deviation_sigma,
                "metric_name": detection.consensus.as_ref().and_then(|labels| labels.get("metric_name")),
                "metrics": detection.metrics.iter().map(metric_json).collect::<Vec<_>>(),
            }))
        }
        Ok(Err(problem)) => bad(problem),
        Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the engine has ended"),
    }
}
