//! Takes connections: so many at once, until told to stop, and then lets those that are open end.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections served at once, of each listener; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// After a connection that could not be taken: most likely there are too many open files, and there would be at once.
const AGAIN: Duration = Duration::from_millis(50);

/// Serves each connection of `listener` by `serve`, in a task of its own, until `stop`; then those that are open have `grace`
/// to end.
pub async fn accept<F>(
    listener: TcpListener,
    grace: Duration,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, Watcher) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        // An answer goes out in one piece: nothing is gained by waiting for more, and a small one would wait for the
        // client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let served = serve(stream, graceful.watcher());
        tokio::spawn(async move {
            served.await;
            drop(place);
        });
    }
    let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
}
