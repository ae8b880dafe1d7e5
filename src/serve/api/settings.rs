//! `config`: the settings in force, and changing them while running.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::answer::{Failure, Success, bad, error, success, success_in_spite_of};
use crate::serve::Shared;
use crate::setting::Span;
use crate::{detect, incident, signal};

/// The settings in force.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct SettingsView {
    /// Every value in force; secrets are `<secret>`.
    #[schema(value_type = Object)]
    pub effective: Value,
    /// By the dotted key of each value, where it comes from.
    pub sources: BTreeMap<String, Layer>,
    /// What was set while running.
    #[schema(value_type = Object)]
    pub overlay: Value,
    /// Sections that may be set while running.
    pub settable: Vec<String>,
    /// Addresses of the configured Alertmanagers, without passwords.
    #[serde(skip)]
    pub alertmanagers: Vec<String>,
    /// Time between checks.
    #[serde(skip)]
    pub check_interval: Span,
    /// No configuration could be read: these are what idling takes.
    #[serde(skip)]
    pub is_degraded: bool,
}

/// Where a value comes from; each is over those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The default.
    Default,
    /// The configuration file.
    File,
    /// Set while running.
    Overlay,
    /// A variable of the environment.
    Environment,
}

/// A change of the settings, with a place for the outcome: what it was taken in spite of, or why it was not.
pub struct SettingsRequest {
    /// What to change.
    pub change: SettingsChange,
    /// The outcome.
    pub reply: oneshot::Sender<Result<Vec<String>, Refused>>,
}

/// What to change.
pub enum SettingsChange {
    /// Lay a partial configuration over what was set before.
    Put(Value),
    /// Forget everything that was set.
    Delete,
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is wrong.
    Bad(String),
    /// It could not be kept, or what is under it is broken.
    Failed(String),
}

/// A partial configuration: what is left out stays as it is. Lists are replaced whole.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is wanted; the whole configuration reads the body")]
struct Settings {
    /// Off: scrape and serve signals, detect and alert nothing.
    enabled: Option<bool>,
    check_interval: Option<Span>,
    signals: Option<Vec<signal::Definition>>,
    detector: Option<detect::config::Config>,
    severity: Option<incident::config::Severities>,
    incident: Option<incident::config::Config>,
    alert: Option<AlertSettings>,
}

#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is wanted")]
struct AlertSettings {
    /// Shortest time between two messages about one thing on a native channel.
    throttle_duration: Option<Span>,
}

/// The settings in force, with their sources.
#[utoipa::path(get, path = "/api/v1/monitoring/anomaly/config", responses(
    (status = 200, body = Success<SettingsView>), (status = 401, body = Failure)
))]
pub(super) async fn get(State(shared): State<Shared>) -> Response {
    success(&**shared.settings.borrow())
}

/// Lays a partial configuration over what was set before: all of it or nothing. Survives a restart.
#[utoipa::path(put, path = "/api/v1/monitoring/anomaly/config", request_body = Settings, responses(
    (status = 200, body = Success<SettingsView>), (status = 400, body = Failure), (status = 401, body = Failure),
    (status = 403, body = Failure), (status = 413), (status = 415, body = Failure), (status = 500, body = Failure),
    (status = 503, body = Failure)
))]
pub(super) async fn put(State(shared): State<Shared>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(value) => change(&shared, SettingsChange::Put(value)).await,
        Err(error) => bad(format!("the body must be JSON: {error}")),
    }
}

/// Forgets everything that was set while running.
#[utoipa::path(delete, path = "/api/v1/monitoring/anomaly/config", responses(
    (status = 200, body = Success<SettingsView>), (status = 401, body = Failure), (status = 403, body = Failure),
    (status = 415, body = Failure), (status = 500, body = Failure), (status = 503, body = Failure)
))]
pub(super) async fn delete(State(shared): State<Shared>) -> Response {
    change(&shared, SettingsChange::Delete).await
}

async fn change(shared: &Shared, change: SettingsChange) -> Response {
    let gone = || error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "shutting down");
    let (reply, outcome) = oneshot::channel();
    if shared.change_settings.send(SettingsRequest { change, reply }).await.is_err() {
        return gone();
    }
    match outcome.await {
        Ok(Ok(warnings)) => success_in_spite_of(&**shared.settings.borrow(), warnings),
        Ok(Err(Refused::Bad(problem))) => bad(problem),
        Ok(Err(Refused::Failed(problem))) => error(StatusCode::INTERNAL_SERVER_ERROR, "internal", problem),
        Err(_) => gone(),
    }
}
