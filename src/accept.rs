//! Takes connections: so many at once, until told to stop, and then lets those that are open end.
//!
//! Nobody waits for a place: who only holds connections open loses them to those who come.

mod places;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use procfs::process::{LimitValue, Process};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub use places::Place;
use places::Places;

/// Connections at once, of each listener.
const CONNECTIONS: usize = 1280;
/// Files that are left to everything else.
const FILES: usize = 256;
/// Connections at once however few files may be open.
const LEAST: usize = 64;
/// After a connection that could not be taken: most likely there are too many open files, and there would be at once.
const AGAIN: Duration = Duration::from_millis(50);

/// Serves each connection of `listener` by `serve`, in a task of its own, until `stop`; then those that are open have `grace`
/// to end.
pub async fn accept<F>(
    listener: &TcpListener,
    grace: Duration,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, Watcher, Arc<Place>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let places = Places::new(connections());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                places.end_one(Instant::now());
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        // An answer goes out in one piece: nothing is gained by waiting for more, and a small one would wait for the
        // client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let place = Arc::new(places.take(from.ip(), Instant::now()));
        let served = serve(stream, graceful.watcher(), Arc::clone(&place));
        tokio::spawn(async move {
            tokio::select! {
                () = served => {}
                () = place.lost() => {}
            }
        });
    }
    let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
}

/// How many there may be, as scrapes and files of our own need to be opened too.
fn connections() -> usize {
    let limits = Process::myself().and_then(|process| process.limits());
    match limits.map(|limits| limits.max_open_files.soft_limit) {
        Ok(LimitValue::Value(files)) => (files as usize).saturating_sub(FILES).clamp(LEAST, CONNECTIONS),
        _ => CONNECTIONS,
    }
}
