//! The page kept current: what has changed in it, pushed to everybody who looks.
//!
//! The parts are drawn once a snapshot, however many look; everybody is sent the same bytes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::page::parts::{self, View};
use super::{Courses, SettingsView, Shared, api};
use crate::engine::snapshot::Snapshot;
use crate::supervisor::Pulse;

/// People who look at once, at most: scrapes must still find a place.
const VIEWERS: usize = 128;
/// Pushes are at least so far apart.
const PACE: Duration = Duration::from_millis(500);
/// A word goes out at least so often, so that a connection that broke is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Pushes that one who is slow may be behind; then the whole is sent.
const BEHIND: usize = 4;

/// What is shown now, and who looks.
#[derive(Clone)]
pub(super) struct Live(Arc<Inner>);

struct Inner {
    shown: Mutex<Option<Arc<Rendered>>>,
    viewers: Arc<AtomicUsize>,
    pushes: broadcast::Sender<Bytes>,
    stop: CancellationToken,
}

impl Live {
    pub(super) fn new(stop: CancellationToken) -> Self {
        let (pushes, _) = broadcast::channel(BEHIND);
        Self(Arc::new(Inner { shown: Mutex::default(), viewers: Arc::default(), pushes, stop }))
    }
}

/// The parts of the page, drawn of one snapshot.
pub(super) struct Rendered {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) title: String,
    /// What the page's skeleton depends on; where it changes, pages are to be loaded anew.
    pub(super) shape: String,
    parts: BTreeMap<String, String>,
}

impl Rendered {
    pub(super) fn new(
        snapshot: &Arc<Snapshot>,
        settings: &SettingsView,
        courses: &Courses,
        own: &str,
    ) -> Self {
        let drawn = parts::parts(&View { snapshot, settings, courses, own });
        let instances: Vec<String> = snapshot.targets.iter().map(|t| t.labels.to_string()).collect();
        let shape =
            format!("{}-{:08x}", env!("CARGO_PKG_VERSION"), crc32fast::hash(instances.join("\n").as_bytes()));
        Self {
            snapshot: Arc::clone(snapshot),
            title: drawn.title,
            shape,
            parts: drawn.parts.into_iter().collect(),
        }
    }

    /// One part; empty where there is none of that name.
    pub(super) fn part(&self, id: &str) -> &str {
        self.parts.get(id).map_or("", String::as_str)
    }

    /// An event with the parts that differ from those `before`.
    fn event(&self, before: Option<&Self>) -> Bytes {
        let has_changed =
            |(id, html): &(&String, &String)| before.is_none_or(|before| before.part(id) != html.as_str());
        let parts: BTreeMap<&String, &String> = self.parts.iter().filter(has_changed).collect();
        let data = json!({"title": self.title, "shape": self.shape, "parts": parts});
        Bytes::from(format!("event: parts\ndata: {data}\n\n"))
    }
}

impl Live {
    /// What is shown now; drawn if nobody has looked since the last snapshot.
    pub(super) fn rendered(&self, shared: &Shared) -> Arc<Rendered> {
        let snapshot = shared.snapshot.borrow().clone();
        let mut shown = self.0.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = shown.as_ref().filter(|shown| Arc::ptr_eq(&shown.snapshot, &snapshot)) {
            return Arc::clone(shown);
        }
        let settings = shared.settings.borrow().clone();
        shared.courses.record(&snapshot);
        let drawn = Arc::new(Rendered::new(&snapshot, &settings, &shared.courses, &(shared.own)()));
        *shown = Some(Arc::clone(&drawn));
        drawn
    }
}

/// Records what the engine shows, and pushes what has changed by it, until told to stop.
pub(super) async fn follow(shared: &Shared, stop: &CancellationToken, pulse: &Pulse) {
    let mut snapshots = shared.snapshot.clone();
    let mut pushed: Option<Arc<Rendered>> = None;
    let mut last = Instant::now();
    let mut due: Option<Instant> = None;
    loop {
        let at = due.unwrap_or_else(Instant::now);
        pulse.idle();
        tokio::select! {
            () = stop.cancelled() => return,
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return;
                }
                let snapshot = snapshots.borrow_and_update().clone();
                pulse.busy();
                shared.courses.record(&snapshot);
                due = due.or(Some(Instant::now().max(last + PACE)));
            }
            () = tokio::time::sleep_until(at), if due.is_some() => {
                pulse.busy();
                (due, last) = (None, Instant::now());
                // Nothing is drawn for nobody.
                if shared.live.0.pushes.receiver_count() == 0 {
                    pushed = None;
                    continue;
                }
                let drawn = shared.live.rendered(shared);
                let event = drawn.event(pushed.as_deref());
                pushed = Some(drawn);
                // The last one may have left just now.
                let _ = shared.live.0.pushes.send(event);
            }
        }
    }
}

/// A place among those who look, given back at the end.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Server-sent events: first everything, then what changes.
pub(super) async fn stream(State(shared): State<Shared>) -> Response {
    let viewers = &shared.live.0.viewers;
    if viewers.fetch_add(1, Ordering::Relaxed) >= VIEWERS {
        viewers.fetch_sub(1, Ordering::Relaxed);
        return api::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "too many people look at the page",
        );
    }
    let place = Place(Arc::clone(viewers));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events(shared, place))).into_response()
}

fn events(shared: Shared, place: Place) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let pushes = shared.live.0.pushes.subscribe();
    let state = (shared, pushes, true, place);
    stream::unfold(state, |(shared, mut pushes, is_new, place)| async move {
        let everything = |shared: &Shared| shared.live.rendered(shared).event(None);
        let event = if is_new {
            everything(&shared)
        } else {
            tokio::select! {
                () = shared.live.0.stop.cancelled() => return None,
                pushed = pushes.recv() => match pushed {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => everything(&shared),
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep(HEARTBEAT) => Bytes::from_static(b": still here\n\n"),
            }
        };
        Some((Ok(event), (shared, pushes, false, place)))
    })
}
