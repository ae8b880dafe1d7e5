//! What an expression means, ready for evaluation.

use std::time::Duration;

use super::aggregate::Aggregator;
use super::bounds::{DEEPEST, LONGEST, LONGEST_CHAIN};
use super::function::Function;
use super::lower;
use super::memo::Making;
use super::selector::{Back, Selector};
use crate::series::{Labels, METRIC_NAME};
use crate::setting::Span;
use crate::setting::pattern::{Budget, TooLarge};

/// Why an expression is refused. Positions are in characters, from 1, of the expression as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// Longer than anybody writes.
    #[error("expression of {0} bytes; at most {LONGEST} are taken")]
    TooLong(usize),
    /// Deeper than anybody reads.
    #[error("brackets or signs nested more than {DEEPEST} deep at character {0}; split the expression")]
    TooDeep(usize),
    /// More operators and calls around one another than the stack is for.
    #[error("operators and calls nested more than {LONGEST_CHAIN} deep; split the expression")]
    TooLongAChain,
    /// A bracket or quote without its other half.
    #[error("cannot parse: {0} at character {1} has no counterpart")]
    Unmatched(char, usize),
    /// Not PromQL.
    #[error("cannot parse: {0}")]
    Syntax(String),
    /// PromQL that is not supported here.
    #[error("{what}{} is not supported in signals", at_character(*.at))]
    Unsupported {
        /// Its name.
        what: String,
        /// Where it stands.
        at: Option<usize>,
    },
    /// A regular expression that takes too much, or all of them together.
    #[error("{0}")]
    PatternTooLarge(#[from] TooLarge),
    /// A signal that is no number.
    #[error("gives a {0}; a signal needs an instant vector or a scalar")]
    NotASignal(&'static str),
}

fn at_character(at: Option<usize>) -> String {
    at.map(|at| format!(" at character {at}")).unwrap_or_default()
}

/// Samples that are read in the time of one step of work.
const AT_ONCE: u128 = 128;

/// What `$__…` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macros {
    /// `$__rate_interval`.
    pub rate_interval: Duration,
}

impl Macros {
    /// `expr` with all of them replaced.
    pub(super) fn replaced(&self, expr: &str) -> String {
        expr.replace("$__rate_interval", &Span(self.rate_interval).to_string())
    }
}

/// A signal's expression, ready for evaluation.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) root: Node,
    pub(super) selectors: Vec<Selector>,
    /// Where the expression asks for a fixed time.
    pub(super) fixed: Option<usize>,
    /// Nodes to evaluate for one value, those of subqueries once a step.
    pub(super) evaluations: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    /// Position in [`Plan::selectors`].
    Instant(usize),
    Range(usize),
    Subquery(Box<Subquery>),
    Call(Function, Vec<Node>),
    Negate(Box<Node>),
    Aggregate {
        how: Aggregator,
        grouping: Grouping,
        param: Option<Box<Node>>,
        of: Box<Node>,
    },
    Binary {
        op: Op,
        /// Comparison gives 0 or 1 instead of filtering.
        as_bool: bool,
        matching: Matching,
        left: Box<Node>,
        right: Box<Node>,
    },
}

/// An expression evaluated at steps over a range. Milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Subquery {
    pub(super) of: Node,
    pub(super) range: i64,
    pub(super) step: i64,
    pub(super) back: Back,
}

/// Which labels make a group: those named, or all but those named.
#[derive(Clone, Debug)]
pub(super) struct Grouping {
    pub(super) by: bool,
    pub(super) names: Vec<String>,
    pub(super) making: Making,
}

impl Grouping {
    /// The labels of `labels` that make its group; never the metric name, unless asked for by name.
    pub(super) fn key(&self, labels: &Labels) -> Labels {
        let named = |name: &str| self.names.iter().any(|n| n == name);
        labels.without(|name| if self.by { !named(name) } else { name == METRIC_NAME || named(name) })
    }
}

/// How the sides of an operator find each other.
#[derive(Clone, Debug)]
pub(super) struct Matching {
    pub(super) on: Grouping,
    pub(super) card: Card,
    /// Of the labels of a pair's result.
    pub(super) making: Making,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Card {
    OneToOne,
    /// Many on the left; labels taken over from the right.
    ManyToOne(Vec<String>),
    /// Many on the right; labels taken over from the left.
    OneToMany(Vec<String>),
    ManyToMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Unless,
}

impl Op {
    pub(super) fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    pub(super) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

impl Plan {
    /// Reads `expr`, with macros replaced first.
    pub fn parse(expr: &str, macros: &Macros) -> Result<Self, ExprError> {
        lower::plan(expr, macros, &mut Budget::default())
    }

    /// Like [`Plan::parse`], for an expression whose value is to be judged.
    pub fn signal(expr: &str, macros: &Macros) -> Result<Self, ExprError> {
        Self::signal_within(expr, macros, &mut Budget::default())
    }

    /// Like [`Plan::signal`], for one of many expressions whose patterns share a budget.
    pub fn signal_within(expr: &str, macros: &Macros, budget: &mut Budget) -> Result<Self, ExprError> {
        let plan = lower::plan(expr, macros, budget)?;
        match plan.root {
            Node::Range(_) | Node::Subquery(_) => Err(ExprError::NotASignal("range vector")),
            Node::Text(_) => Err(ExprError::NotASignal("string")),
            // What was then leaves the window, and half a range would give a wrong number.
            _ if plan.fixed.is_some() => {
                Err(ExprError::Unsupported { what: "a fixed time after @".to_owned(), at: plan.fixed })
            }
            _ => Ok(plan),
        }
    }

    /// The series of one name, which may be any text, as a signal.
    pub fn column(name: &str) -> Self {
        Self { root: Node::Instant(0), selectors: vec![Selector::column(name)], fixed: None, evaluations: 1 }
    }

    /// What the plan reads.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// How far back the plan reads.
    pub fn longest_range(&self) -> Duration {
        self.selectors.iter().map(Selector::reach).max().unwrap_or_default()
    }

    /// Steps of work that one value takes: nodes to evaluate for each of `series` that a selector finds, samples that are
    /// read [`AT_ONCE`] at a time. A step takes about a microsecond.
    pub fn work(&self, series: u64, interval: Duration) -> u64 {
        let samples = |range: Duration| range.as_millis() / interval.as_millis().max(1);
        let read = |selector: &Selector| {
            let samples = if selector.is_instant { 0 } else { samples(selector.range) };
            let each = 1 + u64::try_from(samples / AT_ONCE).unwrap_or(u64::MAX / 2);
            selector.steps.saturating_mul(series).saturating_mul(each)
        };
        self.selectors.iter().map(read).fold(self.evaluations, u64::saturating_add)
    }

    /// Whether more than the newest samples is needed.
    pub fn needs_a_past(&self) -> bool {
        self.selectors.iter().any(Selector::needs_a_past)
    }
}
