//! The client of one Alertmanager: alerts by API v2, and whether it lives.

use std::sync::Arc;

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;

use super::discovery::Endpoint;
use super::http;
use super::level::Posted;
use super::retry::{Failure, Kind};

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
        let mut body =
            String::with_capacity(2 + alerts.iter().map(|alert| alert.json.len() + 1).sum::<usize>());
        for alert in alerts {
            body.push(if body.is_empty() { '[' } else { ',' });
            body.push_str(&alert.json);
        }
        body.push(']');
        let request = self.client()?.post(format!("{}/api/v2/alerts", self.endpoint.url));
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        http::send(request, &self.endpoint.access, &[]).await.map(drop)
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
