//! `models`: the model store, looked at and turned back.

use super::backtest::configuration;
use super::{Failed, Models, OfModels, output};
use crate::model_store::{Metadata, Store, Version};
use crate::setting::rfc3339;

/// Does what was asked of the store.
pub(super) fn models(args: &Models) -> Result<(), Failed> {
    let config = configuration(args.config_file.as_deref())?;
    let models = config.detector.models;
    let path = args.path.clone().unwrap_or_else(|| models.path.into());
    let store = Store::open(path.clone(), models.keep_versions);
    let failed = |error: crate::model_store::Error| Failed::Running(error.to_string());
    match &args.what {
        OfModels::List => {
            let entries = store.list().map_err(failed)?;
            if entries.is_empty() {
                output::note(format_args!("no models in {}; train makes them", path.display()));
            } else if !entries.iter().any(|entry| entry.is_current) {
                output::note(format_args!("no version is in use in {}; rollback picks one", path.display()));
            }
            for entry in entries {
                let mark = if entry.is_current { '*' } else { ' ' };
                let said = entry.metadata.map_or_else(|error| error.to_string(), |metadata| line(&metadata));
                output::say(format_args!("{mark} {} {said}", entry.version))?;
            }
        }
        OfModels::Show { version } => {
            let loaded = store.load(number(version)?).map_err(failed)?;
            let text = serde_json::to_string_pretty(&loaded.metadata);
            output::say(text.map_err(|error| Failed::Running(error.to_string()))?)?;
        }
        OfModels::Rollback { version } => {
            let version = number(version)?;
            store.rollback(version).map_err(failed)?;
            output::say(format_args!(
                "version {version} is in use; a running sidecar takes it up within half a minute"
            ))?;
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<Version, Failed> {
    text.parse().map_err(|error: crate::model_store::NotAVersion| Failed::Asked(error.to_string()))
}

fn line(metadata: &Metadata) -> String {
    format!(
        "{} on {} rows of {} until {} ({})",
        metadata.detectors.join(","),
        metadata.rows,
        metadata.features.join(","),
        rfc3339(metadata.last),
        metadata.fingerprint
    )
}
