//! The API described by itself: `OpenAPI`, from the handlers and their answers.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

use super::{detect, explain, recent, settings, status, window};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "dwcp-anomaly",
        description = "Anomalies beside a node exporter: what is going on, why, and by which settings"
    ),
    paths(
        status::status,
        recent::recent,
        explain::explain,
        window::window,
        detect::detect,
        settings::get,
        settings::put,
        settings::delete,
        document
    )
)]
struct Description;

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, body = serde_json::Value), (status = 401)))]
pub(super) async fn document() -> Response {
    static DOCUMENT: LazyLock<String> =
        LazyLock::new(|| Description::openapi().to_json().unwrap_or_else(|_| "{}".to_owned()));
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}
