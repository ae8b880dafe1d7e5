//! The native channels that a configuration enables.

use std::sync::Arc;
use std::time::Duration;

use super::Notifier;
use super::config::Config;
use super::counters::Endpoint;
use super::desk::{Channel, Takes};
use super::email::Sender;
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

/// Its name, what it takes, and itself.
type Switched = (String, Takes, Arc<dyn Notifier>);

/// The channels of the switches: warnings go to Slack; what is critical to PagerDuty, Slack and email; both to the
/// webhook.
pub fn enabled(config: &Config, how: &How) -> Vec<Configured> {
    let (warning, critical) = (Takes::AtLeast(Severity::Warning), Takes::AtLeast(Severity::Critical));
    let mut all: Vec<Switched> = Vec::new();
    // The configuration was validated: what an enabled channel needs is there.
    let mut add = |place: &str, takes: &Takes, notifier: Option<Arc<dyn Notifier>>| {
        all.extend(notifier.map(|notifier| (place.to_owned(), takes.clone(), notifier)));
    };
    if config.slack_enabled {
        add("slack", &warning, slack(config, how));
    }
    if config.pagerduty_enabled {
        add("pagerduty", &critical, pagerduty(config, how));
    }
    if config.webhook_enabled {
        add("webhook", &warning, webhook(config, how));
    }
    if config.email_enabled {
        for (address, email) in email(config, how).into_iter().flat_map(Sender::for_each) {
            add(&format!("email/{address}"), &critical, Some(Arc::new(email)));
        }
    }
    let configured = |(place, takes, notifier): Switched| Configured::new(&place, takes, true, how, notifier);
    all.into_iter().map(configured).collect()
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

fn email(config: &Config, how: &How) -> Option<Sender> {
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
    Some(Sender {
        endpoint: Endpoint {
            notifier: "email",
            endpoint: format!("{}:{}", config.smtp_server, config.smtp_port),
        },
        server: (config.smtp_server.clone(), config.smtp_port),
        tls: config.smtp_tls,
        certificates: config.smtp_tls_config.clone(),
        login,
        hello: config.smtp_hello.clone(),
        from: config.smtp_from.parse().ok()?,
        to: config.email_recipients.iter().filter_map(|to| to.parse().ok()).collect(),
        wording: Arc::clone(&how.wording),
    })
}
