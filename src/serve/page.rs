//! A page for people: what is watched, what is expected, what is wrong. One request, nothing from elsewhere.

use std::fmt::Write as _;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::Shared;
use crate::engine::snapshot::{MetricSnapshot, Snapshot, TargetSnapshot};
use crate::incident::Incident;
use crate::series::Timestamp;
use crate::setting::{escape, rfc3339, short};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}\
    h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
    th,td{text-align:left;padding:.3rem .8rem;border-bottom:1px solid #ddd}td.n{text-align:right;font-variant-numeric:tabular-nums}\
    .critical{color:#b00020;font-weight:600}.warning{color:#b26a00;font-weight:600}.info{color:#555}.no{color:#777}";

fn document(title: &str, refresh: bool, body: &str) -> Response {
    let refresh = if refresh { "<meta http-equiv=\"refresh\" content=\"5\">" } else { "" };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{refresh}\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>{body}</body></html>"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(html)).into_response()
}

pub(super) async fn index(State(shared): State<Shared>) -> Response {
    let snapshot = shared.snapshot.borrow().clone();
    let mut body = String::from("<h1>dwcp-anomaly</h1>");
    if snapshot.targets.is_empty() {
        body.push_str("<p>Nothing is watched: configure scrape.targets and start with --config.file.</p>");
    }
    incidents(&mut body, &snapshot);
    snapshot.targets.iter().for_each(|each| target(&mut body, each));
    document("dwcp-anomaly", true, &body)
}

fn incidents(body: &mut String, snapshot: &Snapshot) {
    let _ = write!(body, "<h2>Incidents of the last 24 hours</h2>");
    if snapshot.incidents.is_empty() {
        body.push_str("<p class=\"no\">None.</p>");
        return;
    }
    body.push_str("<table><tr><th>metric</th><th>instance</th><th>severity</th><th>began</th><th>ended</th><th>value</th><th>expected</th></tr>");
    snapshot.incidents.iter().take(50).for_each(|each| incident(body, each));
    body.push_str("</table>");
}

fn incident(body: &mut String, incident: &Incident) {
    let severity = incident.severity().name();
    let ended = incident
        .ended_at
        .map_or_else(|| "firing".to_owned(), |at| format!("{} ({})", time(at), incident.reason.name()));
    let _ = write!(
        body,
        "<tr><td>{}</td><td>{}</td><td class=\"{severity}\">{severity}</td><td>{}</td><td>{ended}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        escape(incident.metric_name()),
        escape(incident.target.get("instance").unwrap_or_default()),
        time(incident.started_at),
        short(incident.value),
        incident.expected.map(short).unwrap_or_default(),
    );
}

fn time(at: Timestamp) -> String {
    rfc3339(at).replace('T', " ").split('.').next().unwrap_or_default().to_owned()
}

fn target(body: &mut String, target: &TargetSnapshot) {
    let state = match (target.up, &target.failure) {
        (Some(true), _) => format!("up, {} samples", target.samples),
        (_, Some(failure)) => format!("<span class=\"critical\">down: {}</span>", escape(failure)),
        _ => "not scraped yet".to_owned(),
    };
    let instance = target.labels.get("instance").unwrap_or_default();
    let _ = write!(body, "<h2>{}</h2><p>{} — {state}</p><p>", escape(instance), escape(&target.url));
    for status in target.detectors.iter().filter(|status| status.enabled) {
        let waits = status
            .waiting_for
            .as_ref()
            .map_or_else(|| "voting".to_owned(), |w| format!("waits: {}", escape(w)));
        let _ = write!(body, "{} <span class=\"no\">({waits})</span> ", status.detector.name());
    }
    body.push_str("</p><table><tr><th>signal</th><th>value</th><th>expected</th><th>band</th><th>score</th><th></th></tr>");
    target.metrics.iter().for_each(|metric| row(body, metric));
    body.push_str("</table>");
}

fn row(body: &mut String, metric: &MetricSnapshot) {
    let unit = escape(&metric.unit);
    let value = match metric.value {
        Some(value) => format!("{} {unit}", short(value)),
        None => format!(
            "<span class=\"no\">no data: {}</span>",
            escape(metric.no_data.as_deref().unwrap_or_default())
        ),
    };
    let band = metric
        .band
        .map(|band| (short(band.expected), format!("{} … {}", short(band.lower), short(band.upper))));
    let (expected, band) = band.unwrap_or_default();
    let firing = metric
        .firing
        .map(|severity| format!("<span class=\"{0}\">{0}</span>", severity.name()))
        .unwrap_or_default();
    let _ = write!(
        body,
        "<tr><td><a href=\"/runbook/{0}\">{0}</a></td><td class=\"n\">{value}</td><td class=\"n\">{expected}</td><td class=\"n\">{band}</td><td class=\"n\">{1}</td><td>{firing}</td></tr>",
        escape(metric.name()),
        metric.assessment.map(|a| short(a.score)).unwrap_or_default(),
    );
}

/// What to look at when a metric is anomalous.
pub(super) async fn runbook(State(shared): State<Shared>, Path(metric): Path<String>) -> Response {
    let snapshot = shared.snapshot.borrow().clone();
    let mut of_metric =
        snapshot.targets.iter().flat_map(|target| target.metrics.iter()).filter(|m| m.name() == metric);
    if of_metric.next().is_none() {
        return (StatusCode::NOT_FOUND, "no such metric\n").into_response();
    }
    let look = match metric.as_str() {
        "bandwidth" => {
            "Which device and direction: rate(node_network_receive_bytes_total[5m]), rate(node_network_transmit_bytes_total[5m]). Which process: ss -tnp, nethogs."
        }
        "latency" | "jitter" => {
            "Whether one path or all: dwcp_probe_rtt_seconds by target. Then the path: mtr, and queues on the way."
        }
        "packet_loss" => "Retransmits by connection: ss -ti. Errors and drops of the devices: ip -s link.",
        "cpu_usage" => {
            "Which mode: rate(node_cpu_seconds_total[1m]) by mode; steal is the hypervisor's. Which process: top, pidstat 1."
        }
        "memory_usage" => {
            "Which process: ps aux --sort=-rss. Whether it is reclaimable: node_memory_Cached_bytes, node_memory_SReclaimable_bytes."
        }
        "error_rate" => {
            "Which device: rate(node_network_receive_errs_total[5m]), rate(node_network_receive_drop_total[5m]); ethtool -S."
        }
        _ => "The signal's expression is in the configuration; its parts show which series moved.",
    };
    let name = escape(&metric);
    let body = format!(
        "<h1>{name} is anomalous</h1><p>Its value left what the detectors have learned to be normal and stayed away.</p>\
         <h2>Look at</h2><p>{look}</p><h2>If it is expected</h2><p>Silence it in Alertmanager. A level that is held becomes \
         the new normal after detector.adapt_after. If deviations of this size never matter, raise the signal's min_deviation.</p>\
         <p><a href=\"/\">All signals</a></p>"
    );
    document(&format!("{name} is anomalous"), false, &body)
}
