//! The functions of PromQL 2.42, but for those of native histograms.

use std::sync::{Arc, LazyLock};

use promql_parser::parser::function::register_extra_functions;
use promql_parser::parser::{Function as Known, value::ValueType};

use super::calendar;
use super::range::Ranged;
use super::relabel::Relabel;
use crate::series::Labels;

/// What a call does.
#[derive(Clone, Debug)]
pub(super) enum Function {
    /// Each value through a function.
    Map(fn(f64) -> f64),
    /// The same; without an argument, the evaluation's time.
    Calendar(fn(f64) -> f64),
    /// Each series' samples to a value.
    Ranged(Ranged),
    Time,
    Vector,
    Scalar,
    Timestamp,
    Clamp,
    ClampMin,
    ClampMax,
    Round,
    Sort,
    SortDescending,
    HistogramQuantile,
    /// One with these labels where there is none.
    Absent(Labels),
    Relabel(Arc<Relabel>),
}

/// The parser knows newer functions than 2.42's, and this one no more.
static OLDER: LazyLock<()> = LazyLock::new(|| {
    let arguments = vec![ValueType::Matrix, ValueType::Scalar, ValueType::Scalar];
    let known = Known::new("holt_winters", arguments, 0, ValueType::Vector, false);
    // Refused only where the parser has learned it since, which is as good.
    let _ = register_extra_functions(vec![known]);
});

/// Has the parser know every name that [`named`] does.
pub(super) fn teach_parser() {
    LazyLock::force(&OLDER);
}

/// The function of that name, where its name alone says what it does.
pub(super) fn named(name: &str) -> Option<Function> {
    let told = match name {
        "time" => Function::Time,
        "vector" => Function::Vector,
        "scalar" => Function::Scalar,
        "timestamp" => Function::Timestamp,
        "clamp" => Function::Clamp,
        "clamp_min" => Function::ClampMin,
        "clamp_max" => Function::ClampMax,
        "round" => Function::Round,
        "sort" => Function::Sort,
        "sort_desc" => Function::SortDescending,
        "histogram_quantile" => Function::HistogramQuantile,
        _ => {
            return Ranged::named(name)
                .map(Function::Ranged)
                .or_else(|| calendar::named(name).map(Function::Calendar))
                .or_else(|| map(name).map(Function::Map));
        }
    };
    Some(told)
}

fn map(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sqrt" => f64::sqrt,
        "sgn" => sign,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "deg" => |v| v * 180.0 / std::f64::consts::PI,
        "rad" => |v| v * std::f64::consts::PI / 180.0,
        _ => return None,
    })
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// Ties go up, as in Prometheus, not away from zero.
pub(super) fn round(value: f64, to: f64) -> f64 {
    let inverse = 1.0 / to;
    (value * inverse + 0.5).floor() / inverse
}

/// As Go's math.Max: NaN if either is.
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// As Go's math.Min: NaN if either is.
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}
