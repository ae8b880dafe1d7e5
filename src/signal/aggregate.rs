//! Aggregation of an instant vector by groups of labels.

use std::collections::HashMap;

use super::eval::Vector;
use super::plan::Grouping;
use super::range::quantile;
use crate::series::Labels;

/// One value a group, groups in the order they appear.
pub(super) fn aggregate(op: &str, grouping: &Grouping, param: Option<f64>, vector: &Vector) -> Vector {
    let mut groups: Vec<(Labels, Vec<f64>)> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for (labels, value) in vector {
        let key = grouping.key(labels);
        let at = *known.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(*value);
    }
    groups.into_iter().map(|(labels, mut values)| (labels, combine(op, param, &mut values))).collect()
}

fn combine(op: &str, param: Option<f64>, values: &mut [f64]) -> f64 {
    let all = || values.iter().copied();
    match op {
        "sum" => all().sum(),
        "avg" => mean(values),
        "min" => all().fold(f64::NAN, |least, v| if v < least || least.is_nan() { v } else { least }),
        "max" => all().fold(f64::NAN, |most, v| if v > most || most.is_nan() { v } else { most }),
        "count" => values.len() as f64,
        "stdvar" => variance(values),
        "stddev" => variance(values).sqrt(),
        "quantile" => quantile(param.unwrap_or(f64::NAN), values),
        // "group": that there is one is all it says.
        _ => 1.0,
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
