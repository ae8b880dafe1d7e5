//! `label_replace` and `label_join`.

use std::ops::Range;

use regex::Regex;

use super::pattern;
use crate::series::Labels;

/// How a series gets another label. An empty value takes the label away.
#[derive(Clone, Debug)]
pub(super) struct Relabel {
    to: String,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Replace { from: String, pattern: Regex, template: String },
    Join { from: Vec<String>, separator: String },
}

impl Relabel {
    /// `label_replace(…, to, template, from, pattern)`.
    pub(super) fn replace([to, template, from, pattern]: [&str; 4]) -> Result<Self, String> {
        let pattern = pattern::anchored(pattern)
            .map_err(|error| format!("the regular expression {pattern:?} ({error})"))?;
        let how = How::Replace { from: from.to_owned(), pattern, template: template.to_owned() };
        Ok(Self { to: label_name(to)?, how })
    }

    /// `label_join(…, to, separator, from…)`.
    pub(super) fn join(to: &str, separator: &str, from: &[&str]) -> Result<Self, String> {
        let from = from.iter().map(|name| label_name(name)).collect::<Result<_, _>>()?;
        Ok(Self { to: label_name(to)?, how: How::Join { from, separator: separator.to_owned() } })
    }

    pub(super) fn apply(&self, labels: &Labels) -> Labels {
        let value = |name: &String| labels.get(name).unwrap_or_default();
        match &self.how {
            How::Replace { from, pattern, template } => match pattern.captures(value(from)) {
                Some(captures) => labels.with([(self.to.as_str(), expand(template, &captures).as_str())]),
                None => labels.clone(),
            },
            How::Join { from, separator } => {
                let joined = from.iter().map(value).collect::<Vec<_>>().join(separator);
                labels.with([(self.to.as_str(), joined.as_str())])
            }
        }
    }
}

/// `name`, if it is one of a label.
pub(super) fn label_name(name: &str) -> Result<String, String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name =
        !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit());
    if is_name { Ok(name.to_owned()) } else { Err(format!("the label name {name:?}")) }
}

/// Go's templates: `$1`, `${1}`, `$name`, `$$`; what is none of these stands for itself.
fn expand(template: &str, captures: &regex::Captures<'_>) -> String {
    let mut expanded = String::new();
    let mut rest = template;
    while let Some((plain, after)) = rest.split_once('$') {
        expanded.push_str(plain);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, end)) = group_name(rest) {
            expanded.push_str(group(&rest[name], captures));
            rest = &rest[end..];
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}

/// Where in `text`, which follows a `$`, a group's name lies and where what names it ends.
fn group_name(text: &str) -> Option<(Range<usize>, usize)> {
    let word = |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, end) = match text.strip_prefix('{') {
        Some(braced) => {
            let length = word(braced);
            braced[length..].starts_with('}').then_some((1..1 + length, length + 2))?
        }
        None => (0..word(text), word(text)),
    };
    (!name.is_empty()).then_some((name, end))
}

fn group<'a>(name: &str, captures: &regex::Captures<'a>) -> &'a str {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let group = if is_number {
        name.parse().ok().and_then(|at: usize| captures.get(at))
    } else {
        captures.name(name)
    };
    group.map_or("", |group| group.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_gos() {
        let pattern = pattern::anchored("(?P<first>[a-z]+)-(\\d+)").unwrap();
        let captures = pattern.captures("ab-12").unwrap();
        for (template, expect) in [
            ("$1", "ab"),
            ("$2$1", "12ab"),
            ("${first}x", "abx"),
            ("$firstx", ""),
            ("$1x", ""),
            ("$$1", "$1"),
            ("$", "$"),
            ("${1", "${1"),
            ("${a-b}", "${a-b}"),
            ("$3", ""),
            ("$01", ""),
            ("é$2.", "é12."),
            ("$2é", ""),
        ] {
            assert_eq!(expand(template, &captures), expect, "{template}");
        }
    }
}
