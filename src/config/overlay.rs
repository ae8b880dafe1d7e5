//! What was set while running: a layer over the file, under the environment, kept in `storage.path`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Config, PREFIX, Problems, Sources};
use crate::disk;

/// Name of its file in `storage.path`.
const FILE: &str = "overlay.json";

/// Bytes of it at most.
const MOST_BYTES: u64 = 1 << 20;

/// Sections that may be set while running. URLs, paths and secrets only come from the file.
pub const SETTABLE: [&str; 7] =
    ["enabled", "check_interval", "signals", "detector", "severity", "incident", "alert.throttle_duration"];

/// A partial configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Overlay {
    keys: Map<String, Value>,
    /// Its file was set aside when it was last looked for.
    #[serde(skip)]
    was_damaged: bool,
}

/// Where an effective value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    Default,
    /// The file.
    File,
    /// The overlay.
    Overlay,
    /// A variable.
    Environment,
}

impl Overlay {
    /// What is kept in the directory `storage`; nothing where there is none yet. A file that cannot be read is set aside, and
    /// `known` takes its place.
    pub fn read(storage: &Path, known: &Self) -> Self {
        let path = storage.join(FILE);
        let kept = match disk::read(&path, MOST_BYTES) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::default(),
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Ok(None) => Err(format!("it is larger than {MOST_BYTES} bytes")),
            Err(error) => Err(error.to_string()),
        };
        let kept =
            kept.and_then(|value: Value| Self::default().with(&value).map_err(|told| told.to_string()));
        kept.unwrap_or_else(|problem| {
            let aside = disk::set_aside(&path).err().map(|error| error.to_string()).unwrap_or_default();
            let (file, to) = (path.display(), format!("{FILE}{}", disk::DAMAGED));
            tracing::error!(%file, problem, to, aside, "what was set while running cannot be read and is set aside");
            Self { was_damaged: true, ..known.clone() }
        })
    }

    /// Whether its file was set aside.
    pub fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// Keeps it in the directory `storage`, whole or not at all.
    pub fn write(&self, storage: &Path) -> std::io::Result<()> {
        let path = storage.join(FILE);
        if self.keys.is_empty() {
            return match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        std::fs::create_dir_all(storage)?;
        let beside: PathBuf = storage.join(format!(".{FILE}.new"));
        let mut file = disk::create_anew(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(&self.keys)?)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        std::fs::File::open(storage)?.sync_all()
    }

    /// With `change` over it. Lists are replaced whole.
    pub fn with(&self, change: &Value) -> Result<Self, Problems> {
        let Value::Object(change) = change else {
            return Err(Problems(vec![
                "must be an object of settings, such as {\"detector\": {\"ensemble_threshold\": 0.7}}"
                    .to_owned(),
            ]));
        };
        let refused = refused(change);
        if !refused.is_empty() {
            return Err(Problems(refused));
        }
        let read = serde_path_to_error::deserialize::<_, Config>(Value::Object(change.clone()));
        read.map_err(|error| Problems(vec![format!("{}: {}", error.path(), error.inner())]))?;
        let mut merged = self.keys.clone();
        merge(&mut merged, change);
        Ok(Self { keys: merged, was_damaged: false })
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys as JSON.
    pub fn value(&self) -> Value {
        Value::Object(self.keys.clone())
    }

    /// Whether the section that `key` is in was set.
    pub(super) fn has_section(&self, key: &str) -> bool {
        key.split(['.', '[']).next().is_some_and(|section| self.keys.contains_key(section))
    }

    /// Those of its keys that a variable of `environment` is over.
    pub fn shadowed(&self, environment: &[(String, String)]) -> Vec<(String, String)> {
        let mut keys = Vec::new();
        flatten("", &self.value(), &mut |key, _| keys.push(key.to_owned()));
        let variable = |key: String| {
            let name = variable(&key);
            environment.iter().any(|(known, _)| *known == name).then_some((key, name))
        };
        keys.into_iter().filter_map(variable).collect()
    }
}

/// The variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// A line for each key that only the file may set.
fn refused(change: &Map<String, Value>) -> Vec<String> {
    let mut refused = Vec::new();
    let known = serde_json::to_value(Config::default()).unwrap_or_default();
    flatten("", &Value::Object(change.clone()), &mut |key, value| {
        let is_settable = SETTABLE.iter().any(|known| key == *known || key.starts_with(&format!("{known}.")));
        let has_link = |signal: &Value| signal.get("runbook_url").is_some_and(|url| !url.is_null());
        let section = key.split('.').next().unwrap_or_default();
        if known.get(section).is_none() {
            refused.push(format!("{section}: is unknown; settable are {}", SETTABLE.join(", ")));
        } else if !is_settable || key == "detector.models.path" {
            refused.push(format!("{key}: only comes from the file; settable are {}", SETTABLE.join(", ")));
        } else if key == "signals" && value.as_array().into_iter().flatten().any(has_link) {
            refused.push("signals: runbook_url only comes from the file; leave it out".to_owned());
        }
    });
    refused
}

fn merge(into: &mut Map<String, Value>, change: &Map<String, Value>) {
    for (key, value) in change {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(value)) => merge(into, value),
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

/// Visits every value that is no object, and empty objects, by its dotted key.
fn flatten(prefix: &str, value: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            for (name, value) in inner {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&key, value, visit);
            }
        }
        _ if prefix.is_empty() => {}
        _ => visit(prefix, value),
    }
}

fn has(value: &Value, key: &str) -> bool {
    let mut at = value;
    for part in key.split('.') {
        match at {
            Value::Object(inner) => match inner.get(part) {
                Some(inner) => at = inner,
                None => return false,
            },
            // A list or a word is given whole.
            _ => return true,
        }
    }
    true
}

impl Sources {
    /// Reads, layers and validates everything: the file, what is kept where it says (`known`, where nothing is kept on
    /// disk), and the environment.
    pub fn load_whole(&self, known: &Overlay) -> Result<(Config, Overlay), Problems> {
        let config = self.load()?;
        let overlay = match config.storage.path.as_str() {
            "" => known.clone(),
            path => Overlay::read(Path::new(path), known),
        };
        if overlay.is_empty() {
            return Ok((config, overlay));
        }
        Ok((self.load_over(&overlay)?, overlay))
    }

    /// Where each value of `config` comes from, by its dotted key.
    pub fn origins(&self, config: &Config, overlay: &Overlay) -> BTreeMap<String, Origin> {
        let file = self.file.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let file: Value = yaml_serde::from_str(&file).unwrap_or_default();
        let (effective, overlay) = (serde_json::to_value(config).unwrap_or_default(), overlay.value());
        let mut origins = BTreeMap::new();
        flatten("", &effective, &mut |key, _| {
            let name = variable(key);
            let origin = if self.variables().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                Origin::Environment
            } else if has(&overlay, key) {
                Origin::Overlay
            } else if has(&file, key) {
                Origin::File
            } else {
                Origin::Default
            };
            origins.insert(key.to_owned(), origin);
        });
        origins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sources(directory: &Path, file: &str, environment: &[(&str, &str)]) -> Sources {
        let path = directory.join("c.yaml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Sources { file: Some(path), environment, quick_start: false }
    }

    #[test]
    fn only_settable_keys_of_the_right_kind_are_taken() {
        for (change, part) in [
            (json!({"scrape": {"targets": []}}), "scrape.targets: only comes from the file"),
            (json!({"storage": {"path": "x"}}), "storage.path: only"),
            (json!({"alert": {"alertmanagers": []}}), "alert.alertmanagers: only"),
            (json!({"detector": {"models": {"path": "x"}}}), "detector.models.path: only"),
            (json!({"signals": [{"name": "a", "expr": "b", "runbook_url": "http://x"}]}), "runbook_url only"),
            (json!({"nonsense": 1}), "nonsense: is unknown; settable are"),
            (json!({"detector": {"nonsense": 1}}), "unknown field `nonsense`"),
            (
                json!({"detector": {"ensemble_threshold": 1.5}}),
                "detector.ensemble_threshold: 1.5 is not between",
            ),
            (json!({"enabled": "yes"}), "enabled: invalid type"),
            (json!({"enabled": null}), "enabled: invalid type"),
            (json!([1]), "must be an object"),
        ] {
            let told = Overlay::default().with(&change).unwrap_err().to_string();
            assert!(told.contains(part), "{change}: {told}");
        }
    }

    #[test]
    fn it_lies_over_the_file_and_under_the_environment_and_survives() {
        let directory = tempfile::tempdir().unwrap();
        let storage = directory.path().join("data");
        let file =
            format!("check_interval: 5s\nincident: {{for: 4}}\nstorage: {{path: '{}'}}\n", storage.display());
        let sources = sources(directory.path(), &file, &[("DWCP__INCIDENT__CLEAR_AFTER", "9")]);
        let change = json!({"check_interval": "7s", "incident": {"clear_after": 2}, "detector": {"zscore": {"weight": 0.5}}});
        let overlay = Overlay::default().with(&change).unwrap();
        overlay.write(&storage).unwrap();
        let (config, read) = sources.load_whole(&Overlay::default()).unwrap();
        assert_eq!(read, overlay);
        assert_eq!(config.check_interval.as_seconds(), 7.0);
        assert_eq!((config.incident.r#for, config.incident.clear_after), (4, 9));
        let origins = sources.origins(&config, &overlay);
        for (key, origin) in [
            ("check_interval", Origin::Overlay),
            ("incident.for", Origin::File),
            ("incident.clear_after", Origin::Environment),
            ("incident.hold_no_data", Origin::Default),
            ("detector.zscore.weight", Origin::Overlay),
            ("detector.zscore.window", Origin::Default),
            ("signals", Origin::Default),
        ] {
            assert_eq!(origins[key], origin, "{key}");
        }
        let shadowed = overlay.shadowed(&sources.environment);
        assert_eq!(shadowed, [("incident.clear_after".to_owned(), "DWCP__INCIDENT__CLEAR_AFTER".to_owned())]);
        Overlay::default().write(&storage).unwrap();
        assert!(sources.load_whole(&overlay).unwrap().1.is_empty());
    }

    #[test]
    fn changes_add_up_and_lists_are_replaced_whole() {
        let first = json!({"detector": {"zscore": {"weight": 0.5}}, "signals": [{"name": "a", "expr": "b"}]});
        let second = json!({"detector": {"ensemble_threshold": 0.7}, "signals": []});
        let both = Overlay::default().with(&first).unwrap().with(&second).unwrap();
        let expect =
            json!({"detector": {"zscore": {"weight": 0.5}, "ensemble_threshold": 0.7}, "signals": []});
        assert_eq!(both.value(), expect);
    }

    #[test]
    fn what_does_not_fit_together_is_told_of_the_overlay() {
        let directory = tempfile::tempdir().unwrap();
        let sources = sources(directory.path(), "", &[]);
        let overlay =
            Overlay::default().with(&json!({"severity": {"warning": {"confidence": 0.95, "sigma": 3}}}));
        let told = sources.load_over(&overlay.unwrap()).unwrap_err().to_string();
        assert!(told.starts_with("overlay: severity.critical: must ask"), "{told}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside_and_what_is_known_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (file, aside) = (directory.path().join(FILE), directory.path().join("overlay.json.damaged"));
        let known = Overlay::default().with(&json!({"check_interval": "7s"})).unwrap();
        for text in ["{", "", "[1]", r#"{"nonsense": 1}"#, r#"{"storage": {"path": "x"}}"#, "\u{0}"] {
            std::fs::write(&file, text).unwrap();
            let read = Overlay::read(directory.path(), &known);
            assert!(read.was_damaged() && read.value() == known.value(), "{text}");
            assert_eq!(std::fs::read_to_string(&aside).unwrap(), text);
            assert!(!file.exists());
        }
        let theirs = directory.path().join("theirs");
        std::fs::write(&theirs, "{}").unwrap();
        for name in [FILE, ".overlay.json.new"] {
            std::os::unix::fs::symlink(&theirs, directory.path().join(name)).unwrap();
        }
        assert!(Overlay::read(directory.path(), &known).was_damaged(), "a link");
        known.write(directory.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "{}");
        assert_eq!(Overlay::read(directory.path(), &Overlay::default()), known);
    }
}
