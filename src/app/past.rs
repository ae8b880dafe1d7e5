//! What the sidecar knows before its first scrape: models from the store, and the past from a Prometheus.

use std::time::Duration;

use tokio::sync::mpsc;

use super::heart::{Kept, Message, Recalled};
use crate::config::Config;
use crate::dataset::Dataset;
use crate::detect::model_set::ModelSet;
use crate::engine::{Memories, Setup};
use crate::history::Prometheus;
use crate::model_store::{Metadata, Store, Version};
use crate::series::{Labels, Timestamp};
use crate::setting::http_client;
use crate::train;

/// For all of the past of one target; a start waits for it no longer.
const PATIENCE: Duration = Duration::from_secs(6);
/// Rows recalled in full: with more, a start would take longer than people wait.
const ROWS: u32 = 6000;
/// Of the time before them, means over so long.
const MEANS: Duration = Duration::from_mins(5);

/// The model store of a configuration, and the version that was taken up last.
pub(super) struct Models {
    store: Store,
    taken: Option<Version>,
    /// Whether there is one target: what is retrained on one of several is not for the others.
    is_for_one: bool,
}

impl Models {
    pub(super) fn new(config: &Config, is_for_one: bool) -> Self {
        let models = &config.detector.models;
        Self { store: Store::open(&models.path, models.keep_versions), taken: None, is_for_one }
    }

    /// Keeps what was retrained, in use or aside; with several targets it lives as long as the process.
    pub(super) fn keep(&mut self, kept: &Kept) {
        if !self.is_for_one {
            return;
        }
        let outcome = kept.set.to_bytes().and_then(|bytes| {
            let metadata = metadata(&kept.set);
            let add = if kept.is_better { Store::add } else { Store::add_aside };
            add(&self.store, &metadata, &bytes).map_err(|error| error.to_string())
        });
        match outcome {
            Ok(version) => tracing::info!(target = %kept.target, %version, "retrained models are kept"),
            Err(error) => tracing::warn!(target = %kept.target, error, "retrained models are not kept"),
        }
    }

    /// Hands the engine the version in use, if it is another than before. One that cannot be read is said and left.
    pub(super) async fn look(&mut self, messages: &mpsc::Sender<Message>) {
        let current = self.store.current();
        if current == self.taken || current.is_none() {
            return;
        }
        self.taken = current;
        let loaded = match self.store.load_current() {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "models not taken up; those in use stay");
                return;
            }
        };
        match ModelSet::from_bytes(&loaded.payload) {
            Ok(set) => {
                // The channel outlives this call.
                let _ = messages.send(Message::Models(Box::new(set), loaded.version.to_string())).await;
            }
            Err(error) => {
                tracing::error!(version = %loaded.version, error, "models not taken up; those in use stay");
            }
        }
    }
}

fn metadata(set: &ModelSet) -> Metadata {
    Metadata {
        features: set.metrics.clone(),
        rows: set.rows,
        first: set.since,
        last: set.at,
        fingerprint: "of the sidecar's own memory".to_owned(),
        seed: train::SEED,
        detectors: set.detectors().into_iter().map(|detector| detector.name().to_owned()).collect(),
        interval_ms: set.interval.as_millis() as u64,
    }
}

/// Hands the engine each target's past, where `history.prometheus_url` has it. What cannot be had in time is said and
/// done without.
pub(super) async fn recall(config: &Config, setup: &Setup, now: Timestamp, messages: &mpsc::Sender<Message>) {
    let url = &config.history.prometheus_url;
    if url.is_empty() {
        return;
    }
    for target in &setup.targets {
        let asked = tokio::time::timeout(PATIENCE, remembered(config, url, &target.labels, now)).await;
        let recalled = match asked {
            Ok(Ok(recalled)) => recalled,
            Ok(Err(error)) => {
                tracing::warn!(target = %target.labels, error, "no past from history.prometheus_url; starting without");
                continue;
            }
            Err(_) => {
                tracing::warn!(target = %target.labels, url, "no past in time from history.prometheus_url; starting without");
                continue;
            }
        };
        let _ = messages.send(Message::Recall(Box::new(recalled))).await;
    }
}

async fn remembered(config: &Config, url: &str, target: &Labels, now: Timestamp) -> Result<Recalled, String> {
    let (client, _) = http_client(PATIENCE).map_err(|error| error.to_string())?;
    let prometheus = Prometheus::new(client, url).map_err(|error| error.to_string())?;
    let labels: Vec<(String, String)> = ["instance", "job"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), target.get(name)?.to_owned())))
        .collect();
    let interval = config.check_interval.0;
    let range = config.history.range.0;
    let late = range.min(interval * ROWS);
    let ask = async |from: Timestamp, to: Timestamp, step: Duration| {
        train::recall(&prometheus, config, &labels, (from, to), step, &mut |_, _| ())
            .await
            .map_err(|error| error.to_string())
    };
    let rows = ask(now - late, now, interval).await?;
    if rows.is_empty() {
        return Err(format!(
            "{url}: has no series of this target; its labels instance and job must be those Prometheus gives it (scrape.targets[].labels)"
        ));
    }
    let means = if range > late {
        ask(now - range, now - late, MEANS.max(interval)).await?
    } else {
        Dataset::default()
    };
    Ok(Recalled { target: target.clone(), rows: memories(rows), means: memories(means) })
}

fn memories(data: Dataset) -> Memories {
    let values = (0..data.len()).flat_map(|row| data.row(row).to_vec()).collect();
    Memories { signals: data.metrics, times: data.times, values }
}
