//! From a configuration to what runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;
use crate::detect::ensemble::votes_at;
use crate::detect::verdict::Detector;
use crate::engine::{Setup, TargetSetup};
use crate::exposition::Wanted;
use crate::hostmetrics::{self, Root};
use crate::probe::Prober;
use crate::scrape::Exporter;
use crate::scrape::config::{EMBEDDED, Scope};
use crate::series::Labels;
use crate::setting::{Address, Redirects, http_client};
use crate::signal::{Plan, Selector};
use crate::window::Limits;

/// What the engine needs to know of `config`.
pub fn setup(config: &Config, host: &str, own_port: u16) -> Setup {
    if let Some(refused) = &config.detector.refused {
        tracing::warn!("detector.priors: {refused}");
    }
    let macros = config.macros();
    // The configuration was validated: every expression parses.
    let plan = |signal: &crate::signal::Definition| {
        Some((signal.clone(), Plan::signal(&signal.expr, &macros).ok()?))
    };
    let target = |target: &crate::scrape::config::Target| TargetSetup {
        labels: Labels::new(target.final_labels(host, own_port)),
        url: target.url.clone(),
        node_scope: target.scope == Scope::Node,
    };
    Setup {
        enabled: config.enabled,
        interval: config.check_interval.0,
        signals: config.signals.iter().filter_map(plan).collect(),
        targets: config.scrape.targets.iter().map(target).collect(),
        limits: Limits { samples: config.samples(), bytes: config.window.max_bytes.0 as usize },
        detection: config.detector.settings(config.check_interval.0, config.incident.r#for),
        severities: config.severity.clone(),
        persistence: config.incident.persistence(),
    }
}

/// The series that any signal selects of any of some targets.
pub(super) struct Selected {
    selectors: Arc<[Selector]>,
    targets: Vec<Labels>,
}

pub(super) fn wanted(setup: &Setup) -> Selected {
    Selected {
        selectors: setup.signals.iter().flat_map(|(_, plan)| plan.selectors().to_vec()).collect(),
        targets: setup.targets.iter().map(|target| target.labels.clone()).collect(),
    }
}

impl Selected {
    /// What is wanted of one target alone.
    pub(super) fn of(&self, target: &Labels) -> Self {
        Self { selectors: Arc::clone(&self.selectors), targets: vec![target.clone()] }
    }
}

impl Wanted for Selected {
    fn name(&self, name: &str) -> bool {
        self.selectors.iter().any(|selector| selector.may_want(name))
    }

    fn series(&self, labels: &Labels) -> bool {
        let wants = |target| self.selectors.iter().any(|selector| selector.wants(labels, target));
        self.targets.iter().any(wants)
    }
}

/// What answers at `url`.
pub(super) fn exporter(url: &Address, timeout: Duration, redirects: Redirects) -> Option<Exporter> {
    if *url == *EMBEDDED {
        let root = Root::default();
        return Some(Exporter::Embedded(Box::new(move |page| hostmetrics::collect(&root, page))));
    }
    match http_client(timeout, redirects) {
        Ok((client, has_roots)) => {
            if !has_roots && url.reveal().starts_with("https:") {
                tracing::warn!(%url, "this system has no CA certificates; https targets cannot be verified");
            }
            Some(Exporter::Http(client, url.clone()))
        }
        Err(error) => {
            tracing::error!(%url, %error, "no HTTP client can be made; the target is not scraped");
            None
        }
    }
}

/// Who asks the peers, if there are any.
pub(super) fn prober(config: &Config, clock: &Clock) -> Option<Prober> {
    if config.probe.targets.is_empty() {
        return None;
    }
    // Loss is that of the time a rate is.
    match Prober::new(&config.probe, config.macros().rate_interval, clock.clone()) {
        Ok(prober) => Some(prober),
        Err(error) => {
            tracing::error!(%error, "probes cannot be sent; latency and jitter have no data");
            None
        }
    }
}

/// What is watched, and who is told.
pub(super) fn announce(config: &Config, setup: &Setup) {
    for target in &setup.targets {
        let instance = target.labels.get("instance").unwrap_or_default();
        tracing::info!(url = %target.url, instance, every = %config.check_interval, "watching");
    }
    for peer in &config.probe.targets {
        tracing::info!(%peer, every = %config.probe.interval, "probing");
    }
    if !config.enabled {
        tracing::warn!("nothing is judged: enabled is false; signals are served alone");
    }
    if setup.targets.is_empty() {
        tracing::warn!("nothing is watched: configure scrape.targets and start with --config.file");
    }
    if config.alert.alertmanagers.is_empty() && !config.alert.has_channels() {
        tracing::info!(
            "neither Alertmanager nor channel is configured (alert.alertmanagers); anomalies are shown in the series only"
        );
    }
}

/// When to expect a verdict, if any is to be expected; `is_whole` if all targets go on where they were.
pub(super) fn expect(config: &Config, is_whole: bool) {
    if !config.enabled || config.scrape.targets.is_empty() {
        return;
    }
    let interval = config.check_interval.0;
    let rows = rows_of_the_slowest(config);
    if is_whole {
        tracing::info!(
            first_verdict = "with the next checks, as far as was learned before",
            "nothing is learned anew"
        );
    } else if config.history.prometheus_url.is_empty() {
        tracing::info!(
            first_verdict = %format!("about {} s from now, after 30 values", (interval * 34).as_secs()),
            all_detectors = %format!("about {} s from now, after {rows}", (interval * (rows + 4)).as_secs()),
            "learning what is normal"
        );
    }
}

/// Rows from which on all detectors that are on vote.
fn rows_of_the_slowest(config: &Config) -> u32 {
    let detection = config.detector.settings(config.check_interval.0, config.incident.r#for);
    Detector::ALL.into_iter().filter_map(|detector| votes_at(detector, &detection)).max().unwrap_or(0) as u32
}

/// What a quick start watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quick {
    /// A `node_exporter` answers here.
    NodeExporter,
    /// The host itself.
    Embedded,
    /// Nothing: in a container the host is somebody else's.
    Nothing,
}

/// Where a `node_exporter` is looked for.
pub const NODE_EXPORTER: &str = "http://127.0.0.1:9100/metrics";
/// How long it is asked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks for a `node_exporter` beside us, for as long as it may take to start.
pub async fn find_target(in_container: bool) -> Quick {
    tracing::info!(url = NODE_EXPORTER, for_up_to = "10s", "no --config.file: looking for a node_exporter");
    let until = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < until {
        if is_node_exporter().await {
            return Quick::NodeExporter;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    if in_container { Quick::Nothing } else { Quick::Embedded }
}

async fn is_node_exporter() -> bool {
    let Ok((client, _)) = http_client(Duration::from_secs(3), Redirects::SameHost) else { return false };
    let Ok(response) = client.get(NODE_EXPORTER).send().await else { return false };
    response.status().as_u16() == 200
        && response.text().await.is_ok_and(|t| t.contains("node_cpu_seconds_total"))
}

/// Whether this process is in a container.
pub fn in_container() -> bool {
    hostmetrics::container::in_container(Path::new("/"), |name| std::env::var(name).ok())
}

/// SIGHUP, where it can be listened to.
pub(super) struct Hangup(Option<tokio::signal::unix::Signal>);

impl Hangup {
    pub(super) fn new() -> Self {
        Self(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok())
    }

    pub(super) async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}
