//! Golden replays: what the engine says of short labelled traces, kept as text and compared to the last digit kept.
//!
//! A golden file changes only when what the engine says is meant to change. Whoever changes a detector, the
//! calibration, the vote or the incidents rewrites all of them by one command,
//!
//! ```sh
//! GOLDEN=rewrite cargo test --test replay golden
//! ```
//!
//! reads the difference, and gives in the commit the reason why each kind of change in it is right: which score moved
//! why, which incident came, went, or moved in time. A change that was not meant to move scores must not touch them; if
//! it does, it is the change that is wrong. They are never edited by hand, never rewritten to make a test pass, and no
//! digit is dropped to make one pass.

use std::fmt::Write as _;
use std::path::PathBuf;

use dwcp_anomaly::detect::verdict::Severity;

use crate::driver::{self, Said};
use crate::trace::{Fault, Kind, SIGNALS, Scenario};

const fn fault(kind: Kind, signal: usize, from: usize, until: usize, height: f64) -> Fault {
    Fault { kind, signal, from, until, height }
}

const PLAIN: Scenario =
    Scenario { name: "", seed: 0, interval: 10, rows: 600, taught: 0, faults: &[], restart: None };

const STEPS: &[Fault] = &[
    fault(Kind::Step, 0, 420, 450, 12.0),
    fault(Kind::Step, 1, 490, 520, 15.0),
    fault(Kind::Step, 0, 560, 580, 8.0),
    fault(Kind::Step, 2, 560, 580, 8.0),
];

/// For the autoencoder too there are rows enough before them.
const LATE_STEPS: &[Fault] = &[
    fault(Kind::Step, 0, 540, 570, 12.0),
    fault(Kind::Step, 1, 640, 670, 15.0),
    fault(Kind::Step, 0, 740, 760, 8.0),
    fault(Kind::Step, 2, 740, 760, 8.0),
];

/// What is replayed; one file each.
pub const SCENARIOS: [Scenario; 8] = [
    Scenario { name: "steps-10s", seed: 1, faults: STEPS, ..PLAIN },
    Scenario { name: "steps-10s-taught", seed: 8, rows: 800, taught: 500, faults: LATE_STEPS, ..PLAIN },
    Scenario {
        name: "spikes-1s",
        seed: 2,
        interval: 1,
        faults: &[
            fault(Kind::Step, 0, 300, 301, 40.0),
            fault(Kind::Step, 2, 400, 404, 25.0),
            fault(Kind::Step, 1, 500, 512, 25.0),
        ],
        ..PLAIN
    },
    Scenario {
        name: "ramp-10s",
        seed: 3,
        faults: &[fault(Kind::Ramp, 1, 400, 480, 30.0), fault(Kind::Step, 1, 480, 500, 30.0)],
        ..PLAIN
    },
    Scenario {
        name: "ramp-60s-taught",
        seed: 4,
        interval: 60,
        rows: 700,
        taught: 500,
        faults: &[fault(Kind::Ramp, 0, 560, 610, 20.0)],
        ..PLAIN
    },
    Scenario {
        name: "vanishing-10s",
        seed: 5,
        faults: &[
            fault(Kind::Vanish, 0, 300, 320, 0.0),
            fault(Kind::Step, 2, 400, 480, 12.0),
            fault(Kind::Vanish, 2, 420, 480, 0.0),
        ],
        ..PLAIN
    },
    Scenario {
        name: "restart-10s",
        seed: 6,
        faults: &[fault(Kind::Step, 1, 395, 430, 15.0)],
        restart: Some((405, 12)),
        ..PLAIN
    },
    Scenario {
        name: "steps-60s",
        seed: 7,
        interval: 60,
        faults: &[fault(Kind::Step, 0, 420, 440, 15.0), fault(Kind::Step, 2, 500, 530, 10.0)],
        restart: Some((470, 240)),
        ..PLAIN
    },
];

/// Digits after the point that are compared.
const DIGITS: usize = 4;

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.DIGITS$}"))
}

/// What was said, a line a check: time, label, the target's score, the detectors' confidences, the signals' scores, and
/// what became of incidents.
fn text(scenario: &Scenario, said: &[Said]) -> String {
    let mut text = format!(
        "# {}: a check every {} s, {} rows taught; seconds | label | score | forest lstm zscore esd | {} | alert, changes\n",
        scenario.name,
        scenario.interval,
        scenario.taught,
        SIGNALS.join(" ")
    );
    let trace = scenario.trace();
    for (row, said) in trace[scenario.taught..].iter().zip(said) {
        let all = |values: &[Option<f64>]| values.iter().copied().map(number).collect::<Vec<_>>().join(" ");
        let verdict = &said.verdict;
        let _ = write!(
            text,
            "{} {} {} | {} | {} |",
            said.at.since(trace[0].at).as_secs(),
            if row.label { '#' } else { '.' },
            number(Some(verdict.score)),
            all(&verdict.confidences),
            all(&said.scores)
        );
        if verdict.alert {
            let _ = write!(text, " {}", verdict.severity.map_or("", Severity::name));
        }
        for change in &said.changes {
            let metric = change.metric.get("metric_name").unwrap();
            let _ = write!(text, " {metric}:{:?}:{}", change.transition.to, change.transition.reason.name());
        }
        text.push('\n');
    }
    text
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/replay/golden")
}

/// The first lines that differ, and how many do.
fn difference(golden: &str, now: &str) -> Option<String> {
    let (golden, now): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), now.lines().collect());
    let line = |lines: &[&str], at: usize| lines.get(at).copied().unwrap_or("(no line)").to_owned();
    let differ: Vec<usize> =
        (0..golden.len().max(now.len())).filter(|at| golden.get(*at) != now.get(*at)).collect();
    let first = *differ.first()?;
    Some(format!(
        "{} of {} lines differ, first line {}:\n  was {}\n  is  {}",
        differ.len(),
        golden.len(),
        first + 1,
        line(&golden, first),
        line(&now, first)
    ))
}

#[test]
fn golden_replays_say_what_they_said() {
    let rewrite = std::env::var("GOLDEN").is_ok_and(|what| what == "rewrite");
    let mut wrong = strangers();
    for scenario in &SCENARIOS {
        let file = folder().join(format!("{}.txt", scenario.name));
        let now = text(scenario, &driver::run(scenario));
        assert!(now.contains(":Firing:persisted"), "{}: nothing fires in it", scenario.name);
        if rewrite {
            std::fs::write(&file, &now).unwrap();
        }
        match std::fs::read_to_string(&file) {
            Ok(golden) => wrong.extend(difference(&golden, &now).map(|d| format!("{}: {d}", scenario.name))),
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nif this is meant: GOLDEN=rewrite cargo test --test replay golden, and say why in the commit",
        wrong.join("\n")
    );
}

/// Golden files that no scenario writes.
fn strangers() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let is_known =
        |path: &PathBuf| SCENARIOS.iter().any(|s| path.file_stem().is_some_and(|stem| stem == s.name));
    texts.filter(|path| !is_known(path)).map(|path| format!("{}: of no scenario", path.display())).collect()
}
