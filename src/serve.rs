//! What the sidecar answers: `/metrics`, the API, a page.
//!
//! Everything is read from the last snapshot, so answers never wait for the engine. Connections are hyper's, bounded in
//! number and in patience; routes are axum's.

mod api;
mod connection;
mod course;
mod example;
mod guard;
mod live;
pub mod metrics;
mod page;
mod relay;
mod web;
mod words;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use api::{Layer, Refused, SettingsChange, SettingsRequest, SettingsView};
pub use guard::Guard;
pub use web::WebConfig;

use crate::engine::Unanswerable;
use crate::engine::snapshot::{Detection, Snapshot};
use crate::supervisor::{Task, Tasks};
use course::Courses;
use live::Live;

/// Of a request.
const BODY: usize = 1 << 20;
/// Bodies that are read at once.
const BODIES: usize = 16;

/// A request for a verdict.
pub struct DetectRequest {
    /// The target's instance; needed where there are several.
    pub target: Option<String>,
    /// A vector of metrics, or `None` for the current windows.
    pub values: Option<HashMap<String, f64>>,
    /// The answer, or what is wrong with the question.
    pub reply: oneshot::Sender<Result<Detection, Unanswerable>>,
}

/// A request to read the configuration anew, with a place for the outcome.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// Everything that is answered from.
pub struct Given {
    /// What the engine last showed. Ends when the engine does.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Writes the sidecar's own metrics, in OpenMetrics without its last line.
    pub own: Arc<dyn Fn() -> String + Send + Sync>,
    /// Asks for verdicts.
    pub detect: mpsc::Sender<DetectRequest>,
    /// Asks for a reload.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Asks for other settings.
    pub change_settings: mpsc::Sender<SettingsRequest>,
    /// The settings in force.
    pub settings: watch::Receiver<Arc<SettingsView>>,
    /// Who may change anything.
    pub guard: Arc<Guard>,
    /// TLS, users and headers.
    pub web: Arc<WebConfig>,
    /// Set once the configuration is loaded.
    pub ready: Arc<AtomicBool>,
    /// Long-lived tasks, of which one may be down.
    pub tasks: Tasks,
    /// When the process started.
    pub started: Instant,
    /// Counts a login that failed, by reason.
    pub failed_login: Arc<dyn Fn(&'static str) + Send + Sync>,
    /// Takes in the alerts of another sidecar, or says what is wrong with them.
    pub relay: Arc<Relay>,
}

/// Takes in the body of a request, or says what is wrong with it.
pub type Relay = dyn Fn(&[u8]) -> Result<(), Refused> + Send + Sync;

/// What handlers see: what they are given, and what the server keeps by itself.
#[derive(Clone)]
struct Shared {
    given: Arc<Given>,
    courses: Courses,
    live: Live,
    /// Room for requests that bring something.
    bodies: Arc<Semaphore>,
}

impl std::ops::Deref for Shared {
    type Target = Given;

    fn deref(&self) -> &Given {
        &self.given
    }
}

/// Serves until told to stop, then lets open requests end.
pub async fn run(listener: TcpListener, given: Given, stop: CancellationToken) {
    let shared = Shared {
        given: Arc::new(given),
        courses: Courses::default(),
        live: Live::new(stop.clone()),
        bodies: Arc::new(Semaphore::new(BODIES)),
    };
    let tasks = shared.tasks.clone();
    let (router, web) = (router(shared.clone()), Arc::clone(&shared.web));
    let (kept, token) = (tasks.clone(), stop.clone());
    let following = tokio::spawn(async move {
        let state = (shared, token.clone());
        kept.keep(Task::Page, token, state, |(shared, stop), pulse| {
            live::follow(shared, stop, pulse).boxed()
        })
        .await;
    });
    let until = stop.clone();
    tasks
        .keep(Task::Server, until, listener, |listener, pulse| {
            pulse.busy();
            pulse.idle();
            connection::serve(listener, router.clone(), Arc::clone(&web), stop.clone()).boxed()
        })
        .await;
    // It ends by the same word.
    let _ = following.await;
}

fn router(shared: Shared) -> Router {
    let change = axum::middleware::from_fn_with_state(shared.clone(), guard::may_change);
    Router::new()
        .merge(page::routes())
        .merge(api::routes(&shared))
        .route("/metrics", get(metrics::answer))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/api/v2/alerts", post(relay::hand_in).route_layer(change.clone()))
        .route("/-/reload", post(reload).put(reload).route_layer(change))
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(shared.clone(), guard::admit))
        .layer(tower_http::limit::RequestBodyLimitLayer::new(BODY))
        .layer(axum::middleware::map_response(api::too_long))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .with_state(shared)
}

/// Alive as long as the engine and every long-lived task is.
async fn healthy(State(shared): State<Shared>) -> Response {
    let mut problems = shared.tasks.problems();
    if shared.snapshot.has_changed().is_err() {
        problems.push("the engine has ended".to_owned());
    }
    if problems.is_empty() {
        return "dwcp-anomaly is healthy.\n".into_response();
    }
    let told = format!("dwcp-anomaly is not healthy: {}.\n", problems.join("; "));
    (StatusCode::SERVICE_UNAVAILABLE, told).into_response()
}

async fn ready(State(shared): State<Shared>) -> Response {
    if shared.ready.load(Ordering::Relaxed) {
        "dwcp-anomaly is ready.\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "No configuration is loaded.\n").into_response()
    }
}

async fn reload(State(shared): State<Shared>) -> Response {
    let (reply, outcome) = oneshot::channel();
    if shared.reload.send(reply).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    match outcome.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(problems)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {problems}\n"))
                .into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "broken off; the log says why\n").into_response(),
    }
}
