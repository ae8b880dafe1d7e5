//! The alerts: when, how bad, which metric heads each, and who voted for it.

use std::fmt::Write as _;

use super::super::outcome::{Counted, meets};
use super::{Subject, time};
use crate::backtest::{Outcome, Recording};
use crate::dataset::Dataset;
use crate::detect::verdict::{Detector, PerDetector, Severity, VOTE};
use crate::setting::{escape, short};

/// Alerts listed; of more than so many the first.
const MOST: usize = 1000;

/// An alert: rows on end in which an incident fires at warning or above, and what the strongest of them says.
pub(super) struct Alert {
    /// The first row.
    pub(super) begin: usize,
    /// The last row.
    pub(super) end: usize,
    severity: Severity,
    /// The metric that heads it.
    metric: String,
    score: f64,
    deviation_sigma: f64,
    confidences: PerDetector<f64>,
    /// Further metrics of which incidents fire.
    also: Vec<usize>,
    /// Whether it meets a labelled incident; `None` without labels.
    met: Option<bool>,
}

/// The alerts of a replay, as many as its figures count.
pub(super) fn find(
    data: &Dataset,
    outcome: &Outcome,
    recording: &Recording,
    counted: &Counted,
) -> Vec<Alert> {
    let labelled = (!data.labels.is_empty()).then(|| counted.incidents());
    let (alerts, _) = counted.tally(|row| outcome.verdicts[row].alert);
    let alert = |(begin, end)| {
        let rows = &outcome.verdicts[begin..=end];
        let strongest = rows.iter().max_by(|a, b| a.score.total_cmp(&b.score)).unwrap_or(&rows[0]);
        let fires = recording.fired.iter().filter(|fired| fired.begin <= end && fired.end >= begin);
        let mut also: Vec<usize> = fires.map(|fired| fired.metric).collect();
        also.sort_unstable();
        also.dedup();
        also.retain(|metric| data.metrics[*metric] != strongest.metric);
        Alert {
            begin,
            end,
            severity: rows.iter().filter_map(|row| row.severity).max().unwrap_or(Severity::Warning),
            metric: strongest.metric.clone(),
            score: strongest.score,
            deviation_sigma: strongest.deviation_sigma,
            confidences: strongest.confidences,
            also,
            met: labelled.as_ref().map(|labelled| labelled.iter().any(|label| meets(*label, (begin, end)))),
        }
    };
    alerts.into_iter().map(alert).collect()
}

pub(super) fn write(html: &mut String, subject: &Subject<'_>) {
    html.push_str("<section id=\"list\"><h2>Alerts</h2>");
    if subject.alerts.is_empty() {
        html.push_str("<p class=\"quiet\">None.</p></section>\n");
        return;
    }
    html.push_str(
        "<p class=\"quiet\">Score, deviation and votes are those of the alert's strongest row. Times are UTC.</p>\
         <div class=\"wide\"><table><thead><tr><th>begin</th><th>end</th><th>row</th><th>severity</th><th>metric</th>\
         <th>score</th><th>sigmas</th><th>votes</th>",
    );
    if subject.data.labels.is_empty() {
        html.push_str("</tr></thead><tbody>");
    } else {
        html.push_str("<th>labelled</th></tr></thead><tbody>");
    }
    subject.alerts.iter().take(MOST).for_each(|alert| row(html, subject, alert));
    html.push_str("</tbody></table></div>");
    if subject.alerts.len() > MOST {
        let _ = write!(html, "<p class=\"quiet\">The first {MOST} of {}.</p>", subject.alerts.len());
    }
    html.push_str("</section>\n");
}

fn row(html: &mut String, subject: &Subject<'_>, alert: &Alert) {
    let data = subject.data;
    let severity = alert.severity.name();
    let _ = write!(
        html,
        "<tr class=\"alert\"><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"{severity}\">{severity}</td><td>",
        time(data.times[alert.begin]),
        time(data.times[alert.end]),
        alert.begin + 1,
    );
    metrics(html, data, alert);
    let _ = write!(
        html,
        "</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>",
        short(alert.score),
        short(alert.deviation_sigma)
    );
    for detector in Detector::ALL {
        if let Some(confidence) = alert.confidences[detector.index()].filter(|sure| *sure >= VOTE) {
            let name = detector.name();
            let _ = write!(html, "<span class=\"vote {name}\">{name} {confidence:.2}</span> ");
        }
    }
    html.push_str("</td>");
    match alert.met {
        Some(true) => html.push_str("<td>yes</td>"),
        Some(false) => html.push_str("<td class=\"false\">no</td>"),
        None => {}
    }
    html.push_str("</tr>\n");
}

/// The metric that heads the alert, and the others with it; each leads to its chart.
fn metrics(html: &mut String, data: &Dataset, alert: &Alert) {
    let mut link = |metric: usize, before: &str| {
        let name = escape(&data.metrics[metric]);
        let _ = write!(html, "{before}<a href=\"#metric-{metric}\">{name}</a>");
    };
    if let Some(head) = data.metrics.iter().position(|name| *name == alert.metric) {
        link(head, "");
    }
    for (nth, metric) in alert.also.iter().enumerate() {
        link(*metric, if nth == 0 { " <small>with</small> " } else { ", " });
    }
}
