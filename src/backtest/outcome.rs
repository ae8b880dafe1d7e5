//! What a replay has yielded: a verdict a row, and figures over all of them.

use std::time::Duration;

use serde::Serialize;

use crate::dataset::Dataset;
use crate::detect::verdict::{Detector, PerDetector, Severity};
use crate::engine::Judgement;

/// Rows before and after a labelled incident that still count as it.
const REACH: usize = 2;
/// An alert that keeps firing is one again after so long, as it would be notified again.
const REPEAT: Duration = Duration::from_hours(4);

/// What was said of one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The target's score, 0–1.
    pub score: f64,
    /// Whether an incident at warning or above fires.
    pub alert: bool,
    /// Of the incidents that fire, or of the verdict where the row is anomalous.
    pub severity: Option<Severity>,
    /// The consensus metric, where there is one.
    pub metric: String,
    /// Its deviation.
    pub deviation_sigma: f64,
    /// The detectors' confidences for the target; `None` while not ready.
    pub confidences: PerDetector<f64>,
    /// Threshold-free strength.
    pub evidence: f64,
}

impl Verdict {
    /// From what the engine said last.
    pub fn of(judgement: &Judgement<'_>) -> Self {
        let target = judgement.verdict.target.unwrap_or_default();
        let metric = judgement.consensus.and_then(|labels| labels.get("metric_name"));
        Self {
            score: target.score,
            alert: judgement.firing >= Some(Severity::Warning),
            severity: judgement.firing.or(judgement.severity),
            metric: metric.unwrap_or_default().to_owned(),
            deviation_sigma: target.deviation_sigma,
            confidences: target.confidences,
            evidence: judgement.verdict.evidence,
        }
    }
}

/// A verdict for each row, in order.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// One a row.
    pub verdicts: Vec<Verdict>,
    /// Time spent on fits.
    pub fitting: Duration,
    /// What came of it.
    pub figures: Figures,
}

/// Figures over a whole replay; the last line of the command's output.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Rows of the input.
    pub rows: usize,
    /// Alerts that began.
    pub alerts: usize,
    /// Seconds it took, fits included.
    pub seconds: f64,
    /// Of those, spent on fits.
    pub fit_seconds: f64,
    /// Rows a second, fits aside.
    pub rows_per_second: f64,
    /// Rows whose time repeats that of the row before; the last of them counted.
    pub repeated_times: usize,
    /// Rows whose time stepped back.
    pub backward_times: usize,
    /// With labels: what a person on call would have felt.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
}

/// Figures against labels, over the rows after the training.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Quality {
    /// Labelled incidents.
    pub incidents: usize,
    /// Share of them in which an alert began.
    pub incident_recall: Option<f64>,
    /// Share of alerts that met an incident.
    pub alert_precision: Option<f64>,
    /// Alerts that met none, a day without incident.
    pub false_alerts_per_day: Option<f64>,
    /// Half of the incidents found were found within so many seconds.
    pub median_delay_seconds: Option<f64>,
}

impl Outcome {
    pub(super) fn new(data: &Dataset) -> Self {
        Self { verdicts: Vec::with_capacity(data.len()), ..Self::default() }
    }

    /// Rows that were learned from: nothing is said of them.
    pub(super) fn untouched(&mut self, rows: usize) {
        self.verdicts.resize(rows, Verdict::default());
    }

    pub(super) fn push(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    pub(super) fn figures(
        mut self,
        data: &Dataset,
        train: usize,
        interval: Duration,
        took: Duration,
    ) -> Self {
        let (repeated, backward) = data.disorder();
        let replaying = took.saturating_sub(self.fitting).as_secs_f64();
        let (alerts, quality) = Counted::new(data, train, interval).tally(|row| self.verdicts[row].alert);
        self.figures = Figures {
            rows: data.len(),
            alerts: alerts.len(),
            seconds: took.as_secs_f64(),
            fit_seconds: self.fitting.as_secs_f64(),
            rows_per_second: data.len() as f64 / replaying.max(1e-9),
            repeated_times: repeated.len(),
            backward_times: backward.len(),
            quality,
        };
        self
    }

    /// The table of the command's output.
    pub fn csv(&self, data: &Dataset) -> String {
        let mut text = String::from("timestamp,score,alert,severity,metric_name,deviation_sigma");
        Detector::ALL.iter().for_each(|detector| text.extend([",", detector.name()]));
        text.push_str(",evidence\n");
        for (written, verdict) in data.written.iter().zip(&self.verdicts) {
            verdict.write(&quoted(written), &mut text);
        }
        text
    }
}

impl Verdict {
    fn write(&self, written: &str, text: &mut String) {
        use std::fmt::Write;
        let severity = self.severity.map_or("", Severity::name);
        let metric = quoted(&self.metric);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{written},{:.6},{},{severity},{metric},{:.6}",
            self.score,
            u8::from(self.alert),
            self.deviation_sigma
        );
        for confidence in self.confidences {
            text.push(',');
            if let Some(confidence) = confidence {
                let _ = write!(text, "{confidence:.6}");
            }
        }
        let _ = writeln!(text, ",{}", significant(self.evidence));
    }
}

/// A cell of a CSV file.
fn quoted(cell: &str) -> std::borrow::Cow<'_, str> {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\"")).into()
    } else {
        cell.into()
    }
}

/// Six significant digits.
fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    if (0..=12).contains(&digits) { format!("{value:.*}", digits as usize) } else { format!("{value:.5e}") }
}

/// The rows that count: those after the training that are not to be ignored.
pub(super) struct Counted {
    rows: Vec<usize>,
    /// One for each of them; `None` without labels.
    labels: Option<Vec<bool>>,
    interval: Duration,
}

impl Counted {
    pub(super) fn new(data: &Dataset, train: usize, interval: Duration) -> Self {
        let rows: Vec<usize> = (train..data.len()).filter(|row| !data.ignored[*row]).collect();
        let labels = (!data.labels.is_empty()).then(|| rows.iter().map(|row| data.labels[*row]).collect());
        Self { rows, labels, interval }
    }

    /// Alerts, as their first and last rows, and what they are worth against labels.
    pub(super) fn tally(&self, alert: impl Fn(usize) -> bool) -> (Vec<(usize, usize)>, Option<Quality>) {
        let alert: Vec<bool> = self.rows.iter().map(|row| alert(*row)).collect();
        let quality = self.labels.as_ref().map(|labels| Quality::of(labels, &alert, self.interval));
        (self.places(&alert), quality)
    }

    /// Labelled incidents, as their first and last rows.
    pub(super) fn incidents(&self) -> Vec<(usize, usize)> {
        self.labels.as_ref().map(|labels| self.places(labels)).unwrap_or_default()
    }

    fn places(&self, set: &[bool]) -> Vec<(usize, usize)> {
        stretches(set).into_iter().map(|(begin, end)| (self.rows[begin], self.rows[end - 1])).collect()
    }

    /// The time they cover, in days.
    pub(super) fn days(&self) -> f64 {
        self.rows.len() as f64 * self.interval.as_secs_f64() / 86_400.0
    }
}

/// Half-open stretches of rows that are set.
fn stretches(set: &[bool]) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (row, _) in set.iter().enumerate().filter(|(_, set)| **set) {
        match found.last_mut() {
            Some((_, end)) if *end == row => *end = row + 1,
            _ => found.push((row, row + 1)),
        }
    }
    found
}

impl Quality {
    /// Of alerts against labels, one of each a row.
    pub fn of(labels: &[bool], alert: &[bool], interval: Duration) -> Self {
        let (incidents, alerts) = (stretches(labels), stretches(alert));
        let delays = incidents.iter().filter_map(|(begin, end)| {
            let counts = |start: &usize| start + REACH >= *begin && *start < end + REACH;
            let first = alerts.iter().map(|(start, _)| *start).find(counts)?;
            Some(first.saturating_sub(*begin) as f64 * interval.as_secs_f64())
        });
        let mut delays: Vec<f64> = delays.collect();
        delays.sort_by(f64::total_cmp);
        let notified = repeated(&alerts, interval);
        let last = |(begin, end): &(usize, usize)| (*begin, end - 1);
        let met = notified.iter().filter(|alert| incidents.iter().any(|i| meets(last(i), last(alert))));
        let met = met.count();
        let normal =
            labels.iter().filter(|label| !**label).count() as f64 * interval.as_secs_f64() / 86_400.0;
        let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        Self {
            incidents: incidents.len(),
            incident_recall: share(delays.len(), incidents.len()),
            alert_precision: share(met, notified.len()),
            false_alerts_per_day: (normal > 0.0).then(|| (notified.len() - met) as f64 / normal),
            median_delay_seconds: delays.get(delays.len() / 2).copied(),
        }
    }
}

/// Whether an alert counts as having met an incident; both by their first and last rows.
pub(super) fn meets(incident: (usize, usize), alert: (usize, usize)) -> bool {
    alert.0 <= incident.1 + REACH && alert.1 + REACH >= incident.0
}

fn repeated(alerts: &[(usize, usize)], interval: Duration) -> Vec<(usize, usize)> {
    let rows = (REPEAT.as_secs_f64() / interval.as_secs_f64().max(1e-3)).max(1.0) as usize;
    let parts = |(start, end): &(usize, usize)| {
        let end = *end;
        (*start..end).step_by(rows).map(move |at| (at, (at + rows).min(end))).collect::<Vec<_>>()
    };
    alerts.iter().flat_map(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_with_a_comma_stays_one_cell() {
        let text = b"t;a\n2024-05-01 00:00:00,123;1,5\n";
        let data =
            Dataset::parse(text, std::path::Path::new("d.csv"), &crate::dataset::Columns::default()).unwrap();
        let outcome = Outcome { verdicts: vec![Verdict::default()], ..Outcome::new(&data) };
        let table = outcome.csv(&data);
        assert!(table.lines().nth(1).unwrap().starts_with("\"2024-05-01 00:00:00,123\",0.0"), "{table}");
    }

    fn marks(text: &str) -> Vec<bool> {
        text.chars().map(|c| c == '#').collect()
    }

    #[test]
    fn an_incident_is_found_by_an_alert_that_begins_in_it_and_one_that_was_on_before_finds_nothing() {
        let minute = Duration::from_mins(1);
        let quality = |labels: &str, alerts: &str| Quality::of(&marks(labels), &marks(alerts), minute);
        let found = quality("....###.......", ".....####.....");
        assert_eq!((found.incident_recall, found.alert_precision), (Some(1.0), Some(1.0)));
        assert_eq!(found.median_delay_seconds, Some(60.0));
        let early = quality("......###.....", "..######......");
        assert_eq!((early.incident_recall, early.alert_precision), (Some(0.0), Some(1.0)));
        let wrong = quality("..........####", ".##...........");
        assert_eq!((wrong.alert_precision, wrong.false_alerts_per_day), (Some(0.0), Some(1440.0 / 10.0)));
    }

    #[test]
    fn an_alert_that_never_ends_is_one_again_every_four_hours() {
        let hours = repeated(&[(0, 10)], Duration::from_hours(1));
        assert_eq!(hours, [(0, 4), (4, 8), (8, 10)]);
    }

    #[test]
    fn evidence_has_six_significant_digits() {
        for (value, text) in
            [(0.0, "0"), (12.345_678_9, "12.3457"), (0.001_234_567_8, "0.00123457"), (123_456.7, "123457")]
        {
            assert_eq!(significant(value), text);
        }
    }
}
