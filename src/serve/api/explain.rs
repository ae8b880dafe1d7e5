//! `explain`: what an incident rests on.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Asked, Failure, Success, missing, success};
use super::recent::{IncidentEntry, entry};
use crate::detect::evidence::{Evidence, RawScore};
use crate::detect::verdict::Detector;
use crate::incident::Incident;
use crate::series::Timestamp;
use crate::serve::{Shared, words};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Of {
    /// From `recent`. Without it, the newest incident that the other parameters leave.
    id: Option<String>,
    metric_name: Option<String>,
    /// The label `instance` of the target.
    target: Option<String>,
}

/// What an incident rests on.
#[derive(Serialize, ToSchema)]
pub(super) struct Account {
    incident: IncidentEntry,
    /// `detector.ensemble_threshold` as it is now.
    threshold: f64,
    /// The check that the votes are of: the incident's worst. Unix seconds.
    at: Option<f64>,
    /// What is strange about the metric where that is no distance from what is expected: `unchanged for 12 checks`.
    state: Option<String>,
    /// One for each detector that was ready.
    detectors: Vec<Vote>,
    /// The metric's values up to that check, as far as they are still held.
    window: Vec<Seen>,
}

/// What one detector said.
#[derive(Serialize, ToSchema)]
struct Vote {
    #[schema(value_type = String)]
    model_type: Detector,
    voted: bool,
    /// In the target's anomaly, 0–1.
    confidence: f64,
    /// In the metric's, 0–1.
    metric_confidence: f64,
    weight: f64,
    /// −log₁₀ of the tail probability of what it saw.
    raw_score: f64,
    /// The raw score from which on it votes.
    threshold: f64,
    deviation_sigma: Option<f64>,
    /// The ways in which it looked at the metric.
    looks: Vec<Look>,
    /// Share of its say that each metric has, largest first.
    attribution: Vec<Share>,
}

#[derive(Serialize, ToSchema)]
struct Look {
    by: String,
    /// In the detector's own unit: sigmas, path depth or reconstruction error.
    raw_score: f64,
    /// −log₁₀ of its tail probability.
    surprise: f64,
    window: Window,
}

/// What a detector compared with or looked at.
#[derive(Serialize, ToSchema)]
struct Window {
    /// Values or rows.
    values: usize,
    /// Checks that each of them is the mean of.
    smoothing: usize,
}

#[derive(Serialize, ToSchema)]
struct Share {
    metric_name: String,
    share: f64,
}

#[derive(Serialize, ToSchema)]
struct Seen {
    at: f64,
    value: Option<f64>,
    expected: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
}

/// What an incident rests on: each detector's vote, raw score, threshold, window and attribution.
#[utoipa::path(get, path = "/api/v1/monitoring/anomaly/explain", params(Of), responses(
    (status = 200, body = Success<Account>), (status = 400, body = Failure), (status = 401, body = Failure),
    (status = 404, body = Failure)
))]
pub(super) async fn explain(State(shared): State<Shared>, Asked(of): Asked<Of>) -> Response {
    let snapshot = shared.snapshot.borrow().clone();
    let is_meant = |incident: &&Incident| {
        of.id.as_ref().is_none_or(|id| words::id(incident) == *id)
            && of.metric_name.as_ref().is_none_or(|name| incident.metric_name() == name)
            && of.target.as_ref().is_none_or(|target| incident.target.get("instance") == Some(target))
    };
    let Some(incident) = snapshot.incidents.iter().find(is_meant) else {
        return missing("no incident of the last 24 hours is meant by that; see recent");
    };
    let evidence = incident.explanation.as_deref();
    let at = evidence.map(|explanation| explanation.at);
    success(Account {
        incident: entry(incident, &snapshot),
        threshold: snapshot.threshold,
        at: at.map(Timestamp::seconds),
        state: evidence.and_then(|explanation| explanation.state.clone()),
        detectors: evidence.into_iter().flat_map(|e| e.evidence.iter().map(vote)).collect(),
        window: at.map(|at| window(&shared, incident, at)).unwrap_or_default(),
    })
}

fn vote(evidence: &Evidence) -> Vote {
    let shares = evidence.attribution.iter();
    Vote {
        model_type: evidence.detector,
        voted: evidence.voted(),
        confidence: evidence.confidence,
        metric_confidence: evidence.metric_confidence,
        weight: evidence.weight,
        raw_score: evidence.surprisal,
        threshold: evidence.threshold,
        deviation_sigma: evidence.deviation_sigma,
        looks: evidence.looks.iter().map(look).collect(),
        attribution: shares.map(|(name, share)| Share { metric_name: name.clone(), share: *share }).collect(),
    }
}

fn look(raw: &RawScore) -> Look {
    Look {
        by: raw.look.clone(),
        raw_score: raw.score,
        surprise: raw.surprisal,
        window: Window { values: raw.window, smoothing: raw.smoothing },
    }
}

fn window(shared: &Shared, incident: &Incident, until: Timestamp) -> Vec<Seen> {
    let seen = |point: &crate::serve::course::Point| Seen {
        at: point.at.seconds(),
        value: point.value,
        expected: point.band.map(|band| band.expected),
        lower: point.band.map(|band| band.lower),
        upper: point.band.map(|band| band.upper),
    };
    shared.courses.read(&incident.target, &incident.metric, |points| {
        points.filter(|point| point.at <= until).map(seen).collect()
    })
}
