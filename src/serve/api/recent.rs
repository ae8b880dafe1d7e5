//! `recent`: incidents, newest first.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Asked, Failure, Success, bad, success};
use crate::detect::verdict::Severity;
use crate::incident::{Incident, Reason};
use crate::series::{Labels, Timestamp};
use crate::serve::{Shared, words};
use crate::setting::Span;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Recent {
    /// How far back, such as 1h or 1d12h. Incidents are remembered for 24 h.
    #[param(value_type = Option<String>, default = "24h", pattern = r"^([1-9]\d{0,3}d)?([1-9]\d{0,3}h)?([1-9]\d{0,3}m)?([1-9]\d{0,3}s)?$", min_length = 2)]
    duration: Option<String>,
}

/// An incident; times are Unix seconds.
#[derive(Serialize, ToSchema)]
pub(super) struct IncidentEntry {
    /// For `explain`.
    id: String,
    metric_name: String,
    #[schema(value_type = String)]
    severity: Severity,
    score: f64,
    confidence: f64,
    deviation_sigma: f64,
    /// At its worst check.
    value: f64,
    expected: Option<f64>,
    started_at: f64,
    /// Null while it fires.
    ended_at: Option<f64>,
    /// Why it is as it is.
    #[schema(value_type = String)]
    reason: Reason,
    /// The same for people.
    summary: String,
    /// Confidence of each detector that voted.
    votes: BTreeMap<&'static str, f64>,
    /// The target's other anomalous metrics.
    also: Vec<String>,
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
}

/// Incidents that fire or ended lately, newest first.
#[utoipa::path(get, path = "/api/v1/monitoring/anomaly/recent", params(Recent), responses(
    (status = 200, body = Success<Vec<IncidentEntry>>), (status = 400, body = Failure),
    (status = 401, body = Failure)
))]
pub(super) async fn recent(State(shared): State<Shared>, Asked(recent): Asked<Recent>) -> Response {
    let span: Span = match recent.duration.as_deref().unwrap_or("24h").parse() {
        Ok(Span(Duration::ZERO)) => return bad("duration: must be above 0, such as 24h".to_owned()),
        Ok(span) => span,
        Err(wrong) => return bad(format!("duration: {wrong}")),
    };
    let snapshot = shared.snapshot.borrow().clone();
    let since = snapshot.at - span.0;
    let is_recent = |incident: &&Incident| incident.ended_at.is_none_or(|ended| ended >= since);
    let incidents = snapshot.incidents.iter().filter(is_recent);
    success(incidents.map(|incident| entry(incident, &snapshot)).collect::<Vec<_>>())
}

pub(super) fn entry(incident: &Incident, snapshot: &crate::engine::snapshot::Snapshot) -> IncidentEntry {
    IncidentEntry {
        id: words::id(incident),
        metric_name: incident.metric_name().to_owned(),
        severity: incident.severity(),
        score: incident.worst.score,
        confidence: incident.worst.confidence,
        deviation_sigma: incident.worst.deviation_sigma,
        value: incident.value,
        expected: incident.expected,
        started_at: incident.started_at.seconds(),
        ended_at: incident.ended_at.map(Timestamp::seconds),
        reason: incident.reason,
        summary: words::summary(incident, snapshot),
        votes: incident.votes().map(|(detector, c)| (detector.name(), c)).collect(),
        also: incident.also.clone(),
        labels: incident.target.with(incident.metric.iter()),
    }
}
