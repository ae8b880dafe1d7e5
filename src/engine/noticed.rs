//! What is odd about values without being an anomaly: they were read wrongly.

use std::fmt;

use crate::series::Labels;
use crate::setting::short;

/// One oddity, and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Noticed {
    /// The target's final labels.
    pub target: Labels,
    /// `metric_name` and further labels.
    pub metric: Labels,
    /// What it is.
    pub what: Oddity,
}

/// What is odd.
#[derive(Clone, Debug, PartialEq)]
pub enum Oddity {
    /// A value outside of what is possible; told once until there is a possible one.
    Impossible {
        /// In the metric's unit.
        value: f64,
        /// `0 to 100`.
        bounds: String,
    },
    /// Counters that have fallen by less than a tenth, and have not begun anew.
    FellBack {
        /// How many.
        counters: usize,
    },
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impossible { value, bounds } => {
                write!(
                    f,
                    "{} is impossible, as min and max allow {bounds}: no data until it is possible again",
                    short(*value)
                )
            }
            Self::FellBack { counters } => {
                write!(
                    f,
                    "{counters} counters fell by less than a tenth: they were read wrongly, and did not begin anew"
                )
            }
        }
    }
}
