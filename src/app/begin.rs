//! The first steps of the app: what it finds of the run before.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::heart::{Message, Restore};
use super::keeper::{self, Keeper};
use super::{App, past, unix_now};
use crate::config::Config;
use crate::engine::Setup;
use crate::series::Timestamp;
use crate::state::{Directory, Error, Loaded};

/// Where the state is kept, and what was found there until it is restored.
pub(super) struct Storage {
    pub(super) path: String,
    pub(super) found: Option<(Arc<Directory>, Loaded)>,
}

impl App {
    /// Begins with what is known from before: of the last run, and of targets that had none from a Prometheus. Whether the
    /// last run knew all.
    pub(super) async fn begin(
        &mut self,
        config: &Config,
        mut setup: Setup,
        messages: &mpsc::Sender<Message>,
    ) -> bool {
        let watched = setup.targets.len();
        let found =
            self.storage.as_mut().and_then(|storage| Some((storage.path.clone(), storage.found.take()?)));
        if let Some((path, (directory, loaded))) = found {
            match Keeper::start(directory, Path::new(&path), &self.telemetry) {
                Ok(keeper) => {
                    let (reply, restored) = oneshot::channel();
                    let restore = Restore { loaded, keeper, restored: reply };
                    // The channel outlives this call.
                    let _ = messages.send(Message::Restore(Box::new(restore))).await;
                    let known = restored.await.unwrap_or_default();
                    setup.targets.retain(|target| !known.contains(&target.labels));
                }
                Err(error) => tracing::error!(path, %error, "the state is kept in memory only"),
            }
        }
        let is_whole = setup.targets.is_empty() && watched > 0;
        if !is_whole && !config.history.prometheus_url.is_empty() {
            tracing::info!(range = %config.history.range, "asking a Prometheus what is normal");
        }
        past::recall(config, &setup, Timestamp::from_seconds(unix_now() as f64), messages).await;
        is_whole
    }

    /// Takes the directory that the first configuration names, for as long as the process runs. One that cannot be written
    /// is said and done without; that of another process is an error.
    pub(super) async fn open_storage(&mut self, config: &Config) -> Result<(), String> {
        let path = config.storage.path.clone();
        if let Some(storage) = &self.storage {
            if storage.path != path {
                tracing::warn!(
                    configured = path,
                    used = storage.path,
                    "storage.path takes effect at the next start"
                );
            }
            return Ok(());
        }
        let found = if path.is_empty() { None } else { self.found(path.clone()).await? };
        self.storage = Some(Storage { path, found });
        Ok(())
    }

    /// Keeps the state in memory only.
    pub(super) fn do_without_storage(&mut self, config: &Config, error: &str) {
        tracing::error!(error, "the state is kept in memory only");
        self.storage = Some(Storage { path: config.storage.path.clone(), found: None });
    }

    async fn found(&self, path: String) -> Result<Option<(Arc<Directory>, Loaded)>, String> {
        let telemetry = self.telemetry.clone();
        match tokio::task::spawn_blocking(move || keeper::open(Path::new(&path), &telemetry)).await {
            Ok(Ok(found)) => return Ok(Some(found)),
            Ok(Err(error @ Error::Busy { .. })) => return Err(error.to_string()),
            Ok(Err(error)) => tracing::error!(%error, "the state is kept in memory only"),
            Err(_) => tracing::error!("reading the state panicked; starting without. Please report it"),
        }
        Ok(None)
    }
}
