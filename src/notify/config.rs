//! The section `alert`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::email::is_greeting;
use super::message::Wording;
use super::{pagerduty, relabel};
use crate::setting::{Access, Address, BasicAuth, Secret, Span, Tls};

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
    /// Change labels on the way out.
    pub relabel_configs: Vec<relabel::Config>,
    /// Shortest time between two messages about one thing on a native channel.
    pub throttle_duration: Span,
    /// How long no Alertmanager has answered before native channels speak.
    pub failover_after: Span,
    /// An alertmanager.yml to route by natively when no Alertmanager answers.
    pub alertmanager_config: String,
    /// Template of a message's first line; ours where it is empty.
    pub message_title: String,
    /// Template of the rest.
    pub message_text: String,
    /// Slack is told of warnings and worse.
    pub slack_enabled: bool,
    /// Address of an incoming webhook, which is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_webhook_url: Option<Secret>,
    /// File with it.
    pub slack_webhook_url_file: String,
    /// Instead of the webhook's own channel.
    pub slack_channel: String,
    /// PagerDuty is told of what is critical.
    pub pagerduty_enabled: bool,
    /// Routing key of an integration with Events API v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagerduty_key: Option<Secret>,
    /// File with it.
    pub pagerduty_key_file: String,
    /// Where events go.
    pub pagerduty_url: Address,
    /// A webhook is told of warnings and worse.
    pub webhook_enabled: bool,
    /// Its address, which may hold a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<Secret>,
    /// File with it.
    pub webhook_url_file: String,
    /// Mailboxes are told of what is critical.
    pub email_enabled: bool,
    /// Whose.
    pub email_recipients: Vec<String>,
    /// Host of the mail server.
    pub smtp_server: String,
    /// Its port.
    pub smtp_port: u16,
    /// Sender.
    pub smtp_from: String,
    /// Name that the mail server is greeted with; this host's where it is empty.
    pub smtp_hello: String,
    /// User; none logs in to nobody.
    pub smtp_username: String,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_password: Option<Secret>,
    /// File with it.
    pub smtp_password_file: String,
    /// When TLS begins.
    pub smtp_tls: SmtpTls,
    /// Whom to trust, and who we are.
    pub smtp_tls_config: Tls,
    /// Kinds of channels that whoever deploys has switched off in the environment; so `alertmanager_config`
    /// cannot speak by them.
    #[serde(skip)]
    pub switched_off: Vec<&'static str>,
}

/// The kinds of channels that have a switch, as their counts and their switches (`slack_enabled`) name them.
pub const SWITCHED: [&str; 4] = ["slack", "pagerduty", "webhook", "email"];

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
            message_title: String::new(),
            message_text: String::new(),
            slack_enabled: false,
            slack_webhook_url: None,
            slack_webhook_url_file: String::new(),
            slack_channel: String::new(),
            pagerduty_enabled: false,
            pagerduty_key: None,
            pagerduty_key_file: String::new(),
            pagerduty_url: Address::new(pagerduty::URL),
            webhook_enabled: false,
            webhook_url: None,
            webhook_url_file: String::new(),
            email_enabled: false,
            email_recipients: Vec::new(),
            smtp_server: String::new(),
            smtp_port: 587,
            smtp_from: String::new(),
            smtp_hello: String::new(),
            smtp_username: String::new(),
            smtp_password: None,
            smtp_password_file: String::new(),
            smtp_tls: SmtpTls::default(),
            smtp_tls_config: Tls::default(),
            switched_off: Vec::new(),
        }
    }
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// At once on port 465, elsewhere by STARTTLS, which a server on this very host need not know.
    #[default]
    Auto,
    /// By STARTTLS, or not at all.
    Starttls,
    /// At once.
    Implicit,
    /// Never.
    None,
}

/// One Alertmanager, or several that are found in one way and asked alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alertmanager {
    /// `http://host:9093`.
    #[serde(skip_serializing_if = "Address::is_empty")]
    pub url: Address,
    /// Files that list addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_sd: Option<FileSd>,
    /// Names that resolve to addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_sd: Option<DnsSd>,
    /// Of addresses that are found.
    pub scheme: Scheme,
    /// Put between the host and `/api/v2/alerts`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path_prefix: String,
    /// For the whole exchange.
    pub timeout: Span,
    /// Whom to trust, and who we are.
    pub tls: Tls,
    /// User and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// A token in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// Read anew for each request, so that it may be rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
    /// A proxy for all requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<Secret>,
}

impl Default for Alertmanager {
    fn default() -> Self {
        Self {
            url: Address::default(),
            file_sd: None,
            dns_sd: None,
            scheme: Scheme::default(),
            path_prefix: String::new(),
            timeout: Span::seconds(10),
            tls: Tls::default(),
            basic_auth: None,
            bearer_token: None,
            bearer_token_file: None,
            proxy_url: None,
        }
    }
}

/// How an address is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the open.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in an address.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Addresses in files, as Prometheus' `file_sd_configs` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileSd {
    /// JSON or YAML; `*` in the last part of the path stands for anything.
    pub files: Vec<String>,
    /// How often they are read.
    pub refresh_interval: Span,
}

/// Addresses behind names, as Prometheus' `dns_sd_configs` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsSd {
    /// What is asked for.
    pub names: Vec<String>,
    /// Which records.
    pub r#type: RecordType,
    /// Of A and AAAA records, which have none.
    pub port: u16,
    /// How often they are asked for.
    pub refresh_interval: Span,
    /// `host:port` of a name server, instead of the system's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server: String,
}

/// Records of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordType {
    /// Hosts with their ports.
    #[default]
    #[serde(rename = "SRV")]
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    #[serde(rename = "AAAA")]
    Aaaa,
}

impl Default for FileSd {
    fn default() -> Self {
        Self { files: Vec::new(), refresh_interval: Span::seconds(30) }
    }
}

impl Default for DnsSd {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            r#type: RecordType::default(),
            port: 9093,
            refresh_interval: Span::seconds(30),
            server: String::new(),
        }
    }
}

impl Alertmanager {
    /// How each of them is asked.
    pub fn access(&self) -> Access {
        Access {
            tls: self.tls.clone(),
            basic_auth: self.basic_auth.clone(),
            bearer_token: self.bearer_token.clone(),
            bearer_token_file: self.bearer_token_file.clone(),
            proxy_url: self.proxy_url.clone(),
        }
    }

    /// Every file that it names.
    fn files(&mut self) -> impl Iterator<Item = &mut String> {
        let lists = self.file_sd.iter_mut().flat_map(|sd| &mut sd.files);
        let password = self.basic_auth.iter_mut().flat_map(BasicAuth::files);
        self.tls.files().chain(lists).chain(password).chain(&mut self.bearer_token_file)
    }

    /// Key, relative to the entry, and problem.
    fn problems(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> =
            self.access().problems().into_iter().map(|(key, problem)| (key.to_owned(), problem)).collect();
        let mut must = |holds: bool, key: &str, problem: String| {
            if !holds {
                found.push((key.to_owned(), problem));
            }
        };
        let ways = [!self.url.is_empty(), self.file_sd.is_some(), self.dns_sd.is_some()];
        must(
            ways.iter().filter(|way| **way).count() == 1,
            "",
            "needs one of url, file_sd and dns_sd".to_owned(),
        );
        must(
            self.url.is_empty() || self.url.problem().is_none(),
            "url",
            format!(
                "{:?} is no URL of an Alertmanager, such as http://127.0.0.1:9093: it {}",
                self.url,
                self.url.problem().unwrap_or_default()
            ),
        );
        must(
            !self.url.has_user(),
            "url",
            "has a user in it; use basic_auth, which is shown to nobody".to_owned(),
        );
        must(
            !self.url.reveal().contains('?') || self.url.problem().is_some(),
            "url",
            "has parameters, but a path is put behind it; leave out what follows ?".to_owned(),
        );
        must(!self.timeout.0.is_zero(), "timeout", "must be above 0, such as 10s".to_owned());
        if let Some(sd) = &self.file_sd {
            must(!sd.files.is_empty(), "file_sd.files", "is missing; name the files".to_owned());
            must(
                sd.refresh_interval.0.as_secs() >= 1,
                "file_sd.refresh_interval",
                "must be at least 1s".to_owned(),
            );
        }
        if let Some(sd) = &self.dns_sd {
            must(!sd.names.is_empty(), "dns_sd.names", "is missing; name what to ask for".to_owned());
            must(
                sd.refresh_interval.0.as_secs() >= 1,
                "dns_sd.refresh_interval",
                "must be at least 1s".to_owned(),
            );
            must(
                sd.server.is_empty() || sd.server.parse::<std::net::SocketAddr>().is_ok(),
                "dns_sd.server",
                format!("{:?} is no address with a port, such as 10.0.0.10:53", sd.server),
            );
        }
        found
    }
}

/// How often an alert of a shared node is told.
const SHARED_RESEND: Duration = Duration::from_secs(15);

impl Config {
    /// How often everything is told.
    pub fn resend(&self) -> Duration {
        if self.shared_nodes { self.resend_delay.0.min(SHARED_RESEND) } else { self.resend_delay.0 }
    }

    /// Whether anybody can be told natively.
    pub fn has_channels(&self) -> bool {
        let enabled = [self.slack_enabled, self.pagerduty_enabled, self.webhook_enabled, self.email_enabled];
        enabled.contains(&true) || (!self.alertmanager_config.is_empty() && !self.is_all_switched_off())
    }

    /// Whether nobody may be told natively, by whatever kind of channel.
    pub fn is_all_switched_off(&self) -> bool {
        SWITCHED.iter().all(|kind| self.switched_off.contains(kind))
    }

    /// Every file that it names.
    pub fn files(&mut self) -> impl Iterator<Item = &mut String> {
        let own = [
            &mut self.alertmanager_config,
            &mut self.slack_webhook_url_file,
            &mut self.pagerduty_key_file,
            &mut self.webhook_url_file,
            &mut self.smtp_password_file,
        ];
        let theirs = self.alertmanagers.iter_mut().flat_map(Alertmanager::files);
        own.into_iter().chain(self.smtp_tls_config.files()).chain(theirs)
    }

    /// Key, relative to the section, and problem of everything that is wrong by itself.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if self.resend_delay.0.as_secs() < 1 {
            found.push(("resend_delay".to_owned(), "must be at least 1s, such as 1m".to_owned()));
        }
        for (at, alertmanager) in self.alertmanagers.iter().enumerate() {
            let dot = |key: &str| if key.is_empty() { String::new() } else { format!(".{key}") };
            let problems = alertmanager.problems().into_iter();
            found.extend(
                problems.map(|(key, problem)| (format!("alertmanagers[{at}]{}", dot(&key)), problem)),
            );
        }
        for (at, rule) in self.relabel_configs.iter().enumerate() {
            if let Err((key, problem)) = rule.compile() {
                found.push((format!("relabel_configs[{at}].{key}"), problem));
            }
        }
        if let Err((key, problem)) = Wording::new(&self.message_title, &self.message_text) {
            found.push((key.to_owned(), format!("is no template: {problem}")));
        }
        found.extend(
            self.of_channels().into_iter().map(|(key, problem)| (key.to_owned(), problem.to_owned())),
        );
        found
    }

    /// What an enabled channel lacks.
    fn of_channels(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        let mut must = |holds: bool, key, problem| {
            if !holds {
                found.push((key, problem));
            }
        };
        let is_given =
            |secret: &Option<Secret>| secret.as_ref().is_some_and(|text| !text.reveal().is_empty());
        // Who they are is a secret, so an address is not shown.
        let is_url = |secret: &Option<Secret>| {
            !is_given(secret) || secret.as_ref().is_some_and(|url| is_http(url.reveal()))
        };
        must(
            is_url(&self.slack_webhook_url),
            "slack_webhook_url",
            "is no URL, such as https://hooks.slack.com/…",
        );
        must(is_url(&self.webhook_url), "webhook_url", "is no URL, such as https://example.com/hook");
        let both = "is there beside its _file; keep one of them";
        for (key, secret, file) in [
            ("slack_webhook_url", &self.slack_webhook_url, &self.slack_webhook_url_file),
            ("webhook_url", &self.webhook_url, &self.webhook_url_file),
            ("pagerduty_key", &self.pagerduty_key, &self.pagerduty_key_file),
            ("smtp_password", &self.smtp_password, &self.smtp_password_file),
        ] {
            must(!is_given(secret) || file.is_empty(), key, both);
        }
        must(
            !self.slack_enabled
                || !self.slack_webhook_url_file.is_empty()
                || is_given(&self.slack_webhook_url),
            "slack_enabled",
            "needs slack_webhook_url or slack_webhook_url_file: the address of an incoming webhook",
        );
        must(
            !self.pagerduty_enabled || self.pagerduty_key.is_some() || !self.pagerduty_key_file.is_empty(),
            "pagerduty_enabled",
            "needs pagerduty_key or pagerduty_key_file: the routing key of an integration with Events API v2",
        );
        must(self.pagerduty_url.problem().is_none(), "pagerduty_url", "is no URL, such as the default");
        must(
            !self.webhook_enabled || !self.webhook_url_file.is_empty() || is_given(&self.webhook_url),
            "webhook_enabled",
            "needs webhook_url or webhook_url_file: the address to post to",
        );
        if self.email_enabled {
            let is_mailbox = |text: &String| text.parse::<lettre::message::Mailbox>().is_ok();
            let has_server = !self.smtp_server.is_empty();
            must(has_server, "email_enabled", "needs smtp_server: the host of a mail server");
            let hello = &self.smtp_hello;
            must(hello.is_empty() || is_greeting(hello), "smtp_hello", "is no name of a host");
            must(is_mailbox(&self.smtp_from), "smtp_from", "is no mailbox, such as anomaly@example.com");
            must(
                !self.email_recipients.is_empty() && self.email_recipients.iter().all(is_mailbox),
                "email_recipients",
                "needs mailboxes, such as [ops@example.com]",
            );
            must(
                self.smtp_username.is_empty()
                    || self.smtp_password.is_some()
                    || !self.smtp_password_file.is_empty(),
                "smtp_username",
                "needs smtp_password or smtp_password_file",
            );
        }
        found
    }
}

pub(super) fn is_http(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && reqwest::Url::parse(url).is_ok()
}
