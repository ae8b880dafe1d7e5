//! The label set of a series seen for the first time.

use super::line::{Pairs, SampleLine};
use crate::series::{Labels, METRIC_NAME};

/// The labels of `sample`, whose whole line is `text`.
pub(super) fn labels(sample: &SampleLine<'_>, text: &[u8]) -> Labels {
    simple(sample, text).unwrap_or_else(|| strict(sample))
}

/// By prometheus-parse, if the line has nothing that it is known to drop or to garble.
fn simple(sample: &SampleLine<'_>, text: &[u8]) -> Option<Labels> {
    let line = std::str::from_utf8(text).ok().filter(|_| is_simple(sample))?;
    let scrape = prometheus_parse::Scrape::parse(std::iter::once(Ok(line.to_owned()))).ok()?;
    let [parsed] = scrape.samples.as_slice() else { return None };
    let name = (METRIC_NAME, parsed.metric.as_str());
    let labels = parsed.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Some(Labels::new(labels.chain([name])))
}

/// Whether a line is provably within what prometheus-parse reads right: no timestamp, no colon in the name, and label
/// values of letters, digits and a few marks.
fn is_simple(sample: &SampleLine<'_>) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '=' | '"' | ',');
    let quoted_well = sample.labels.split('"').skip(1).step_by(2).all(|value| !value.contains(['=', ',']));
    let has_gaps = sample.labels.contains(",,") || sample.labels.ends_with(',');
    sample.at.is_none()
        && !sample.name.contains(':')
        && sample.labels.chars().all(plain)
        && quoted_well
        && !has_gaps
}

/// By our own rules: every pair, escapes resolved.
pub(super) fn strict(sample: &SampleLine<'_>) -> Labels {
    let inside = format!("{}}}", sample.labels);
    let mut pairs = Pairs { rest: &inside };
    let mut found = vec![(METRIC_NAME.to_owned(), sample.name.to_owned())];
    while let Ok(Some((name, value))) = pairs.next_pair() {
        found.push((name.to_owned(), unescape(value)));
    }
    Labels::new(found)
}

/// `\\`, `\"` and `\n`; any other backslash stands for itself, as in Prometheus.
fn unescape(value: &str) -> String {
    if !value.contains('\\') {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some(next @ ('\\' | '"'))) => out.push(next),
            ('\\', Some('n')) => out.push('\n'),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Format, line};
    use super::*;

    fn sample(text: &str) -> SampleLine<'_> {
        match line::parse(text.as_bytes(), Format::Text) {
            Ok(line::Line::Sample(sample)) => sample,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn both_parsers_agree_wherever_the_guard_lets_the_simple_one_in() {
        let names = ["up", "node_cpu_seconds_total", "a:b", "_x1"];
        let values = [
            "",
            "a",
            "eth0",
            "/dev/sda1",
            "a=b",
            "a,b",
            "{id}",
            "\\\"q\\\"",
            "x y",
            "0.5",
            "é",
            "back\\\\slash",
        ];
        let mut simple_ones = 0;
        for name in names {
            for (first, second) in values.iter().flat_map(|a| values.iter().map(move |b| (a, b))) {
                let text = format!("{name}{{one=\"{first}\",two=\"{second}\"}} 1.5");
                let sample = sample(&text);
                if let Some(labels) = simple(&sample, text.as_bytes()) {
                    assert_eq!(labels, strict(&sample), "{text}");
                    simple_ones += 1;
                }
            }
        }
        assert_eq!(simple_ones, 3 * 5 * 5, "three names and five values are simple");
        assert_eq!(simple(&sample("up 1"), b"up 1"), Some(Labels::new([("__name__", "up")])));
    }

    #[test]
    fn escapes_are_resolved() {
        let labels = strict(&sample(r#"m{path="C:\\DIR\\",say="\"hi\"\n",odd="\t"} 1"#));
        assert_eq!(labels.get("path"), Some("C:\\DIR\\"));
        assert_eq!(labels.get("say"), Some("\"hi\"\n"));
        assert_eq!(labels.get("odd"), Some("\\t"));
    }
}
