//! Settings whose part of the program is not there yet: their defaults are taken, anything else is refused, so that
//! nobody believes in a channel that does nothing.

use serde::{Deserialize, Serialize};

use super::Config;
use crate::setting::Span;

/// The section `history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Prometheus to fill the windows from.
    pub prometheus_url: String,
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
        Self { prometheus_url: String::new(), range: Span::seconds(7 * 86_400) }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { path: "data".to_owned() }
    }
}

/// Key path and problem of everything that was asked for and is not there.
pub(super) fn problems(config: &Config) -> Vec<(String, String)> {
    if config.alert.alertmanager_config.is_empty() {
        return Vec::new();
    }
    let problem = "this version does not route by it; enable channels instead";
    vec![("alert.alertmanager_config".to_owned(), problem.to_owned())]
}
