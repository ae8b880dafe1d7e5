//! What the sidecar knows before its first scrape: models from the store, and the past from a Prometheus.

use std::time::Duration;

use tokio::sync::mpsc;

use super::heart::{Kept, Message, Recalled};
use crate::config::Config;
use crate::dataset::Dataset;
use crate::detect::model_set::ModelSet;
use crate::engine::{Memories, Setup, TargetSetup};
use crate::history::Prometheus;
use crate::model_store::{Metadata, Store, Version};
use crate::series::{Labels, Timestamp};
use crate::setting::{Address, Redirects, http_client};
use crate::train;

/// For all of the past of one target; a start waits for it no longer.
const PATIENCE: Duration = Duration::from_secs(6);
/// Rows recalled in full: with more, a start would take longer than people wait.
const ROWS: u32 = 6000;
/// Of the time before them, means over so long.
const MEANS: Duration = Duration::from_mins(5);

/// The model store of a configuration, and what became of it last.
pub(super) struct Models {
    store: Store,
    taken: Option<Version>,
    /// What was wrong last; said once, though it is looked at again and again.
    wrong: Option<String>,
    /// Whether there is one target: what is retrained on one of several is not for the others.
    is_for_one: bool,
}

impl Models {
    pub(super) fn new(config: &Config, is_for_one: bool) -> Self {
        let models = &config.detector.models;
        Self { store: Store::open(&models.path, models.keep_versions), taken: None, wrong: None, is_for_one }
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
        match self.read() {
            Ok(None) => self.wrong = None,
            Ok(Some((set, version))) => {
                (self.taken, self.wrong) = (Some(version), None);
                // The channel outlives this call.
                let _ = messages.send(Message::Models(Box::new(set), version.to_string())).await;
            }
            Err(error) if self.wrong.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::error!(error, "models not taken up; those in use stay");
                self.wrong = Some(error);
            }
        }
    }

    /// The version in use, where it is not the one taken.
    fn read(&self) -> Result<Option<(ModelSet, Version)>, String> {
        let current = self.store.in_use().map_err(|error| error.to_string())?;
        if current.is_none() || current == self.taken {
            return Ok(None);
        }
        let Some(loaded) = self.store.load_current().map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let set = ModelSet::from_bytes(&loaded.payload).map_err(|error| {
            format!("{}: version {} {error}; train anew", self.store.path().display(), loaded.version)
        })?;
        Ok(Some((set, loaded.version)))
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
    let ask = async |target: &TargetSetup| {
        let target = &target.labels;
        match tokio::time::timeout(PATIENCE, remembered(config, url, target, now)).await {
            Ok(Ok(recalled)) => drop(messages.send(Message::Recall(Box::new(recalled))).await),
            Ok(Err(error)) => {
                tracing::warn!(%target, error, "no past from history.prometheus_url; starting without");
            }
            Err(_) => {
                tracing::warn!(%target, %url, "no past in time from history.prometheus_url; starting without");
            }
        }
    };
    futures_util::future::join_all(setup.targets.iter().map(ask)).await;
}

async fn remembered(
    config: &Config,
    url: &Address,
    target: &Labels,
    now: Timestamp,
) -> Result<Recalled, String> {
    let (client, _) = http_client(PATIENCE, Redirects::SameHost).map_err(|error| error.to_string())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Subject;

    /// Models of two metrics, learned from `rows` rows.
    fn set(rows: usize) -> ModelSet {
        let wave = |step: f64| {
            let point = |row: usize| (Timestamp::from_seconds(row as f64), (row as f64 * step).sin());
            (0..rows).map(point).collect()
        };
        let columns = vec![("a".to_owned(), wave(0.7)), ("b".to_owned(), wave(0.3))];
        let data = Dataset::of_columns(std::path::Path::new("waves"), columns);
        train::train(&data, Subject::IsolationForest, Config::default(), &mut |_, _| ()).unwrap().0
    }

    fn kept(rows: usize, is_better: bool) -> Kept {
        Kept { target: Labels::empty(), set: set(rows), is_better }
    }

    struct Place {
        _directory: tempfile::TempDir,
        config: Config,
        messages: mpsc::Sender<Message>,
        inbox: mpsc::Receiver<Message>,
    }

    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.detector.models.path = directory.path().join("models").display().to_string();
        let (messages, inbox) = mpsc::channel(8);
        Place { _directory: directory, config, messages, inbox }
    }

    impl Place {
        /// The version that a look hands to the engine, if it does.
        async fn look(&mut self, models: &mut Models) -> Option<String> {
            models.look(&self.messages).await;
            match self.inbox.try_recv().ok()? {
                Message::Models(_, version) => Some(version),
                _ => None,
            }
        }
    }

    #[tokio::test]
    async fn what_was_kept_aside_stays_aside_and_what_is_better_comes_into_use() {
        let mut place = place();
        let mut models = Models::new(&place.config, true);
        assert_eq!(place.look(&mut models).await, None);
        for (rows, is_better, current) in [(200, true, 1), (210, false, 1), (220, false, 1), (230, true, 4)] {
            models.keep(&kept(rows, is_better));
            assert_eq!(models.store.current(), Version::new(current), "after {rows}");
        }
        assert_eq!(place.look(&mut models).await.as_deref(), Some("000004"));
        models.keep(&kept(240, false));
        assert_eq!(place.look(&mut models).await, None);
        let rows: Vec<u64> =
            models.store.list().unwrap().into_iter().map(|entry| entry.metadata.unwrap().rows).collect();
        assert_eq!(rows, [200, 210, 220, 230, 240]);
    }

    #[tokio::test]
    async fn what_one_of_several_targets_was_retrained_on_is_not_for_the_others() {
        let place = place();
        Models::new(&place.config, false).keep(&kept(200, true));
        assert!(!std::path::Path::new(&place.config.detector.models.path).exists());
    }

    #[tokio::test]
    async fn a_damaged_version_is_said_once_and_taken_up_once_it_is_sound() {
        let mut place = place();
        let mut models = Models::new(&place.config, true);
        models.keep(&kept(200, true));
        let file = models.store.path().join("000001.model");
        let sound = std::fs::read(&file).unwrap();
        std::fs::write(&file, &sound[1..]).unwrap();
        for _ in 0..2 {
            assert_eq!(place.look(&mut models).await, None);
            assert!(models.wrong.as_ref().unwrap().contains("000001.model: "), "{:?}", models.wrong);
        }
        std::fs::write(&file, &sound).unwrap();
        assert_eq!(place.look(&mut models).await.as_deref(), Some("000001"));
        assert_eq!((place.look(&mut models).await, models.wrong), (None, None));
    }
}
