//! Functions over a range of samples.

use super::eval::{Eval, EvalError, Fill, Value, distinct};
use super::plan::Node;
use super::{glitch, subquery, trend};
use crate::series::Labels;

/// What is said of the samples of one series within a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ranged {
    Rate,
    Increase,
    Delta,
    InstantRate,
    InstantDelta,
    Changes,
    Resets,
    Derivative,
    PredictLinear,
    HoltWinters,
    Average,
    Sum,
    Count,
    Last,
    Least,
    Most,
    Variance,
    Deviation,
    Quantile,
    Present,
}

impl Ranged {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "increase" => Self::Increase,
            "delta" => Self::Delta,
            "irate" => Self::InstantRate,
            "idelta" => Self::InstantDelta,
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            "deriv" => Self::Derivative,
            "predict_linear" => Self::PredictLinear,
            "holt_winters" => Self::HoltWinters,
            "avg_over_time" => Self::Average,
            "sum_over_time" => Self::Sum,
            "count_over_time" => Self::Count,
            "last_over_time" => Self::Last,
            "min_over_time" => Self::Least,
            "max_over_time" => Self::Most,
            "stdvar_over_time" => Self::Variance,
            "stddev_over_time" => Self::Deviation,
            "quantile_over_time" => Self::Quantile,
            "present_over_time" => Self::Present,
            _ => return None,
        })
    }
}

/// The range the samples are of.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Unix milliseconds; both ends are included.
    pub(super) start: i64,
    pub(super) end: i64,
    /// Of the evaluation, before any offset.
    pub(super) at: i64,
    pub(super) fill: Fill,
}

/// `function` of each series of `range` that has samples in it.
pub(super) fn call(
    eval: &Eval<'_>,
    function: Ranged,
    range: &Node,
    params: [f64; 2],
) -> Result<Value, EvalError> {
    match range {
        Node::Range(selector) => over_selector(eval, function, *selector, params),
        Node::Subquery(sub) => {
            let bounds = eval.bounds(eval.moment(sub.back), sub.range);
            let mut result = Vec::new();
            for (labels, mut samples) in subquery::matrix(eval, sub)? {
                let bounds = mend(eval, function, &mut samples, bounds);
                let Some(value) = apply(function, &samples, bounds, params)? else { continue };
                result.push((if function == Ranged::Last { labels } else { eval.bare(&labels) }, value));
            }
            Ok(Value::Vector(distinct(result)?))
        }
        _ => Err(EvalError::WrongType("a range function")),
    }
}

fn over_selector(
    eval: &Eval<'_>,
    function: Ranged,
    selector: usize,
    params: [f64; 2],
) -> Result<Value, EvalError> {
    let chosen = &eval.chosen[selector];
    let bounds = eval.range_of(selector);
    let mut samples: Vec<(i64, f64)> = Vec::new();
    let mut result: Vec<(Labels, f64)> = Vec::with_capacity(chosen.series.len());
    for one in &chosen.series {
        samples.clear();
        samples.extend(eval.samples(one, Bounds { start: start(eval, function, bounds), ..bounds }));
        let bounds = mend(eval, function, &mut samples, bounds);
        let Some(value) = apply(function, &samples, bounds, params)? else { continue };
        let labels = if function == Ranged::Last { &one.labels } else { &one.bare };
        result.push((labels.clone(), value));
    }
    // Of one name, they differ without it as they did with it.
    let differ = chosen.of_one_name || function == Ranged::Last;
    Ok(Value::Vector(if differ { result } else { distinct(result)? }))
}

/// Whether counters are mended: only where people do not ask for what Prometheus would say.
fn mends(eval: &Eval<'_>, function: Ranged) -> bool {
    eval.fill == Fill::Filled && matches!(function, Ranged::Rate | Ranged::Increase | Ranged::InstantRate)
}

/// Where the samples begin that tell whether a counter fell.
fn start(eval: &Eval<'_>, function: Ranged, bounds: Bounds) -> i64 {
    if mends(eval, function) { bounds.start.saturating_sub(bounds.end - bounds.start) } else { bounds.start }
}

fn mend(eval: &Eval<'_>, function: Ranged, samples: &mut Vec<(i64, f64)>, bounds: Bounds) -> Bounds {
    if !mends(eval, function) {
        return bounds;
    }
    let (bounds, is_new) = glitch::mend(samples, bounds);
    eval.glitches.set(eval.glitches.get() + usize::from(is_new));
    bounds
}

fn apply(
    function: Ranged,
    samples: &[(i64, f64)],
    bounds: Bounds,
    params: [f64; 2],
) -> Result<Option<f64>, EvalError> {
    if samples.is_empty() {
        return Ok(None);
    }
    let values = || samples.iter().map(|(_, value)| *value);
    Ok(match function {
        Ranged::Rate => extrapolated(samples, bounds, true, true),
        Ranged::Increase => extrapolated(samples, bounds, true, false),
        Ranged::Delta => extrapolated(samples, bounds, false, false),
        Ranged::InstantRate => instant(samples, true),
        Ranged::InstantDelta => instant(samples, false),
        Ranged::Changes => {
            Some(count_steps(samples, |before, now| before != now && !(before.is_nan() && now.is_nan())))
        }
        Ranged::Resets => Some(count_steps(samples, |before, now| now < before)),
        Ranged::Derivative => trend::line(samples, samples[0].0).map(|(slope, _)| slope),
        Ranged::PredictLinear => trend::line(samples, bounds.at).map(|(slope, now)| slope * params[0] + now),
        Ranged::HoltWinters => {
            let outside = params.into_iter().find(|factor| *factor <= 0.0 || *factor >= 1.0);
            if let Some(factor) = outside {
                return Err(EvalError::SmoothingFactor(factor.to_string()));
            }
            trend::smoothed(samples, params)
        }
        Ranged::Average => Some(mean(values())),
        Ranged::Sum => Some(sum(values())),
        Ranged::Count => Some(samples.len() as f64),
        Ranged::Last => values().next_back(),
        Ranged::Least => values().reduce(|least, v| if v < least || least.is_nan() { v } else { least }),
        Ranged::Most => values().reduce(|most, v| if v > most || most.is_nan() { v } else { most }),
        Ranged::Variance => Some(variance(values())),
        Ranged::Deviation => Some(variance(values()).sqrt()),
        Ranged::Quantile => Some(quantile(params[0], &mut values().collect::<Vec<_>>())),
        Ranged::Present => Some(1.0),
    })
}

/// Rate, increase and delta as Prometheus extrapolates them to the bounds of the range.
fn extrapolated(
    samples: &[(i64, f64)],
    Bounds { start, end, fill, .. }: Bounds,
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
pub(super) fn add(sum: f64, compensation: f64, increment: f64) -> (f64, f64) {
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
