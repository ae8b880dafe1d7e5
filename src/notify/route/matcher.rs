//! One condition on a label, as Alertmanager 0.25 reads it: `name="value"`, `!=`, `=~`, `!~`.

use std::fmt;

use regex::Regex;

use crate::notify::relabel::is_label_name;
use crate::series::Labels;
use crate::setting::pattern::anchored;

/// A condition. A label that is absent is empty.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    /// As written, unescaped.
    value: String,
    pattern: Option<Regex>,
    negated: bool,
}

impl Matcher {
    /// The label has this value.
    ///
    /// # Errors
    /// That the name is none.
    pub fn equal(name: &str, value: &str) -> Result<Self, String> {
        Self::new(name, value, false, false)
    }

    /// The whole of the label's value matches.
    ///
    /// # Errors
    /// That the name or the pattern is none.
    pub fn pattern(name: &str, pattern: &str) -> Result<Self, String> {
        Self::new(name, pattern, true, false)
    }

    fn new(name: &str, value: &str, is_pattern: bool, negated: bool) -> Result<Self, String> {
        if !is_label_name(name) {
            return Err(format!("{name:?} is no label name"));
        }
        let pattern = is_pattern.then(|| anchored(value)).transpose();
        let pattern = pattern.map_err(|error| format!("the regular expression {value:?}: {error}"))?;
        Ok(Self { name: name.to_owned(), value: value.to_owned(), pattern, negated })
    }

    /// The conditions of one string: `a="b"`, or `{a="b", c=~"d"}`.
    ///
    /// # Errors
    /// What is no condition.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let text = text.strip_prefix('{').unwrap_or(text);
        let text = text.strip_suffix('}').unwrap_or(text);
        let (mut parts, mut part, mut is_quoted, mut is_escaped) = (Vec::new(), String::new(), false, false);
        for c in text.chars() {
            if c == ',' && !is_quoted {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            if c == '"' && !is_escaped {
                is_quoted = !is_quoted;
            }
            is_escaped = c == '\\' && !is_escaped;
            part.push(c);
        }
        if !part.trim().is_empty() {
            parts.push(part);
        }
        parts.iter().map(|part| Self::parse(part)).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no matcher, such as severity=\"critical\"");
        let text = text.trim();
        let at = text.find(['=', '!']).ok_or_else(wrong)?;
        let (name, rest) = (text[..at].trim_end(), &text[at..]);
        let operators = [("=~", true, false), ("!~", true, true), ("!=", false, true), ("=", false, false)];
        let (operator, is_pattern, negated) =
            operators.into_iter().find(|(operator, ..)| rest.starts_with(operator)).ok_or_else(wrong)?;
        let value = unescape(rest[operator.len()..].trim_start())
            .ok_or_else(|| format!("{text:?} has a double quote that is not escaped"))?;
        Self::new(name, &value, is_pattern, negated)
    }

    /// Whether `labels` meet it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).unwrap_or_default();
        let is_met = self.pattern.as_ref().map_or(value == self.value, |pattern| pattern.is_match(value));
        is_met != self.negated
    }
}

/// A value in quotes or without; `None` where a quote stands alone.
fn unescape(raw: &str) -> Option<String> {
    let (raw, mut quote_is_open) = match raw.strip_prefix('"') {
        Some(raw) => (raw, true),
        None => (raw, false),
    };
    let mut value = String::new();
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => value.push('\\'),
            },
            '"' if quote_is_open && rest.as_str().is_empty() => quote_is_open = false,
            '"' => return None,
            c => value.push(c),
        }
    }
    (!quote_is_open).then_some(value)
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match (self.pattern.is_some(), self.negated) {
            (false, false) => "=",
            (false, true) => "!=",
            (true, false) => "=~",
            (true, true) => "!~",
        };
        write!(f, "{}{operator}{:?}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_as_alertmanager_reads_them() {
        let labels = Labels::new([("a", "b"), ("c", "x,y"), ("q", "say \"hi\"")]);
        for (text, expect) in [
            ("a=b", true),
            ("a = \"b\"", true),
            (" a!=b ", false),
            ("a=~\"b|c\"", true),
            ("a=~.", true),
            ("a!~\"b.*\"", false),
            ("missing=\"\"", true),
            ("missing!=\"\"", false),
            ("{a=\"b\",c=\"x,y\"}", true),
            ("{a=\"b\", c=\"z\"}", false),
            ("c=\"x,y\"", true),
            (r#"q="say \"hi\"""#, true),
            ("a=~", false),
        ] {
            let matchers = Matcher::parse_all(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(matchers.iter().all(|matcher| matcher.matches(&labels)), expect, "{text}");
        }
        for text in ["a", "=b", "1a=b", "a=\"b", "a=b\"", "a=~\"(\"", "a\"=b"] {
            assert!(Matcher::parse_all(text).is_err(), "{text}");
        }
    }
}
