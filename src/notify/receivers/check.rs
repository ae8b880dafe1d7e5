//! What Alertmanager would refuse in the receivers of a file, as far as they are told natively.

use super::super::config::is_http;
use super::super::email::is_greeting;
use super::{Access, EmailConfig, File, Global, Http, Receiver, Secret};

/// Key path and problem.
type Found = Vec<(String, String)>;

/// Everything that a native channel lacks, or has and cannot use.
pub(super) fn problems(file: &File) -> Found {
    let mut found = Vec::new();
    let global = &file.global;
    for (at, receiver) in file.receivers.iter().enumerate() {
        of_receiver(receiver, global, &format!("receivers[{at}]"), &mut found);
    }
    of_proxy(Some(&global.http_config), "global", &mut found);
    if !global.smtp_smarthost.is_empty() && !is_smarthost(&global.smtp_smarthost) {
        must(false, "global.smtp_smarthost", SMARTHOST, &mut found);
    }
    found
}

const SMARTHOST: &str = "is no mail server with its port, such as mail.example:587";

fn must(holds: bool, key: impl Into<String>, problem: &str, found: &mut Found) {
    if !holds {
        found.push((key.into(), problem.to_owned()));
    }
}

fn of_receiver(receiver: &Receiver, global: &Global, key: &str, found: &mut Found) {
    for (at, slack) in receiver.slack_configs.iter().enumerate() {
        of_proxy(slack.http_config.as_ref(), &format!("{key}.slack_configs[{at}]"), found);
        let url = slack.api_url.as_ref().or(global.slack_api_url.as_ref());
        let files = [&slack.api_url_file, &global.slack_api_url_file];
        let told = "needs api_url or api_url_file, here or as global.slack_api_url";
        is_url(url, &files, &format!("{key}.slack_configs[{at}]"), told, found);
    }
    for (at, webhook) in receiver.webhook_configs.iter().enumerate() {
        of_proxy(webhook.http_config.as_ref(), &format!("{key}.webhook_configs[{at}]"), found);
        let told = "needs url or url_file: the address to post to";
        is_url(
            webhook.url.as_ref(),
            &[&webhook.url_file],
            &format!("{key}.webhook_configs[{at}]"),
            told,
            found,
        );
    }
    for (at, pagerduty) in receiver.pagerduty_configs.iter().enumerate() {
        of_proxy(pagerduty.http_config.as_ref(), &format!("{key}.pagerduty_configs[{at}]"), found);
        let is_given = |secret: &Option<Secret>| secret.as_ref().is_some_and(|key| !key.reveal().is_empty());
        let has_key = is_given(&pagerduty.routing_key) || is_given(&pagerduty.service_key);
        let has_file = !pagerduty.routing_key_file.is_empty() || !pagerduty.service_key_file.is_empty();
        let at = format!("{key}.pagerduty_configs[{at}]");
        must(has_key || has_file, at, "needs routing_key or routing_key_file", found);
    }
    for (at, email) in receiver.email_configs.iter().enumerate() {
        of_email(email, global, &format!("{key}.email_configs[{at}]"), found);
    }
}

/// That the proxy is one that is spoken to.
fn of_proxy(http: Option<&Http>, key: &str, found: &mut Found) {
    let access = Access { proxy_url: http.and_then(|http| http.proxy_url.clone()), ..Access::default() };
    for (of, problem) in access.problems() {
        must(false, format!("{key}.http_config.{of}"), &problem, found);
    }
}

/// That there is an address, and that it is one where it is written in place.
fn is_url(url: Option<&Secret>, files: &[&String], key: &str, missing: &str, found: &mut Found) {
    match url {
        // The address may be a secret, so it is not shown.
        Some(url) => must(is_http(url.reveal()), key, "has an address that is no URL", found),
        None => must(files.iter().any(|file| !file.is_empty()), key, missing, found),
    }
}

fn of_email(email: &EmailConfig, global: &Global, key: &str, found: &mut Found) {
    must(!email.to.is_empty(), format!("{key}.to"), "is missing; name whom to write to", found);
    let from = if email.from.is_empty() { &global.smtp_from } else { &email.from };
    must(!from.is_empty(), format!("{key}.from"), "is missing; set it here or as global.smtp_from", found);
    let hello = if email.hello.is_empty() { &global.smtp_hello } else { &email.hello };
    must(hello.is_empty() || is_greeting(hello), format!("{key}.hello"), "is no name of a host", found);
    let told = "is missing; set it here or as global.smtp_smarthost";
    match (email.smarthost.as_str(), global.smtp_smarthost.as_str()) {
        ("", "") => must(false, format!("{key}.smarthost"), told, found),
        ("", _) => {}
        (own, _) => must(is_smarthost(own), format!("{key}.smarthost"), SMARTHOST, found),
    }
}

fn is_smarthost(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
