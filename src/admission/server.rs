//! The webhook's server: TLS for the API server, plain HTTP for Prometheus and the kubelet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::certificate::Serving;
use super::metrics::Metrics;
use super::{Policy, review};
use crate::accept::{Place, accept};
use crate::negotiate;

/// For a client to shake hands, to send its headers, and to send its body.
const PATIENCE: Duration = Duration::from_secs(10);
/// For connections to end once told to.
const GRACE: Duration = Duration::from_secs(5);
/// Of a request that is read; a server's own limit for an object is 3 MiB, and a review may hold two.
const BODY: usize = 7 << 20;
/// Of a request that is heard to its end, though not kept, so that its sender hears why it is refused.
const HEARD: usize = 64 << 20;

/// Everything that is answered from.
#[derive(Clone)]
pub struct Shared {
    /// What is granted.
    pub policy: Arc<Policy>,
    /// The certificate.
    pub serving: Arc<Serving>,
    /// The injector's own metrics.
    pub metrics: Arc<Metrics>,
    /// Set once it is to end, so that nobody new comes.
    pub leaving: Arc<AtomicBool>,
}

/// Serves reviews over TLS until `stop`, then lets open requests end.
pub async fn run(listener: TcpListener, shared: Shared, stop: CancellationToken) -> Result<(), String> {
    let acceptor = TlsAcceptor::from(shared.serving.config()?);
    let router = routes().fallback(inject);
    let router = finish(router, shared);
    accept(&listener, GRACE, stop, |stream, watcher, place| {
        serve(stream, router.clone(), Some(acceptor.clone()), watcher, place)
    })
    .await;
    Ok(())
}

/// Serves metrics and health in the clear until `stop`.
pub async fn run_plain(listener: TcpListener, shared: Shared, stop: CancellationToken) {
    let router = finish(routes(), shared);
    accept(&listener, GRACE, stop, |stream, watcher, place| {
        serve(stream, router.clone(), None, watcher, place)
    })
    .await;
}

fn routes() -> Router<Shared> {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthy)).route("/readyz", get(ready))
}

fn finish(router: Router<Shared>, shared: Shared) -> Router {
    router.layer(tower_http::catch_panic::CatchPanicLayer::new()).with_state(shared)
}

/// One connection; one that breaks is the client's affair.
async fn serve(
    stream: TcpStream,
    router: Router,
    tls: Option<TlsAcceptor>,
    watcher: Watcher,
    place: Arc<Place>,
) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        Arc::clone(&place).answer(router.call(request))
    });
    let Some(tls) = tls else {
        let _ = watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await;
        return;
    };
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await else { return };
    let _ = watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await;
}

/// Any path will do, as the webhook's configuration names it, and any query: servers append `?timeout=`.
async fn inject(State(shared): State<Shared>, method: Method, body: Body) -> Response {
    if method != Method::POST {
        return (StatusCode::NOT_FOUND, "POST an AdmissionReview\n").into_response();
    }
    let body = match tokio::time::timeout(PATIENCE, read(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(told)) => return refused(&shared, &told),
        Err(_) => return refused(&shared, "the body takes too long"),
    };
    let began = Instant::now();
    match review::answer(&body, &shared.policy) {
        Ok(answer) => {
            shared.metrics.answered(answer.skipped, began.elapsed());
            tracing::debug!(reason = answer.skipped.map_or("injected", super::Skip::name), "answered");
            ([(header::CONTENT_TYPE, "application/json")], answer.review.to_string()).into_response()
        }
        Err(error) => refused(&shared, &error.to_string()),
    }
}

fn refused(shared: &Shared, told: &str) -> Response {
    shared.metrics.malformed();
    (StatusCode::BAD_REQUEST, format!("{told}\n")).into_response()
}

async fn read(body: Body) -> Result<Vec<u8>, String> {
    let mut stream = body.into_data_stream();
    let (mut kept, mut heard) = (Vec::new(), 0);
    while let Some(part) = stream.next().await {
        let part = part.map_err(|_| "the body ends early".to_owned())?;
        heard += part.len();
        if heard > HEARD {
            break;
        }
        if heard <= BODY {
            kept.extend_from_slice(&part);
        } else {
            kept = Vec::new();
        }
    }
    if heard > BODY { Err(format!("the body is longer than {} MiB", BODY >> 20)) } else { Ok(kept) }
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    negotiate::answer(&headers, |format| shared.metrics.page(format))
}

async fn healthy() -> &'static str {
    "ok\n"
}

async fn ready(State(shared): State<Shared>) -> Response {
    if shared.leaving.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "leaving\n").into_response();
    }
    if !shared.serving.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no certificate yet\n").into_response();
    }
    "ok\n".into_response()
}
