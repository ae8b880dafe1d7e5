//! Which series an expression reads, and of when.

use std::fmt;
use std::time::Duration;

use promql_parser::label::{MatchOp, Matcher as Written};
use regex::Regex;

use super::LOOKBACK;
use crate::series::{Labels, METRIC_NAME, Timestamp};
use crate::setting::Span;
use crate::setting::pattern::anchored;

/// Which series, and when relative to the evaluation.
#[derive(Clone, Debug)]
pub struct Selector {
    name: Option<String>,
    pub(super) matchers: Vec<Matcher>,
    pub(super) back: Back,
    /// Range, or lookback of an instant selector.
    pub(super) range: Duration,
    pub(super) is_instant: bool,
    /// Milliseconds that subqueries around it go back.
    pub(super) behind: i64,
    /// How often it is read for one value: once, or as often as subqueries around it ask.
    pub(super) steps: u64,
}

/// Of when something is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Back {
    pub(super) from: From,
    /// Milliseconds back from there; negative for the future.
    pub(super) offset: i64,
}

/// The moment an offset is counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum From {
    /// The step's own.
    #[default]
    Step,
    /// That of the whole evaluation, also within a subquery: `@ start()` and `@ end()`.
    Whole,
    /// `@ 1700000000`.
    Fixed(Timestamp),
}

/// What one label must be.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) must: Must,
}

#[derive(Clone, Debug)]
pub(super) enum Must {
    Equal(String),
    Differ(String),
    Match(Regex),
    NotMatch(Regex),
}

impl Matcher {
    pub(super) fn of(written: &Written) -> Result<Self, String> {
        let regex = || {
            anchored(&written.value)
                .map_err(|error| format!("the regular expression {:?} ({error})", written.value))
        };
        let must = match written.op {
            MatchOp::Equal => Must::Equal(written.value.clone()),
            MatchOp::NotEqual => Must::Differ(written.value.clone()),
            MatchOp::Re(_) => Must::Match(regex()?),
            MatchOp::NotRe(_) => Must::NotMatch(regex()?),
        };
        Ok(Self { label: written.name.clone(), must })
    }

    fn accepts(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).unwrap_or_default();
        match &self.must {
            Must::Equal(wanted) => value == wanted,
            Must::Differ(unwanted) => value != unwanted,
            Must::Match(pattern) => pattern.is_match(value),
            Must::NotMatch(pattern) => !pattern.is_match(value),
        }
    }
}

impl fmt::Display for Selector {
    /// As PromQL writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or_default())?;
        let named = |matcher: &&Matcher| matcher.label == METRIC_NAME && self.name.is_some();
        let matchers: Vec<String> =
            self.matchers.iter().filter(|matcher| !named(matcher)).map(Matcher::to_string).collect();
        if !matchers.is_empty() {
            write!(f, "{{{}}}", matchers.join(","))?;
        }
        if self.is_instant { Ok(()) } else { write!(f, "[{}]", Span(self.range)) }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A pattern is kept between anchors.
        let bare = |pattern: &Regex| {
            let text = pattern.as_str();
            text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text).to_owned()
        };
        let (sign, value) = match &self.must {
            Must::Equal(value) => ("=", value.clone()),
            Must::Differ(value) => ("!=", value.clone()),
            Must::Match(pattern) => ("=~", bare(pattern)),
            Must::NotMatch(pattern) => ("!~", bare(pattern)),
        };
        write!(f, "{}{sign}{value:?}", self.label)
    }
}

impl Selector {
    /// Of the newest samples of what `matchers` accept; `name` is the metric's, where it is given.
    pub(super) fn new(name: Option<String>, matchers: Vec<Matcher>) -> Self {
        Self { name, matchers, back: Back::default(), range: LOOKBACK, is_instant: true, behind: 0, steps: 1 }
    }

    pub(super) fn column(name: &str) -> Self {
        let named = Matcher { label: METRIC_NAME.to_owned(), must: Must::Equal(name.to_owned()) };
        Self::new(Some(name.to_owned()), vec![named])
    }

    /// How far back it reads: its range or the lookback of an instant selector, offsets and subqueries.
    pub(super) fn reach(&self) -> Duration {
        let before = self.back.offset.saturating_add(self.behind).max(0);
        self.range.saturating_add(Duration::from_millis(before as u64))
    }

    pub(super) fn needs_a_past(&self) -> bool {
        !self.is_instant || self.behind > 0
    }

    /// Whether a series of this name may be meant; for a look before its labels are read.
    pub fn may_want(&self, name: &str) -> bool {
        self.name.as_deref().is_none_or(|wanted| wanted == name)
    }

    /// Whether a series that `target` exposes is meant.
    pub fn wants(&self, labels: &Labels, target: &Labels) -> bool {
        self.chosen_of(labels, target).is_some()
    }

    /// The labels by which a series that `target` exposes is chosen, if it is meant.
    pub(super) fn chosen_of(&self, labels: &Labels, target: &Labels) -> Option<Labels> {
        if !self.may_want(labels.name()) {
            return None;
        }
        let labels = if target.is_empty() { labels.clone() } else { labels.of_target(target) };
        self.matchers.iter().all(|matcher| matcher.accepts(&labels)).then_some(labels)
    }

    /// Whether series of a name with this beginning may be meant.
    pub fn may_begin_with(&self, beginning: &str) -> bool {
        self.name.as_deref().is_none_or(|wanted| wanted.starts_with(beginning))
    }
}
