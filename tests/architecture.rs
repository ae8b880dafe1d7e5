//! Keeps what `src/lib.rs` says of the architecture.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each module may import; of the layers, see `src/lib.rs`.
const MAY_IMPORT: [(&str, &[&str]); 30] = [
    ("series", &[]),
    ("setting", &["series"]),
    ("exposition", &["series"]),
    ("window", &["series"]),
    ("signal", &["series", "setting", "window", "detect"]),
    ("detect", &["series", "setting", "window"]),
    ("incident", &["series", "setting", "detect"]),
    ("engine", &["series", "setting", "window", "signal", "detect", "incident"]),
    ("scrape", &["series", "setting", "exposition", "clock"]),
    ("probe", &["series", "setting", "exposition", "clock"]),
    ("hostmetrics", &["exposition", "series"]),
    ("notify", &["series", "setting", "detect", "disk", "incident", "engine", "supervisor"]),
    (
        "serve",
        &[
            "series",
            "setting",
            "signal",
            "detect",
            "incident",
            "engine",
            "accept",
            "disk",
            "negotiate",
            "supervisor",
        ],
    ),
    ("dataset", &["series", "setting"]),
    ("clock", &["series"]),
    ("disk", &[]),
    ("supervisor", &[]),
    ("accept", &[]),
    ("negotiate", &[]),
    ("model_store", &["series", "setting", "disk"]),
    ("state", &["series", "window", "detect", "engine", "disk"]),
    ("history", &["series", "setting"]),
    ("admission", &["series", "setting", "accept", "negotiate"]),
    ("telemetry", &["series", "notify", "supervisor"]),
    ("backtest", &["series", "setting", "window", "signal", "detect", "engine", "config", "dataset"]),
    (
        "train",
        &[
            "series",
            "window",
            "signal",
            "detect",
            "engine",
            "config",
            "dataset",
            "model_store",
            "history",
            "backtest",
        ],
    ),
    ("config", &["setting", "window", "signal", "detect", "disk", "incident", "scrape", "probe", "notify"]),
    (
        "app",
        &[
            "clock",
            "series",
            "setting",
            "exposition",
            "window",
            "signal",
            "detect",
            "incident",
            "engine",
            "scrape",
            "probe",
            "hostmetrics",
            "notify",
            "serve",
            "telemetry",
            "config",
            "dataset",
            "model_store",
            "state",
            "history",
            "train",
            "supervisor",
        ],
    ),
    (
        "embed",
        &[
            "series",
            "setting",
            "detect",
            "engine",
            "incident",
            "notify",
            "scrape",
            "config",
            "app",
            "supervisor",
        ],
    ),
    (
        "cli",
        &[
            "clock",
            "admission",
            "series",
            "setting",
            "exposition",
            "window",
            "signal",
            "detect",
            "notify",
            "scrape",
            "hostmetrics",
            "serve",
            "dataset",
            "model_store",
            "history",
            "telemetry",
            "config",
            "backtest",
            "train",
            "app",
        ],
    ),
];

const CORE: [&str; 6] = ["exposition", "window", "signal", "detect", "incident", "engine"];

/// What layer 1 has no business with.
const OUTSIDE_WORLD: [&str; 12] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "tokio",
    "reqwest",
    "rand::rng",
    "OsRng",
    "getrandom",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The module a file belongs to, and its text without the tests in it.
fn modules() -> Vec<(String, PathBuf, String)> {
    let src = root().join("src");
    let is_code = |path: &PathBuf| !path.ends_with("tests.rs");
    let read = |path: PathBuf| {
        let inside = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let module = inside.split(['/', '.']).next().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        (module, path, code)
    };
    sources(&src).into_iter().filter(is_code).map(read).collect()
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let known: Vec<&str> = MAY_IMPORT.iter().map(|(module, _)| *module).collect();
    let mut wrong = Vec::new();
    for (module, path, text) in modules() {
        if module == "lib" || module == "main" {
            continue;
        }
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} is in no layer"));
        let mut imported = BTreeSet::new();
        for line in code_lines(&text) {
            for part in line.split("crate::").skip(1) {
                let list = part.strip_prefix('{').unwrap_or(part);
                let names = if part.starts_with('{') { list.split('}').next().unwrap_or(list) } else { list };
                for name in names.split(',') {
                    let word: String =
                        name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    if known.contains(&word.as_str()) {
                        imported.insert(word);
                    }
                }
            }
        }
        for import in imported {
            if import != module && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{}: {module} may not import {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_knows_nothing_of_the_outside_world() {
    let mut wrong = Vec::new();
    for (module, path, text) in modules() {
        if !CORE.contains(&module.as_str()) {
            continue;
        }
        for line in code_lines(&text) {
            for name in OUTSIDE_WORLD {
                if line.contains(name) {
                    wrong.push(format!("{}: {name}: {line}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    for (_, path, text) in modules() {
        assert!(text.starts_with("//! "), "{} has no documentation", path.display());
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for (_, path, text) in modules() {
        let lines = text.lines().count();
        assert!(lines <= 500, "{}: {lines} lines", path.display());
    }
}

#[test]
fn every_series_the_readme_names_is_served_and_the_other_way_round() {
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let is_series = |word: &&str| {
            word.starts_with("dwcp_") && !word.starts_with("dwcp_anomaly_detection_latency_seconds_")
        };
        let base = |word: &str| word.trim_end_matches("_total").to_owned();
        // Probed series are read by signals, and not served; what ends so is the beginning of names.
        let not_ours =
            |word: &str| word == "dwcp_anomaly" || word.starts_with("dwcp_probe_") || word.ends_with('_');
        words.filter(is_series).map(base).filter(|word| !not_ours(word)).collect()
    };
    let served: String = modules()
        .into_iter()
        .filter(|(module, _, _)| ["serve", "telemetry", "admission"].contains(&module.as_str()))
        .map(|(_, _, text)| code_lines(&text).collect::<Vec<_>>().join("\n"))
        .collect();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert_eq!(names(&readme), names(&served));
}

#[test]
fn the_preferred_packages_are_there_and_used() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let code: String = modules().into_iter().map(|(_, _, text)| text).collect();
    for package in
        ["hyper", "prometheus-parse", "reqwest", "tokio", "serde", "config", "augurs", "arrow", "moka"]
    {
        assert!(
            manifest.lines().any(|line| line.starts_with(&format!("{package} = "))),
            "{package} is no dependency"
        );
        assert!(code.contains(&format!("{}::", package.replace('-', "_"))), "{package} is not used");
    }
}

/// `eprintln!` panics where nobody reads.
#[test]
fn nothing_is_printed_by_a_macro_that_panics() {
    for (_, path, text) in modules() {
        for line in code_lines(&text) {
            let prints = ["println!(", "eprint!(", " print!("].iter().any(|name| line.contains(name));
            assert!(!prints, "{}: {line}", path.display());
        }
    }
}
