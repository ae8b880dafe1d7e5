//! Evaluation of a plan at one instant.

use std::collections::HashSet;

use super::plan::{Node, Plan};
use super::{aggregate, binary, range};
use crate::series::{Labels, METRIC_NAME, Timestamp};
use crate::window::{SeriesRef, WindowView};

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
    /// An argument of another type than the function takes; the parser lets none through.
    #[error("{0} was given an argument of the wrong type")]
    WrongType(&'static str),
}

/// The series each selector has chosen, remembered until the set of series changes.
#[derive(Debug, Default)]
pub struct Selections {
    generation: Option<u64>,
    chosen: Vec<Vec<Chosen>>,
}

#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) labels: Labels,
    /// Without the metric name.
    pub(super) bare: Labels,
    pub(super) series: SeriesRef,
}

impl Selections {
    fn refresh(&mut self, plan: &Plan, window: WindowView<'_>) {
        if self.generation == Some(window.generation()) {
            return;
        }
        let choose = |(labels, series): (Labels, SeriesRef)| {
            let bare = labels.without(|name| name == METRIC_NAME);
            Chosen { labels, bare, series }
        };
        let select =
            |s: &super::Selector| window.select(|labels| s.wants(labels)).into_iter().map(choose).collect();
        self.chosen = plan.selectors.iter().map(select).collect();
        self.generation = Some(window.generation());
    }
}

/// Everything an evaluation reads.
pub(super) struct Eval<'a> {
    pub(super) plan: &'a Plan,
    pub(super) window: WindowView<'a>,
    pub(super) at: Timestamp,
    pub(super) fill: Fill,
    pub(super) chosen: &'a [Vec<Chosen>],
}

pub(super) type Vector = Vec<(Labels, f64)>;

impl Plan {
    /// The value at `at`.
    pub fn eval(
        &self,
        window: WindowView<'_>,
        at: Timestamp,
        fill: Fill,
        selections: &mut Selections,
    ) -> Result<Value, EvalError> {
        selections.refresh(self, window);
        Eval { plan: self, window, at, fill, chosen: &selections.chosen }.node(&self.root)
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
            Node::Negate(inner) => self.negate(inner),
            Node::Call(name, args) => self.call(name, args),
            Node::Aggregate { op, grouping, param, of } => {
                let param = param.as_ref().map(|param| self.scalar(param)).transpose()?;
                Ok(Value::Vector(aggregate::aggregate(op, grouping, param, &self.vector(of)?)))
            }
            Node::Binary { op, as_bool, matching, left, right } => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                binary::binary(*op, *as_bool, matching, left, right)
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

    /// The newest sample of each series that is not older than the lookback and not stale, with its time.
    fn instant(&self, selector: usize) -> impl Iterator<Item = (&Chosen, i64, f64)> {
        let back = &self.plan.selectors[selector];
        let until = self.at.millis().saturating_sub(back.offset);
        let oldest = until.saturating_sub(back.range.as_millis() as i64);
        self.chosen[selector].iter().filter_map(move |chosen| {
            let column = self.window.series(chosen.series);
            let row = column.rows_until(Timestamp::from_millis(until)).checked_sub(1)?;
            let at = column.times()[row];
            Some((chosen, at, column.get(row).filter(|_| at >= oldest)?))
        })
    }

    fn matrix(&self, selector: usize) -> Vec<(Labels, Vec<(i64, f64)>)> {
        let samples = |chosen: &Chosen| {
            let (column, rows, _) = range::rows(self, selector, chosen);
            let samples: Vec<_> = column.present(rows).collect();
            (!samples.is_empty()).then(|| (chosen.labels.clone(), samples))
        };
        self.chosen[selector].iter().filter_map(samples).collect()
    }

    fn negate(&self, inner: &Node) -> Result<Value, EvalError> {
        match self.node(inner)? {
            Value::Scalar(value) => Ok(Value::Scalar(-value)),
            Value::Vector(vector) => Ok(Value::Vector(distinct(map(vector, |v| -v))?)),
            _ => Err(EvalError::WrongType("unary minus")),
        }
    }

    fn call(&self, name: &'static str, args: &[Node]) -> Result<Value, EvalError> {
        match (name, args) {
            ("time", []) => Ok(Value::Scalar(self.at.seconds())),
            ("vector", [of]) => Ok(Value::Vector(vec![(Labels::empty(), self.scalar(of)?)])),
            ("scalar", [of]) => Ok(Value::Scalar(match self.vector(of)?.as_slice() {
                [(_, value)] => *value,
                _ => f64::NAN,
            })),
            ("timestamp", [Node::Instant(selector)]) => {
                let times =
                    self.instant(*selector).map(|(chosen, at, _)| (chosen.bare.clone(), at as f64 / 1e3));
                Ok(Value::Vector(distinct(times.collect())?))
            }
            ("timestamp", [of]) => Ok(Value::Vector(distinct(map(self.vector(of)?, |_| self.at.seconds()))?)),
            ("clamp", [of, low, high]) => self.clamp(of, self.scalar(low)?, self.scalar(high)?),
            ("clamp_min", [of, low]) => self.clamp(of, self.scalar(low)?, f64::INFINITY),
            ("clamp_max", [of, high]) => self.clamp(of, f64::NEG_INFINITY, self.scalar(high)?),
            ("round", [of]) => self.each(of, |v| round(v, 1.0)),
            ("round", [of, to]) => {
                let to = self.scalar(to)?;
                self.each(of, |v| round(v, to))
            }
            (_, [of]) if plain(name).is_some() => self.each(of, plain(name).unwrap_or(f64::abs)),
            (_, [Node::Range(selector)]) => range::call(self, name, *selector, None),
            (_, [param, Node::Range(selector)]) => {
                range::call(self, name, *selector, Some(self.scalar(param)?))
            }
            _ => Err(EvalError::WrongType(name)),
        }
    }

    fn each(&self, of: &Node, f: impl Fn(f64) -> f64) -> Result<Value, EvalError> {
        Ok(Value::Vector(distinct(map(self.vector(of)?, f))?))
    }

    fn clamp(&self, of: &Node, low: f64, high: f64) -> Result<Value, EvalError> {
        if high < low {
            return Ok(Value::Vector(Vec::new()));
        }
        self.each(of, |v| larger(low, smaller(high, v)))
    }
}

fn plain(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sqrt" => f64::sqrt,
        "sgn" => |v| {
            if v > 0.0 {
                1.0
            } else if v < 0.0 {
                -1.0
            } else {
                v
            }
        },
        _ => return None,
    })
}

/// Ties go up, as in Prometheus, not away from zero.
fn round(value: f64, to: f64) -> f64 {
    let inverse = 1.0 / to;
    (value * inverse + 0.5).floor() / inverse
}

/// As Go's math.Max: NaN if either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// As Go's math.Min: NaN if either is.
fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// Every value through `f`; a changed value no longer bears the metric's name.
pub(super) fn map(vector: Vector, f: impl Fn(f64) -> f64) -> Vector {
    let nameless = |labels: Labels| {
        if labels.name().is_empty() { labels } else { labels.without(|name| name == METRIC_NAME) }
    };
    vector.into_iter().map(|(labels, value)| (nameless(labels), f(value))).collect()
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
