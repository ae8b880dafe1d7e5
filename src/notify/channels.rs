//! The native channels that a configuration enables.

use std::sync::Arc;
use std::time::Duration;

use super::Notifier;
use super::config::Config;
use super::counters::Endpoint;
use super::desk::{Channel, Takes};
use super::email::Email;
use super::http::{Poster, Source};
use super::ledger::Rules;
use super::message::Wording;
use super::pagerduty::PagerDuty;
use super::slack::Slack;
use super::webhook::Webhook;
use crate::detect::verdict::Severity;
use crate::setting::{Access, Secret};

/// For a whole exchange.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// A channel, and who tells it.
pub struct Configured {
    /// As the desk knows it.
    pub channel: Channel,
    /// As it is told.
    pub notifier: Arc<dyn Notifier>,
}

impl Configured {
    /// A channel named `place` in the notification log.
    pub fn new(
        place: &str,
        takes: Takes,
        sends_resolved: bool,
        how: &How,
        notifier: Arc<dyn Notifier>,
    ) -> Self {
        let rules = Rules {
            place: place.to_owned(),
            sends_resolved,
            throttle: how.throttle,
            missing_for: how.missing_for,
        };
        Self { channel: Channel { endpoint: notifier.endpoint().clone(), rules, takes }, notifier }
    }
}

/// What all channels have alike.
pub struct How {
    /// How messages are worded.
    pub wording: Arc<Wording>,
    /// The sidecar's own page.
    pub external_url: String,
    /// `alert.throttle_duration`.
    pub throttle: Duration,
    /// How long an incident that was told before a restart may be missing before it counts as ended.
    pub missing_for: Duration,
}

/// Its name, what it takes, and itself, where it can be made.
type Switched = (&'static str, Takes, Option<Arc<dyn Notifier>>);

/// The channels of the switches: warnings go to Slack; what is critical to PagerDuty, Slack and email; both to the
/// webhook.
pub fn enabled(config: &Config, how: &How) -> Vec<Configured> {
    let (warning, critical) = (Takes::AtLeast(Severity::Warning), Takes::AtLeast(Severity::Critical));
    let mut all: Vec<Switched> = Vec::new();
    if config.slack_enabled {
        all.push(("slack", warning.clone(), slack(config, how)));
    }
    if config.pagerduty_enabled {
        all.push(("pagerduty", critical.clone(), pagerduty(config, how)));
    }
    if config.webhook_enabled {
        all.push(("webhook", warning, webhook(config, how)));
    }
    if config.email_enabled {
        all.push(("email", critical, email(config, how)));
    }
    // The configuration was validated: what an enabled channel needs is there.
    let configured = |(place, takes, notifier): (&str, Takes, Option<Arc<dyn Notifier>>)| {
        Some(Configured::new(place, takes, true, how, notifier?))
    };
    all.into_iter().filter_map(configured).collect()
}

fn slack(config: &Config, how: &How) -> Option<Arc<dyn Notifier>> {
    let url = Source::of(
        config.slack_webhook_url.as_ref(),
        &config.slack_webhook_url_file,
        "alert.slack_webhook_url_file",
    )?;
    Some(Arc::new(Slack {
        to: Poster::new("slack", url, Access::default(), TIMEOUT),
        channel: config.slack_channel.clone(),
        wording: Arc::clone(&how.wording),
    }))
}

fn pagerduty(config: &Config, how: &How) -> Option<Arc<dyn Notifier>> {
    let url = Source::Here(Secret::new(config.pagerduty_url.reveal()));
    Some(Arc::new(PagerDuty {
        to: Poster::new("pagerduty", url, Access::default(), TIMEOUT),
        key: Source::of(
            config.pagerduty_key.as_ref(),
            &config.pagerduty_key_file,
            "alert.pagerduty_key_file",
        )?,
        wording: Arc::clone(&how.wording),
    }))
}

fn webhook(config: &Config, how: &How) -> Option<Arc<dyn Notifier>> {
    let url = Source::of(config.webhook_url.as_ref(), &config.webhook_url_file, "alert.webhook_url_file")?;
    Some(Arc::new(Webhook {
        to: Poster::new("webhook", url, Access::default(), TIMEOUT),
        receiver: "webhook".to_owned(),
        external_url: how.external_url.clone(),
    }))
}

fn email(config: &Config, how: &How) -> Option<Arc<dyn Notifier>> {
    let login = match config.smtp_username.as_str() {
        "" => None,
        user => Some((
            user.to_owned(),
            Source::of(
                config.smtp_password.as_ref(),
                &config.smtp_password_file,
                "alert.smtp_password_file",
            )?,
        )),
    };
    Some(Arc::new(Email {
        endpoint: Endpoint {
            notifier: "email",
            endpoint: format!("{}:{}", config.smtp_server, config.smtp_port),
        },
        server: (config.smtp_server.clone(), config.smtp_port),
        tls: config.smtp_tls,
        certificates: config.smtp_tls_config.clone(),
        login,
        hello: String::new(),
        from: config.smtp_from.parse().ok()?,
        to: config.email_recipients.iter().filter_map(|to| to.parse().ok()).collect(),
        wording: Arc::clone(&how.wording),
    }))
}
