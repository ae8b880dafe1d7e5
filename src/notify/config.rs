//! The section `alert`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Secret, Span};

/// Where alerts go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "they are the configuration's own switches")]
pub struct Config {
    /// Each gets every alert.
    pub alertmanagers: Vec<Alertmanager>,
    /// Put on every alert.
    pub external_labels: BTreeMap<String, String>,
    /// How often a firing alert is sent again.
    pub resend_delay: Span,
    /// Others report the same nodes: alerts of a node are told often, end by themselves, and no end of theirs is told.
    pub shared_nodes: bool,
    /// Rules that change labels on the way out; none may be given yet.
    pub relabel_configs: Vec<serde_json::Value>,
    /// Shortest time between two messages about one thing on a native channel.
    pub throttle_duration: Span,
    /// How long no Alertmanager has answered before native channels speak.
    pub failover_after: Span,
    /// An alertmanager.yml to route by natively; none may be given yet.
    pub alertmanager_config: String,
    /// Slack; not yet.
    pub slack_enabled: bool,
    /// PagerDuty; not yet.
    pub pagerduty_enabled: bool,
    /// Any webhook; not yet.
    pub webhook_enabled: bool,
    /// Email; not yet.
    pub email_enabled: bool,
}

/// One Alertmanager.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// `http://host:9093`.
    pub url: String,
    /// Put between the host and `/api/v2/alerts`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path_prefix: String,
    /// User and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Read anew for each request, so that it may be rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
}

/// User and password, the latter in place or in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Read anew for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            alertmanagers: Vec::new(),
            external_labels: BTreeMap::new(),
            resend_delay: Span::seconds(60),
            shared_nodes: false,
            relabel_configs: Vec::new(),
            throttle_duration: Span::seconds(300),
            failover_after: Span::seconds(60),
            alertmanager_config: String::new(),
            slack_enabled: false,
            pagerduty_enabled: false,
            webhook_enabled: false,
            email_enabled: false,
        }
    }
}

/// How often an alert of a shared node is told.
const SHARED_RESEND: Duration = Duration::from_secs(15);

impl Config {
    /// How often everything is told.
    pub fn resend(&self) -> Duration {
        if self.shared_nodes { self.resend_delay.0.min(SHARED_RESEND) } else { self.resend_delay.0 }
    }
}
