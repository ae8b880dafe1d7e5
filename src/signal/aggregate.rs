//! Aggregation of an instant vector by groups of labels.

use std::collections::HashMap;

use super::eval::{Eval, EvalError, Vector};
use super::extreme::extremes;
use super::plan::Grouping;
use super::range::quantile;
use super::render::number;
use crate::series::Labels;

/// What becomes of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Aggregator {
    Sum,
    Average,
    Least,
    Most,
    Count,
    Group,
    Variance,
    Deviation,
    Quantile,
    /// The largest keep their labels.
    Top,
    /// The smallest keep their labels.
    Bottom,
    /// How many there are of each value; the value becomes this label.
    CountValues(String),
}

/// Groups are in the order they appear.
pub(super) fn aggregate(
    eval: &Eval<'_>,
    how: &Aggregator,
    grouping: &Grouping,
    param: f64,
    vector: Vector,
) -> Result<Vector, EvalError> {
    match how {
        Aggregator::Top | Aggregator::Bottom => {
            let most = how_many(param, vector.len())?;
            if most == 0 {
                return Ok(Vec::new());
            }
            let groups = groups(eval, grouping, vector, |labels, value| (labels, value));
            Ok(groups.into_iter().flat_map(|(_, of)| extremes(of, most, *how == Aggregator::Top)).collect())
        }
        Aggregator::CountValues(label) => {
            let valued = |(labels, value): (Labels, f64)| {
                (labels.with([(label.as_str(), number(value).as_str())]), value)
            };
            let groups = groups(eval, grouping, vector.into_iter().map(valued).collect(), |_, _| ());
            Ok(groups.into_iter().map(|(labels, of)| (labels, of.len() as f64)).collect())
        }
        _ => {
            let groups = groups(eval, grouping, vector, |_, value| value);
            Ok(groups.into_iter().map(|(labels, mut of)| (labels, combine(how, param, &mut of))).collect())
        }
    }
}

/// `param` as a number of series, at most `there`.
fn how_many(param: f64, there: usize) -> Result<usize, EvalError> {
    // The smallest integer, and the largest float below 2^63.
    if !(-9_223_372_036_854_775_808.0..=9_223_372_036_854_774_784.0).contains(&param) {
        return Err(EvalError::NotACount(number(param)));
    }
    Ok((param as i64).clamp(0, there as i64) as usize)
}

fn groups<T>(
    eval: &Eval<'_>,
    grouping: &Grouping,
    vector: Vector,
    keep: impl Fn(Labels, f64) -> T,
) -> Vec<(Labels, Vec<T>)> {
    let mut groups: Vec<(Labels, Vec<T>)> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for (labels, value) in vector {
        let key = eval.key(grouping, &labels);
        let at = *known.entry(key).or_insert_with_key(|key| {
            groups.push((key.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(keep(labels, value));
    }
    groups
}

fn combine(how: &Aggregator, param: f64, values: &mut [f64]) -> f64 {
    let all = || values.iter().copied();
    match how {
        Aggregator::Sum => all().sum(),
        Aggregator::Average => mean(values),
        Aggregator::Least => {
            all().fold(f64::NAN, |least, v| if v < least || least.is_nan() { v } else { least })
        }
        Aggregator::Most => all().fold(f64::NAN, |most, v| if v > most || most.is_nan() { v } else { most }),
        Aggregator::Variance => variance(values),
        Aggregator::Deviation => variance(values).sqrt(),
        Aggregator::Quantile => quantile(param, values),
        Aggregator::Count => values.len() as f64,
        // That there is one is all that a group says; those that keep labels were told apart before.
        Aggregator::Group | Aggregator::Top | Aggregator::Bottom | Aggregator::CountValues(_) => 1.0,
    }
}

/// Incremental, so that large values do not overflow on the way, as Prometheus does it.
fn mean(values: &[f64]) -> f64 {
    let (mut mean, mut count) = (0.0_f64, 0.0);
    for value in values {
        count += 1.0;
        let same_infinity = value.is_infinite() && (mean > 0.0) == (*value > 0.0);
        if count == 1.0 {
            mean = *value;
        } else if !(mean.is_infinite() && (same_infinity || value.is_finite())) {
            mean += value / count - mean / count;
        }
    }
    mean
}

fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares, mut count) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}
