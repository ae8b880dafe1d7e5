//! The head of the page: what was replayed, by which settings, and the figures.

use std::fmt::Write as _;

use super::{Subject, number, percent, plural, time};
use crate::detect::verdict::Detector;
use crate::setting::{Span, escape, short};

pub(super) fn write(html: &mut String, subject: &Subject<'_>, name: &str) {
    let (data, replay) = (subject.data, subject.replay);
    let _ = write!(html, "<header><h1>Backtest of {name}</h1><p class=\"quiet\">");
    if let (Some(first), Some(last)) = (data.times.first(), data.times.last()) {
        let _ = write!(html, "{} to {} UTC, every {}; ", time(*first), time(*last), Span(replay.interval));
    }
    let trained = replay.train_rows.min(data.len());
    let _ = writeln!(
        html,
        "{}. {} of training, {} judged.</p></header>",
        plural(data.metrics.len(), "metric"),
        plural(trained, "row"),
        data.len() - trained,
    );
    cards(html, subject);
    settings(html, subject);
    html.push_str(
        "<nav><a href=\"#votes-by-detector\">Votes</a> <a href=\"#thresholds\">Thresholds</a> \
         <a href=\"#list\">Alerts</a> <a href=\"#metrics\">Metrics</a></nav>\n",
    );
}

fn cards(html: &mut String, subject: &Subject<'_>) {
    let figures = &subject.outcome.figures;
    let days = subject.counted.days();
    let a_day = (days > 0.0).then(|| figures.alerts as f64 / days);
    let mut cards = vec![
        ("rows", figures.rows.to_string(), format!("{} a second", short(figures.rows_per_second))),
        ("alerts", figures.alerts.to_string(), format!("{} a day", number(a_day))),
    ];
    if let Some(quality) = &figures.quality {
        let of = plural(quality.incidents, "labelled incident");
        let delay =
            quality.median_delay_seconds.map_or_else(|| "–".to_owned(), |d| format!("{} s", short(d)));
        cards.extend([
            ("recall", percent(quality.incident_recall), format!("of {of}")),
            ("precision", percent(quality.alert_precision), "of alerts met one".to_owned()),
            ("false alerts a day", number(quality.false_alerts_per_day), "of normal time".to_owned()),
            ("median delay", delay, "from begin to alert".to_owned()),
        ]);
    }
    html.push_str("<section class=\"cards\">");
    for (what, figure, more) in cards {
        let _ = write!(html, "<div><span>{what}</span><b>{figure}</b><span>{more}</span></div>");
    }
    html.push_str("</section>\n");
}

fn settings(html: &mut String, subject: &Subject<'_>) {
    let config = &subject.replay.config;
    let detector = &config.detector;
    let (incident, severity) = (&config.incident, &config.severity);
    let weights = config.detector.settings(subject.replay.interval, incident.r#for).weights;
    let voters = Detector::ALL.into_iter().zip(weights).filter(|(_, weight)| *weight > 0.0);
    let voters: Vec<String> =
        voters.map(|(detector, weight)| format!("{} {}", detector.name(), short(weight))).collect();
    let bar =
        |confidence: f64, sigma: f64| format!("confidence {}, {} sigmas", short(confidence), short(sigma));
    let (warning, critical) = (&severity.warning, &severity.critical);
    let rows = [
        ("file", subject.data.file.display().to_string()),
        ("detector.ensemble_threshold", short(detector.ensemble_threshold.get())),
        ("detector.false_alerts_per_day", short(detector.false_alerts_per_day)),
        ("detector.adapt_after", detector.adapt_after.to_string()),
        ("detectors and their weights", voters.join(", ")),
        ("detector.zscore.threshold", short(detector.zscore.threshold)),
        ("detector.isolation_forest.contamination", detector.isolation_forest.contamination.to_string()),
        ("incident.for, clear_after", format!("{}, {} checks", incident.r#for, incident.clear_after)),
        ("severity.warning", bar(warning.confidence.get(), warning.sigma)),
        ("severity.critical", bar(critical.confidence.get(), critical.sigma)),
    ];
    html.push_str("<details><summary>Settings</summary><dl>");
    for (name, value) in rows {
        let _ = write!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    html.push_str("</dl></details>\n");
}
