//! One Alertmanager: told of changes at once, and of everything every `resend_delay`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alert::{Alert, Identity, alerts};
use super::config::Alertmanager;
use crate::engine::snapshot::Snapshot;
use crate::series::Timestamp;

/// Alerts told at most; of more the oldest are dropped and counted.
const QUEUE: usize = 10_000;
/// Alerts in one request.
const BATCH: usize = 256;
/// Waits between attempts double from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Whom a count is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Endpoint {
    /// Kind of channel.
    pub notifier: &'static str,
    /// Its address.
    pub endpoint: String,
}

/// Counts of alerts, by endpoint.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Taken by the endpoint.
    pub sent: Family<Endpoint, Counter>,
    /// Refused by it, or not delivered.
    pub failed: Family<Endpoint, Counter>,
    /// Given up because there were too many.
    pub dropped: Family<Endpoint, Counter>,
}

impl Counters {
    /// Counts begin at 0, so that `increase()` sees the first failure.
    fn begin(&self, endpoint: &Endpoint) {
        for family in [&self.sent, &self.failed, &self.dropped] {
            drop(family.get_or_create(endpoint));
        }
    }
}

/// The sender to one Alertmanager.
pub struct Sender {
    /// With a timeout of its own.
    pub client: reqwest::Client,
    /// Where to.
    pub to: Alertmanager,
    /// Who tells.
    pub identity: Identity,
    /// How often everything is told.
    pub resend_delay: Duration,
    /// Counts.
    pub counters: Counters,
}

/// What an Alertmanager has been told: for each label set, since when and whether it has ended.
type Told = HashMap<Vec<(String, String)>, (String, bool)>;

impl Sender {
    /// Tells until the snapshots end or `stop` is called, and then once more.
    pub async fn run(self, mut snapshots: watch::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
        self.counters.begin(&self.name());
        let mut told = Told::new();
        let mut resend_at = Instant::now() + self.resend_delay;
        let mut retry: Option<(Instant, Duration)> = None;
        loop {
            let due = retry.map_or(resend_at, |(at, _)| at.min(resend_at));
            let ended = tokio::select! {
                changed = snapshots.changed() => changed.is_err(),
                () = tokio::time::sleep_until(due) => false,
                () = stop.cancelled() => true,
            };
            let everything = Instant::now() >= resend_at;
            let may_try = ended || retry.is_none_or(|(at, _)| Instant::now() >= at);
            if may_try {
                let level = alerts(&snapshots.borrow_and_update(), now(), &self.identity);
                let delivered = self.tell(level, everything, &mut told).await;
                retry = if delivered { None } else { Some(later(retry)) };
                if everything && delivered {
                    resend_at = Instant::now() + self.resend_delay;
                }
            }
            if ended {
                return;
            }
        }
    }

    /// Sends what is new, or everything; says whether all of it was taken.
    async fn tell(&self, mut level: Vec<Alert>, everything: bool, told: &mut Told) -> bool {
        if level.len() > QUEUE {
            level.sort_by(|a, b| b.starts_at.cmp(&a.starts_at));
            self.counters.dropped.get_or_create(&self.name()).inc_by((level.len() - QUEUE) as u64);
            level.truncate(QUEUE);
        }
        let state = |alert: &Alert| (alert.starts_at.clone(), alert.resolved);
        let is_new = |alert: &Alert| told.get(&key(alert)) != Some(&state(alert));
        // An end is told only to whom the start was.
        let news = level.iter().filter(|alert| everything || is_new(alert));
        let news: Vec<&Alert> =
            news.filter(|alert| !alert.resolved || told.contains_key(&key(alert)) || everything).collect();
        let mut taken = Vec::with_capacity(news.len());
        let mut delivered = true;
        for batch in news.chunks(BATCH) {
            match self.post(batch).await {
                Ok(()) => taken.extend(batch.iter().map(|alert| (key(alert), state(alert)))),
                Err(error) => {
                    tracing::warn!(alertmanager = %self.to.url, alerts = batch.len(), %error, "alerts not delivered");
                    self.counters.failed.get_or_create(&self.name()).inc_by(batch.len() as u64);
                    delivered = false;
                }
            }
        }
        self.counters.sent.get_or_create(&self.name()).inc_by(taken.len() as u64);
        told.extend(taken);
        told.retain(|known, _| level.iter().any(|alert| key(alert) == *known));
        delivered
    }

    async fn post(&self, alerts: &[&Alert]) -> Result<(), String> {
        let url = format!(
            "{}{}/api/v2/alerts",
            self.to.url.trim_end_matches('/'),
            self.to.path_prefix.trim_end_matches('/')
        );
        let request = self.authorized(self.client.post(url).json(alerts)).await?;
        let response = request.send().await.map_err(|error| root_cause(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text = response.text().await.unwrap_or_default();
        Err(format!("HTTP {status}: {}", text.chars().take(200).collect::<String>()))
    }

    async fn authorized(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder, String> {
        if let Some(file) = &self.to.bearer_token_file {
            return Ok(request.bearer_auth(read_secret(file).await?));
        }
        let Some(auth) = &self.to.basic_auth else { return Ok(request) };
        let password = match (&auth.password, &auth.password_file) {
            (Some(password), _) => password.reveal().to_owned(),
            (None, Some(file)) => read_secret(file).await?,
            (None, None) => String::new(),
        };
        Ok(request.basic_auth(&auth.username, Some(password)))
    }

    fn name(&self) -> Endpoint {
        Endpoint { notifier: "alertmanager", endpoint: self.to.url.clone() }
    }
}

async fn read_secret(file: &str) -> Result<String, String> {
    let text = tokio::fs::read_to_string(file).await.map_err(|error| format!("{file}: {error}"))?;
    Ok(text.trim_end().to_owned())
}

fn key(alert: &Alert) -> Vec<(String, String)> {
    alert.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn later(retry: Option<(Instant, Duration)>) -> (Instant, Duration) {
    let wait = retry.map_or(RETRY.0, |(_, wait)| (wait * 2).min(RETRY.1));
    (Instant::now() + wait, wait)
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(since.as_millis() as i64)
}
