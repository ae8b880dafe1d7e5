//! One line of a page, strictly, without a copy.

use super::Format;

/// Why a line is no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not UTF-8.
    #[error("not valid UTF-8")]
    Encoding,
    /// No metric name, or one with characters that no name has.
    #[error("no valid metric name")]
    Name,
    /// A label without a name, without quotes, or cut off.
    #[error("malformed labels")]
    Labels,
    /// A label given twice.
    #[error("duplicate label name")]
    DuplicateLabel,
    /// No value, or none that is a number.
    #[error("no valid value")]
    Value,
    /// Something after the value that is no timestamp.
    #[error("no valid timestamp")]
    Timestamp,
}

/// What a line is.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    Sample(SampleLine<'a>),
    /// A comment, metadata, or nothing.
    Comment,
    /// The end of an OpenMetrics page.
    End,
}

/// A sample, its labels not yet read.
#[derive(Debug, PartialEq)]
pub(super) struct SampleLine<'a> {
    /// The bytes that name the series: name and labels as written.
    pub(super) series: &'a [u8],
    pub(super) name: &'a str,
    /// Between the brackets.
    pub(super) labels: &'a str,
    /// The same with the bracket that closes them; empty without brackets.
    pub(super) labels_and_bracket: &'a str,
    pub(super) value: f64,
    /// Unix milliseconds.
    pub(super) at: Option<i64>,
}

pub(super) fn parse(text: &[u8], format: Format) -> Result<Line<'_>, Fault> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let line = std::str::from_utf8(text).map_err(|_| Fault::Encoding)?;
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() {
        return Ok(Line::Comment);
    }
    if line.starts_with('#') {
        let end = format == Format::OpenMetrics && line.trim_end() == "# EOF";
        return Ok(if end { Line::End } else { Line::Comment });
    }
    let name_end = line.find(|c: char| !is_name(c)).unwrap_or(line.len());
    let name = &line[..name_end];
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Fault::Name);
    }
    let after_name = line[name_end..].trim_start_matches([' ', '\t']);
    let (labels, labels_and_bracket, rest) = match after_name.strip_prefix('{') {
        Some(inside) => {
            let end = closing_bracket(inside)?;
            (&inside[..end], &inside[..=end], &inside[end + 1..])
        }
        // A name directly followed by another character is no name.
        None if after_name.len() == line.len() - name_end => return Err(Fault::Name),
        None => ("", "", after_name),
    };
    let series = &line.as_bytes()[..line.len() - rest.len()];
    let series = series.trim_ascii_end();
    let (value, at) = value_and_time(rest, format)?;
    Ok(Line::Sample(SampleLine { series, name, labels, labels_and_bracket, value, at }))
}

pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Checks the labels on the way to the bracket that closes them.
fn closing_bracket(inside: &str) -> Result<usize, Fault> {
    let mut names: [&str; 8] = [""; 8];
    let mut count = 0;
    let mut labels = Pairs { rest: inside };
    while let Some(pair) = labels.next_pair()? {
        let seen = &names[..count.min(names.len())];
        // Beyond eight labels the check is left to the set they end up in.
        if seen.contains(&pair.0) {
            return Err(Fault::DuplicateLabel);
        }
        if count < names.len() {
            names[count] = pair.0;
        }
        count += 1;
    }
    Ok(inside.len() - labels.rest.len())
}

/// Label pairs, value still escaped, up to the closing bracket.
pub(super) struct Pairs<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Pairs<'a> {
    /// The next pair; `None` at the bracket, where `rest` then begins.
    pub(super) fn next_pair(&mut self) -> Result<Option<(&'a str, &'a str)>, Fault> {
        let rest = self.rest.trim_start_matches([' ', '\t']);
        if rest.starts_with('}') {
            self.rest = rest;
            return Ok(None);
        }
        let name_end = rest.find(|c: char| !is_name(c) || c == ':').ok_or(Fault::Labels)?;
        let name = &rest[..name_end];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Fault::Labels);
        }
        let rest = rest[name_end..].trim_start_matches([' ', '\t']).strip_prefix('=').ok_or(Fault::Labels)?;
        let value = rest.trim_start_matches([' ', '\t']).strip_prefix('"').ok_or(Fault::Labels)?;
        let end = closing_quote(value).ok_or(Fault::Labels)?;
        let rest = value[end + 1..].trim_start_matches([' ', '\t']);
        self.rest = match rest.strip_prefix(',') {
            Some(rest) => rest,
            None if rest.starts_with('}') => rest,
            None => return Err(Fault::Labels),
        };
        Ok(Some((name, &value[..end])))
    }
}

fn closing_quote(value: &str) -> Option<usize> {
    let bytes = value.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
        if at > bytes.len() {
            return None;
        }
    }
}

fn value_and_time(rest: &str, format: Format) -> Result<(f64, Option<i64>), Fault> {
    // An exemplar follows a `#`.
    let rest = if format == Format::OpenMetrics { rest.split(" # ").next().unwrap_or(rest) } else { rest };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next().and_then(float).ok_or(Fault::Value)?;
    let at = match (words.next(), format) {
        (None, _) => None,
        (Some(word), Format::Text) => Some(word.parse::<i64>().map_err(|_| Fault::Timestamp)?),
        (Some(word), Format::OpenMetrics) => {
            let seconds = float(word).filter(|s| s.is_finite()).ok_or(Fault::Timestamp)?;
            Some((seconds * 1e3).round() as i64)
        }
    };
    if words.next().is_some() {
        return Err(Fault::Timestamp);
    }
    Ok((value, at))
}

/// A float as exporters write it: Rust's syntax is Go's, but for Go's hexadecimal floats, which no exporter writes.
fn float(word: &str) -> Option<f64> {
    word.parse().ok()
}
