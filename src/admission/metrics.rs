//! What the injector says of itself.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Skip;
use crate::negotiate::{self, Format};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// The injector's own metrics.
pub struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    skips: Family<Reason, Counter>,
    patch_seconds: Histogram,
    certificate_expiry: Gauge,
    certificate_failures: Counter,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25];
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            skips: Family::default(),
            patch_seconds: Histogram::new(buckets),
            certificate_expiry: Gauge::default(),
            certificate_failures: Counter::default(),
            leader: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        for outcome in ["injected", "skipped", "malformed"] {
            drop(self.requests.get_or_create(&Outcome { outcome }));
        }
        for skip in Skip::ALL {
            drop(self.skips.get_or_create(&Reason { reason: skip.name() }));
        }
        let registry = &mut self.registry;
        registry.register("dwcp_injector_build_info", "The version that runs", build);
        registry.register(
            "dwcp_injector_requests",
            "Admission requests, by what came of them",
            self.requests.clone(),
        );
        registry.register("dwcp_injector_skips", "Pods left as they are, by reason", self.skips.clone());
        registry.register(
            "dwcp_injector_patch_seconds",
            "From a request's last byte to its answer",
            self.patch_seconds.clone(),
        );
        registry.register(
            "dwcp_injector_certificate_expiry_timestamp_seconds",
            "When the serving certificate ends",
            self.certificate_expiry.clone(),
        );
        registry.register(
            "dwcp_injector_certificate_failures",
            "Certificates that could not be read, made or published",
            self.certificate_failures.clone(),
        );
        registry.register(
            "dwcp_injector_leader",
            "Whether this one makes the certificates",
            self.leader.clone(),
        );
    }

    /// A request was answered.
    pub(super) fn answered(&self, skipped: Option<Skip>, took: Duration) {
        let outcome = if skipped.is_some() { "skipped" } else { "injected" };
        self.requests.get_or_create(&Outcome { outcome }).inc();
        if let Some(skip) = skipped {
            self.skips.get_or_create(&Reason { reason: skip.name() }).inc();
        }
        self.patch_seconds.observe(took.as_secs_f64());
    }

    /// A body was no request.
    pub(super) fn malformed(&self) {
        self.requests.get_or_create(&Outcome { outcome: "malformed" }).inc();
    }

    /// A certificate is served that ends at this Unix time.
    pub(super) fn certificate(&self, ends_at: i64) {
        self.certificate_expiry.set(ends_at);
    }

    /// One could not be had.
    pub(super) fn certificate_failed(&self) {
        self.certificate_failures.inc();
    }

    /// Whether this injector leads.
    pub(super) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The page.
    pub(super) fn page(&self, format: Format) -> String {
        let (mut own, mut page) = (String::new(), String::new());
        // Writing to memory cannot fail.
        let _ = text::encode_registry(&mut own, &self.registry);
        negotiate::put(&own, format, &mut page);
        page
    }
}
