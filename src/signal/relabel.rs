//! `label_replace` and `label_join`.

use regex::Regex;

use crate::series::Labels;
use crate::setting::pattern::{self, expand};

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
