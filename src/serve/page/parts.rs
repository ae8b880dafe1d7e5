//! The parts of the page that change, each by itself.

use std::fmt::Write as _;

use super::super::api::deliveries;
use super::super::words;
use super::super::{Courses, SettingsView};
use super::{incidents, signals};
use crate::detect::verdict::{Detector, Severity};
use crate::engine::snapshot::{DetectorStatus, MetricSnapshot, Snapshot, TargetSnapshot};
use crate::incident::Incident;
use crate::series::Timestamp;
use crate::setting::{escape, rfc3339, short};

/// Everything that is drawn from.
pub(in crate::serve) struct View<'a> {
    pub(in crate::serve) snapshot: &'a Snapshot,
    pub(in crate::serve) settings: &'a SettingsView,
    pub(in crate::serve) courses: &'a Courses,
    /// The sidecar's own metrics.
    pub(in crate::serve) own: &'a str,
}

/// The page's title and its parts, by their id.
pub(in crate::serve) struct Parts {
    pub(in crate::serve) title: String,
    pub(in crate::serve) parts: Vec<(String, String)>,
}

/// Writes every part anew.
pub(in crate::serve) fn parts(view: &View<'_>) -> Parts {
    let glance = glance(view);
    let mut parts = vec![
        ("headline".to_owned(), headline(&glance)),
        ("facts".to_owned(), facts(view)),
        ("incidents".to_owned(), incidents::incidents(view.snapshot)),
    ];
    for (at, target) in view.snapshot.targets.iter().enumerate() {
        parts.push((format!("target-{at}"), signals::target(view, at, target)));
        parts.push((format!("detectors-{at}"), detectors(target)));
    }
    parts.push(("delivery".to_owned(), delivery(view)));
    parts.push(("threshold-now".to_owned(), threshold(view)));
    Parts { title: format!("{} · dwcp-anomaly", glance.says), parts }
}

/// Whether all is well, in one look.
struct Glance {
    class: &'static str,
    mark: &'static str,
    says: String,
    more: String,
}

/// Checks outside its band after which a signal is no longer said to be well.
const WATCHED: u32 = 10;

const CHECK: &str = "M8 16.5l5.5 5.5L24.5 10.5";
const BANG: &str = "M16 8.5v9.5M16 23v.2";
const DOTS: &str = "M9 16v.2M16 16v.2M23 16v.2";

fn glance(view: &View<'_>) -> Glance {
    let snapshot = view.snapshot;
    let firing: Vec<&Incident> = snapshot.incidents.iter().filter(|i| i.ended_at.is_none()).collect();
    let down: Vec<&str> =
        snapshot.targets.iter().filter(|t| t.up == Some(false)).map(|t| instance(t)).collect();
    let say = |class, mark, says: String, more: String| Glance { class, mark, says, more };
    if view.settings.is_degraded {
        let more = "Nothing is watched until it is corrected; the log says what is wrong and where.";
        return say("down", BANG, "The configuration is bad".to_owned(), more.to_owned());
    }
    if snapshot.targets.is_empty() {
        let more = "Configure scrape.targets and start with --config.file.";
        return say("off", DOTS, "Nothing is watched".to_owned(), more.to_owned());
    }
    if !snapshot.enabled {
        let more = "Signals are served and not judged. Set enabled: true to detect.";
        return say("off", DOTS, "Detection is switched off".to_owned(), more.to_owned());
    }
    if let Some(worst) = firing.iter().max_by_key(|incident| incident.severity()) {
        let says = match firing.as_slice() {
            [one] => format!("{} is anomalous on {}", one.metric_name(), of_instance(one)),
            many => format!("{} incidents", many.len()),
        };
        return say(worst.severity().name(), BANG, says, words::summary(worst, snapshot));
    }
    if let Some(first) = down.first() {
        let says = match down.as_slice() {
            [one] => format!("{one} does not answer"),
            many => format!("{} targets do not answer", many.len()),
        };
        let failed = snapshot.targets.iter().find(|target| instance(target) == *first);
        let more = failed.and_then(|target| target.failure.clone()).unwrap_or_default();
        return say("down", BANG, says, more);
    }
    let learning = snapshot.targets.iter().find(|t| t.detectors.iter().all(|d| !d.ready));
    if let Some(target) = learning {
        let more = format!("Nothing is judged before it is known. {}", waits(target));
        return say("learning", DOTS, "Learning what is normal".to_owned(), more);
    }
    let outside: Vec<_> = metrics(snapshot).filter(|metric| metric.outside >= WATCHED).collect();
    if let Some(first) = outside.first() {
        let says = match outside.as_slice() {
            [one] => format!("{} is outside its band, watching", one.name()),
            many => format!("{} signals are outside their bands, watching", many.len()),
        };
        let more = format!(
            "{} has been outside for {} checks, and the detectors do not call it an anomaly.",
            first.name(),
            first.outside
        );
        return say("warning", DOTS, says, more);
    }
    say("ok", CHECK, "All is well".to_owned(), calm(snapshot))
}

fn metrics(snapshot: &Snapshot) -> impl Iterator<Item = &MetricSnapshot> {
    snapshot.targets.iter().flat_map(|target| &target.metrics)
}

fn calm(snapshot: &Snapshot) -> String {
    let (with, without): (Vec<_>, Vec<_>) = metrics(snapshot).partition(|metric| metric.value.is_some());
    let mut text = format!("{} as expected", count(with.len(), "signal is", "signals are"));
    if !without.is_empty() {
        let _ = write!(text, ", {} no data", count(without.len(), "has", "have"));
    }
    text.push('.');
    text
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn waits(target: &TargetSnapshot) -> String {
    let waiting = target.detectors.iter().filter(|d| d.enabled).filter_map(|d| {
        d.waiting_for.as_ref().map(|what| format!("{}: {what}", words::detector(d.detector)))
    });
    waiting.collect::<Vec<_>>().join("; ")
}

fn headline(glance: &Glance) -> String {
    format!(
        "<div class=\"glance {}\"><svg class=\"mark\" viewBox=\"0 0 32 32\" aria-hidden=\"true\"><circle cx=\"16\" cy=\"16\" r=\"14\"/><path d=\"{}\"/></svg>\
         <div><h1>{}</h1><p>{}</p></div></div>",
        glance.class,
        glance.mark,
        escape(&glance.says),
        escape(&glance.more)
    )
}

fn facts(view: &View<'_>) -> String {
    let targets = &view.snapshot.targets;
    let up = targets.iter().filter(|target| target.up == Some(true)).count();
    let metrics = || metrics(view.snapshot);
    let with_data = metrics().filter(|metric| metric.value.is_some()).count();
    let enabled = || targets.iter().flat_map(|target| &target.detectors).filter(|d| d.enabled);
    let voting = enabled().filter(|d| d.ready).count();
    let budget = targets.iter().map(|target| target.budget_used).fold(0.0, f64::max);
    let sent: u64 = deliveries(view.own).iter().map(|delivery| delivery.sent).sum();
    let alerts = match view.settings.alertmanagers.len() {
        0 if sent == 0 => "to nobody: no Alertmanager".to_owned(),
        0 => format!("{sent} sent"),
        n => format!("{sent} sent to {}", count(n, "Alertmanager", "Alertmanagers")),
    };
    let last = targets.iter().filter_map(|target| target.last_scrape).max();
    let rows = [
        ("Targets up", format!("{up} of {}", targets.len())),
        ("Signals with data", format!("{with_data} of {}", metrics().count())),
        ("Detectors voting", format!("{voting} of {}", enabled().count())),
        ("False-alert budget used", format!("{:.0} %", budget * 100.0)),
        ("Alerts", alerts),
        ("Last check", last.map_or_else(|| "none yet".to_owned(), time)),
    ];
    let mut out = String::new();
    for (term, value) in rows {
        let _ = write!(out, "<div><dt>{term}</dt><dd>{value}</dd></div>");
    }
    out
}

/// For people: the page's own clock localises it.
pub(super) fn time(at: Timestamp) -> String {
    let utc = rfc3339(at);
    let clock = utc.get(11..19).unwrap_or_default();
    format!("<time datetime=\"{utc}\">{clock} UTC</time>")
}

pub(super) fn instance(target: &TargetSnapshot) -> &str {
    target.labels.get("instance").unwrap_or_default()
}

pub(super) fn of_instance(incident: &Incident) -> &str {
    incident.target.get("instance").unwrap_or_default()
}

fn detectors(target: &TargetSnapshot) -> String {
    let mut out = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Detectors\"><table><thead><tr><th>Detector</th><th>State</th><th class=\"n\">Weight</th><th>Model</th></tr></thead><tbody>",
    );
    for status in &target.detectors {
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            words::detector(status.detector),
            escape(&state(status)),
            short(status.weight),
            model(status)
        );
    }
    out.push_str("</tbody></table></div>");
    let url = target.url.to_string();
    let _ = write!(
        out,
        "<p class=\"soft\">{}: {} samples a scrape, {} series held, {} lines rejected.</p>",
        escape(&url),
        target.samples,
        target.series,
        target.rejected
    );
    out
}

fn state(status: &DetectorStatus) -> String {
    match (&status.waiting_for, status.enabled) {
        (_, false) => "switched off".to_owned(),
        (Some(what), true) => format!("waits: {what}"),
        (None, true) => "votes".to_owned(),
    }
}

fn model(status: &DetectorStatus) -> String {
    let needs_one = matches!(status.detector, Detector::IsolationForest | Detector::LstmAutoencoder);
    match (status.trained_at, &status.model_version) {
        (Some(at), Some(version)) => format!("version {}, rows up to {}", escape(version), time(at)),
        (Some(at), None) => format!("fitted here, rows up to {}", time(at)),
        (None, _) if needs_one => "none yet".to_owned(),
        (None, _) => "needs none".to_owned(),
    }
}

fn delivery(view: &View<'_>) -> String {
    let deliveries = deliveries(view.own);
    if deliveries.is_empty() {
        return if view.settings.alertmanagers.is_empty() {
            "<p class=\"soft\">No Alertmanager is configured (alert.alertmanagers): incidents are here and in the series only.</p>".to_owned()
        } else {
            format!(
                "<p class=\"soft\">Nothing sent yet. Alerts go to {}.</p>",
                escape(&view.settings.alertmanagers.join(", "))
            )
        };
    }
    let mut out = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Deliveries\"><table><thead><tr><th>To</th><th class=\"n\">Sent</th><th class=\"n\">Failed</th><th class=\"n\">Dropped</th></tr></thead><tbody>",
    );
    for delivery in &deliveries {
        let _ = write!(
            out,
            "<tr><td>{} {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&delivery.notifier),
            escape(&delivery.endpoint),
            delivery.sent,
            delivery.failed,
            delivery.dropped
        );
    }
    out.push_str("</tbody></table></div>");
    out
}

fn threshold(view: &View<'_>) -> String {
    let from = view.settings.sources.get("detector.ensemble_threshold").map(|layer| match layer {
        super::super::Layer::Default => "the default",
        super::super::Layer::File => "from the configuration file",
        super::super::Layer::Overlay => "set here",
        super::super::Layer::Environment => "from the environment, which is over what is set here",
    });
    format!("Now {}, {}.", short(view.snapshot.threshold), from.unwrap_or("the default"))
}

/// The class of something that fires.
pub(super) fn class(severity: Option<Severity>) -> &'static str {
    severity.map_or("", |_| "firing")
}
