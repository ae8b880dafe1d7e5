//! How sure each detector was of the target as a whole, over time.

use std::fmt::Write as _;

use super::super::recording::{Frame, Level};
use super::{Subject, drawing, plural};
use crate::backtest::Verdict;
use crate::detect::verdict::{Detector, VOTE};

pub(super) fn write(html: &mut String, subject: &Subject<'_>) {
    let frame = &subject.recording.frame;
    html.push_str(
        "<section id=\"votes-by-detector\"><h2>Votes by detector</h2>\
         <p class=\"quiet\">Confidence in the target as a whole, 0 to 1; a detector votes above the line.</p>",
    );
    legend(html, subject);
    html.push_str("<figure class=\"votes\">");
    for detector in Detector::ALL {
        let _ = write!(html, "<div class=\"strip\"><span class=\"name\">{}</span>", detector.name());
        drawing::open(html, frame, &format!("confidence of {}", detector.name()));
        drawing::put(html, &["training", "labels", "alerts"]);
        drawing::peaks(html, subject, &levels(&subject.outcome.verdicts, frame, detector), detector.name());
        drawing::level(html, frame, VOTE, drawing::UNIT);
        html.push_str("</svg></div>");
    }
    drawing::axis(html, frame);
    html.push_str("</figure></section>\n");
}

fn legend(html: &mut String, subject: &Subject<'_>) {
    html.push_str("<p class=\"legend\"><span class=\"alerts\">alert</span>");
    if subject.replay.train_rows > 0 {
        html.push_str("<span class=\"training\">training</span>");
    }
    let labelled = subject.counted.incidents().len();
    if labelled > 0 {
        let _ = write!(html, "<span class=\"labels\">{}</span>", plural(labelled, "labelled incident"));
    }
    html.push_str("</p>");
}

/// The confidences within each column.
fn levels(verdicts: &[Verdict], frame: &Frame, detector: Detector) -> Vec<Option<Level>> {
    let mut levels = vec![None; frame.columns];
    for (verdict, at) in verdicts.iter().zip(&frame.times) {
        if let Some(confidence) = verdict.confidences[detector.index()] {
            Level::take(&mut levels[frame.column(*at)], confidence);
        }
    }
    levels
}
