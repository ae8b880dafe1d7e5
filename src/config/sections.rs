//! Sections that belong to several parts of the program, and to none of them alone.

use serde::{Deserialize, Serialize};

use crate::setting::{Address, Span};

/// The section `history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Prometheus to fill the windows from.
    pub prometheus_url: Address,
    /// How far back.
    pub range: Span,
}

/// The section `storage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Directory of what outlives the process.
    pub path: String,
}

impl Default for History {
    fn default() -> Self {
        Self { prometheus_url: Address::default(), range: Span::seconds(7 * 86_400) }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { path: "data".to_owned() }
    }
}
