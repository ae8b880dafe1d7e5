//! The signals of one target: value, band, course and what each detector says.

use std::fmt::Write as _;

use super::super::course::Point;
use super::super::words;
use super::chart::{Course, between};
use super::parts::{View, class, instance, time};
use crate::detect::verdict::{Detector, VOTE};
use crate::engine::snapshot::{MetricSnapshot, TargetSnapshot};
use crate::series::Timestamp;
use crate::setting::{escape, short};

/// Up to so many signals the detectors' courses are drawn for each, beyond only for those that are near an anomaly.
const ALL_LANES: usize = 24;
/// From this drift index on much has changed since the training.
const DRIFT: f64 = 0.25;

/// A target's heading, its signals, and those without data.
pub(super) fn target(view: &View<'_>, at: usize, target: &TargetSnapshot) -> String {
    let mut out = String::with_capacity(target.metrics.len() * 8192);
    if let Some(failure) = target.failure.as_ref().filter(|_| target.up == Some(false)) {
        let _ = write!(out, "<p><span class=\"badge down\">down</span> {}</p>", escape(failure));
    }
    out.push_str("<div class=\"grid\">");
    let is_few = view.snapshot.targets.iter().map(|t| t.metrics.len()).sum::<usize>() <= ALL_LANES;
    for (number, metric) in target.metrics.iter().enumerate() {
        if metric.value.is_some() || metric.firing.is_some() {
            signal(view, target, metric, &format!("s-{at}-{number}"), is_few, &mut out);
        }
    }
    out.push_str("</div>");
    let missing: Vec<&MetricSnapshot> = target.metrics.iter().filter(|m| m.value.is_none()).collect();
    if !missing.is_empty() {
        out.push_str("<h3>No data</h3><ul>");
        for metric in missing {
            let why = metric.no_data.as_deref().unwrap_or("it has gone");
            let _ = write!(out, "<li><strong>{}</strong>: {}</li>", escape(&full_name(metric)), escape(why));
        }
        out.push_str("</ul>");
    }
    out
}

fn full_name(metric: &MetricSnapshot) -> String {
    let rest = metric.labels.without(|name| name == "metric_name");
    if rest.is_empty() { metric.name().to_owned() } else { format!("{}{rest}", metric.name()) }
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{}{}{}", short(value), if unit.is_empty() { "" } else { " " }, escape(unit))
}

fn signal(
    view: &View<'_>,
    target: &TargetSnapshot,
    metric: &MetricSnapshot,
    id: &str,
    is_few: bool,
    out: &mut String,
) {
    let points: Vec<Point> =
        view.courses.read(&target.labels, &metric.labels, |points| points.copied().collect());
    let course = Course::new(&points, view.snapshot.threshold);
    let _ = write!(
        out,
        "<article class=\"signal {}\" id=\"{id}\" data-metric=\"{}\" data-instance=\"{}\" aria-labelledby=\"{id}-n\"><div class=\"head\"><h3 id=\"{id}-n\">{}</h3>",
        class(metric.firing),
        escape(metric.name()),
        escape(instance(target)),
        escape(&full_name(metric))
    );
    head(metric, out);
    out.push_str("</div>");
    draw(metric, &course, out);
    let score = metric.assessment.map_or(0.0, |assessment| assessment.score);
    if !course.is_empty() && (is_few || metric.firing.is_some() || score > view.snapshot.threshold / 2.0) {
        lanes(view, metric, &course, out);
    }
    let _ =
        write!(out, "<p><a href=\"runbook/{0}\">Runbook for {0}</a></p></article>", escape(metric.name()));
}

fn head(metric: &MetricSnapshot, out: &mut String) {
    let value = metric.value.map_or_else(|| "no data".to_owned(), |value| with_unit(value, &metric.unit));
    let _ = write!(out, "<span class=\"now\">{value}</span></div><div class=\"head\">");
    match metric.band {
        Some(band) => {
            let range = between(band.lower, band.upper, &escape(&metric.unit));
            let _ = write!(out, "<span class=\"soft\">expected {range}</span>");
        }
        None => out.push_str("<span class=\"soft\">learning what to expect</span>"),
    }
    if let Some(severity) = metric.firing {
        let _ = write!(out, "<span class=\"badge {0}\">{0}</span>", severity.name());
    }
    if let Some(drift) = metric.drift.filter(|drift| *drift > DRIFT) {
        let _ = write!(out, "<span class=\"badge warning\">drift {}</span>", short(drift));
    }
}

fn draw(metric: &MetricSnapshot, course: &Course, out: &mut String) {
    if course.is_empty() {
        out.push_str("<p class=\"soft\">The chart begins with the second check.</p>");
        return;
    }
    let unit = escape(&metric.unit);
    let (low, high) = course.range();
    let now = metric.value.map_or_else(|| "no data".to_owned(), |value| with_unit(value, &metric.unit));
    let expected = metric.band.map(|b| format!(", expected {}", between(b.lower, b.upper, &unit)));
    let anomalies = match course.anomalies() {
        0 => "no anomaly".to_owned(),
        n => format!("{n} anomalous points"),
    };
    let label = format!(
        "{}: now {now}{}; {anomalies}; from {} to {} in this chart",
        escape(&full_name(metric)),
        expected.unwrap_or_default(),
        short(low),
        short(high)
    );
    out.push_str("<div class=\"chart\">");
    let _ = write!(out, "<div class=\"axis\"><span>{}</span></div>", with_unit(high, &metric.unit));
    course.draw(&label, out);
    let _ = write!(out, "<div class=\"axis\"><span>{}</span>", with_unit(low, &metric.unit));
    if let Some((from, to)) = course.span() {
        let of = |at| time(Timestamp::from_millis(at));
        let _ = write!(out, "<span>{} to {}</span>", of(from), of(to));
    }
    out.push_str("</div></div>");
}

fn lanes(view: &View<'_>, metric: &MetricSnapshot, course: &Course, out: &mut String) {
    let Some(assessment) = metric.assessment else { return };
    out.push_str("<table class=\"lanes\"><caption>Score, and confidence by detector</caption><tbody>");
    let mut lane = |name: &str, now: f64, line: f64, read: &dyn Fn(&Point) -> Option<f64>| {
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th><td>");
        course.lane(line, out, read);
        let _ = write!(out, "</td><td class=\"n\">{}</td></tr>", words::hundredths(now));
    };
    lane("score", assessment.score, view.snapshot.threshold, &|point| point.score);
    for detector in Detector::ALL {
        if let Some(confidence) = assessment.confidences[detector.index()] {
            let read = |point: &Point| point.confidences[detector.index()];
            lane(words::detector(detector), confidence, VOTE, &read);
        }
    }
    out.push_str("</tbody></table>");
}
