//! Evaluation of a plan at one instant.

use std::cell::Cell;
use std::collections::HashSet;

use super::chosen::{Choice, Chosen, Selections};
use super::function::{Function, larger, round, smaller};
use super::memo::{Memo, NAMELESS};
use super::plan::{Grouping, Node, Plan};
use super::range::Bounds;
use super::selector::{Back, From};
use super::{aggregate, binary, extreme, histogram, range, subquery};
use crate::series::{Labels, METRIC_NAME, Timestamp};
use crate::window::WindowView;

/// Whether range functions may extrapolate over a part of the range that holds no samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// As Prometheus does.
    AsPrometheus,
    /// A rate, increase or delta is no data until its range is covered.
    Filled,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Scalar(f64),
    /// One number a series.
    Vector(Vec<(Labels, f64)>),
    /// Times in Unix milliseconds with values, a series.
    Matrix(Vec<(Labels, Vec<(i64, f64)>)>),
    /// A string literal.
    Text(String),
}

/// Why an expression has no answer on these data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// Two results with the same labels.
    #[error(
        "vector cannot contain metrics with the same labelset: {0}; aggregate, or keep a label that tells them apart"
    )]
    SameLabels(Labels),
    /// A match group with several members on the side that may have one.
    #[error(
        "found duplicate series for the match group {0} on the {1} hand-side; use group_left or group_right, or match on more labels"
    )]
    ManyToMany(Labels, &'static str),
    /// A signal that gives no numbers.
    #[error("gives no instant vector or scalar")]
    NotASignal,
    /// A number of series that is none.
    #[error("{0} is no number of series for topk or bottomk")]
    NotACount(String),
    /// A factor of `holt_winters` out of range.
    #[error("holt_winters() was given the factor {0}; both must be above 0 and below 1")]
    SmoothingFactor(String),
    /// An argument of another type than the function takes; the parser lets none through.
    #[error("{0} was given an argument of the wrong type")]
    WrongType(&'static str),
}

/// Everything an evaluation reads.
#[derive(Clone, Copy)]
pub(super) struct Eval<'a> {
    pub(super) plan: &'a Plan,
    pub(super) window: WindowView<'a>,
    /// The instant of this step; within a subquery another than that of the whole.
    pub(super) at: Timestamp,
    pub(super) whole: Timestamp,
    pub(super) fill: Fill,
    pub(super) chosen: &'a [Choice],
    pub(super) memo: &'a Memo,
    /// Counters of which the newest sample has fallen a little.
    pub(super) glitches: &'a Cell<usize>,
}

pub(super) type Vector = Vec<(Labels, f64)>;
/// Samples with times in Unix milliseconds, a series.
pub(super) type Matrix = Vec<(Labels, Vec<(i64, f64)>)>;

impl Plan {
    /// The value at `at`.
    pub fn eval(
        &self,
        window: WindowView<'_>,
        at: Timestamp,
        fill: Fill,
        selections: &mut Selections,
    ) -> Result<Value, EvalError> {
        self.eval_with(window, at, fill, selections, &Cell::new(0))
    }

    /// The same; counts counters of which the newest sample has fallen a little.
    pub(super) fn eval_with(
        &self,
        window: WindowView<'_>,
        at: Timestamp,
        fill: Fill,
        selections: &mut Selections,
        glitches: &Cell<usize>,
    ) -> Result<Value, EvalError> {
        selections.refresh(self, window);
        let Selections { chosen, memo, .. } = selections;
        Eval { plan: self, window, at, whole: at, fill, chosen, memo, glitches }.node(&self.root)
    }
}

impl Eval<'_> {
    pub(super) fn node(&self, node: &Node) -> Result<Value, EvalError> {
        match node {
            Node::Number(number) => Ok(Value::Scalar(*number)),
            Node::Text(text) => Ok(Value::Text(text.clone())),
            Node::Instant(selector) => {
                let samples = self.instant(*selector);
                Ok(Value::Vector(samples.map(|(chosen, _, value)| (chosen.labels.clone(), value)).collect()))
            }
            Node::Range(selector) => Ok(Value::Matrix(self.matrix(*selector))),
            Node::Subquery(sub) => Ok(Value::Matrix(subquery::matrix(self, sub)?)),
            Node::Negate(inner) => self.negate(inner),
            Node::Call(function, args) => self.call(function, args),
            Node::Aggregate { how, grouping, param, of } => {
                let param = param.as_ref().map_or(Ok(f64::NAN), |param| self.scalar(param))?;
                Ok(Value::Vector(aggregate::aggregate(self, how, grouping, param, self.vector(of)?)?))
            }
            Node::Binary { op, as_bool, matching, left, right } => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                binary::Operator { eval: self, op: *op, as_bool: *as_bool, matching }.apply(left, right)
            }
        }
    }

    pub(super) fn scalar(&self, node: &Node) -> Result<f64, EvalError> {
        match self.node(node)? {
            Value::Scalar(value) => Ok(value),
            _ => Err(EvalError::WrongType("a scalar parameter")),
        }
    }

    pub(super) fn vector(&self, node: &Node) -> Result<Vector, EvalError> {
        match self.node(node)? {
            Value::Vector(vector) => Ok(vector),
            _ => Err(EvalError::WrongType("a vector parameter")),
        }
    }

    /// `labels` without the metric name.
    pub(super) fn bare(&self, labels: &Labels) -> Labels {
        if labels.name().is_empty() {
            return labels.clone();
        }
        self.memo.get(NAMELESS, labels, |labels| labels.without(|name| name == METRIC_NAME))
    }

    /// The group of `labels`.
    pub(super) fn key(&self, grouping: &Grouping, labels: &Labels) -> Labels {
        self.memo.get(grouping.making, labels, |labels| grouping.key(labels))
    }

    /// The instant, in Unix milliseconds, that `back` leads to.
    pub(super) fn moment(&self, back: Back) -> i64 {
        let from = match back.from {
            From::Step => self.at,
            From::Whole => self.whole,
            From::Fixed(at) => at,
        };
        from.millis().saturating_sub(back.offset)
    }

    /// The range of that length before `end`, milliseconds.
    pub(super) fn bounds(&self, end: i64, range: i64) -> Bounds {
        Bounds { start: end.saturating_sub(range), end, at: self.at.millis(), fill: self.fill }
    }

    /// The range that a selector reads.
    pub(super) fn range_of(&self, selector: usize) -> Bounds {
        let selector = &self.plan.selectors[selector];
        self.bounds(self.moment(selector.back), selector.range.as_millis() as i64)
    }

    /// The newest sample of each series that is not older than the lookback and not stale, with its time.
    fn instant(&self, selector: usize) -> impl Iterator<Item = (&Chosen, i64, f64)> {
        let Bounds { start: oldest, end: until, .. } = self.range_of(selector);
        self.chosen[selector].series.iter().filter_map(move |chosen| {
            let column = self.window.series(chosen.series);
            let row = column.rows_until(Timestamp::from_millis(until)).checked_sub(1)?;
            let at = column.times()[row];
            Some((chosen, at, column.get(row).filter(|_| at >= oldest)?))
        })
    }

    /// The samples of one series within `bounds`.
    pub(super) fn samples(&self, chosen: &Chosen, bounds: Bounds) -> impl Iterator<Item = (i64, f64)> {
        let column = self.window.series(chosen.series);
        let first = column.rows_until(Timestamp::from_millis(bounds.start.saturating_sub(1)));
        column.present(first..column.rows_until(Timestamp::from_millis(bounds.end)).max(first))
    }

    fn matrix(&self, selector: usize) -> Matrix {
        let bounds = self.range_of(selector);
        let samples = |chosen: &Chosen| {
            let samples: Vec<_> = self.samples(chosen, bounds).collect();
            (!samples.is_empty()).then(|| (chosen.labels.clone(), samples))
        };
        self.chosen[selector].series.iter().filter_map(samples).collect()
    }

    fn negate(&self, inner: &Node) -> Result<Value, EvalError> {
        match self.node(inner)? {
            Value::Scalar(value) => Ok(Value::Scalar(-value)),
            Value::Vector(vector) => self.map(vector, |v| -v),
            _ => Err(EvalError::WrongType("unary minus")),
        }
    }

    fn call(&self, function: &Function, args: &[Node]) -> Result<Value, EvalError> {
        match (function, args) {
            (Function::Ranged(ranged), [before @ .., Node::Range(_) | Node::Subquery(_)]) => {
                let param = before.first().map_or(Ok(f64::NAN), |param| self.scalar(param))?;
                range::call(self, *ranged, &args[before.len()], [param, f64::NAN])
            }
            (Function::Ranged(ranged), [range, params @ ..]) => {
                let param = |at: usize| params.get(at).map_or(Ok(f64::NAN), |param| self.scalar(param));
                range::call(self, *ranged, range, [param(0)?, param(1)?])
            }
            (Function::Absent(labels), [of]) => {
                let is_there = match of {
                    Node::Range(_) | Node::Subquery(_) => {
                        matches!(range::call(self, range::Ranged::Present, of, [f64::NAN; 2])?, Value::Vector(v) if !v.is_empty())
                    }
                    of => !self.vector(of)?.is_empty(),
                };
                Ok(Value::Vector(if is_there { Vec::new() } else { vec![(labels.clone(), 1.0)] }))
            }
            (Function::Time, []) => Ok(Value::Scalar(self.at.seconds())),
            (Function::Calendar(part), []) => {
                Ok(Value::Vector(vec![(Labels::empty(), part(self.at.seconds().floor()))]))
            }
            (Function::Vector, [of]) => Ok(Value::Vector(vec![(Labels::empty(), self.scalar(of)?)])),
            (Function::Scalar, [of]) => Ok(Value::Scalar(match self.vector(of)?.as_slice() {
                [(_, value)] => *value,
                _ => f64::NAN,
            })),
            (Function::Timestamp, [Node::Instant(selector)]) => {
                let times =
                    self.instant(*selector).map(|(chosen, at, _)| (chosen.bare.clone(), at as f64 / 1e3));
                Ok(Value::Vector(distinct(times.collect())?))
            }
            (Function::HistogramQuantile, [q, of]) => {
                let q = self.scalar(q)?;
                Ok(Value::Vector(distinct(histogram::quantiles(q, &self.vector(of)?))?))
            }
            (_, [of, params @ ..]) => self.of_vector(function, self.vector(of)?, params),
            _ => Err(EvalError::WrongType("a function")),
        }
    }

    /// A function whose first argument is an instant vector.
    fn of_vector(&self, function: &Function, mut of: Vector, params: &[Node]) -> Result<Value, EvalError> {
        match (function, params) {
            (Function::Map(f) | Function::Calendar(f), []) => self.map(of, f),
            (Function::Timestamp, []) => self.map(of, |_| self.at.seconds()),
            (Function::Clamp, [low, high]) => self.clamp(of, self.scalar(low)?, self.scalar(high)?),
            (Function::ClampMin, [low]) => {
                let low = self.scalar(low)?;
                self.map(of, |v| larger(low, v))
            }
            (Function::ClampMax, [high]) => {
                let high = self.scalar(high)?;
                self.map(of, |v| smaller(high, v))
            }
            (Function::Round, params) => {
                let to = params.first().map_or(Ok(1.0), |to| self.scalar(to))?;
                self.map(of, |v| round(v, to))
            }
            (Function::Sort | Function::SortDescending, []) => {
                extreme::sort(&mut of, matches!(function, Function::SortDescending));
                Ok(Value::Vector(of))
            }
            (Function::Relabel(relabel), []) => {
                of.iter_mut().for_each(|(labels, _)| *labels = relabel.apply(labels));
                Ok(Value::Vector(distinct(of)?))
            }
            _ => Err(EvalError::WrongType("a function")),
        }
    }

    fn clamp(&self, of: Vector, low: f64, high: f64) -> Result<Value, EvalError> {
        if high < low {
            return Ok(Value::Vector(Vec::new()));
        }
        self.map(of, |v| larger(low, smaller(high, v)))
    }

    /// Every value through `f`; a changed value no longer bears the metric's name.
    fn map(&self, mut vector: Vector, f: impl Fn(f64) -> f64) -> Result<Value, EvalError> {
        let mut had_names = false;
        for (labels, value) in &mut vector {
            *value = f(*value);
            if !labels.name().is_empty() {
                had_names = true;
                *labels = self.bare(labels);
            }
        }
        Ok(Value::Vector(if had_names { distinct(vector)? } else { vector }))
    }
}

/// The vector, if no two of its series have the same labels.
pub(super) fn distinct(vector: Vector) -> Result<Vector, EvalError> {
    if vector.len() > 1 {
        let mut seen = HashSet::with_capacity(vector.len());
        if let Some((twice, _)) = vector.iter().find(|(labels, _)| !seen.insert(labels)) {
            return Err(EvalError::SameLabels(twice.clone()));
        }
    }
    Ok(vector)
}
