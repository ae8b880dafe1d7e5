//! Email: real SMTP, over TLS but to this very host, with a plain part beside the other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Identity, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport};

use super::Notifier;
use super::config::SmtpTls;
use super::counters::Endpoint;
use super::http::Source;
use super::ledger::Message;
use super::message::{Worded, Wording, cut};
use super::retry::{Failure, Kind};
use crate::setting::{self, Secret, escape, hide, told};

/// For each step of the conversation.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells people by email.
#[derive(Debug)]
pub struct Email {
    /// Counts are kept under this.
    pub endpoint: Endpoint,
    /// Host and port of the mail server.
    pub server: (String, u16),
    /// When TLS begins.
    pub tls: SmtpTls,
    /// Whom to trust, and who we are.
    pub certificates: setting::Tls,
    /// User and password.
    pub login: Option<(String, Source)>,
    /// Name that we greet with; this host's by default.
    pub hello: String,
    /// Sender.
    pub from: Mailbox,
    /// Recipients; never empty.
    pub to: Vec<Mailbox>,
    /// How messages are worded.
    pub wording: Arc<Wording>,
}

impl Notifier for Email {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn tell<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, Failure>> {
        async move {
            let mut secrets: Vec<Secret> = Vec::new();
            let mut credentials = None;
            if let Some((user, password)) = &self.login {
                let password = password.read().await.map_err(|error| Failure::new(Kind::Settings, error))?;
                credentials = Some(Credentials::new(user.clone(), password.reveal().to_owned()));
                // As AUTH PLAIN and LOGIN spell them.
                secrets.push(Secret::new(format!("\0{user}\0{}", password.reveal())));
                secrets.push(password);
            }
            let transport = self.transport(credentials)?;
            let mail = self.mail(message, &self.wording.word(message))?;
            // The conversation blocks; it ends by its timeouts.
            let sent = tokio::task::spawn_blocking(move || transport.send(&mail)).await;
            let sent = sent.map_err(|error| Failure::new(Kind::Broken, error.to_string()))?;
            let hidden = |failure: Failure| Failure { text: told(&failure.text, &secrets), ..failure };
            let answer = sent.map_err(|error| hidden(failure(&error)))?;
            Ok(hide(&answer.message().collect::<Vec<_>>().join(" "), &secrets))
        }
        .boxed()
    }
}

impl Email {
    fn transport(&self, credentials: Option<Credentials>) -> Result<SmtpTransport, Failure> {
        let (host, port) = &self.server;
        let tls = match self.tls.at(host, *port) {
            SmtpTls::None => Tls::None,
            SmtpTls::Implicit => Tls::Wrapper(self.parameters()?),
            SmtpTls::Auto => Tls::Opportunistic(self.parameters()?),
            SmtpTls::Starttls => Tls::Required(self.parameters()?),
        };
        let mut builder = SmtpTransport::builder_dangerous(host).port(*port).tls(tls).timeout(Some(PATIENCE));
        if !self.hello.is_empty() {
            builder = builder.hello_name(ClientId::Domain(self.hello.clone()));
        }
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        Ok(builder.build())
    }

    fn parameters(&self) -> Result<TlsParameters, Failure> {
        let settings = |error: String| Failure::new(Kind::Settings, error);
        let read = |file: &str| std::fs::read(file).map_err(|error| settings(format!("{file}: {error}")));
        let certificates = &self.certificates;
        let name =
            if certificates.server_name.is_empty() { &self.server.0 } else { &certificates.server_name };
        let mut builder = TlsParameters::builder(name.clone())
            .dangerous_accept_invalid_certs(certificates.insecure_skip_verify);
        if !certificates.ca_file.is_empty() {
            let authority = Certificate::from_pem(&read(&certificates.ca_file)?)
                .map_err(|error| settings(format!("{}: {error}", certificates.ca_file)))?;
            builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authority);
        }
        if !certificates.cert_file.is_empty() {
            let identity =
                Identity::from_pem(&read(&certificates.cert_file)?, &read(&certificates.key_file)?)
                    .map_err(|error| settings(format!("{}: {error}", certificates.cert_file)))?;
            builder = builder.identify_with(identity);
        }
        builder.build().map_err(|error| Failure::new(Kind::Tls, error.to_string()))
    }

    fn mail(&self, message: &Message, worded: &Worded) -> Result<lettre::Message, Failure> {
        // The same for a message that is sent again, so that no mailbox shows it twice.
        let host = self.from.email.domain();
        let started = message.started_at().millis();
        let id = |what: &str| format!("<{:016x}.{started}.{what}@{host}>", message.key);
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(cut(&worded.title, 200))
            .message_id(Some(id(if message.resolved { "resolved" } else { message.severity.name() })));
        if message.resolved {
            builder = builder.in_reply_to(id(message.severity.name()));
        }
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder
            .multipart(MultiPart::alternative_plain_html(worded.text.clone(), html(message, worded)))
            .map_err(|error| Failure::new(Kind::Refused, error.to_string()))
    }
}

/// The text as a page, with links that can be followed.
fn html(message: &Message, worded: &Worded) -> String {
    let color = if message.resolved { "#2e7d32" } else { "#c62828" };
    let linked = |line: &str| {
        let words = line.split(' ').map(|word| {
            let shown = escape(word);
            if word.starts_with("http://") || word.starts_with("https://") {
                format!("<a href=\"{shown}\">{shown}</a>")
            } else {
                shown
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = worded.text.lines().map(linked).collect();
    format!(
        "<!DOCTYPE html><html><body style=\"font-family:sans-serif\"><h3 style=\"color:{color}\">{}</h3><p>{}</p></body></html>",
        escape(&worded.title),
        lines.join("<br>\n")
    )
}

impl SmtpTls {
    /// What is done to a server at `host` and `port`: on this very host nobody listens in.
    fn at(self, host: &str, port: u16) -> Self {
        let is_here =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match self {
            Self::Auto if port == 465 => Self::Implicit,
            Self::Auto if !is_here => Self::Starttls,
            chosen => chosen,
        }
    }
}

/// What an error of the conversation comes to: 4xx is for later, 5xx for never.
fn failure(error: &lettre::transport::smtp::Error) -> Failure {
    let kind = if error.is_permanent() {
        Kind::Refused
    } else if error.is_transient() {
        Kind::Unavailable
    } else if error.is_timeout() {
        Kind::TimedOut
    } else if error.is_tls() {
        Kind::Tls
    } else if error.is_client() {
        Kind::Refused
    } else {
        Kind::Unreachable
    };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Failure::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_goes_over_tls_but_to_this_host() {
        use SmtpTls::{Auto, Implicit, None, Starttls};
        for (chosen, host, port, expect) in [
            (Auto, "mail.example", 465, Implicit),
            (Auto, "mail.example", 25, Starttls),
            (Auto, "127.0.0.1", 25, Auto),
            (Auto, "localhost", 1025, Auto),
            (None, "mail.example", 587, None),
            (Starttls, "localhost", 465, Starttls),
        ] {
            assert_eq!(chosen.at(host, port), expect, "{chosen:?} {host}:{port}");
        }
    }
}
