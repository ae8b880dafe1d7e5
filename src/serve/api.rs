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
use axum::routing::{get, post, put};

pub(super) use answer::{error, method_not_allowed, not_found, too_long};
pub use settings::{Layer, Refused, SettingsChange, SettingsRequest, SettingsView};
pub(super) use status::deliveries;

use super::{Shared, guard};

/// Where everything about anomalies is.
const BASE: &str = "/api/v1/monitoring/anomaly";

/// The routes.
pub(super) fn routes(shared: &Shared) -> Router<Shared> {
    let guarded = || axum::middleware::from_fn_with_state(shared.clone(), guard::may_change);
    let change = put(settings::put).delete(settings::delete).route_layer(guarded());
    let anomaly = Router::new()
        .route("/status", get(status::status))
        .route("/recent", get(recent::recent))
        .route("/detect", post(detect::detect).route_layer(guarded()))
        .route("/explain", get(explain::explain))
        .route("/window", get(window::window))
        .route("/config", get(settings::get).merge(change));
    Router::new().nest(BASE, anomaly).route("/api/v1/openapi.json", get(document::document))
}
