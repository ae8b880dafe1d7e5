//! In which form a page of metrics is answered: text 0.0.4 or OpenMetrics, plain or packed.
//!
//! prometheus-client writes OpenMetrics only; for the text format its lines are turned.

use std::fmt::Write as _;
use std::io::Write as _;

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// The page that `write` makes, as the client likes it best.
pub fn answer(headers: &HeaderMap, write: impl FnOnce(Format) -> String) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = negotiate(text(header::ACCEPT));
    let page = write(format);
    let content_type = if format == Format::Text { TEXT } else { OPEN_METRICS };
    if text(header::ACCEPT_ENCODING).split(',').any(|coding| coding.trim().starts_with("gzip")) {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        // Writing to memory cannot fail.
        let _ = gzip.write_all(page.as_bytes());
        let body = gzip.finish().unwrap_or_default();
        return ([(header::CONTENT_TYPE, content_type), (header::CONTENT_ENCODING, "gzip")], body)
            .into_response();
    }
    ([(header::CONTENT_TYPE, content_type)], page).into_response()
}

/// The format the client likes best; text where it has no preference.
fn negotiate(accept: &str) -> Format {
    let quality = |kind: &str| {
        let offers = accept
            .split(',')
            .filter(|offer| offer.split(';').next().is_some_and(|media| media.trim() == kind));
        let q = |offer: &str| {
            let q = offer.split(';').find_map(|part| part.trim().strip_prefix("q="));
            q.map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0))
        };
        offers.map(q).fold(0.0, f64::max)
    };
    let text = quality("text/plain").max(quality("text/*"));
    if quality("application/openmetrics-text") > text { Format::OpenMetrics } else { Format::Text }
}

/// Ends `page` with what a registry has written, which is OpenMetrics without its last line.
pub fn put(own: &str, format: Format, page: &mut String) {
    match format {
        Format::Text => turn(own, page),
        Format::OpenMetrics => {
            page.push_str(own);
            page.push_str("# EOF\n");
        }
    }
}

/// From OpenMetrics to text 0.0.4: a counter's head gets the name of its samples, units and exemplars go.
fn turn(open_metrics: &str, text: &mut String) {
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            if let Some((_, help)) = help.take() {
                let _ = writeln!(text, "# HELP {name} {help}");
            }
            let _ = writeln!(text, "# TYPE {name} {}", if kind == "info" { "gauge" } else { kind });
        } else if !line.starts_with('#') {
            let _ = writeln!(text, "{}", line.split(" # ").next().unwrap_or(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_client_likes_best() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("application/openmetrics-text; version=1.0.0", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;q=0.3,text/plain;q=0.9", Format::Text),
        ] {
            assert_eq!(negotiate(accept), format, "{accept}");
        }
    }

    #[test]
    fn open_metrics_lines_are_turned_into_text() {
        let mut text = String::new();
        turn("# HELP a_b Things.\n# TYPE a_b counter\n# UNIT a_b b\na_b_total 3 # {x=\"y\"} 1\n", &mut text);
        assert_eq!(text, "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total 3\n");
    }
}
