//! One exchange over HTTP, which ends in time and says nothing secret.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use super::counters::Endpoint;
use super::retry::{Failure, Kind, judge};
use crate::setting::{Access, Address, Files, Secret, hide, redirected, told};

/// Of an answer this much is read: it may be endless.
const LONGEST_ANSWER: usize = 4096;

/// A client that is made when it is first needed, as a certificate may come later than we do, and anew when its files have
/// changed.
#[derive(Debug)]
pub struct Lazy {
    access: Access,
    timeout: Duration,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    client: Client,
    /// The files it was made of, and those that were no good since.
    files: Files,
    refused: Option<Files>,
}

impl Lazy {
    /// Makes nothing yet.
    pub fn new(access: Access, timeout: Duration) -> Self {
        Self { access, timeout, made: Mutex::new(None) }
    }

    /// The client. Where files have changed into what is no good, the one before stays, and that is said once.
    ///
    /// # Errors
    /// Which file cannot be read or taken, as long as there was none that could.
    pub fn get(&self) -> Result<Client, String> {
        let files = self.access.tls.contents();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|m| m.files == files || m.refused.as_ref() == Some(&files)) {
            return Ok(made.client.clone());
        }
        match (self.access.client(self.timeout), made.as_mut()) {
            (Ok(client), before) => {
                if before.is_some() {
                    tracing::info!(files = %self.access.tls.named(), "certificates have changed and are taken up");
                }
                *made = Some(Made { client: client.clone(), files, refused: None });
                Ok(client)
            }
            (Err(error), Some(made)) => {
                tracing::warn!(error, "certificates have changed and are no good; those before stay");
                made.refused = Some(files);
                Ok(made.client.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

/// Sends and judges the answer; of a good one the text is handed out, without what it repeats of `secrets` or of those that
/// `access` put on the request. Of another one only the point is told.
///
/// # Errors
/// Why it was not taken.
pub async fn send(request: RequestBuilder, access: &Access, secrets: &[Secret]) -> Result<String, Failure> {
    let settings = |error| Failure::new(Kind::Settings, error);
    let (request, shown) = access.authorize(request).await.map_err(settings)?;
    let (client, request) = request.build_split();
    let request = request.map_err(|error| settings(error.without_url().to_string()))?;
    let mut secrets = [secrets, shown.as_slice()].concat();
    // User and password are one word there.
    let credentials = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    secrets.extend(credentials.and_then(|value| value.split(' ').nth(1)).map(Secret::new));
    let response = client.execute(request).await.map_err(|error| {
        let failure = Failure::transport(&error);
        Failure { text: hide(&failure.text, &secrets), ..failure }
    })?;
    let status = response.status().as_u16();
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let Some(to) = redirected(&response) {
        let told = format!(
            "HTTP {status}: redirects to {to}; give the address there, for a redirect is not followed"
        );
        return Err(Failure { status: Some(status), ..Failure::new(Kind::Refused, told) });
    }
    let text = read(response).await;
    judge(status, header.as_deref(), &told(&text, &secrets), SystemTime::now())?;
    Ok(hide(&text, &secrets))
}

/// The beginning of an answer's text. The status has decided already, so what breaks off here is let be.
async fn read(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(LONGEST_ANSWER);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A secret, in place or in a file that is read anew each time, so that it may be rotated.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// In the configuration.
    Here(Secret),
    /// In the file that this key names.
    File {
        /// The key.
        key: &'static str,
        /// The file.
        file: String,
    },
}

impl Source {
    /// The one that is configured, if any is; `key` is that of the file.
    pub fn of(here: Option<&Secret>, file: &str, key: &'static str) -> Option<Self> {
        let here = here.filter(|secret| !secret.reveal().is_empty()).cloned().map(Self::Here);
        here.or_else(|| (!file.is_empty()).then(|| Self::File { key, file: file.to_owned() }))
    }

    /// The secret.
    ///
    /// # Errors
    /// The key and the file, and why it cannot be used.
    pub async fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Here(secret) => Ok(secret.clone()),
            Self::File { key, file } => Secret::read(key, file).await,
        }
    }

    /// That what was read of a file is an address: of one in place the configuration's check sees to it.
    fn must_be_http(&self, url: &Secret) -> Result<(), String> {
        let Self::File { key, file } = self else { return Ok(()) };
        let told = |problem| format!("{key}: {file} holds an address that {problem}");
        Address::new(url.reveal()).problem().map_or(Ok(()), |problem| Err(told(problem)))
    }

    /// The host behind an address that is secret, for labels; of a file nobody knows before it is read.
    pub fn host(&self) -> String {
        let Self::Here(url) = self else { return "from a file".to_owned() };
        let Ok(url) = reqwest::Url::parse(url.reveal()) else { return "unknown".to_owned() };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
    }
}

/// Posts JSON to an address that is a secret itself.
#[derive(Debug)]
pub struct Poster {
    /// Counts are kept under this.
    pub endpoint: Endpoint,
    url: Source,
    access: Access,
    client: Lazy,
}

impl Poster {
    /// Connects when it is first used.
    pub fn new(notifier: &'static str, url: Source, access: Access, timeout: Duration) -> Self {
        let endpoint = Endpoint { notifier, endpoint: url.host() };
        Self { endpoint, client: Lazy::new(access.clone(), timeout), url, access }
    }

    /// Posts, and returns what was answered.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn post(&self, body: &Value) -> Result<String, Failure> {
        self.post_with(body, &[]).await
    }

    /// The same, with further secrets that an answer may repeat.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn post_with(&self, body: &Value, secrets: &[Secret]) -> Result<String, Failure> {
        let settings = |error| Failure::new(Kind::Settings, error);
        let (url, client) = (self.url.read().await.map_err(settings)?, self.client.get().map_err(settings)?);
        self.url.must_be_http(&url).map_err(settings)?;
        let mut hidden: Vec<Secret> = secrets.to_vec();
        hidden.extend(Address::new(url.reveal()).secrets());
        if let Ok(parsed) = reqwest::Url::parse(url.reveal()) {
            let path = parsed.path().trim_matches('/');
            hidden.extend([url.reveal(), path, path.rsplit('/').next().unwrap_or_default()].map(Secret::new));
            hidden.extend(parsed.query().map(Secret::new));
        }
        send(client.post(url.reveal()).json(body), &self.access, &hidden).await
    }
}
