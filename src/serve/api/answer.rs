//! The envelope of every answer, and what is read of a request.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

/// An answer that is one.
#[derive(Serialize, ToSchema)]
pub(super) struct Success<T> {
    status: Succeeded,
    data: T,
    /// What the request was taken in spite of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Succeeded {
    Success,
}

/// An answer that says why there is none.
#[derive(Serialize, ToSchema)]
pub(super) struct Failure {
    status: Failed,
    /// `bad_data`, `forbidden`, `not_found`, `unavailable` or `internal`.
    #[serde(rename = "errorType")]
    error_type: &'static str,
    /// In words.
    error: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Failed {
    Error,
}

pub(super) fn success(data: impl Serialize) -> Response {
    success_in_spite_of(data, Vec::new())
}

pub(super) fn success_in_spite_of(data: impl Serialize, warnings: Vec<String>) -> Response {
    Json(Success { status: Succeeded::Success, data, warnings }).into_response()
}

pub(in crate::serve) fn error(
    status: StatusCode,
    error_type: &'static str,
    error: impl Into<String>,
) -> Response {
    (status, Json(Failure { status: Failed::Error, error_type, error: error.into() })).into_response()
}

pub(super) fn bad(text: impl Into<String>) -> Response {
    error(StatusCode::BAD_REQUEST, "bad_data", text)
}

pub(super) fn missing(text: impl Into<String>) -> Response {
    error(StatusCode::NOT_FOUND, "not_found", text)
}

pub(super) fn ended() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the engine has ended")
}

pub(in crate::serve) async fn not_found(uri: Uri) -> Response {
    missing(format!("nothing at {}", uri.path()))
}

pub(in crate::serve) async fn method_not_allowed(uri: Uri) -> Response {
    let text = format!("this method is not for {}", uri.path());
    error(StatusCode::METHOD_NOT_ALLOWED, "bad_data", text)
}

/// A body that is too long is refused before anybody of ours sees it; that is told in the envelope as well.
pub(in crate::serve) async fn too_long(response: Response) -> Response {
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "bad_data", "the body is longer than 1 MiB");
    }
    response
}

/// A query string; what does not fit is told in the envelope.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(bad(rejection.body_text())),
        }
    }
}
