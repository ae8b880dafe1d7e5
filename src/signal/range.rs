//! Functions over a range of samples.

use std::ops::Range;

use super::eval::{Chosen, Eval, EvalError, Fill, Value, distinct};
use crate::series::Timestamp;
use crate::window::ColumnView;

/// Rows of `chosen` within the selector's range, both ends included, with the range in Unix milliseconds.
pub(super) fn rows<'a>(
    eval: &Eval<'a>,
    selector: usize,
    chosen: &Chosen,
) -> (ColumnView<'a>, Range<usize>, (i64, i64)) {
    let back = &eval.plan.selectors[selector];
    let end = eval.at.millis().saturating_sub(back.offset);
    let start = end.saturating_sub(back.range.as_millis() as i64);
    let column = eval.window.series(chosen.series);
    let first = column.rows_until(Timestamp::from_millis(start - 1));
    let rows = first..column.rows_until(Timestamp::from_millis(end));
    (column, rows, (start, end))
}

/// A function of a range for each series that has one.
pub(super) fn call(
    eval: &Eval<'_>,
    name: &'static str,
    selector: usize,
    param: Option<f64>,
) -> Result<Value, EvalError> {
    let mut samples: Vec<(i64, f64)> = Vec::new();
    let mut result = Vec::with_capacity(eval.chosen[selector].len());
    for chosen in &eval.chosen[selector] {
        let (column, rows, bounds) = rows(eval, selector, chosen);
        samples.clear();
        samples.extend(column.present(rows));
        let Some(value) = apply(name, &samples, bounds, eval.fill, param)? else { continue };
        let labels = if name == "last_over_time" { &chosen.labels } else { &chosen.bare };
        result.push((labels.clone(), value));
    }
    Ok(Value::Vector(distinct(result)?))
}

fn apply(
    name: &'static str,
    samples: &[(i64, f64)],
    bounds: (i64, i64),
    fill: Fill,
    param: Option<f64>,
) -> Result<Option<f64>, EvalError> {
    if samples.is_empty() {
        return Ok(None);
    }
    let values = || samples.iter().map(|(_, value)| *value);
    Ok(match name {
        "rate" => extrapolated(samples, bounds, fill, true, true),
        "increase" => extrapolated(samples, bounds, fill, true, false),
        "delta" => extrapolated(samples, bounds, fill, false, false),
        "irate" => instant(samples, true),
        "idelta" => instant(samples, false),
        "changes" => {
            Some(count_steps(samples, |before, now| before != now && !(before.is_nan() && now.is_nan())))
        }
        "resets" => Some(count_steps(samples, |before, now| now < before)),
        "avg_over_time" => Some(mean(values())),
        "sum_over_time" => Some(sum(values())),
        "count_over_time" => Some(samples.len() as f64),
        "last_over_time" => values().next_back(),
        "min_over_time" => values().reduce(|least, v| if v < least || least.is_nan() { v } else { least }),
        "max_over_time" => values().reduce(|most, v| if v > most || most.is_nan() { v } else { most }),
        "stdvar_over_time" => Some(variance(values())),
        "stddev_over_time" => Some(variance(values()).sqrt()),
        "quantile_over_time" => Some(quantile(param.unwrap_or(f64::NAN), &mut values().collect::<Vec<_>>())),
        _ => return Err(EvalError::WrongType(name)),
    })
}

/// Rate, increase and delta as Prometheus extrapolates them to the bounds of the range.
fn extrapolated(
    samples: &[(i64, f64)],
    (start, end): (i64, i64),
    fill: Fill,
    is_counter: bool,
    is_rate: bool,
) -> Option<f64> {
    let [(first_at, first), .., (last_at, last)] = samples else { return None };
    let mut result = last - first;
    if is_counter {
        result += samples.windows(2).filter(|w| w[1].1 < w[0].1).map(|w| w[0].1).sum::<f64>();
    }
    let mut to_start = (first_at - start) as f64 / 1e3;
    let to_end = (end - last_at) as f64 / 1e3;
    let sampled = (last_at - first_at) as f64 / 1e3;
    let spacing = sampled / (samples.len() - 1) as f64;
    let threshold = spacing * 1.1;
    // By the widest spacing, because samples come faster while an incident is pending.
    let widest = samples.windows(2).map(|w| w[1].0 - w[0].0).max().unwrap_or(0) as f64 / 1e3;
    if fill == Fill::Filled && to_start > widest * 1.1 {
        return None;
    }
    if is_counter && result > 0.0 && *first >= 0.0 {
        // A counter cannot have been below zero: it began no earlier than this.
        to_start = to_start.min(sampled * (first / result));
    }
    let reach = |gap: f64| if gap < threshold { gap } else { spacing / 2.0 };
    let mut factor = (sampled + reach(to_start) + reach(to_end)) / sampled;
    if is_rate {
        factor /= (end - start) as f64 / 1e3;
    }
    Some(result * factor)
}

/// irate and idelta: of the last two samples.
fn instant(samples: &[(i64, f64)], is_rate: bool) -> Option<f64> {
    let [.., (before_at, before), (last_at, last)] = samples else { return None };
    if !is_rate {
        return Some(last - before);
    }
    let change = if last < before { *last } else { last - before };
    Some(change / ((last_at - before_at) as f64 / 1e3))
}

fn count_steps(samples: &[(i64, f64)], counts: impl Fn(f64, f64) -> bool) -> f64 {
    samples.windows(2).filter(|w| counts(w[0].1, w[1].1)).count() as f64
}

/// Kahan–Neumaier summation, step by step as Prometheus does it.
fn add(sum: f64, compensation: f64, increment: f64) -> (f64, f64) {
    let total = sum + increment;
    let lost =
        if sum.abs() >= increment.abs() { (sum - total) + increment } else { (increment - total) + sum };
    (total, compensation + lost)
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, compensation) = values.fold((0.0, 0.0), |(sum, c), v| add(sum, c, v));
    if sum.is_infinite() { sum } else { sum + compensation }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut compensation, mut count) = (0.0_f64, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let same_infinity = value.is_infinite() && (mean > 0.0) == (value > 0.0);
        if mean.is_infinite() && (same_infinity || value.is_finite()) {
            continue;
        }
        (mean, compensation) = add(mean, compensation, value / count - mean / count);
    }
    if mean.is_infinite() { mean } else { mean + compensation }
}

fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = ((0.0, 0.0), (0.0, 0.0), 0.0);
    for value in values {
        count += 1.0;
        let delta = value - (mean.0 + mean.1);
        mean = add(mean.0, mean.1, delta / count);
        squares = add(squares.0, squares.1, delta * (value - (mean.0 + mean.1)));
    }
    (squares.0 + squares.1) / count
}

/// Quantile `q` of `values`, which it sorts.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // NaN sorts before every number, as in Prometheus.
    values.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = q * (values.len() - 1) as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[below] * (1.0 - weight) + values[above] * weight
}
