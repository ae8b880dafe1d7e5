//! The whole configuration: layered, read strictly, validated before anything acts on it.
//!
//! Layers: defaults, those handed down in `DWCP_DEFAULTS` (by an injector, in JSON), the file, what was set while running,
//! the environment (`DWCP__DETECTOR__ENSEMBLE_THRESHOLD=0.7`). Lists are replaced whole.
//! Each section's struct lies beside the code that it configures; here they are only put together and checked
//! against each other. A problem names file, line, key path and remedy.

mod check;
mod layer;
mod overlay;
mod sections;

pub use check::{Checked, check_file};
pub use overlay::{Origin, Overlay, SETTABLE};
pub use sections::{History, Storage};

use std::path::{Path, PathBuf};

use layer::Layer;
use serde::{Deserialize, Serialize};

use crate::setting::{ByteSize, Span, locate, resolve};
use crate::{detect, incident, notify, probe, scrape, signal};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Off: scrape and serve signals, detect and alert nothing.
    pub enabled: bool,
    /// Time between checks.
    pub check_interval: Span,
    /// Raw samples kept per series.
    pub buffer_size: usize,
    /// What is scraped.
    pub scrape: scrape::config::Config,
    /// What is probed.
    pub probe: probe::config::Config,
    /// What is judged.
    pub signals: Vec<signal::Definition>,
    /// How it is judged.
    pub detector: detect::config::Config,
    /// How bad it is.
    pub severity: incident::config::Severities,
    /// How persistent it must be.
    pub incident: incident::config::Config,
    /// Who is told.
    pub alert: notify::config::Config,
    /// Where the past comes from at start.
    pub history: sections::History,
    /// Bounds of a target's window.
    pub window: Window,
    /// What outlives the process.
    pub storage: sections::Storage,
    /// What the process may take.
    pub limits: Limits,
}

/// The section `limits`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of the process; by default what its control group may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
}

/// The section `window`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Window {
    /// Bytes of raw series per target.
    pub max_bytes: ByteSize,
}

impl Default for Window {
    fn default() -> Self {
        Self { max_bytes: ByteSize(16 << 20) }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            check_interval: Span::seconds(10),
            buffer_size: 1000,
            scrape: scrape::config::Config::default(),
            probe: probe::config::Config::default(),
            signals: signal::defaults(),
            detector: detect::config::Config::default(),
            severity: incident::config::Severities::default(),
            incident: incident::config::Config::default(),
            alert: notify::config::Config::default(),
            history: sections::History::default(),
            window: Window::default(),
            storage: sections::Storage::default(),
            limits: Limits::default(),
        }
    }
}

/// What is wrong with a configuration; one line a problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Problems(pub Vec<String>);

/// Where the layers over the defaults come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config.file`.
    pub file: Option<PathBuf>,
    /// Variables as the process sees them.
    pub environment: Vec<(String, String)>,
    /// What `run` without a file assumes.
    pub quick_start: bool,
}

const PREFIX: &str = "DWCP__";
/// Configuration that lies under the file, so that a file without targets still has those of its pod.
const HANDED_DOWN: &str = "DWCP_DEFAULTS";

impl Sources {
    /// Reads, layers and validates, without what was set while running.
    pub fn load(&self) -> Result<Config, Problems> {
        self.load_over(&Overlay::default())
    }

    /// Reads, layers and validates, with `overlay` over the file.
    pub fn load_over(&self, overlay: &Overlay) -> Result<Config, Problems> {
        let text = match &self.file {
            Some(path) => read(path)?,
            None => String::new(),
        };
        let name = self.file.as_deref().unwrap_or(Path::new("defaults"));
        strict(Path::new(HANDED_DOWN), self.handed_down())?;
        strict(name, &text)?;
        let mut config = self.layer(&text, overlay)?;
        config.alert.switched_off = self.switched_off(&config.alert);
        if let Some(directory) = self.file.as_deref().and_then(Path::parent) {
            resolve(directory, config.alert.files());
            resolve(directory, config.detector.priors_file());
        }
        config.detector.take_up_priors(|file| {
            std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))
        });
        let problems = check::problems(&config);
        if problems.is_empty() {
            return Ok(config);
        }
        Err(Problems(
            problems
                .into_iter()
                .map(|(key, problem)| self.say(name, &text, overlay, &key, &problem))
                .collect(),
        ))
    }

    fn layer(&self, text: &str, overlay: &Overlay) -> Result<Config, Problems> {
        let fail = |error: String| Problems(vec![error]);
        let mut base = Config::default();
        if self.quick_start {
            base.check_interval = Span::seconds(2);
        }
        let defaults = yaml_serde::to_string(&base).map_err(|error| fail(error.to_string()))?;
        let file = self.file.as_deref().unwrap_or(Path::new("defaults"));
        let mut builder = config::Config::builder();
        for text in [defaults.as_str(), self.handed_down(), text, &overlay.value().to_string()] {
            let layer = Layer::read(text).map_err(|error| fail(format!("{}: {error}", file.display())))?;
            builder = builder.add_source(layer);
        }
        for (name, value) in self.variables() {
            let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
            let value = layer::variable(value)
                .map_err(|error| fail(format!("environment: {name}: {error}; quote it as YAML does")))?;
            builder = builder
                .set_override(&key, value)
                .map_err(|error| fail(format!("environment: {name}: {error}")))?;
        }
        let merged = builder.build().map_err(|error| fail(format!("{}: {error}", file.display())))?;
        merged.try_deserialize().map_err(|error| fail(self.blame(file, &error.to_string())))
    }

    fn handed_down(&self) -> &str {
        let found = self.environment.iter().find(|(name, _)| name == HANDED_DOWN);
        found.map(|(_, text)| text.as_str()).filter(|text| !text.trim().is_empty()).unwrap_or("{}")
    }

    /// Whether there is nothing in the file; one that cannot be read is not empty.
    pub fn is_blank(&self) -> bool {
        let Some(path) = &self.file else { return false };
        read(path).is_ok_and(|text| Layer::read(&text).is_ok_and(|layer| layer.is_empty()))
    }

    /// Kinds of channels that a variable has switched off.
    fn switched_off(&self, alert: &notify::config::Config) -> Vec<&'static str> {
        let is_off = |kind: &&'static str| match *kind {
            "slack" => !alert.slack_enabled,
            "pagerduty" => !alert.pagerduty_enabled,
            "webhook" => !alert.webhook_enabled,
            _ => !alert.email_enabled,
        };
        let is_said = |kind: &&'static str| {
            let switch = overlay::variable(&format!("alert.{kind}_enabled"));
            self.variables().any(|(name, _)| name.eq_ignore_ascii_case(&switch))
        };
        notify::config::SWITCHED.into_iter().filter(|kind| is_off(kind) && is_said(kind)).collect()
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let ours = self.environment.iter().filter(|(name, _)| name.starts_with(PREFIX));
        ours.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The file alone was sound, so a layered error is of the environment, if it sets anything; of the variable whose key is
    /// named, if one is.
    fn blame(&self, file: &Path, error: &str) -> String {
        let names: Vec<&str> = self.variables().map(|(name, _)| name).collect();
        let meant = error.split('`').find_map(|word| {
            let variable = overlay::variable(word);
            names.iter().find(|name| **name == variable).copied()
        });
        if names.is_empty() {
            return format!("{}: {error}; see configs/monitoring/anomaly-detection.yaml", file.display());
        }
        let names = meant.map_or_else(|| names.join(", "), str::to_owned);
        format!("environment ({names}): {error}; unset the variable or correct it")
    }

    fn say(&self, file: &Path, text: &str, overlay: &Overlay, key: &str, problem: &str) -> String {
        let variable = format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"));
        if self.variables().any(|(name, _)| name == variable) {
            return format!("environment: {variable}: {problem}");
        }
        if overlay.has_section(key) {
            return format!(
                "overlay: {key}: {problem}; it was set while running and is over the file, see PUT and DELETE /api/v1/monitoring/anomaly/config, or overlay.json in storage.path"
            );
        }
        match locate::line(text, key) {
            Some(line) => format!("{}:{line}: {key}: {problem}", file.display()),
            None => format!("{}: {key}: {problem}", file.display()),
        }
    }
}

fn read(path: &Path) -> Result<String, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problems(vec![format!(
            "{}: cannot be read: {error}; give a readable file to --config.file",
            path.display()
        )])
    })?;
    // Some editors begin a file with a mark of its byte order.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads the file by itself, so that an error has its line; the layers then lose it.
fn strict(file: &Path, text: &str) -> Result<(), Problems> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(());
    }
    let read = serde_path_to_error::deserialize::<_, Config>(yaml_serde::Deserializer::from_str(text));
    read.map(|_| ()).map_err(|error| {
        let key = error.path().to_string();
        let error = error.into_inner();
        let line = locate::line(text, &key).or_else(|| error.location().map(|at| at.line()));
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        let told = error.to_string();
        let told = told.split(" at line ").next().unwrap_or(&told);
        // The reader prefixes a part of the path of its own.
        let told =
            told.split_once(": ").filter(|(head, _)| key.starts_with(head)).map_or(told, |(_, rest)| rest);
        let key = if key == "." { String::new() } else { format!("{key}: ") };
        Problems(vec![format!(
            "{}{line}: {key}{told}; see configs/monitoring/anomaly-detection.yaml",
            file.display()
        )])
    })
}

#[cfg(test)]
mod tests;
