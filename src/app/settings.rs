//! Settings changed while running: the overlay over the file.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::App;
use crate::config::{Config, Origin, Overlay, Problems, SETTABLE, Sources};
use crate::serve::{Layer, Refused, SettingsChange, SettingsView};

/// Characters of the settings that the log tells.
const MOST_TOLD: usize = 1000;

/// A change that was validated: what was set with it, and what is in force then.
pub(super) struct Validated {
    overlay: Overlay,
    config: Box<Config>,
}

impl App {
    /// Validates a change apart from the runtime's threads: patterns are compiled, which takes its time. Whoever no longer
    /// needs the outcome may drop this; the work is bounded.
    pub(super) fn validate(
        &self,
        change: SettingsChange,
    ) -> impl Future<Output = Result<Validated, Refused>> + use<> {
        let emptied = self.not_emptied();
        let (sources, before) = (self.sources.clone(), self.overlay.clone());
        let validating = tokio::task::spawn_blocking(move || {
            emptied
                .map_err(|problems| refused(&change, &problems))
                .and_then(|()| validate(&sources, &before, &change))
        });
        async {
            validating.await.unwrap_or_else(|_| {
                Err(Refused::Failed("validating it panicked; please report it".to_owned()))
            })
        }
    }

    /// Keeps a change and answers whoever asked for it, with what it was taken in spite of; then it is to be taken up. One
    /// that nobody waits for any more is neither kept nor taken up: its client was told that it failed.
    pub(super) fn commit(
        &mut self,
        Validated { overlay, mut config }: Validated,
        reply: oneshot::Sender<Result<Vec<String>, Refused>>,
    ) -> Option<Config> {
        if reply.is_closed() {
            return None;
        }
        let storage = config.storage.path.clone();
        if let Err(refused) = keep(&overlay, &storage) {
            // Whoever asked may have left.
            let _ = reply.send(Err(refused));
            return None;
        }
        let shadowed = overlay.shadowed(&self.sources.environment).into_iter();
        let warnings =
            shadowed.map(|(key, variable)| format!("{key}: {variable} in the environment is over it"));
        let warnings = warnings.collect();
        let before = (std::mem::replace(&mut self.overlay, overlay), self.settings.borrow().clone());
        self.watch_quick_target(&mut config);
        // The answer shows it.
        self.show_settings(&config, false);
        if reply.send(Ok(warnings)).is_err() {
            self.overlay = before.0;
            self.settings.send_replace(before.1);
            if let Err(Refused::Bad(error) | Refused::Failed(error)) = keep(&self.overlay, &storage) {
                tracing::error!(error, "a change that nobody waited for could not be taken back");
            }
            return None;
        }
        // A line of a log is no place for a thousand signals.
        let settings: String = self.overlay.value().to_string().chars().take(MOST_TOLD).collect();
        tracing::info!(settings, "settings changed");
        Some(*config)
    }

    /// Shows what is in force.
    pub(super) fn show_settings(&self, config: &Config, is_degraded: bool) {
        let layer = |origin| match origin {
            Origin::Default => Layer::Default,
            Origin::File => Layer::File,
            Origin::Overlay => Layer::Overlay,
            Origin::Environment => Layer::Environment,
        };
        let origins = self.sources.origins(config, &self.overlay).into_iter();
        // Addresses and secrets hide themselves.
        let effective = serde_json::to_value(config).unwrap_or_default();
        self.settings.send_replace(Arc::new(SettingsView {
            effective,
            sources: origins.map(|(key, origin)| (key, layer(origin))).collect(),
            overlay: self.overlay.value(),
            settable: SETTABLE.map(str::to_owned).to_vec(),
            alertmanagers: config.alert.alertmanagers.iter().map(|a| a.url.to_string()).collect(),
            check_interval: config.check_interval,
            is_degraded,
        }));
    }
}

fn validate(sources: &Sources, before: &Overlay, change: &SettingsChange) -> Result<Validated, Refused> {
    let overlay = match change {
        SettingsChange::Put(value) => {
            before.with(value).map_err(|problems| Refused::Bad(problems.to_string()))?
        }
        SettingsChange::Delete => Overlay::default(),
    };
    let config = sources.load_over(&overlay).map_err(|problems| refused(change, &problems))?;
    Ok(Validated { overlay, config: Box::new(config) })
}

/// Keeps what was set under `storage`, if anything is kept on disk.
fn keep(overlay: &Overlay, storage: &str) -> Result<(), Refused> {
    if storage.is_empty() {
        return Ok(());
    }
    overlay
        .write(Path::new(storage))
        .map_err(|error| Refused::Failed(format!("storage.path: {storage}: cannot be written to: {error}")))
}

fn refused(change: &SettingsChange, problems: &Problems) -> Refused {
    match change {
        SettingsChange::Put(_) => Refused::Bad(problems.to_string()),
        SettingsChange::Delete => Refused::Failed(problems.to_string()),
    }
}
