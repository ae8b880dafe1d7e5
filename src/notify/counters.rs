//! What is counted of each receiver.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Whom a count is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Endpoint {
    /// Kind of channel.
    pub notifier: &'static str,
    /// Its address; never with a secret in it.
    pub endpoint: String,
}

/// Counts by endpoint; cheap to clone.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Taken by the endpoint.
    pub sent: Family<Endpoint, Counter>,
    /// Refused by it, or not delivered.
    pub failed: Family<Endpoint, Counter>,
    /// Given up: too many, or over before they could be told.
    pub dropped: Family<Endpoint, Counter>,
    /// Waiting or under way.
    pub queue_length: Family<Endpoint, Gauge>,
    /// From a request to its answer.
    pub latency: Family<Endpoint, Histogram>,
}

impl Default for Counters {
    fn default() -> Self {
        let latency = || Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        Self {
            sent: Family::default(),
            failed: Family::default(),
            dropped: Family::default(),
            queue_length: Family::default(),
            latency: Family::new_with_constructor(latency),
        }
    }
}

impl Counters {
    /// Shows an endpoint before anything was counted of it.
    pub fn know(&self, of: &Endpoint) {
        for counts in [&self.sent, &self.failed, &self.dropped] {
            drop(counts.get_or_create(of));
        }
        drop(self.queue_length.get_or_create(of));
        drop(self.latency.get_or_create(of));
    }

    /// Shows an endpoint no more.
    pub fn forget(&self, of: &Endpoint) {
        for counts in [&self.sent, &self.failed, &self.dropped] {
            counts.remove(of);
        }
        self.queue_length.remove(of);
        self.latency.remove(of);
    }

    /// An attempt ended so.
    pub fn tried(&self, of: &Endpoint, sent: usize, failed: usize, took: Duration) {
        self.sent.get_or_create(of).inc_by(sent as u64);
        self.failed.get_or_create(of).inc_by(failed as u64);
        self.latency.get_or_create(of).observe(took.as_secs_f64());
    }

    /// So many were given up.
    pub fn dropped(&self, of: &Endpoint, count: usize) {
        if count > 0 {
            self.dropped.get_or_create(of).inc_by(count as u64);
        }
    }

    /// So many wait.
    pub fn queue(&self, of: &Endpoint, length: usize) {
        self.queue_length.get_or_create(of).set(length as i64);
    }
}
