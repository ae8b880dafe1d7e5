//! Email: real SMTP, over TLS but to this very host, with a plain part beside the other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::address::Envelope;
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

/// How mail is sent, and to whom.
#[derive(Debug)]
pub struct Sender {
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
    /// Name that we greet with; this host's where it is empty.
    pub hello: String,
    /// Sender.
    pub from: Mailbox,
    /// Recipients; every mail names all of them.
    pub to: Vec<Mailbox>,
    /// How messages are worded.
    pub wording: Arc<Wording>,
}

/// Tells one person by email.
#[derive(Debug)]
pub struct Email {
    sender: Arc<Sender>,
    to: Mailbox,
}

impl Sender {
    /// One for each mailbox, with its address: where one is refused, full or put off, the others have theirs, and nobody
    /// gets a mail twice.
    pub fn for_each(self) -> Vec<(String, Email)> {
        let sender = Arc::new(self);
        let by_address: BTreeMap<String, &Mailbox> =
            sender.to.iter().map(|to| (to.email.to_string(), to)).collect();
        let email = |to: &Mailbox| Email { sender: Arc::clone(&sender), to: to.clone() };
        by_address.into_iter().map(|(address, to)| (address, email(to))).collect()
    }
}

impl Notifier for Email {
    fn endpoint(&self) -> &Endpoint {
        &self.sender.endpoint
    }

    fn tell<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<String, Failure>> {
        async move {
            let mut secrets: Vec<Secret> = Vec::new();
            let mut credentials = None;
            if let Some((user, password)) = &self.sender.login {
                let password = password.read().await.map_err(|error| Failure::new(Kind::Settings, error))?;
                credentials = Some(Credentials::new(user.clone(), password.reveal().to_owned()));
                // As AUTH PLAIN and LOGIN spell them.
                secrets.push(Secret::new(format!("\0{user}\0{}", password.reveal())));
                secrets.push(password);
            }
            let transport = self.sender.transport(credentials)?;
            let mail = self.sender.mail(message, &self.sender.wording.word(message), &self.to)?;
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

impl Sender {
    fn transport(&self, credentials: Option<Credentials>) -> Result<SmtpTransport, Failure> {
        let (host, port) = &self.server;
        let tls = match self.tls.at(host, *port) {
            SmtpTls::None => Tls::None,
            SmtpTls::Implicit => Tls::Wrapper(self.parameters()?),
            SmtpTls::Auto => Tls::Opportunistic(self.parameters()?),
            SmtpTls::Starttls => Tls::Required(self.parameters()?),
        };
        let mut builder = SmtpTransport::builder_dangerous(host).port(*port).tls(tls).timeout(Some(PATIENCE));
        builder = builder.hello_name(ClientId::Domain(self.hello()));
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        Ok(builder.build())
    }

    /// Who we say that we are. Many servers refuse whoever says an address or `localhost`, so this host's name is said where
    /// none is given.
    fn hello(&self) -> String {
        if !self.hello.is_empty() {
            return self.hello.clone();
        }
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        if is_greeting(name) { name.to_owned() } else { "localhost".to_owned() }
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

    fn mail(&self, message: &Message, worded: &Worded, to: &Mailbox) -> Result<lettre::Message, Failure> {
        let refused = |error: String| Failure::new(Kind::Refused, error);
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()])
            .map_err(|error| refused(error.to_string()))?;
        // The same for a message that is sent again, so that no mailbox shows it twice.
        let host = self.from.email.domain();
        let started = message.started_at().millis();
        let id = |what: &str| format!("<{:016x}.{started}.{what}@{host}>", message.key);
        let mut builder = lettre::Message::builder()
            .envelope(envelope)
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
            .map_err(|error| refused(error.to_string()))
    }
}

/// Whether a name can be said in a greeting: it is one word.
pub(super) fn is_greeting(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic())
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
        let why = cause.to_string();
        if !text.ends_with(&why) {
            text = format!("{text}: {why}");
        }
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
