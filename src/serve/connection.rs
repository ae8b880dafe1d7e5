//! Connections: bounded in number and in patience, encrypted where the web configuration says so.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::web::WebConfig;
use crate::accept::{Place, accept};

/// For a client to shake hands, and for each request's headers.
const HEADERS: Duration = Duration::from_secs(10);
/// For a client to take more of an answer; one that does not is cut off.
const STALLED: Duration = Duration::from_secs(20);
/// Bytes of a request's head.
const HEAD: usize = 32 << 10;
/// For connections to end once told to.
const GRACE: Duration = Duration::from_secs(3);

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Where it is.
    pub(super) network: IpAddr,
    /// A certificate that the configured authority has signed was shown.
    pub(super) is_certified: bool,
    /// The connection is encrypted.
    pub(super) is_encrypted: bool,
}

/// Takes connections until told to stop, then lets open requests end.
pub(super) async fn serve(
    listener: &TcpListener,
    router: Router,
    web: Arc<WebConfig>,
    stop: CancellationToken,
) {
    accept(listener, GRACE, stop, |stream, watcher, place| {
        connect(stream, router.clone(), Arc::clone(&web), watcher, place)
    })
    .await;
}

async fn connect(
    stream: TcpStream,
    router: Router,
    web: Arc<WebConfig>,
    watcher: Watcher,
    place: Arc<Place>,
) {
    let plain = Peer { network: place.network, is_certified: false, is_encrypted: false };
    let stream = Patient::new(stream);
    let web = web.current();
    let Some(tls) = &web.tls else {
        return speak(stream, router, plain, watcher, place).await;
    };
    let handshake = tokio_rustls::TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    // Whoever does not shake hands, or not in time, is let go.
    if let Ok(Ok(stream)) = tokio::time::timeout(HEADERS, handshake).await {
        let shown = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
        let peer = Peer { is_certified: shown && web.verifies_clients, is_encrypted: true, ..plain };
        speak(stream, router, peer, watcher, place).await;
    }
}

async fn speak<S>(stream: S, router: Router, peer: Peer, watcher: Watcher, place: Arc<Place>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        Arc::clone(&place).answer(router.call(request))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's affair.
    let _ = watcher.watch(connection).await;
}

/// A connection that fails once the other end takes nothing for too long.
struct Patient {
    stream: TcpStream,
    /// Until when the write that waits may wait.
    until: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl Patient {
    fn new(stream: TcpStream) -> Self {
        Self { stream, until: Box::pin(tokio::time::sleep(STALLED)), is_waiting: false }
    }

    fn bear<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_waiting = false;
            return written;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.until.as_mut().reset(Instant::now() + STALLED);
        }
        match self.until.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bear(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bear(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
