//! A chart a metric: its value in the expected band, and its score below.

use std::fmt::Write as _;

use super::super::recording::{Cell, Extent};
use super::{Subject, drawing, plural};
use crate::setting::{escape, short};

/// Charts on a page; of more metrics than so many those with alerts come first.
const MOST: usize = 1000;
/// How far the band may stretch a chart beyond the values, in ranges of the values.
const BEYOND: f64 = 0.25;

pub(super) fn write(html: &mut String, subject: &Subject<'_>) {
    let width = subject.data.metrics.len();
    let mut alerts = vec![0_usize; width];
    subject.recording.fired.iter().for_each(|fired| alerts[fired.metric] += 1);
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by_key(|metric| std::cmp::Reverse(alerts[*metric]));
    html.push_str(
        "<section id=\"metrics\"><h2>Metrics</h2><p class=\"quiet\">Value and expected band; below it the metric's own \
         score with the threshold. Those with the most incidents come first; its own incidents at warning or above are \
         marked.</p>",
    );
    order.iter().take(MOST).for_each(|metric| chart(html, subject, *metric, alerts[*metric]));
    if width > MOST {
        let _ = write!(html, "<p class=\"quiet\">{MOST} of {width} metrics are shown.</p>");
    }
    html.push_str("</section>\n");
}

fn chart(html: &mut String, subject: &Subject<'_>, metric: usize, alerts: usize) {
    let cells = &subject.recording.metrics[metric];
    let name = escape(&subject.data.metrics[metric]);
    let highest = cells.iter().filter_map(|cell| cell.score).map(|score| score.highest).fold(0.0, f64::max);
    let _ = write!(html, "<figure class=\"metric\" id=\"metric-{metric}\"><figcaption><b>{name}</b>");
    if alerts > 0 {
        let _ = write!(html, " <span class=\"count\">{}</span>", plural(alerts, "incident"));
    }
    let _ = write!(html, " <span class=\"quiet\">score up to {}</span></figcaption>", short(highest));
    let fired = subject.recording.fired.iter().filter(|fired| fired.metric == metric);
    let spans: Vec<(usize, usize)> = fired.map(|fired| (fired.begin, fired.end)).collect();
    let alerts = format!("<path class=\"alerts\" d=\"{}\"/>", drawing::marks(subject, &spans));
    values(html, subject, cells, &name, &alerts);
    scores(html, subject, cells, &name, &alerts);
    drawing::axis(html, &subject.recording.frame);
    html.push_str("</figure>\n");
}

fn values(html: &mut String, subject: &Subject<'_>, cells: &[Cell], name: &str, alerts: &str) {
    let frame = &subject.recording.frame;
    let Some(range) = range(cells) else {
        html.push_str("<p class=\"quiet\">No value in any row.</p>");
        return;
    };
    let _ = write!(
        html,
        "<div class=\"plot\"><span class=\"top\">{}</span><span class=\"bottom\">{}</span>",
        short(range.high),
        short(range.low)
    );
    drawing::open(html, frame, &format!("{name} and its expected band"));
    drawing::put(html, &["training", "labels"]);
    let band = drawing::area(subject, &drawing::column(cells, |cell| cell.band), range);
    let value = drawing::line(subject, &drawing::column(cells, |cell| cell.value), range);
    let _ = write!(html, "{alerts}<path class=\"band\" d=\"{band}\"/><path class=\"value\" d=\"{value}\"/>");
    html.push_str("</svg></div>");
}

fn scores(html: &mut String, subject: &Subject<'_>, cells: &[Cell], name: &str, alerts: &str) {
    let frame = &subject.recording.frame;
    html.push_str(
        "<div class=\"plot score\"><span class=\"top\">1</span><span class=\"bottom\">score</span>",
    );
    drawing::open(html, frame, &format!("score of {name}"));
    drawing::put(html, &["training", "labels"]);
    html.push_str(alerts);
    drawing::peaks(html, subject, &drawing::column(cells, |cell| cell.score), "ground");
    drawing::level(html, frame, subject.replay.config.detector.ensemble_threshold.get(), drawing::UNIT);
    html.push_str("</svg></div>");
}

/// What a chart spans: all values, and the band as far as it leaves room for them.
fn range(cells: &[Cell]) -> Option<Extent> {
    let all = |part: fn(&Cell) -> Option<Extent>| {
        cells.iter().filter_map(part).fold(None, |all, part| Extent::with(all, part.low, part.high))
    };
    let values = all(|cell| cell.value)?;
    let band = all(|cell| cell.band).unwrap_or(values);
    let room = BEYOND * (values.high - values.low);
    let low = values.low.min(band.low.max(values.low - room));
    let high = values.high.max(band.high.min(values.high + room));
    // A constant is drawn in the middle.
    let pad = if high > low { 0.04 * (high - low) } else { (0.1 * high.abs()).max(1.0) };
    Some(Extent { low: low - pad, high: high + pad })
}
