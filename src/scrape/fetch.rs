//! One page from one exporter.

use std::time::Duration;

use super::Job;
use crate::exposition::{Exceeded, Format};
use crate::setting::{Address, Secret, redirected};

/// As Prometheus asks.
const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=1,*/*;q=0.1";

/// Why a scrape failed; says what to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too slow.
    #[error("no answer within {0:?}; is it overloaded, or scrape.timeout too short?")]
    Timeout(Duration),
    /// Nobody listens, or the connection broke.
    #[error("cannot connect: {0}; is the exporter running there?")]
    Connect(String),
    /// Another answer than 200.
    #[error("answered HTTP {0}; is the path right?")]
    Status(u16),
    /// Somewhere else, where it is not followed.
    #[error(
        "redirects to {0}; give the address there in scrape.targets, or set scrape.follow_redirects: true"
    )]
    Redirected(String),
    /// More than `scrape.max_body_size`.
    #[error("sent more than {0} bytes; raise scrape.max_body_size if that is right")]
    TooLarge(usize),
    /// More or longer than a limit of `scrape` allows.
    #[error(
        "{0}; the page is refused whole, raise the limit under scrape or for this target if that is right (0 is none)"
    )]
    Limit(Exceeded),
    /// Something else than metrics.
    #[error("sent no metrics but {0:?}; is the path right?")]
    NotMetrics(String),
    /// The page is not whole, though the answer ended as it should.
    #[error("sent a page of OpenMetrics that {0}; is it cut on its way?")]
    Truncated(&'static str),
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Broken(String),
    /// The embedded collector could not read the host.
    #[error("cannot read the host: {0}")]
    Host(String),
    /// A fault of ours.
    #[error("the scraper panicked; please report it")]
    Panicked,
}

impl Failure {
    /// Closed set of words for the label `reason`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Connect(_) => "connect",
            Self::Status(_) => "status",
            Self::Redirected(_) => "redirected",
            Self::TooLarge(_) => "too_large",
            Self::Limit(_) => "limit",
            Self::NotMetrics(_) => "not_metrics",
            Self::Truncated(_) => "truncated",
            Self::Broken(_) => "broken",
            Self::Host(_) => "host",
            Self::Panicked => "panicked",
        }
    }
}

/// Writes the host's metrics as an exporter would.
pub(super) type Collect = Box<dyn FnMut(&mut Vec<u8>) -> Result<(), String> + Send>;

/// Where pages come from.
pub enum Exporter {
    /// An HTTP endpoint.
    Http(reqwest::Client, Address),
    /// The host itself, read in-process.
    Embedded(Collect),
}

impl Exporter {
    /// What a page may repeat and nobody shall see.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::Embedded(_) => Vec::new(),
            Self::Http(_, url) => url.secrets(),
        }
    }

    /// Appends one page to `body`.
    pub(super) async fn fetch(&mut self, body: &mut Vec<u8>, job: &Job) -> Result<Format, Failure> {
        match self {
            Self::Embedded(collect) => collect(body).map(|()| Format::Text).map_err(Failure::Host),
            Self::Http(client, url) => get(client, url, body, job).await,
        }
    }
}

async fn get(
    client: &reqwest::Client,
    url: &Address,
    body: &mut Vec<u8>,
    job: &Job,
) -> Result<Format, Failure> {
    let timeout = format!("{}", job.timeout.as_secs_f64());
    let request = client
        .get(url.reveal())
        .header("Accept", ACCEPT)
        .header("X-Prometheus-Scrape-Timeout-Seconds", timeout);
    let mut response = request.send().await.map_err(|error| told(&error, job))?;
    if let Some(to) = redirected(&response) {
        return Err(Failure::Redirected(to));
    }
    if response.status() != reqwest::StatusCode::OK {
        return Err(Failure::Status(response.status().as_u16()));
    }
    let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    if content_type.starts_with("text/html") {
        return Err(Failure::NotMetrics("text/html".to_owned()));
    }
    // Read piece by piece and decompressed, so that neither a huge page nor a small bomb is ever held.
    while let Some(piece) = response.chunk().await.map_err(|error| told(&error, job))? {
        if body.len() + piece.len() > job.max_body_size {
            return Err(Failure::TooLarge(job.max_body_size));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Format::of_content_type(&content_type))
}

fn told(error: &reqwest::Error, job: &Job) -> Failure {
    let mut root: &dyn std::error::Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    if error.is_timeout() {
        Failure::Timeout(job.timeout)
    } else if error.is_connect() || error.is_redirect() {
        Failure::Connect(root.to_string())
    } else {
        Failure::Broken(root.to_string())
    }
}
