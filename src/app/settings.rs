//! Settings changed while running: the overlay over the file.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::App;
use super::heart::Message;
use crate::config::{Config, Origin, Overlay, SETTABLE};
use crate::serve::{Layer, Refused, SettingsChange, SettingsView};

impl App {
    /// Validates a change, keeps it and takes it up: all of it or nothing. Says what it was taken in spite of.
    pub(super) async fn change_settings(
        &mut self,
        change: SettingsChange,
        messages: &mpsc::Sender<Message>,
    ) -> Result<Vec<String>, Refused> {
        let overlay = match &change {
            SettingsChange::Put(value) => {
                self.overlay.with(value).map_err(|problems| Refused::Bad(problems.to_string()))?
            }
            SettingsChange::Delete => Overlay::default(),
        };
        let config = self.not_emptied().and_then(|()| self.sources.load_over(&overlay));
        let config = config.map_err(|problems| match change {
            SettingsChange::Put(_) => Refused::Bad(problems.to_string()),
            SettingsChange::Delete => Refused::Failed(problems.to_string()),
        })?;
        if !config.storage.path.is_empty() {
            overlay.write(Path::new(&config.storage.path)).map_err(|error| {
                Refused::Failed(format!(
                    "storage.path: {}: cannot be written to: {error}",
                    config.storage.path
                ))
            })?;
        }
        let shadowed = overlay.shadowed(&self.sources.environment).into_iter();
        let warnings =
            shadowed.map(|(key, variable)| format!("{key}: {variable} in the environment is over it"));
        tracing::info!(settings = %overlay.value(), "settings changed");
        self.overlay = overlay;
        self.take_up(Some(config), messages).await;
        Ok(warnings.collect())
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
