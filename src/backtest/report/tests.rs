//! What the page must hold, whatever is replayed.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::backtest::recording::{Cell, Extent, Frame, Level};
use crate::backtest::{Basis, Verdict};
use crate::config::Config;
use crate::dataset::Columns;
use crate::setting::Ratio;

/// A column nobody should name so.
const NASTY: &str = "<script>&\"";
const ROWS: usize = 1500;
/// First and last rows of labelled incidents.
const FAULTS: [(usize, usize); 3] = [(600, 640), (900, 930), (1200, 1250)];

/// Noise in three columns, of which two move in the faults.
fn recorded(labelled: bool) -> Dataset {
    let mut text =
        format!("t,cpu,\"{}\",disk{}\n", NASTY.replace('"', "\"\""), if labelled { ",y" } else { "" });
    let noise = |row: usize, by: usize| ((row * by) % 101) as f64 / 101.0;
    for row in 0..ROWS {
        let fault = FAULTS.iter().any(|(begin, end)| (*begin..=*end).contains(&row));
        let more = if fault { 8.0 } else { 0.0 };
        let cells = [20.0 + noise(row, 37) + more, 5.0 + noise(row, 53), 70.0 + noise(row, 71) + more];
        let _ = write!(text, "{},{},{},{}", 1_700_000_000 + 10 * row, cells[0], cells[1], cells[2]);
        text += if !labelled {
            "\n"
        } else if fault {
            ",1\n"
        } else {
            ",0\n"
        };
    }
    let columns = Columns { label: labelled.then(|| "y".to_owned()), ..Columns::default() };
    Dataset::parse(text.as_bytes(), std::path::Path::new("a<b>&.csv"), &columns).unwrap()
}

fn replay(threshold: f64) -> Replay {
    let mut config = Config::default();
    // Its fits take long and change nothing here.
    config.detector.lstm_autoencoder.enabled = false;
    config.detector.ensemble_threshold = Ratio::new(threshold).unwrap();
    Replay { config, signals: Vec::new(), interval: Duration::from_secs(10), train_rows: 400, fits: None }
}

fn record(data: &Dataset, threshold: f64) -> (Replay, Outcome, Recording) {
    let replay = replay(threshold);
    let (outcome, recording) = replay.record(data, &mut |_, _| ());
    (replay, outcome, recording.unwrap())
}

/// Names of the elements that a page opens, in order; each must be closed where it should.
fn elements(page: &str) -> Vec<String> {
    const VOID: [&str; 3] = ["meta", "!doctype", "br"];
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        assert!(!tag.contains('<'), "a tag in a tag: {tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "a quote is open: {tag}");
        let name = tag.trim_matches('/').split([' ', '/']).next().unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed), "{}", &rest[at.saturating_sub(80)..=end]);
        } else {
            all.push(name.to_owned());
            if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name.to_owned());
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    all
}

/// What an element with this beginning holds; of the first one.
fn inside<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    let at = page.find(begin).unwrap_or_else(|| panic!("{begin} is not there")) + begin.len();
    &page[at..at + page[at..].find(end).unwrap()]
}

#[test]
fn a_page_is_sound_and_has_the_figures_a_chart_a_metric_the_labels_and_the_alerts() {
    let data = recorded(true);
    let (replay, outcome, recording) = record(&data, 0.6);
    let page = page(&replay, &data, &outcome, &recording);
    let elements = elements(&page);
    assert_eq!(page.matches("<figure class=\"metric\"").count(), data.metrics.len());
    assert_eq!(elements.iter().filter(|name| *name == "figure").count(), data.metrics.len() + 1);
    assert_eq!(inside(&page, "<path id=\"labels\" d=\"", "\"").matches('M').count(), FAULTS.len());
    assert_eq!(page.matches("<use href=\"#labels\"").count(), 4 + 2 * data.metrics.len());
    assert!(outcome.figures.alerts > 0, "or there is nothing to see");
    assert_eq!(page.matches("<tr class=\"alert\">").count(), outcome.figures.alerts);
    assert_eq!(inside(&page, "<span>alerts</span><b>", "<"), outcome.figures.alerts.to_string());
    assert!(!page.contains("NaN") && !page.contains("inf "), "numbers that are none");
}

#[test]
fn a_page_asks_nobody_for_anything_and_takes_names_for_text() {
    for labelled in [false, true] {
        let data = recorded(labelled);
        let (replay, outcome, recording) = record(&data, 0.6);
        let page = page(&replay, &data, &outcome, &recording);
        elements(&page);
        for forbidden in ["http:", "https:", "src=", "url(", "@import", "<script", "<link", "<iframe"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("&lt;script&gt;&amp;&quot;"), "the name is there");
        assert!(page.contains("a&lt;b&gt;&amp;.csv"), "the file's is too");
        assert_eq!(page.contains("labelled"), labelled);
    }
}

#[test]
fn what_is_recorded_beside_changes_nothing_and_agrees_with_what_was_said() {
    let data = recorded(true);
    for threshold in [0.5, 0.6, 0.62] {
        let (replay, outcome, recording) = record(&data, threshold);
        let plain = replay.run(&data, &mut |_, _| ());
        assert_eq!(outcome.csv(&data), plain.csv(&data));
        let own = recording.sweep.iter().find(|tried| tried.configured).unwrap();
        assert_eq!((own.threshold, own.basis), (threshold, Basis::SameLearned));
        assert_eq!(own.alerts, outcome.figures.alerts);
        assert_eq!(own.quality, outcome.figures.quality);
        let fires = |row: usize| recording.fired.iter().any(|fired| (fired.begin..=fired.end).contains(&row));
        (0..data.len()).for_each(|row| assert_eq!(fires(row), outcome.verdicts[row].alert, "row {row}"));
    }
}

#[test]
fn a_threshold_that_is_said_to_be_known_gives_just_that_when_it_is_configured() {
    let data = recorded(true);
    let (first, _, recording) = record(&data, 0.6);
    let mut rerun = recording.clone();
    first.rerun(&data, &mut rerun, &mut |_, _| ());
    let estimates = recording.sweep.iter().filter(|tried| !tried.is_exact()).count();
    let known = recording.sweep.iter().filter(|tried| tried.basis == Basis::SameLearned).count();
    assert!(known > 1 && estimates > 0, "{known} known, {estimates} estimated");
    for (tried, before) in rerun.sweep.iter().zip(&recording.sweep) {
        assert!(tried.is_exact());
        let really = replay(tried.threshold).run(&data, &mut |_, _| ()).figures;
        assert_eq!((tried.alerts, &tried.quality), (really.alerts, &really.quality), "{}", tried.threshold);
        if before.is_exact() {
            assert_eq!(tried, before);
        }
    }
}

#[test]
fn the_row_of_the_configured_threshold_has_the_figures() {
    let data = recorded(true);
    let (replay, outcome, recording) = record(&data, 0.6);
    let page = page(&replay, &data, &outcome, &recording);
    let row = inside(&page, "<tr class=\"configured\">", "</tr>");
    let quality = outcome.figures.quality.unwrap();
    let expected = [
        format!(">{}</td>", outcome.figures.alerts),
        format!(">{}</td>", percent(quality.incident_recall)),
        format!(">{}</td>", percent(quality.alert_precision)),
        format!(">{}</td>", number(quality.false_alerts_per_day)),
    ];
    expected.iter().for_each(|cell| assert!(row.contains(cell), "{cell} in {row}"));
}

#[test]
fn the_page_of_a_wide_recording_stays_small() {
    for width in [1, 38, 200, 3000] {
        let rows = 2000;
        let header: Vec<String> = (0..width).map(|metric| format!("metric_{metric}")).collect();
        let header = header.join(",");
        let text = format!("t,{header}\n0{}\n", ",1".repeat(width));
        let data =
            Dataset::parse(text.as_bytes(), std::path::Path::new("wide.csv"), &Columns::default()).unwrap();
        let times: Vec<Timestamp> = (0..rows).map(Timestamp::from_millis).collect();
        let frame = Frame::new(times, width);
        let noisy = |column: usize| {
            let value = ((column * 7919) % 997) as f64;
            let extent = |by: f64| Some(Extent { low: value - by, high: value + by });
            let mut score = None;
            [value / 997.0, 0.5].into_iter().for_each(|level| Level::take(&mut score, level));
            Cell { value: extent(10.0), band: extent(50.0), score }
        };
        let cells: Vec<Cell> = (0..frame.columns).map(noisy).collect();
        let recording =
            Recording { frame, metrics: vec![cells; width], fired: Vec::new(), sweep: Vec::new() };
        let outcome = Outcome { verdicts: vec![Verdict::default()], ..Outcome::default() };
        let page = page(&replay(0.6), &data, &outcome, &recording);
        assert!(page.len() < 5_000_000, "{width} metrics: {} bytes", page.len());
    }
}

#[test]
fn a_gap_in_a_recording_is_no_line_and_rows_without_values_are_no_zeros() {
    let text = "t,a\n0,1\n10,2\n20,\n30,\n40,\n50,\n60,\n70,3\n80,2\n";
    let data = Dataset::parse(text.as_bytes(), std::path::Path::new("g.csv"), &Columns::default()).unwrap();
    let replay = Replay { train_rows: 0, ..replay(0.6) };
    let (outcome, recording) = replay.record(&data, &mut |_, _| ());
    let recording = recording.unwrap();
    let values: Vec<f64> =
        recording.metrics[0].iter().filter_map(|cell| cell.value).map(|value| value.low).collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 2.0]);
    let page = page(&replay, &data, &outcome, &recording);
    assert_eq!(inside(&page, "class=\"value\" d=\"", "\"").matches('M').count(), 2, "two lines");
}
