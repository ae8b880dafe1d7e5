//! Subqueries: an expression evaluated again and again over a range.

use std::collections::HashMap;

use super::eval::{Eval, EvalError, Matrix};
use super::plan::Subquery;
use crate::series::{Labels, Timestamp};

/// What the inner expression gives at each step, a series; steps are multiples of their length, wherever the range lies.
pub(super) fn matrix(eval: &Eval<'_>, sub: &Subquery) -> Result<Matrix, EvalError> {
    let end = eval.moment(sub.back);
    let start = end.saturating_sub(sub.range);
    let first = start.div_euclid(sub.step) * sub.step;
    let first = if first < start { first + sub.step } else { first };
    let mut matrix: Matrix = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut at = first;
    while at <= end {
        let then = Eval { at: Timestamp::from_millis(at), ..*eval };
        for (labels, value) in then.vector(&sub.of)? {
            let place = *known.entry(labels).or_insert_with_key(|labels| {
                matrix.push((labels.clone(), Vec::new()));
                matrix.len() - 1
            });
            matrix[place].1.push((at, value));
        }
        at += sub.step;
    }
    Ok(matrix)
}
