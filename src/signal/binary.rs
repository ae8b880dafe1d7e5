//! Operators between scalars and vectors.

use std::collections::{HashMap, HashSet};

use super::eval::{EvalError, Value, Vector, distinct};
use super::plan::{Card, Grouping, Matching, Op};
use crate::series::{Labels, METRIC_NAME};

/// `left op right`.
pub(super) fn binary(
    op: Op,
    as_bool: bool,
    matching: &Matching,
    left: Value,
    right: Value,
) -> Result<Value, EvalError> {
    match (left, right) {
        (Value::Scalar(a), Value::Scalar(b)) => Ok(Value::Scalar(scalars(op, a, b))),
        (Value::Vector(left), Value::Scalar(b)) => with_scalar(op, as_bool, left, |a| (a, b)),
        (Value::Scalar(a), Value::Vector(right)) => with_scalar(op, as_bool, right, |b| (a, b)),
        (Value::Vector(left), Value::Vector(right)) if op.is_set() => {
            Ok(Value::Vector(distinct(sets(op, matching, left, right))?))
        }
        (Value::Vector(left), Value::Vector(right)) => vectors(op, as_bool, matching, left, right),
        _ => Err(EvalError::WrongType("an operator")),
    }
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

/// The result of one pair, if any: arithmetic and `bool` give a number, a comparison keeps `kept` or drops it.
fn result(op: Op, as_bool: bool, a: f64, b: f64, kept: f64) -> Option<f64> {
    match (op.is_comparison(), as_bool) {
        (false, _) | (true, true) => Some(scalars(op, a, b)),
        (true, false) => compare(op, a, b).then_some(kept),
    }
}

fn keeps_name(op: Op, as_bool: bool) -> bool {
    op.is_comparison() && !as_bool
}

fn with_scalar(
    op: Op,
    as_bool: bool,
    vector: Vector,
    sides: impl Fn(f64) -> (f64, f64),
) -> Result<Value, EvalError> {
    let mut results = Vec::with_capacity(vector.len());
    for (labels, value) in vector {
        let (a, b) = sides(value);
        if let Some(result) = result(op, as_bool, a, b, value) {
            let name_goes = !keeps_name(op, as_bool) && !labels.name().is_empty();
            let labels = if name_goes { labels.without(|name| name == METRIC_NAME) } else { labels };
            results.push((labels, result));
        }
    }
    Ok(Value::Vector(distinct(results)?))
}

fn sets(op: Op, matching: &Matching, left: Vector, right: Vector) -> Vector {
    let keys =
        |vector: &Vector| vector.iter().map(|(labels, _)| matching.on.key(labels)).collect::<HashSet<_>>();
    match op {
        Op::And | Op::Unless => {
            let known = keys(&right);
            let wanted = op == Op::And;
            left.into_iter()
                .filter(|(labels, _)| known.contains(&matching.on.key(labels)) == wanted)
                .collect()
        }
        _ => {
            let known = keys(&left);
            let more = right.into_iter().filter(|(labels, _)| !known.contains(&matching.on.key(labels)));
            left.into_iter().chain(more).collect()
        }
    }
}

fn vectors(
    op: Op,
    as_bool: bool,
    matching: &Matching,
    left: Vector,
    right: Vector,
) -> Result<Value, EvalError> {
    // Work as if the many were on the left, and turn the operands back for the arithmetic.
    let turned = matches!(matching.card, Card::OneToMany(_));
    let (many, one, side) = if turned { (right, left, "left") } else { (left, right, "right") };
    let mut ones: HashMap<Labels, (Labels, f64)> = HashMap::with_capacity(one.len());
    for (labels, value) in one {
        let key = matching.on.key(&labels);
        if ones.insert(key.clone(), (labels, value)).is_some() {
            return Err(EvalError::ManyToMany(key, side));
        }
    }
    let mut used: HashSet<Labels> = HashSet::new();
    let mut results = Vec::with_capacity(many.len());
    for (labels, value) in many {
        let key = matching.on.key(&labels);
        let Some((other, other_value)) = ones.get(&key) else { continue };
        let (a, b) = if turned { (*other_value, value) } else { (value, *other_value) };
        let Some(result) = result(op, as_bool, a, b, a) else { continue };
        if matching.card == Card::OneToOne && !used.insert(key.clone()) {
            return Err(EvalError::ManyToMany(key, "left"));
        }
        results.push((result_labels(op, as_bool, matching, &labels, other), result));
    }
    Ok(Value::Vector(distinct(results)?))
}

fn result_labels(op: Op, as_bool: bool, matching: &Matching, many: &Labels, one: &Labels) -> Labels {
    let name_goes = !keeps_name(op, as_bool);
    let mut labels = many.without(|name| name_goes && name == METRIC_NAME);
    match &matching.card {
        Card::OneToOne => {
            labels = match &matching.on {
                Grouping::By(_) => matching.on.key(&labels),
                Grouping::Without(names) => labels.without(|name| names.iter().any(|n| n == name)),
            };
        }
        Card::ManyToOne(taken) | Card::OneToMany(taken) => {
            let over = taken.iter().map(|name| (name.as_str(), one.get(name).unwrap_or_default()));
            labels = labels.with(over);
        }
        Card::ManyToMany => {}
    }
    labels
}
