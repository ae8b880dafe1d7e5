//! `absent` and `absent_over_time`: one where there is nothing.

use std::collections::HashSet;

use super::plan::Node;
use super::selector::{Must, Selector};
use crate::series::{Labels, METRIC_NAME};

/// The labels that what is absent would have had: those its selector asks to be equal, each once.
pub(super) fn labels(of: &Node, selectors: &[Selector]) -> Labels {
    let (Node::Instant(at) | Node::Range(at)) = of else { return Labels::empty() };
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut seen = HashSet::new();
    for matcher in selectors[*at].matchers.iter().filter(|matcher| matcher.label != METRIC_NAME) {
        match &matcher.must {
            Must::Equal(value) if seen.insert(&matcher.label) => pairs.push((&matcher.label, value)),
            _ => pairs.retain(|(name, _)| *name != matcher.label),
        }
    }
    Labels::new(pairs)
}
