//! What is known of machines in general before anything is known of one: the tails of each part's scores.

use std::sync::Arc;

use super::calibrate::Tail;
use super::part::Part;

/// What one part's scores look like on normal data of many machines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartPrior {
    /// Of a metric.
    pub metric: Option<Arc<Tail>>,
    /// Of the most surprised metrics together.
    pub together: Option<Arc<Tail>>,
    /// Of the row as a whole.
    pub vector: Option<Arc<Tail>>,
}

/// The same of every part, on values as they come and on their trailing means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Priors {
    parts: [[PartPrior; Part::COUNT]; 2],
}

impl Priors {
    /// Of the parts on values as they come, or on their trailing means.
    pub(super) fn at(&self, is_smoothed: bool) -> &[PartPrior; Part::COUNT] {
        &self.parts[usize::from(is_smoothed)]
    }
}
