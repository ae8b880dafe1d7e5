//! What somebody else remembers of a target.

use crate::series::Timestamp;

/// Values of a target's signals in the past.
#[derive(Clone, Debug, Default)]
pub struct Memories {
    /// Names of the signals that a row has values of.
    pub signals: Vec<String>,
    /// One a row, ascending.
    pub times: Vec<Timestamp>,
    /// Row-major.
    pub values: Vec<Option<f64>>,
}
