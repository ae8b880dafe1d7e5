//! The few questions that are asked of the API server, as the pod's service account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

/// What did not work, without anything secret in it.
#[derive(Debug, thiserror::Error)]
#[error("{told}")]
pub struct Problem {
    told: String,
    status: Option<StatusCode>,
}

impl Problem {
    pub(super) fn new(told: impl Into<String>) -> Self {
        Self { told: told.into(), status: None }
    }

    /// Whether another has written it in between.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == Some(StatusCode::CONFLICT)
    }
}

/// An API server.
pub struct Cluster {
    client: reqwest::Client,
    url: String,
    /// Read anew for each request, as it is rotated.
    token: PathBuf,
}

/// For one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer.
const ANSWER: usize = 4 << 20;

impl Cluster {
    /// The server at `url`, asked as the service account whose files are in `account`.
    pub fn new(url: &str, account: &Path) -> Result<Self, String> {
        let bundle = account.join("ca.crt");
        let pem = std::fs::read(&bundle)
            .map_err(|error| format!("{}: cannot be read: {error}", bundle.display()))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())?;
        // A second installation is refused, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("dwcp-anomaly/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            .no_proxy()
            .tls_certs_only(roots)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), token: account.join("token") })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>, Problem> {
        match self.ask(Method::GET, path, None).await {
            Ok(found) => Ok(Some(found)),
            Err(problem) if problem.status == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    pub(super) async fn create(&self, path: &str, body: &Value) -> Result<Value, Problem> {
        self.ask(Method::POST, path, Some((body, "application/json"))).await
    }

    pub(super) async fn update(&self, path: &str, body: &Value) -> Result<Value, Problem> {
        self.ask(Method::PUT, path, Some((body, "application/json"))).await
    }

    pub(super) async fn patch(&self, path: &str, operations: &Value) -> Result<Value, Problem> {
        self.ask(Method::PATCH, path, Some((operations, "application/json-patch+json"))).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<(&Value, &str)>) -> Result<Value, Problem> {
        let failed = |told: String| Problem::new(format!("{method} {path}: {told}"));
        let token = tokio::fs::read_to_string(&self.token).await;
        let token = token.map_err(|error| failed(format!("{}: {error}", self.token.display())))?;
        let mut request =
            self.client.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(token.trim());
        if let Some((body, kind)) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let mut response = request.send().await.map_err(|error| failed(root(&error)))?;
        let status = response.status();
        let mut text = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| failed(root(&error)))? {
            if text.len() + part.len() > ANSWER {
                return Err(failed("the answer is too long".to_owned()));
            }
            text.extend_from_slice(&part);
        }
        let answer: Value = serde_json::from_slice(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let message = answer["message"].as_str().unwrap_or_default();
        Err(Problem { told: format!("{method} {path}: {status} {message}"), status: Some(status) })
    }
}

fn root(error: &reqwest::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
