//! A backtest as a page to look at: figures, votes, what other thresholds would give, alerts, and a chart a metric.
//!
//! One file that asks no other host for anything and runs no script: text and drawings, light or dark as the reader's
//! screen is. Whatever comes from the recording is escaped, its names above all.

mod alerts;
mod charts;
mod drawing;
mod figures;
mod thresholds;
mod votes;

use super::outcome::Counted;
use super::{Outcome, Recording, Replay};
use crate::dataset::Dataset;
use crate::series::Timestamp;
use crate::setting::{escape, rfc3339, short};
use alerts::Alert;

/// What every section of the page is made from.
struct Subject<'a> {
    replay: &'a Replay,
    data: &'a Dataset,
    outcome: &'a Outcome,
    recording: &'a Recording,
    counted: Counted,
    alerts: Vec<Alert>,
}

/// The page about a replay of `data`.
pub fn page(replay: &Replay, data: &Dataset, outcome: &Outcome, recording: &Recording) -> String {
    let counted = Counted::new(data, replay.train_rows.min(data.len()), replay.interval);
    let alerts = alerts::find(data, outcome, recording, &counted);
    let subject = Subject { replay, data, outcome, recording, counted, alerts };
    let name = data.file.file_name().map(|name| escape(&name.to_string_lossy())).unwrap_or_default();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Backtest of {name}</title>\
         <style>{}</style></head>\n<body><main>\n",
        include_str!("report/page.css")
    );
    drawing::stock(&mut html, &subject);
    figures::write(&mut html, &subject, &name);
    votes::write(&mut html, &subject);
    thresholds::write(&mut html, &subject);
    alerts::write(&mut html, &subject);
    charts::write(&mut html, &subject);
    html.push_str("</main></body></html>\n");
    html
}

/// A number that may not be there.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), short)
}

/// A share that may not be there.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// To the second, in UTC.
fn time(at: Timestamp) -> String {
    rfc3339(at).replace('T', " ").split('.').next().unwrap_or_default().to_owned()
}

/// `1 alert`, `2 alerts`.
fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests;
