//! `POST /api/v2/alerts`: another sidecar hands its alerts in.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{Refused, Shared};

/// Takes alerts in; who may do so the guard has asked already. Answers as Alertmanager does.
pub(super) async fn hand_in(State(shared): State<Shared>, body: Bytes) -> Response {
    match (shared.relay)(&body) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(Refused::Bad(problem)) => (StatusCode::BAD_REQUEST, problem).into_response(),
        Err(Refused::Failed(problem)) => (StatusCode::SERVICE_UNAVAILABLE, problem).into_response(),
    }
}
