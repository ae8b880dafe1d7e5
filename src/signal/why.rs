//! Why an expression has no value: what is missing, and where.

use std::fmt;
use std::time::Duration;

use super::chosen::Selections;
use super::eval::{Eval, Fill, Value};
use super::function::Function;
use super::plan::{Node, Op, Plan};
use crate::series::{Labels, Timestamp};
use crate::setting::Span;
use crate::window::WindowView;

/// Selectors that a reason names at most.
const MOST_NAMED: usize = 3;

/// Why there is no value; the later, the further from one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// There is one, and it is NaN or infinite.
    NotANumber,
    /// Samples are there, but not over the whole range yet.
    Unfilled(Vec<String>),
    /// All operands are there, and nothing is left of them.
    Nothing,
    /// The exporter stamps its samples so far ahead that none is current.
    Ahead(String, Duration),
    /// The exporter stamps its samples so far ahead that they are refused.
    TooFarAhead(String),
    /// Series were exposed and found no room in the window.
    Full(Vec<String>),
    /// Series were exposed once.
    Gone(Vec<String>),
    /// No series was exposed ever.
    Missing(Vec<String>),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => f.write_str("its value is not a number: NaN or infinite"),
            Self::Unfilled(ranges) => {
                write!(f, "the range of {} {} not filled yet", listed(ranges), verb(ranges))
            }
            Self::Nothing => {
                f.write_str("its series are exposed, but its operators and comparisons leave none of them")
            }
            Self::Ahead(series, by) => {
                write!(f, "{series} is stamped {} ahead of this host's clock; set the exporter's", Span(*by))
            }
            Self::TooFarAhead(series) => {
                write!(f, "{series} is stamped more than 10m ahead of this host's clock; set the exporter's")
            }
            Self::Full(series) => write!(
                f,
                "{} {} refused because the window is full; raise window.max_bytes or select fewer series",
                listed(series),
                verb(series)
            ),
            Self::Gone(series) => write!(f, "{} {} not exposed any more", listed(series), verb(series)),
            Self::Missing(series) => write!(f, "{} {} not exposed", listed(series), verb(series)),
        }
    }
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_NAMED);
    let named = names[..names.len() - more].join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

fn verb(names: &[String]) -> &'static str {
    if names.len() == 1 { "is" } else { "are" }
}

impl Silence {
    /// Of two operands that both are needed: what is missing of either.
    fn both(self, other: Self) -> Self {
        let (Self::Missing(mut names) | Self::Gone(mut names) | Self::Full(mut names), Some(more)) = (
            self.clone(),
            other.names().filter(|_| std::mem::discriminant(&self) == std::mem::discriminant(&other)),
        ) else {
            return self.max(other);
        };
        names.extend(more.iter().cloned());
        let mut known = std::collections::HashSet::new();
        names.retain(|name| known.insert(name.clone()));
        match self {
            Self::Gone(_) => Self::Gone(names),
            Self::Full(_) => Self::Full(names),
            _ => Self::Missing(names),
        }
    }

    fn names(&self) -> Option<&[String]> {
        match self {
            Self::Missing(names) | Self::Gone(names) | Self::Full(names) => Some(names),
            _ => None,
        }
    }
}

impl Plan {
    /// Why [`Plan::read`] gives nothing at `at`.
    pub fn why_silent(&self, window: WindowView<'_>, at: Timestamp, selections: &mut Selections) -> Silence {
        selections.refresh(self, window);
        let Selections { chosen, memo, target, .. } = &*selections;
        let glitches = &std::cell::Cell::new(0);
        let eval = Eval { plan: self, window, at, whole: at, fill: Fill::Filled, chosen, memo, glitches };
        Search { eval, target }.node(&self.root).unwrap_or(Silence::NotANumber)
    }
}

struct Search<'a> {
    eval: Eval<'a>,
    target: &'a Labels,
}

impl Search<'_> {
    /// Why a node gives nothing; `None` where it gives something.
    fn node(&self, node: &Node) -> Option<Silence> {
        let is_empty = match self.eval.node(node) {
            Ok(Value::Vector(vector)) => vector.is_empty(),
            Ok(Value::Matrix(matrix)) => matrix.is_empty(),
            Ok(Value::Scalar(_) | Value::Text(_)) | Err(_) => false,
        };
        if !is_empty {
            return None;
        }
        Some(match node {
            Node::Instant(at) | Node::Range(at) => self.selector(*at),
            Node::Negate(of) | Node::Aggregate { of, .. } => self.node(of).unwrap_or(Silence::Nothing),
            Node::Subquery(sub) => {
                self.node(&sub.of).unwrap_or_else(|| Silence::Unfilled(vec!["its subquery".to_owned()]))
            }
            Node::Call(function, arguments) => self.call(function, arguments),
            Node::Binary { op, left, right, .. } => self.binary(*op, left, right),
            Node::Number(_) | Node::Text(_) => Silence::Nothing,
        })
    }

    fn call(&self, function: &Function, arguments: &[Node]) -> Silence {
        if let Function::Absent(_) = function {
            return Silence::Nothing;
        }
        if let Some(why) = arguments.iter().find_map(|argument| self.node(argument)) {
            return why;
        }
        let range = arguments.iter().find_map(|argument| match argument {
            Node::Range(at) => Some(self.eval.plan.selectors[*at].to_string()),
            Node::Subquery(_) => Some("its subquery".to_owned()),
            _ => None,
        });
        range.map_or(Silence::Nothing, |range| Silence::Unfilled(vec![range]))
    }

    fn binary(&self, op: Op, left: &Node, right: &Node) -> Silence {
        let (left, right) = (self.node(left), if op == Op::Unless { None } else { self.node(right) });
        match (left, right) {
            // Either would do: what is nearer to a value is what is waited for.
            (Some(left), Some(right)) if op == Op::Or => left.min(right),
            (Some(left), Some(right)) => left.both(right),
            (Some(why), None) | (None, Some(why)) => why,
            (None, None) => Silence::Nothing,
        }
    }

    fn selector(&self, at: usize) -> Silence {
        let (selector, chosen) = (&self.eval.plan.selectors[at], &self.eval.chosen[at].series);
        let name = selector.to_string();
        let wanted = |some: &[Labels]| some.iter().any(|labels| selector.wants(labels, self.target));
        let until = self.eval.range_of(at).end;
        let newest = |series: &super::chosen::Chosen| self.eval.window.series(series.series).last_present();
        let newest = chosen.iter().filter_map(newest).max();
        match newest {
            Some(newest) if newest.millis() > until => {
                Silence::Ahead(name, newest.since(Timestamp::from_millis(until)))
            }
            _ if wanted(self.eval.window.turned_away()) => Silence::Full(vec![name]),
            _ if wanted(self.eval.window.stamped_ahead()) => Silence::TooFarAhead(name),
            Some(_) => Silence::Gone(vec![name]),
            None => Silence::Missing(vec![name]),
        }
    }
}
