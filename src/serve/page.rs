//! A page for people: one glance says whether all is well. Everything is served from here, nothing is asked of elsewhere.
//!
//! It is whole as it is served; `page.js` keeps it current by what [`super::live`] pushes.

mod chart;
mod incidents;
pub(super) mod parts;
mod runbook;
mod signals;

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::digest::{SHA256, digest};

use super::live::Rendered;
use super::{Shared, live};
use crate::engine::snapshot::Snapshot;
use crate::setting::{escape, short};

/// It goes along with every page: a browser paints a round trip sooner than with a file to ask for.
const STYLE: &str = include_str!("page/page.css");

/// Only what is served from here; inline is that one style, which is known by its hash.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; script-src 'self'; style-src 'sha256-{hash}'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
});

/// The routes.
pub(super) fn routes() -> Router<Shared> {
    let asset = |kind: &'static str, text: &'static str| {
        get(
            move || async move { ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], text) },
        )
    };
    Router::new()
        .route("/", get(index))
        .route("/live", get(live::stream))
        .route("/runbook/{name}", get(runbook::runbook))
        .route("/page.js", asset("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/icon.svg", asset("image/svg+xml", include_str!("page/icon.svg")))
}

/// A whole page; `up` leads from it to the root.
fn document(title: &str, up: &str, shape: &str, body: &str) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title><link rel=\"icon\" href=\"{up}icon.svg\"><style>{STYLE}</style>\
         <script src=\"{up}page.js?{version}\" defer></script></head><body data-shape=\"{shape}\">{body}</body></html>",
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(html)).into_response()
}

async fn index(State(shared): State<Shared>) -> Response {
    let rendered = shared.live.rendered(&shared);
    document(&escape(&rendered.title), "", &rendered.shape, &body(&rendered))
}

/// The skeleton, with each part in its place.
fn body(rendered: &Rendered) -> String {
    let part = |id: &str| rendered.part(id);
    let live = |id: &str| format!("<div id=\"{id}\">{}</div>", part(id));
    let mut out = String::with_capacity(64 << 10);
    let _ = write!(
        out,
        "<a class=\"skip\" href=\"#main\">Skip to content</a>\
         <header class=\"top wide\"><a class=\"brand\" href=\"./\">dwcp-anomaly</a><nav aria-label=\"Sections\"><a href=\"#incidents-h\">Incidents</a>\
         <a href=\"#signals-h\">Signals</a><a href=\"#delivery-h\">Alerts</a><a href=\"#settings-h\">Threshold</a></nav>\
         <span id=\"link\" class=\"link\" role=\"status\"></span></header><main id=\"main\" class=\"wide\">\
         <div id=\"headline\" aria-live=\"polite\">{}</div><dl class=\"facts\" id=\"facts\">{}</dl>\
         <h2 id=\"incidents-h\">Incidents</h2>{}",
        part("headline"),
        part("facts"),
        live("incidents")
    );
    targets(&rendered.snapshot, &mut out, live);
    let _ = write!(
        out,
        "<h2 id=\"delivery-h\">Alert delivery</h2><div class=\"panel\">{}</div>\
         <h2 id=\"settings-h\">Threshold</h2><div class=\"panel\"><form id=\"settings-form\" class=\"threshold\" novalidate>\
         <div><label for=\"threshold\">Anomalous above a score of</label>\
         <input id=\"threshold\" type=\"text\" inputmode=\"decimal\" autocomplete=\"off\" value=\"{}\" aria-describedby=\"threshold-now threshold-hint\"></div>\
         <button class=\"main\" type=\"submit\">Apply</button><button id=\"forget\" type=\"button\">Drop all that was set here</button></form>\
         <p id=\"said\" class=\"said\" role=\"alert\"></p><p id=\"threshold-now\" class=\"soft\">{}</p>\
         <p id=\"threshold-hint\" class=\"soft\">From 0 to 1: higher is quieter. It is kept through a restart and lies over the configuration file.</p></div></main>\
         <footer class=\"wide\">dwcp-anomaly {} · <a href=\"metrics\">series</a> · \
         <a href=\"api/v1/monitoring/anomaly/status\">status as JSON</a> · <a href=\"api/v1/openapi.json\">API description</a></footer>",
        live("delivery"),
        short(rendered.snapshot.threshold),
        part("threshold-now"),
        env!("CARGO_PKG_VERSION")
    );
    out
}

fn targets(snapshot: &Snapshot, out: &mut String, live: impl Fn(&str) -> String) {
    for (at, target) in snapshot.targets.iter().enumerate() {
        let id = if at == 0 { "signals-h".to_owned() } else { format!("signals-h-{at}") };
        let _ = write!(
            out,
            "<h2 id=\"{id}\">Signals of {}</h2>{}<h3>Detectors</h3><div class=\"panel\">{}</div>",
            escape(parts::instance(target)),
            live(&format!("target-{at}")),
            live(&format!("detectors-{at}"))
        );
    }
    if snapshot.targets.is_empty() {
        out.push_str("<h2 id=\"signals-h\">Signals</h2><p class=\"soft\">None: no target is configured.</p>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Timestamp;
    use crate::serve::{Courses, SettingsView, example};

    fn render(snapshot: Snapshot) -> String {
        let (settings, courses) = (SettingsView::default(), Courses::default());
        for _ in 0..2 {
            courses.record(&snapshot);
        }
        body(&Rendered::new(&std::sync::Arc::new(snapshot), &settings, &courses, ""))
    }

    #[test]
    fn one_glance_says_whether_all_is_well() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let well = example::snapshot(&["cpu_usage"], at);
        let mut off = example::snapshot(&["cpu_usage"], at);
        off.enabled = false;
        let mut down = example::snapshot(&["cpu_usage"], at);
        std::sync::Arc::make_mut(&mut down.targets[0]).up = Some(false);
        let mut learning = example::snapshot(&["cpu_usage"], at);
        std::sync::Arc::make_mut(&mut learning.targets[0]).detectors.iter_mut().for_each(|d| d.ready = false);
        let outside = |checks: u32| {
            let mut snapshot = example::snapshot(&["cpu_usage"], at);
            std::sync::Arc::make_mut(&mut snapshot.targets[0]).metrics[0].outside = checks;
            snapshot
        };
        for (snapshot, says) in [
            (outside(9), "<h1>All is well</h1>"),
            (outside(10), "<h1>cpu_usage is outside its band, watching</h1>"),
            (well, "<h1>All is well</h1>"),
            (off, "<h1>Detection is switched off</h1>"),
            (down, "<h1>web-1 does not answer</h1>"),
            (learning, "<h1>Learning what is normal</h1>"),
            (Snapshot::default(), "<h1>Nothing is watched</h1>"),
        ] {
            let page = render(snapshot);
            assert!(page.contains(says), "{says}");
        }
    }

    #[test]
    fn names_from_elsewhere_are_text_and_never_markup() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let mut snapshot = example::snapshot(&["<script>alert(1)</script>"], at);
        let target = std::sync::Arc::make_mut(&mut snapshot.targets[0]);
        target.failure = Some("<img src=x>".to_owned());
        target.up = Some(false);
        let page = render(snapshot);
        assert!(!page.contains("<script>alert") && !page.contains("<img"));
    }
}
