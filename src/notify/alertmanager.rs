//! The client of one Alertmanager: alerts by API v2, and whether it lives.

use std::sync::Arc;

use futures_util::future::join_all;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};

use super::discovery::Endpoint;
use super::http;
use super::level::Posted;
use super::retry::{Failure, Kind};
use crate::series::Labels;

/// What counts are kept under.
pub const NOTIFIER: &str = "alertmanager";

/// Speaks to one Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    endpoint: Endpoint,
    client: http::Lazy,
}

impl Alertmanager {
    /// Connects when it is first asked.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { client: http::Lazy::new(endpoint.access.clone(), endpoint.timeout), endpoint }
    }

    /// Who it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Tells it `alerts`.
    ///
    /// # Errors
    /// Why they were not taken.
    pub async fn post(&self, alerts: &[Arc<Posted>]) -> Result<(), Failure> {
        let all = join_all(alerts.iter().map(|alert| self.wording(alert))).await;
        let mut body = String::with_capacity(2 + all.iter().map(|alert| alert.len() + 1).sum::<usize>());
        for alert in all {
            body.push(if body.is_empty() { '[' } else { ',' });
            body.push_str(alert);
        }
        body.push(']');
        let request = self.client()?.post(format!("{}/api/v2/alerts", self.endpoint.url));
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        http::send(request, &self.endpoint.access, &[]).await.map(drop)
    }

    async fn wording<'a>(&self, alert: &'a Posted) -> &'a str {
        match &alert.worse {
            Some(worse) if self.holds(&worse.labels).await => &worse.json,
            _ => &alert.json,
        }
    }

    /// Whether it says that it has an active alert with these labels.
    async fn holds(&self, labels: &Labels) -> bool {
        let matchers = labels.iter().map(|(name, value)| ("filter", format!("{name}={value:?}")));
        let url = Url::parse_with_params(&format!("{}/api/v2/alerts", self.endpoint.url), matchers);
        let (Ok(client), Ok(url)) = (self.client(), url) else { return false };
        let answer = http::send(client.get(url), &self.endpoint.access, &[]).await;
        answer.is_ok_and(|alerts| alerts.starts_with("[{"))
    }

    /// Whether it says that it is healthy. One that does not know the question was reached as well.
    pub async fn lives(&self) -> bool {
        let Ok(client) = self.client() else { return false };
        let request = client.get(format!("{}/-/healthy", self.endpoint.url));
        match http::send(request, &self.endpoint.access, &[]).await {
            Ok(_) => true,
            Err(failure) => matches!(failure.status, Some(404 | 405)),
        }
    }

    fn client(&self) -> Result<Client, Failure> {
        self.client.get().map_err(|error| Failure::new(Kind::Settings, error))
    }
}
