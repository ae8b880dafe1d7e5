//! Signals: PromQL over a target's window, one value for each output series.
//!
//! An expression is parsed by promql-parser, lowered to a [`Plan`] that holds only what is supported, and evaluated
//! with the answers of Prometheus 2.42; what is not supported is refused when the configuration is read, by name. One
//! rule is stricter than Prometheus', and only for signals: a rate over a window that is not yet filled is no data
//! rather than an extrapolation ([`Fill::Filled`]), because that is how naive rules page at every start. And a counter that
//! falls by less than a tenth was read wrongly, and has not begun anew (`glitch`).

mod absent;
mod aggregate;
mod binary;
mod bounds;
mod calendar;
mod chosen;
mod definition;
mod eval;
mod extreme;
mod function;
mod glitch;
mod histogram;
mod lower;
mod memo;
mod narrow;
mod plan;
mod range;
mod relabel;
mod render;
mod selector;
mod subquery;
mod trend;
mod why;

pub use chosen::Selections;
pub use definition::{Definition, Direction, TAKEN_LABELS, defaults};
pub use eval::{EvalError, Fill, Value};
pub use narrow::narrowed;
pub use plan::{ExprError, Macros, Plan};
pub use selector::Selector;
pub use why::Silence;

use std::cell::Cell;
use std::time::Duration;

use crate::series::{Labels, Timestamp};
use crate::window::WindowView;

/// How far back an instant selector looks, as in Prometheus.
pub const LOOKBACK: Duration = Duration::from_mins(5);
/// Series of one signal's output that are kept.
pub const MOST_SERIES: usize = 16;

/// What a signal reads at one check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Finite values by their labels, without a metric name, in the order of the labels.
    pub values: Vec<(Labels, f64)>,
    /// Outputs beyond [`MOST_SERIES`].
    pub dropped: usize,
    /// Counters of which the newest sample has fallen by less than a tenth: they were read wrongly.
    pub glitches: usize,
}

impl Plan {
    /// The finite outputs at `at`, rates only over filled windows. NaN and the infinities are no data.
    pub fn read(
        &self,
        window: WindowView<'_>,
        at: Timestamp,
        selections: &mut Selections,
    ) -> Result<Readings, EvalError> {
        let glitches = Cell::new(0);
        let mut values = match self.eval_with(window, at, Fill::Filled, selections, &glitches)? {
            Value::Scalar(value) => vec![(Labels::empty(), value)],
            Value::Vector(values) => values,
            Value::Matrix(_) | Value::Text(_) => return Err(EvalError::NotASignal),
        };
        values.retain(|(_, value)| value.is_finite());
        for (labels, _) in &mut values {
            if !labels.name().is_empty() {
                *labels = labels.without(|name| name == crate::series::METRIC_NAME);
            }
        }
        values.sort_by(|a, b| a.0.cmp(&b.0));
        let dropped = values.len().saturating_sub(MOST_SERIES);
        values.truncate(MOST_SERIES);
        Ok(Readings { values, dropped, glitches: glitches.get() })
    }
}

#[cfg(test)]
mod tests;
