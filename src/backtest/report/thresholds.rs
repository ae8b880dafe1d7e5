//! What other thresholds would give, for a person to pick one.

use std::fmt::Write as _;

use super::super::sweep::{Basis, Tried};
use super::{Subject, number, percent, plural};
use crate::setting::short;

pub(super) fn write(html: &mut String, subject: &Subject<'_>) {
    let tried = &subject.recording.sweep;
    let has_labels = tried.iter().any(|tried| tried.quality.is_some());
    html.push_str("<section id=\"thresholds\"><h2>Other thresholds</h2>");
    explain(html, subject);
    html.push_str(
        "<div class=\"wide\"><table><thead><tr><th>ensemble_threshold</th><th>alerts</th><th>a day</th>",
    );
    if has_labels {
        html.push_str("<th>recall</th><th>precision</th><th>false alerts a day</th><th>median delay</th>");
    }
    html.push_str("<th>how it is known</th></tr></thead><tbody>");
    let most = tried.iter().map(|tried| tried.alerts).max().unwrap_or(0).max(1);
    let days = subject.counted.days();
    tried.iter().for_each(|tried| row(html, tried, most, days));
    html.push_str("</tbody></table></div></section>\n");
}

fn explain(html: &mut String, subject: &Subject<'_>) {
    html.push_str(
        "<p class=\"quiet\">What this recording would have given by another <code>ensemble_threshold</code>, all else \
         the same. An alert must also persist and reach a severity, so a lower threshold does not always mean more of \
         them.",
    );
    if subject.recording.sweep.iter().any(|tried| !tried.is_exact()) {
        html.push_str(
            " <strong>Some rows are estimates</strong>: the incidents of that threshold on the scores of this replay. \
             What belongs to an incident is not learned, so by a threshold below its default other values would have \
             been learned and the scores would have come to differ, far below by much.",
        );
        html.push_str(
            " <code>backtest --replay-thresholds</code> replays the recording for each and is exact.",
        );
    }
    html.push_str("</p>");
}

fn row(html: &mut String, tried: &Tried, most: usize, days: f64) {
    let class = if tried.configured { " class=\"configured\"" } else { "" };
    let note = if tried.configured { " <small>configured</small>" } else { "" };
    let share = 100.0 * tried.alerts as f64 / most as f64;
    let _ = write!(
        html,
        "<tr{class}><td>{:.2}{note}</td><td class=\"n bar\" style=\"--share:{share:.0}%\">{}</td><td class=\"n\">{}</td>",
        tried.threshold,
        tried.alerts,
        number((days > 0.0).then(|| tried.alerts as f64 / days)),
    );
    if let Some(quality) = &tried.quality {
        let delay =
            quality.median_delay_seconds.map_or_else(|| "–".to_owned(), |d| format!("{} s", short(d)));
        let _ = write!(
            html,
            "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{delay}</td>",
            percent(quality.incident_recall),
            percent(quality.alert_precision),
            number(quality.false_alerts_per_day),
        );
    }
    let _ = writeln!(html, "<td>{}</td></tr>", basis(tried));
}

fn basis(tried: &Tried) -> String {
    match tried.basis {
        _ if tried.configured => "this replay".to_owned(),
        Basis::SameLearned => "exact: it would have learned the same".to_owned(),
        Basis::Replayed => "replayed".to_owned(),
        Basis::Estimated { learned_otherwise } => {
            format!("estimate: {} learned otherwise", plural(learned_otherwise, "check"))
        }
    }
}
