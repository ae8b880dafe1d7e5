//! Scraping: one task a target, each on its own schedule, so that a slow target delays no other.
//!
//! Every scrape yields a [`Scraped`], a failed one too: then the batch holds nothing but `up 0`, which leaves a null in
//! every other series, and that is what Prometheus calls stale. Batches go through a bounded channel; when the engine
//! is behind, scrapers wait for it and skip the ticks they missed.

pub mod config;
mod fetch;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use fetch::{Exporter, Failure};

use crate::clock::Clock;
use crate::exposition::{Page, Reader};
use crate::series::{Batch, Labels, METRIC_NAME, Origin, Sample, Timestamp};
use crate::setting::told;

/// One target's schedule.
#[derive(Clone, Debug)]
pub struct Job {
    /// Position of the target.
    pub target: usize,
    /// Final labels; with the address they decide when in the interval the target is scraped.
    pub labels: Labels,
    /// Time between scrapes.
    pub interval: Duration,
    /// For a whole exchange.
    pub timeout: Duration,
    /// Bytes of a page, decompressed.
    pub max_body_size: usize,
    /// Whether an incident of the target is pending: then it is looked at [`CONFIRM`] times as often, so that it is
    /// known sooner whether it lasts.
    pub pending: watch::Receiver<bool>,
    /// What the samples are stamped by.
    pub clock: Clock,
}

/// Looks in one interval while an incident is pending; where that is at least a second apart.
pub const CONFIRM: u32 = 3;

/// Bytes of a page's room that are kept for the next.
const KEPT: usize = 1 << 20;

/// What one scrape yielded.
#[derive(Debug)]
pub struct Scraped {
    /// Position of the target.
    pub target: usize,
    /// The wanted samples and `up`.
    pub batch: Batch,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What the page held, but for the samples.
    pub page: Page,
    /// When it ended.
    pub ended: Instant,
    /// Whether it was taken between two regular ones, to confirm an incident.
    pub confirms: bool,
}

/// Scrapes until told to stop. A panic costs one scrape, is told as its failure, and the schedule goes on.
pub async fn run(
    job: Job,
    mut exporter: Exporter,
    mut reader: Reader,
    out: mpsc::Sender<Scraped>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset(&job), job.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut body = Vec::new();
    loop {
        let confirms = tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => false,
            () = confirm(&job) => true,
        };
        let scrape = AssertUnwindSafe(scrape(&job, &mut exporter, &mut reader, &mut body));
        let scraped = tokio::select! {
            () = stop.cancelled() => return,
            scraped = futures_util::FutureExt::catch_unwind(scrape) => scraped,
        };
        // A page that was large once does not keep its room.
        body.clear();
        body.shrink_to(KEPT);
        let mut scraped = scraped.unwrap_or_else(|_| failed(&job, job.clock.now(), Failure::Panicked));
        scraped.confirms = confirms;
        if out.send(scraped).await.is_err() {
            return;
        }
    }
}

/// Ends when it is time to look again at a pending incident; never while there is none.
async fn confirm(job: &Job) {
    let wait = job.interval / CONFIRM;
    let mut pending = job.pending.clone();
    if wait < Duration::from_secs(1) || pending.wait_for(|pending| *pending).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(wait).await;
}

/// Where in its interval a target is scraped: always at the same place, targets spread evenly. The first interval is
/// cut short, so that nobody waits long for a first value.
fn offset(job: &Job) -> Duration {
    let mut hasher = DefaultHasher::new();
    job.labels.hash(&mut hasher);
    let share = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
    job.interval.min(Duration::from_secs(2)).mul_f64(share)
}

async fn scrape(job: &Job, exporter: &mut Exporter, reader: &mut Reader, body: &mut Vec<u8>) -> Scraped {
    let at = job.clock.now();
    body.clear();
    let fetched = tokio::time::timeout(job.timeout, exporter.fetch(body, job)).await;
    let format = match fetched.unwrap_or(Err(Failure::Timeout(job.timeout))) {
        Ok(format) => format,
        Err(failure) => return failed(job, at, failure),
    };
    let mut page = reader.read(body, format);
    if let Some(exceeded) = page.exceeded.take() {
        return failed(job, at, Failure::Limit(exceeded));
    }
    if page.exposed == 0 && page.rejected > 0 {
        return failed(job, at, Failure::NotMetrics(first_words(body, exporter)));
    }
    if let Some(end) = page.bad_end {
        return failed(job, at, Failure::Truncated(end));
    }
    let mut samples = std::mem::take(&mut page.samples);
    samples.push(up(1.0));
    let batch = Batch { origin: Origin::Scrape, at, samples };
    Scraped { target: job.target, batch, failure: None, page, ended: Instant::now(), confirms: false }
}

fn failed(job: &Job, at: Timestamp, failure: Failure) -> Scraped {
    let batch = Batch { origin: Origin::Scrape, at, samples: vec![up(0.0)] };
    Scraped {
        target: job.target,
        batch,
        failure: Some(failure),
        page: Page::default(),
        ended: Instant::now(),
        confirms: false,
    }
}

fn up(value: f64) -> Sample {
    Sample { labels: Labels::new([(METRIC_NAME, "up")]), value, at: None }
}

/// How a page begins, without what it repeats of the address that was asked.
fn first_words(body: &[u8], exporter: &Exporter) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    let start = told(&start, &exporter.secrets());
    start.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(40).collect()
}
