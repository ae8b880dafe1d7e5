//! `detect`: a verdict now.

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Asked, Failure, Success, bad, ended, error, success};
use super::status::{SignalEntry, signal_entry};
use crate::detect::verdict::Severity;
use crate::engine::Unanswerable;
use crate::engine::snapshot::Detection;
use crate::series::Labels;
use crate::serve::{DetectRequest, Shared};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The label `instance` of a target, where there are several.
    target: Option<String>,
}

/// A verdict on one target.
#[derive(Serialize, ToSchema)]
pub(super) struct Verdict {
    #[schema(value_type = BTreeMap<String, String>)]
    target: Labels,
    /// Time of the check whose windows were used, Unix seconds.
    at: f64,
    /// Null while no detector is ready.
    score: Option<f64>,
    anomalous: bool,
    #[schema(value_type = String)]
    severity: Severity,
    confidence: f64,
    deviation_sigma: f64,
    /// The metric that the vote means.
    metric_name: Option<String>,
    /// Confidence of each detector that votes or could.
    confidences: BTreeMap<&'static str, f64>,
    metrics: Vec<SignalEntry>,
}

/// Judges the current windows, or a posted vector of metrics against them; changes nothing.
#[utoipa::path(post, path = "/api/v1/monitoring/anomaly/detect", params(Which),
    request_body(content = HashMap<String, f64>, description = "Metrics and their values; nothing for the current ones"),
    responses(
        (status = 200, body = Success<Verdict>), (status = 400, body = Failure), (status = 401, body = Failure),
        (status = 403, body = Failure), (status = 413), (status = 415, body = Failure),
        (status = 503, body = Failure)
))]
pub(super) async fn detect(
    State(shared): State<Shared>,
    Asked(which): Asked<Which>,
    body: Bytes,
) -> Response {
    let values = match posted(&body) {
        Ok(values) => values,
        Err(wrong) => return bad(wrong),
    };
    let (reply, answer) = oneshot::channel();
    if shared.detect.send(DetectRequest { target: which.target, values, reply }).await.is_err() {
        return ended();
    }
    match answer.await {
        Ok(Ok(detection)) => success(verdict(&detection)),
        Ok(Err(Unanswerable::Unclear(problem))) => bad(problem),
        Ok(Err(Unanswerable::NotYet(problem))) => {
            error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", problem)
        }
        Err(_) => ended(),
    }
}

fn posted(body: &[u8]) -> Result<Option<HashMap<String, f64>>, String> {
    let body = body.trim_ascii();
    if body.is_empty() {
        return Ok(None);
    }
    let values: HashMap<String, f64> = serde_json::from_slice(body).map_err(|error| {
        format!("the body must be an object of metrics and numbers, such as {{\"cpu_usage\": 97}}: {error}")
    })?;
    Ok(Some(values).filter(|values| !values.is_empty()))
}

fn verdict(detection: &Detection) -> Verdict {
    let assessment = detection.assessment.unwrap_or_default();
    let consensus = detection.consensus.as_ref().and_then(|labels| labels.get("metric_name"));
    let detectors = crate::detect::verdict::Detector::ALL.into_iter().zip(assessment.confidences);
    Verdict {
        target: detection.target.clone(),
        at: detection.at.seconds(),
        score: detection.assessment.map(|a| a.score),
        anomalous: detection.anomalous,
        severity: detection.severity,
        confidence: assessment.confidence,
        deviation_sigma: assessment.deviation_sigma,
        metric_name: consensus.map(str::to_owned),
        confidences: detectors.filter_map(|(detector, c)| Some((detector.name(), c?))).collect(),
        metrics: detection.metrics.iter().map(signal_entry).collect(),
    }
}
