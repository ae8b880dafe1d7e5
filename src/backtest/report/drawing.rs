//! Drawings: paths over columns and marks over rows, as SVG that stretches to the width it is given.
//!
//! Across, a drawing has as many units as columns; down, it has [`HEIGHT`] of them. Text is no part of it, because it
//! would be stretched too.

use std::fmt::Write as _;

use super::super::recording::{Cell, Extent, Frame, Level};
use super::{Subject, time};
use crate::series::Timestamp;

/// Units from top to bottom.
pub(super) const HEIGHT: f64 = 1000.0;
/// The narrowest mark, as a share of the width.
const NARROWEST: f64 = 1.0 / 400.0;
/// Steps between the times named below a drawing.
const STEPS: i64 = 4;
/// Checks without a value after which a line is interrupted.
const HOLE: f64 = 3.0;

/// Opens the drawing of a frame; `about` is for those who cannot see it, and escaped.
pub(super) fn open(html: &mut String, frame: &Frame, about: &str) {
    let _ = write!(
        html,
        "<svg viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{about}\">",
        frame.columns
    );
}

/// What all drawings have in common, drawn once: the training, the labelled incidents, the alerts.
pub(super) fn stock(html: &mut String, subject: &Subject<'_>) {
    let trained = subject.replay.train_rows.min(subject.data.len());
    let training: &[(usize, usize)] = if trained > 0 { &[(0, trained - 1)] } else { &[] };
    let alerts: Vec<(usize, usize)> = subject.alerts.iter().map(|alert| (alert.begin, alert.end)).collect();
    html.push_str("<svg class=\"stock\" aria-hidden=\"true\"><defs>");
    for (id, spans) in [
        ("training", training),
        ("labels", subject.counted.incidents().as_slice()),
        ("alerts", alerts.as_slice()),
    ] {
        let _ = write!(html, "<path id=\"{id}\" d=\"{}\"/>", marks(subject, spans));
    }
    html.push_str("</defs></svg>\n");
}

/// Puts some of the stock into a drawing.
pub(super) fn put(html: &mut String, ids: &[&str]) {
    for id in ids {
        let _ = write!(html, "<use href=\"#{id}\" class=\"{id}\"/>");
    }
}

/// Bars from top to bottom over `spans` of rows, from the first to the last; those that would touch are one.
pub(super) fn marks(subject: &Subject<'_>, spans: &[(usize, usize)]) -> String {
    let frame = &subject.recording.frame;
    let narrowest = NARROWEST * frame.columns as f64;
    let mut bars: Vec<(f64, f64)> = Vec::new();
    for (begin, end) in spans {
        let from = frame.x(frame.times[*begin]);
        let to = frame.x(frame.times[*end] + subject.replay.interval).max(from + narrowest);
        match bars.last_mut() {
            Some((_, last)) if from <= *last => *last = last.max(to),
            _ => bars.push((from, to)),
        }
    }
    let mut path = String::new();
    for (from, to) in bars {
        let _ = write!(path, "M{from:.1} 0H{to:.1}V{HEIGHT}H{from:.1}z");
    }
    path
}

/// The stretches of columns over which something is drawn without interruption.
fn runs<T: Copy>(subject: &Subject<'_>, cells: &[Option<T>]) -> Vec<Vec<(usize, T)>> {
    let frame = &subject.recording.frame;
    let (first, last) = (frame.times.first().copied(), frame.times.last().copied());
    let whole = first.zip(last).map_or(0.0, |(first, last)| last.since(first).as_secs_f64()).max(1e-3);
    let check = subject.replay.interval.as_secs_f64() / whole * frame.columns as f64;
    let longest = 1.0 + HOLE * check;
    let mut runs: Vec<Vec<(usize, T)>> = Vec::new();
    for (column, cell) in cells.iter().enumerate().filter_map(|(column, cell)| Some((column, (*cell)?))) {
        let goes_on = |run: &&mut Vec<(usize, T)>| {
            run.last().is_some_and(|(before, _)| (column - before) as f64 <= longest)
        };
        match runs.last_mut().filter(goes_on) {
            Some(run) => run.push((column, cell)),
            None => runs.push(vec![(column, cell)]),
        }
    }
    runs
}

/// From a value to its place between bottom and top.
pub(super) fn height(value: f64, range: Extent) -> i64 {
    let share = (value - range.low) / (range.high - range.low).max(f64::MIN_POSITIVE);
    (HEIGHT * (1.0 - share.clamp(0.0, 1.0))).round() as i64
}

/// A line through the extremes of each column.
pub(super) fn line(subject: &Subject<'_>, cells: &[Option<Extent>], range: Extent) -> String {
    let mut path = String::new();
    for run in runs(subject, cells) {
        for (nth, (column, value)) in run.iter().enumerate() {
            let (low, high) = (height(value.low, range), height(value.high, range));
            let command = if nth == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{column} {low}");
            if low != high {
                let _ = write!(path, "V{high}");
            }
        }
        if run.len() == 1 {
            path.push_str("h1");
        }
    }
    path
}

/// The area between the extremes of each column.
pub(super) fn area(subject: &Subject<'_>, cells: &[Option<Extent>], range: Extent) -> String {
    let mut path = String::new();
    for run in runs(subject, cells) {
        for (nth, (column, value)) in run.iter().enumerate() {
            let command = if nth == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{column} {}", height(value.high, range));
        }
        for (column, value) in run.iter().rev() {
            let _ = write!(path, "L{column} {}", height(value.low, range));
        }
        path.push('z');
    }
    path
}

/// What is between 0 and 1: up to the mean of each column in full, faintly up to the highest.
pub(super) fn peaks(html: &mut String, subject: &Subject<'_>, levels: &[Option<Level>], class: &str) {
    let mut ground = |part: fn(&Level) -> f64, faint: &str| {
        let cell = |level: &Option<Level>| level.as_ref().map(|level| Extent { low: 0.0, high: part(level) });
        let cells: Vec<Option<Extent>> = levels.iter().map(cell).collect();
        let _ = write!(html, "<path class=\"{class}{faint}\" d=\"{}\"/>", area(subject, &cells, UNIT));
    };
    ground(|level| level.highest, " faint");
    ground(Level::mean, "");
}

/// From 0 to 1.
pub(super) const UNIT: Extent = Extent { low: 0.0, high: 1.0 };

/// A line across at `level` of `range`.
pub(super) fn level(html: &mut String, frame: &Frame, level: f64, range: Extent) {
    let _ = write!(html, "<path class=\"level\" d=\"M0 {}H{}\"/>", height(level, range), frame.columns);
}

/// The times below a drawing.
pub(super) fn axis(html: &mut String, frame: &Frame) {
    let (Some(first), Some(last)) = (frame.times.first(), frame.times.last()) else { return };
    html.push_str("<div class=\"axis\">");
    for step in 0..=STEPS {
        let at = first.millis() + (last.millis() - first.millis()) * step / STEPS;
        let at = time(Timestamp::from_millis(at));
        let _ = write!(html, "<span>{}</span>", at.get(..at.len().saturating_sub(3)).unwrap_or_default());
    }
    html.push_str("</div>");
}

/// One part of the cells.
pub(super) fn column<T>(cells: &[Cell], part: impl Fn(&Cell) -> Option<T>) -> Vec<Option<T>> {
    cells.iter().map(part).collect()
}
