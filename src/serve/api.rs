//! The JSON API, in Prometheus' envelope.

mod answer;
mod detect;
mod document;
mod explain;
mod recent;
mod settings;
mod status;
mod window;

use axum::Router;
use axum::routing::{get, post};

pub(super) use answer::{error, method_not_allowed, not_found};
pub use settings::{Layer, Refused, SettingsChange, SettingsRequest, SettingsView};
pub(super) use status::deliveries;

use super::Shared;

/// Where everything about anomalies is.
const BASE: &str = "/api/v1/monitoring/anomaly";

/// The routes.
pub(super) fn routes() -> Router<Shared> {
    let anomaly = Router::new()
        .route("/status", get(status::status))
        .route("/recent", get(recent::recent))
        .route("/detect", post(detect::detect))
        .route("/explain", get(explain::explain))
        .route("/window", get(window::window))
        .route("/config", get(settings::get).put(settings::put).delete(settings::delete));
    Router::new().nest(BASE, anomaly).route("/api/v1/openapi.json", get(document::document))
}
