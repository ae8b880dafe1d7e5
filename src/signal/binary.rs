//! Operators between scalars and vectors.

use std::collections::{HashMap, HashSet};

use super::eval::{Eval, EvalError, Value, Vector, distinct};
use super::plan::{Card, Matching, Op};
use crate::series::{Labels, METRIC_NAME};

/// An operator of an expression, at one step.
pub(super) struct Operator<'a> {
    pub(super) eval: &'a Eval<'a>,
    pub(super) op: Op,
    /// Comparison gives 0 or 1 instead of filtering.
    pub(super) as_bool: bool,
    pub(super) matching: &'a Matching,
}

fn scalars(op: Op, a: f64, b: f64) -> f64 {
    if op.is_comparison() { f64::from(u8::from(compare(op, a, b))) } else { arithmetic(op, a, b) }
}

fn arithmetic(op: Op, a: f64, b: f64) -> f64 {
    match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Mod => a % b,
        Op::Pow => a.powf(b),
        Op::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

fn compare(op: Op, a: f64, b: f64) -> bool {
    match op {
        Op::Eq => a == b,
        Op::Ne => a != b,
        Op::Lt => a < b,
        Op::Le => a <= b,
        Op::Gt => a > b,
        Op::Ge => a >= b,
        _ => false,
    }
}

impl Operator<'_> {
    /// `left op right`.
    pub(super) fn apply(&self, left: Value, right: Value) -> Result<Value, EvalError> {
        let vector = match (left, right) {
            (Value::Scalar(a), Value::Scalar(b)) => return Ok(Value::Scalar(scalars(self.op, a, b))),
            (Value::Vector(left), Value::Scalar(b)) => self.with_scalar(left, |a| (a, b)),
            (Value::Scalar(a), Value::Vector(right)) => self.with_scalar(right, |b| (a, b)),
            (Value::Vector(left), Value::Vector(right)) if self.op.is_set() => Ok(self.sets(left, right)),
            (Value::Vector(left), Value::Vector(right)) => self.vectors(left, right),
            _ => Err(EvalError::WrongType("an operator")),
        };
        vector.map(Value::Vector)
    }

    /// The result of one pair, if any: arithmetic and `bool` give a number, a comparison keeps `kept` or drops it.
    fn result(&self, a: f64, b: f64, kept: f64) -> Option<f64> {
        match (self.op.is_comparison(), self.as_bool) {
            (false, _) | (true, true) => Some(scalars(self.op, a, b)),
            (true, false) => compare(self.op, a, b).then_some(kept),
        }
    }

    /// Prometheus 2.42 forgets to drop it for atan2.
    fn keeps_name(&self) -> bool {
        (self.op.is_comparison() || self.op == Op::Atan2) && !self.as_bool
    }

    fn with_scalar(&self, vector: Vector, sides: impl Fn(f64) -> (f64, f64)) -> Result<Vector, EvalError> {
        let mut results = Vec::with_capacity(vector.len());
        let mut had_names = false;
        for (labels, value) in vector {
            let (a, b) = sides(value);
            let Some(result) = self.result(a, b, value) else { continue };
            let name_goes = !self.keeps_name() && !labels.name().is_empty();
            had_names |= name_goes;
            results.push((if name_goes { self.eval.bare(&labels) } else { labels }, result));
        }
        if had_names { distinct(results) } else { Ok(results) }
    }

    fn group(&self, labels: &Labels) -> Labels {
        self.eval.key(&self.matching.on, labels)
    }

    fn sets(&self, left: Vector, right: Vector) -> Vector {
        let keys =
            |vector: &Vector| vector.iter().map(|(labels, _)| self.group(labels)).collect::<HashSet<_>>();
        if self.op == Op::Or {
            let known = keys(&left);
            let more = right.into_iter().filter(|(labels, _)| !known.contains(&self.group(labels)));
            return left.into_iter().chain(more).collect();
        }
        let known = keys(&right);
        let wanted = self.op == Op::And;
        left.into_iter().filter(|(labels, _)| known.contains(&self.group(labels)) == wanted).collect()
    }

    fn vectors(&self, left: Vector, right: Vector) -> Result<Vector, EvalError> {
        if left.is_empty() || right.is_empty() {
            return Ok(Vec::new());
        }
        // Work as if the many were on the left, and turn the operands back for the arithmetic.
        let turned = matches!(self.matching.card, Card::OneToMany(_));
        let (many, one, side) = if turned { (right, left, "left") } else { (left, right, "right") };
        let mut ones: HashMap<Labels, (Labels, f64)> = HashMap::with_capacity(one.len());
        for (labels, value) in one {
            let key = self.group(&labels);
            if ones.insert(key.clone(), (labels, value)).is_some() {
                return Err(EvalError::ManyToMany(key, side));
            }
        }
        let mut used: HashSet<Labels> = HashSet::new();
        let mut results = Vec::with_capacity(many.len());
        for (labels, value) in many {
            let key = self.group(&labels);
            let Some((other, other_value)) = ones.get(&key) else { continue };
            let (a, b) = if turned { (*other_value, value) } else { (value, *other_value) };
            let Some(result) = self.result(a, b, a) else { continue };
            if self.matching.card == Card::OneToOne && !used.insert(key.clone()) {
                return Err(EvalError::ManyToMany(key, "left"));
            }
            results.push((self.labels(&labels, other), result));
        }
        distinct(results)
    }

    /// The labels of a pair's result.
    fn labels(&self, many: &Labels, one: &Labels) -> Labels {
        let kept = |labels: &Labels| if self.keeps_name() { labels.clone() } else { self.eval.bare(labels) };
        let on = &self.matching.on;
        match &self.matching.card {
            Card::OneToOne => self.eval.memo.get(self.matching.making, many, |many| {
                kept_by(on.by, &on.names, &without_name(many, !self.keeps_name()))
            }),
            Card::ManyToOne(taken) | Card::OneToMany(taken) if !taken.is_empty() => {
                let over = taken.iter().map(|name| (name.as_str(), one.get(name).unwrap_or_default()));
                kept(many).with(over)
            }
            _ => kept(many),
        }
    }
}

fn without_name(labels: &Labels, name_goes: bool) -> Labels {
    labels.without(|name| name_goes && name == METRIC_NAME)
}

/// The labels named, or all but those.
fn kept_by(by: bool, names: &[String], labels: &Labels) -> Labels {
    labels.without(|name| names.iter().any(|n| n == name) != by)
}
