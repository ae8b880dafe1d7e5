//! Runbooks: what an alert means, the first commands to run, and when to ignore it.

use std::fmt::Write as _;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::{Shared, api};
use super::document;
use super::parts::time;
use crate::engine::snapshot::Snapshot;
use crate::setting::{escape, short};

macro_rules! texts {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../runbook/", $name, ".html")))),*]
    };
}

/// By signal or alert.
const TEXTS: [(&str, &str); 23] = texts![
    "bandwidth",
    "latency",
    "packet_loss",
    "jitter",
    "cpu_usage",
    "memory_usage",
    "error_rate",
    "DwcpAlertsFailing",
    "DwcpAnomalyFiring",
    "DwcpDetectorNotReady",
    "DwcpFalseAlertBudgetSpent",
    "DwcpManyHostsAnomalous",
    "DwcpManySignalsAnomalous",
    "DwcpMemoryNearCeiling",
    "DwcpModelOld",
    "DwcpNoVerdict",
    "DwcpReloadFailed",
    "DwcpSamplesRefused",
    "DwcpSidecarDown",
    "DwcpSignalDrift",
    "DwcpSignalOutsideBand",
    "DwcpStateNotKept",
    "DwcpTargetDown",
];
/// Of a signal that only the configuration knows.
const OWN_SIGNAL: &str = include_str!("../runbook/own_signal.html");

pub(super) async fn runbook(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let snapshot = shared.snapshot.borrow().clone();
    let is_signal = snapshot.targets.iter().flat_map(|t| &t.metrics).any(|metric| metric.name() == name);
    let text = TEXTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let Some(text) = text.or_else(|| is_signal.then_some(OWN_SIGNAL)) else {
        return api::error(StatusCode::NOT_FOUND, "not_found", "there is no runbook of that name")
            .into_response();
    };
    let known_by = escape(&name);
    let body = format!(
        "<a class=\"skip\" href=\"#main\">Skip to content</a><header class=\"top wide\"><a class=\"brand\" href=\"../\">dwcp-anomaly</a></header>\
         <main id=\"main\" class=\"wide runbook\"><h1>{known_by}</h1>{}{}<p><a href=\"../\">All signals and incidents</a></p></main>",
        now(&snapshot, &name),
        // What may have to be scrolled must be reachable without a mouse.
        text.replace("{{name}}", &known_by).replace("<pre>", "<pre tabindex=\"0\">")
    );
    document(&format!("{known_by} · runbook"), "../", "runbook", &body)
}

/// How the signal stands, so that nobody has to go back for it.
fn now(snapshot: &Snapshot, name: &str) -> String {
    let mut out = String::new();
    for target in &snapshot.targets {
        for metric in target.metrics.iter().filter(|metric| metric.name() == name) {
            let unit = escape(&metric.unit);
            let value = metric.value.map_or_else(|| "no data".to_owned(), |v| format!("{} {unit}", short(v)));
            let band =
                metric.band.map(|b| format!(", expected {}–{} {unit}", short(b.lower), short(b.upper)));
            let state = metric.firing.map_or("no incident fires", |severity| severity.name());
            let at = target.last_scrape.map(|at| format!(" at {}", time(at)));
            let labels = metric.labels.without(|label| label == "metric_name");
            let labels = if labels.is_empty() { String::new() } else { escape(&labels.to_string()) };
            let _ = write!(
                out,
                "<p class=\"panel\"><strong>{}{labels}</strong>: {value}{}{}; {state}</p>",
                escape(target.labels.get("instance").unwrap_or_default()),
                band.unwrap_or_default(),
                at.unwrap_or_default()
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runbook_says_what_it_means_has_three_commands_and_says_when_to_ignore_it() {
        for (name, text) in TEXTS.iter().chain(&[("own_signal", OWN_SIGNAL)]) {
            for part in
                ["<h2>What it means</h2>", "<h2>First three commands</h2>", "<h2>When to ignore it</h2>"]
            {
                assert!(text.contains(part), "{name}: {part}");
            }
            assert_eq!(text.matches("<pre><code>").count(), 3, "{name}");
        }
    }

    #[test]
    fn every_default_signal_has_its_own() {
        for signal in crate::signal::defaults() {
            assert!(TEXTS.iter().any(|(name, _)| *name == signal.name), "{}", signal.name);
        }
    }

    #[test]
    fn every_alert_of_the_shipped_rules_has_its_own() {
        let rules = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        let mut alerts = 0;
        for file in std::fs::read_dir(rules).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for alert in text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
                assert!(TEXTS.iter().any(|(name, _)| *name == alert), "{alert}");
                alerts += 1;
            }
        }
        assert!(alerts > 5);
    }
}
