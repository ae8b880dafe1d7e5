//! An alertmanager.yml, as far as it is followed natively: its routes, and its Slack, PagerDuty, webhook and email
//! receivers. How messages are worded is ours; grouping, inhibition and times are Alertmanager's alone.

mod check;
mod files;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use yaml_serde::Value;

use super::Notifier;
use super::channels::{Configured, How, TIMEOUT};
use super::config::SmtpTls;
use super::counters::Endpoint;
use super::desk::Takes;
use super::email::Sender;
use super::http::{Poster, Source};
use super::pagerduty::{self, PagerDuty};
use super::route::{Route, Written};
use super::slack::Slack;
use super::webhook::Webhook;
use crate::setting::{Access, BasicAuth, Secret, Tls, locate, resolve};

/// What is read of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    global: Global,
    route: Written,
    #[serde(default)]
    receivers: Vec<Receiver>,
    #[serde(default)]
    time_intervals: Vec<Interval>,
    #[serde(default)]
    mute_time_intervals: Vec<Interval>,
    #[serde(default, rename = "templates")]
    _templates: Vec<String>,
    #[serde(default, rename = "inhibit_rules")]
    _inhibit_rules: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Global {
    slack_api_url: Option<Secret>,
    slack_api_url_file: String,
    pagerduty_url: String,
    smtp_smarthost: String,
    smtp_from: String,
    smtp_hello: String,
    smtp_auth_username: String,
    smtp_auth_password: Option<Secret>,
    smtp_auth_password_file: String,
    smtp_require_tls: Option<bool>,
    http_config: Http,
}

#[derive(Deserialize)]
struct Interval {
    name: String,
}

#[derive(Deserialize)]
struct Receiver {
    name: String,
    #[serde(default)]
    slack_configs: Vec<SlackConfig>,
    #[serde(default)]
    pagerduty_configs: Vec<PagerDutyConfig>,
    #[serde(default)]
    webhook_configs: Vec<WebhookConfig>,
    #[serde(default)]
    email_configs: Vec<EmailConfig>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Http {
    tls_config: Tls,
    basic_auth: Option<BasicAuth>,
    authorization: Option<Authorization>,
    bearer_token: Option<Secret>,
    bearer_token_file: Option<String>,
    proxy_url: Option<Secret>,
}

#[derive(Deserialize)]
struct Authorization {
    credentials: Option<Secret>,
    credentials_file: Option<String>,
}

#[derive(Deserialize)]
struct SlackConfig {
    #[serde(default)]
    send_resolved: bool,
    api_url: Option<Secret>,
    #[serde(default)]
    api_url_file: String,
    #[serde(default)]
    channel: String,
    http_config: Option<Http>,
}

#[derive(Deserialize)]
struct PagerDutyConfig {
    #[serde(default = "yes")]
    send_resolved: bool,
    routing_key: Option<Secret>,
    #[serde(default)]
    routing_key_file: String,
    /// Of the older API, which is not told natively.
    service_key: Option<Secret>,
    #[serde(default)]
    service_key_file: String,
    #[serde(default)]
    url: String,
    http_config: Option<Http>,
}

#[derive(Deserialize)]
struct WebhookConfig {
    #[serde(default = "yes")]
    send_resolved: bool,
    url: Option<Secret>,
    #[serde(default)]
    url_file: String,
    http_config: Option<Http>,
}

#[derive(Deserialize)]
struct EmailConfig {
    #[serde(default)]
    send_resolved: bool,
    to: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    hello: String,
    #[serde(default)]
    smarthost: String,
    #[serde(default)]
    auth_username: String,
    auth_password: Option<Secret>,
    #[serde(default)]
    auth_password_file: String,
    require_tls: Option<bool>,
    #[serde(default)]
    tls_config: Tls,
}

const fn yes() -> bool {
    true
}

/// An alertmanager.yml that can be routed by.
pub struct Native {
    /// Its tree.
    pub route: Arc<Route>,
    /// What is in it and is not followed natively.
    pub ignored: Vec<String>,
    /// Number of its receivers.
    pub receivers: usize,
    file: File,
}

impl Native {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Every problem on a line of its own.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        let file = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![format!("{file}: cannot be read: {error}")])?;
        let say = |(key, problem): (String, String)| match locate::line(&text, &key) {
            Some(line) => format!("{file}:{line}: {key}: {problem}"),
            None => format!("{file}: {key}: {problem}"),
        };
        let mut native =
            Self::parse(&text).map_err(|problems| problems.into_iter().map(say).collect::<Vec<_>>())?;
        resolve(path.parent().unwrap_or(Path::new("")), native.file.files());
        Ok(native)
    }

    /// Or key path and problem of everything that is wrong.
    fn parse(text: &str) -> Result<Self, Vec<(String, String)>> {
        let read = serde_path_to_error::deserialize::<_, File>(yaml_serde::Deserializer::from_str(text));
        let file = read.map_err(|error| {
            let (key, told) = (error.path().to_string(), error.inner().to_string());
            // The reader names a part of the path as well.
            let rest = told.split_once(": ").filter(|(head, _)| key.starts_with(head)).map(|(_, rest)| rest);
            vec![(key, rest.unwrap_or(&told).to_owned())]
        })?;
        let mut problems = Vec::new();
        let mut names = HashSet::new();
        for (at, receiver) in file.receivers.iter().enumerate() {
            if receiver.name.is_empty() || !names.insert(receiver.name.as_str()) {
                let told = format!("{:?} is empty or used twice", receiver.name);
                problems.push((format!("receivers[{at}].name"), told));
            }
            let is_integration = |name: &&String| !name.ends_with("_configs");
            if let Some(unknown) = receiver.others.keys().find(is_integration) {
                problems.push((format!("receivers[{at}].{unknown}"), "is unknown".to_owned()));
            }
        }
        problems.extend(check::problems(&file));
        let mut intervals = HashSet::new();
        for Interval { name } in file.time_intervals.iter().chain(&file.mute_time_intervals) {
            if !intervals.insert(name.as_str()) {
                problems.push(("time_intervals".to_owned(), format!("{name:?} is there twice")));
            }
        }
        let route = match file.route.compile(&names, &intervals) {
            Ok(route) => Some(route),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        let Some(route) = route.filter(|_| problems.is_empty()) else { return Err(problems) };
        let others = file.receivers.iter().flat_map(|receiver| {
            receiver.others.keys().map(|kind| format!("{} of receiver {}", kind, receiver.name))
        });
        Ok(Self { route: Arc::new(route), ignored: others.collect(), receivers: file.receivers.len(), file })
    }

    /// The channels of its receivers.
    pub fn channels(&self, how: &How) -> Vec<Configured> {
        let mut all = Vec::new();
        for receiver in &self.file.receivers {
            let mut add = |kind: &str, part: &str, sends_resolved, notifier: Option<Arc<dyn Notifier>>| {
                let place = format!("{}/{kind}/{part}", receiver.name);
                let Some(notifier) = notifier else {
                    tracing::warn!(channel = place, "lacks what it needs to be told natively");
                    return;
                };
                let takes = Takes::RoutedTo(receiver.name.clone());
                all.push(Configured::new(&place, takes, sends_resolved, how, notifier));
            };
            for (at, config) in receiver.slack_configs.iter().enumerate() {
                add("slack", &at.to_string(), config.send_resolved, self.slack(config, how));
            }
            for (at, config) in receiver.pagerduty_configs.iter().enumerate() {
                add("pagerduty", &at.to_string(), config.send_resolved, self.pagerduty(config, how));
            }
            for (at, config) in receiver.webhook_configs.iter().enumerate() {
                add(
                    "webhook",
                    &at.to_string(),
                    config.send_resolved,
                    self.webhook(&receiver.name, config, how),
                );
            }
            for (at, config) in receiver.email_configs.iter().enumerate() {
                match self.email(config, how) {
                    None => add("email", &at.to_string(), config.send_resolved, None),
                    Some(sender) => sender.for_each().into_iter().for_each(|(address, email)| {
                        add("email", &format!("{at}/{address}"), config.send_resolved, Some(Arc::new(email)));
                    }),
                }
            }
        }
        all
    }

    fn access(&self, http: Option<&Http>) -> Access {
        let http = http.unwrap_or(&self.file.global.http_config);
        let authorization = http.authorization.as_ref();
        Access {
            tls: http.tls_config.clone(),
            basic_auth: http.basic_auth.clone(),
            bearer_token: http.bearer_token.clone().or_else(|| authorization?.credentials.clone()),
            bearer_token_file: http
                .bearer_token_file
                .clone()
                .or_else(|| authorization?.credentials_file.clone()),
            proxy_url: http.proxy_url.clone(),
        }
    }

    fn slack(&self, config: &SlackConfig, how: &How) -> Option<Arc<dyn Notifier>> {
        let global = &self.file.global;
        let url =
            Source::of(config.api_url.as_ref(), &config.api_url_file, "api_url_file").or_else(|| {
                Source::of(
                    global.slack_api_url.as_ref(),
                    &global.slack_api_url_file,
                    "global.slack_api_url_file",
                )
            })?;
        Some(Arc::new(Slack {
            to: Poster::new("slack", url, self.access(config.http_config.as_ref()), TIMEOUT),
            channel: config.channel.clone(),
            wording: Arc::clone(&how.wording),
        }))
    }

    fn pagerduty(&self, config: &PagerDutyConfig, how: &How) -> Option<Arc<dyn Notifier>> {
        let urls = [config.url.as_str(), self.file.global.pagerduty_url.as_str(), pagerduty::URL];
        let url = urls.into_iter().find(|url| !url.is_empty())?;
        let access = self.access(config.http_config.as_ref());
        Some(Arc::new(PagerDuty {
            to: Poster::new("pagerduty", Source::Here(Secret::new(url)), access, TIMEOUT),
            key: Source::of(config.routing_key.as_ref(), &config.routing_key_file, "routing_key_file")?,
            wording: Arc::clone(&how.wording),
        }))
    }

    fn webhook(&self, receiver: &str, config: &WebhookConfig, how: &How) -> Option<Arc<dyn Notifier>> {
        let url = Source::of(config.url.as_ref(), &config.url_file, "url_file")?;
        Some(Arc::new(Webhook {
            to: Poster::new("webhook", url, self.access(config.http_config.as_ref()), TIMEOUT),
            receiver: receiver.to_owned(),
            external_url: how.external_url.clone(),
        }))
    }

    fn email(&self, config: &EmailConfig, how: &How) -> Option<Sender> {
        let global = &self.file.global;
        let or = |own: &str, global: &str| if own.is_empty() { global.to_owned() } else { own.to_owned() };
        let (host, port) = or(&config.smarthost, &global.smtp_smarthost)
            .rsplit_once(':')
            .map(|(host, port)| (host.trim_matches(['[', ']']).to_owned(), port.parse::<u16>()))?;
        let port = port.ok()?;
        let user = or(&config.auth_username, &global.smtp_auth_username);
        let password =
            Source::of(config.auth_password.as_ref(), &config.auth_password_file, "auth_password_file")
                .or_else(|| {
                    Source::of(
                        global.smtp_auth_password.as_ref(),
                        &global.smtp_auth_password_file,
                        "global.smtp_auth_password_file",
                    )
                });
        let login = if user.is_empty() { None } else { Some((user, password?)) };
        let requires_tls = config.require_tls.or(global.smtp_require_tls).unwrap_or(true);
        let tls = match port {
            465 => SmtpTls::Implicit,
            _ if requires_tls => SmtpTls::Starttls,
            _ => SmtpTls::None,
        };
        Some(Sender {
            endpoint: Endpoint { notifier: "email", endpoint: format!("{host}:{port}") },
            server: (host, port),
            tls,
            certificates: config.tls_config.clone(),
            login,
            hello: or(&config.hello, &global.smtp_hello),
            from: or(&config.from, &global.smtp_from).parse().ok()?,
            to: config.to.split(',').map(|to| to.trim().parse()).collect::<Result<_, _>>().ok()?,
            wording: Arc::clone(&how.wording),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_alertmanager_refuses_is_refused_with_its_key() {
        for (text, problem) in [
            ("route: {receiver: a}\nreceivers: []", "route.receiver: no receiver is called \"a\""),
            ("route: {}\nreceivers: [{name: a}]", "route.receiver: is missing"),
            (
                "route: {receiver: a, matchers: [b=c]}\nreceivers: [{name: a}]",
                "route: must not have matchers",
            ),
            (
                "route: {receiver: a, routes: [{matchers: [b]}]}\nreceivers: [{name: a}]",
                "route.routes[0].matchers:",
            ),
            (
                "route: {receiver: a, routes: [{match_re: {b: '('}}]}\nreceivers: [{name: a}]",
                "route.routes[0].match_re:",
            ),
            (
                "route: {receiver: a, routes: [{mute_time_intervals: [x]}]}\nreceivers: [{name: a}]",
                "no time interval",
            ),
            ("route: {receiver: a}\nreceivers: [{name: a}, {name: a}]", "receivers[1].name:"),
            ("route: {receiver: a, reciever: b}\nreceivers: [{name: a}]", "unknown field `reciever`"),
            ("route: {receiver: a}\nreceivers: [{name: a, slack: x}]", "receivers[0].slack: is unknown"),
            ("route: {receiver: a, grup_wait: 1s}\nreceivers: [{name: a}]", "route.grup_wait: unknown field"),
            ("route: {receiver: a, group_by: ['...', b]}\nreceivers: [{name: a}]", "route.group_by: has ..."),
            (
                "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: n}, {name: n}]",
                "time_intervals: \"n\" is there twice",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{}]}]",
                "receivers[0].webhook_configs[0]: needs url",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{}]}]",
                "receivers[0].pagerduty_configs[0]: needs routing_key",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{channel: x}]}]",
                "receivers[0].slack_configs[0]: needs api_url",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url: foo}]}]",
                "receivers[0].slack_configs[0]: has an address that is no URL",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: b@c, from: d@e}]}]",
                "receivers[0].email_configs[0].smarthost: is missing",
            ),
            (
                "global: {smtp_smarthost: foo}\nroute: {receiver: a}\nreceivers: [{name: a}]",
                "global.smtp_smarthost: is no mail server",
            ),
        ] {
            let problems = Native::parse(text).err().unwrap_or_default();
            let told: Vec<String> = problems.iter().map(|(key, told)| format!("{key}: {told}")).collect();
            assert!(told.len() == 1 && told[0].contains(problem), "{text}: {told:?}");
        }
    }

    #[test]
    fn every_file_that_is_followed_natively_is_sought_beside_the_file_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let beside = |name: &str| directory.path().join(name).display().to_string();
        let text = "
global:
  slack_api_url_file: a
  smtp_auth_password_file: b
  http_config: {tls_config: {ca_file: c}, bearer_token_file: d}
route: {receiver: all}
receivers:
  - name: all
    slack_configs: [{api_url_file: e, http_config: {authorization: {credentials_file: f}}}]
    pagerduty_configs: [{routing_key_file: g, service_key_file: h, http_config: {tls_config: {cert_file: i, key_file: j}}}]
    webhook_configs: [{url_file: k, http_config: {basic_auth: {username: x, password_file: l}}}]
    email_configs: [{to: a@b.c, from: d@e.f, smarthost: 'mail:25', auth_password_file: m, tls_config: {ca_file: n}}]
";
        std::fs::write(directory.path().join("am.yml"), text).unwrap();
        let mut native =
            Native::read(&directory.path().join("am.yml")).unwrap_or_else(|told| panic!("{told:?}"));
        let mut found: Vec<String> =
            native.file.files().filter(|file| !file.is_empty()).map(|file| file.clone()).collect();
        found.sort();
        let expected: Vec<String> = ('a'..='n').map(|letter| beside(&letter.to_string())).collect();
        assert_eq!(found, expected);
    }
}
