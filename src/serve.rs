//! What the sidecar answers: `/metrics`, the API, a page.
//!
//! Everything is read from the last snapshot, so answers never wait for the engine. Connections are hyper's, bounded in
//! number and in patience; routes are axum's.

mod api;
mod guard;
pub mod metrics;
mod page;
mod relay;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use guard::Guard;

use crate::engine::snapshot::{Detection, Snapshot};

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// For a client to send its headers.
const HEADERS: Duration = Duration::from_secs(10);
/// For connections to end once told to.
const GRACE: Duration = Duration::from_secs(3);
/// Of a request.
const BODY: usize = 1 << 20;

/// A request for a verdict.
pub struct DetectRequest {
    /// The target's instance; needed where there are several.
    pub target: Option<String>,
    /// A vector of metrics, or `None` for the current windows.
    pub values: Option<HashMap<String, f64>>,
    /// The answer, or what is wrong with the question.
    pub reply: oneshot::Sender<Result<Detection, String>>,
}

/// A request to read the configuration anew, with a place for the outcome.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// Everything that is answered from.
#[derive(Clone)]
pub struct Shared {
    /// What the engine last showed. Ends when the engine does.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Writes the sidecar's own metrics, in OpenMetrics without its last line.
    pub own: Arc<dyn Fn() -> String + Send + Sync>,
    /// Asks for verdicts.
    pub detect: mpsc::Sender<DetectRequest>,
    /// Asks for a reload.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Who may change anything.
    pub guard: Arc<Guard>,
    /// Set once the configuration is loaded.
    pub ready: Arc<AtomicBool>,
    /// When the process started.
    pub started: Instant,
    /// How alerts leave, for the status.
    pub alerting: Arc<Vec<String>>,
    /// Takes in the alerts of another sidecar, or says what is wrong with them.
    pub relay: Arc<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>,
}

/// Serves until told to stop, then lets open requests end.
pub async fn run(listener: TcpListener, shared: Shared, stop: CancellationToken) {
    let router = router(shared);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        // Too many open files, or a client that left already: the next may fare better.
        let (Ok(place), Ok((stream, _))) = (place, stream) else { continue };
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that breaks is the client's affair.
            let _ = connection.await;
            drop(place);
        });
    }
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

fn router(shared: Shared) -> Router {
    let api = Router::new()
        .route("/status", get(api::status))
        .route("/recent", get(api::recent))
        .route("/detect", post(api::detect));
    Router::new()
        .route("/", get(page::index))
        .route("/runbook/{metric}", get(page::runbook))
        .route("/metrics", get(metrics::answer))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .route("/api/v2/alerts", post(relay::hand_in))
        .nest("/api/v1/monitoring/anomaly", api)
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(shared.clone(), guard::check))
        .layer(tower_http::limit::RequestBodyLimitLayer::new(BODY))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .with_state(shared)
}

/// Alive as long as the engine is.
async fn healthy(State(shared): State<Shared>) -> Response {
    if shared.snapshot.has_changed().is_ok() {
        "dwcp-anomaly is healthy.\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "The engine has ended.\n").into_response()
    }
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
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response(),
    }
}
