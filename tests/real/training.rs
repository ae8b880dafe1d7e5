//! From data to models to a sidecar that uses them, with the programs themselves.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::recorded::{SIGNALS, config, csv, exporter};
use crate::servers::{Server, request, sidecar, tool, value, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dwcp-anomaly");

/// A directory with a configuration, and models in `models`.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    fn models(&self) -> String {
        self.path("models").display().to_string()
    }

    fn train(&self, subject: &str, data: &str) -> (i32, String) {
        tool(PROGRAM, &["train", subject, "--data", data, "--output", &self.models()], "")
    }

    fn models_say(&self, arguments: &[&str]) -> (i32, String) {
        tool(PROGRAM, &[&["models", "--path", &self.models()], arguments].concat(), "")
    }

    /// A sidecar that uses the models here.
    fn sidecar(&self, signals: &[&str]) -> Server {
        let models = format!("detector: {{models: {{path: '{}'}}}}\n", self.models());
        sidecar(&config(exporter(), signals, &models))
    }
}

fn packed(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

fn detector(sidecar: &Server, name: &str) -> Value {
    let status = sidecar.get("/api/v1/monitoring/anomaly/status").unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    let detectors = status["data"]["targets"][0]["detectors"].as_array().cloned().unwrap_or_default();
    detectors.into_iter().find(|detector| detector["model_type"] == name).unwrap_or_default()
}

fn version(sidecar: &Server) -> Option<String> {
    Some(detector(sidecar, "isolation_forest")["model_version"].as_str()?.to_owned())
}

fn log(server: &Server) -> String {
    std::fs::read_to_string(server.directory.path().join("log")).unwrap()
}

/// Has the sidecar look at everything again.
fn reload(sidecar: &Server) {
    let (status, said) = request("POST", &format!("{}/-/reload", sidecar.url()), &[], "").unwrap();
    assert_eq!(status, 200, "{said}");
}

#[test]
fn trained_models_vote_at_once_and_a_rollback_is_taken_up_without_a_restart() {
    let place = Place::new();
    for seed in [1, 2] {
        let data = place.put("normal.csv", csv(seed, 600));
        let (status, said) = place.train("all", &data);
        let expect =
            format!("version 00000{seed}: isolation_forest, lstm_autoencoder on 600 rows of 3 signals");
        assert!(status == 0 && said.contains(&expect), "{status} {said}");
    }
    let (status, list) = place.models_say(&["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(status == 0 && lines.len() == 2, "{list}");
    assert!(lines[0].starts_with("  000001 ") && lines[1].starts_with("* 000002 "), "{list}");
    let (status, shown) = place.models_say(&["show", "2"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((status, &shown["rows"], &shown["interval_ms"]), (0, &600.into(), &1000.into()));
    assert_eq!(shown["features"], serde_json::json!(SIGNALS));

    let sidecar = place.sidecar(&SIGNALS);
    wait_for("the models", Duration::from_secs(5), || version(&sidecar).is_some());
    let forest = detector(&sidecar, "isolation_forest");
    assert_eq!((&forest["model_version"], &forest["ready"]), (&"000002".into(), &true.into()), "{forest}");
    assert_eq!(forest["trained_at"].as_f64(), Some(1_700_000_419.0), "the last row that was studied");
    // No detector that was trained waits for anything but the window it looks at.
    let ready = |model: &str| {
        let page = sidecar.get("/metrics").unwrap();
        value(&page, "dwcp_detector_ready", &[&format!("model_type=\"{model}\"")]) == Some(1.0)
    };
    wait_for("the vote of the autoencoder", Duration::from_secs(45), || ready("lstm_autoencoder"));

    assert_eq!(place.models_say(&["rollback", "1"]).0, 0);
    wait_for("version 1", Duration::from_secs(45), || version(&sidecar).as_deref() == Some("000001"));
    assert!(ready("isolation_forest") && ready("lstm_autoencoder"), "what was learned since is kept");
    for (arguments, code, part) in [
        (&["rollback", "7"][..], 1, "there is no such version; `models list` names those there are"),
        (&["show", "seven"], 2, "is no version; a version is a number from 1 to 999999"),
    ] {
        let (status, said) = place.models_say(arguments);
        assert!(status == code && said.contains(part) && said.lines().count() == 1, "{status} {said}");
    }
    assert_eq!(version(&sidecar).as_deref(), Some("000001"));
}

#[test]
fn a_sites_own_priors_are_trained_and_named_and_a_file_that_cannot_be_used_is_refused_by_name() {
    let place = Place::new();
    let machines = [1, 2].map(|seed| place.put(&format!("machine-{seed}.csv"), csv(seed, 900)));
    let file = place.path("priors.json").display().to_string();
    let train = |output: &str| {
        let data = ["train", "priors", "--data", &machines[0], &machines[1], "--output", output];
        tool(PROGRAM, &data, "")
    };
    let (status, said) = train(&file);
    assert!(status == 0 && said.contains("priors of 2 machines, "), "{status} {said}");
    let first = std::fs::read(&file).unwrap();
    assert_eq!(train(&file).0, 0);
    assert!(first == std::fs::read(&file).unwrap(), "the same data give the same bytes");

    let check = |priors: &str| {
        let configuration = place.put("c.yaml", format!("detector: {{priors: {priors}}}\n"));
        tool(PROGRAM, &["check-config", &configuration], "")
    };
    for good in ["builtin", "\"\"", "priors.json", &file] {
        let (status, said) = check(good);
        assert_eq!(status, 0, "{good}: {said}");
    }
    place.put("half.json", &first[..first.len() / 2]);
    for (bad, reason) in [("half.json", "cannot be read: EOF"), ("none.json", "cannot be read: No such file")]
    {
        let (status, said) = check(bad);
        assert_eq!(status, 2, "{said}");
        assert!(said.contains("detector.priors: ") && said.contains(bad) && said.contains(reason), "{said}");
    }
    // Who runs with them is not kept from starting.
    let sidecar = sidecar(&config(exporter(), &SIGNALS, "detector: {priors: none.json}\n"));
    wait_for("the refusal", Duration::from_secs(5), || log(&sidecar).contains("the priors that come with"));
    assert!(sidecar.get("/-/healthy").is_some());
}

/// The bytes of the one version that came of training on `data`.
fn trained(name: &str, data: &[u8]) -> Vec<u8> {
    let place = Place::new();
    let (status, said) = place.train("all", &place.put(name, data));
    assert_eq!(status, 0, "{said}");
    std::fs::read(Path::new(&place.models()).join("000001.model")).unwrap()
}

#[test]
fn the_same_data_give_the_same_bytes_plain_or_packed_and_other_data_others() {
    let text = csv(3, 500);
    let first = trained("normal.csv", text.as_bytes());
    assert!(first == trained("again.csv", text.as_bytes()), "trained twice");
    assert!(first == trained("normal.csv.gz", &packed(&text)), "packed");
    assert!(first != trained("normal.csv", csv(4, 500).as_bytes()), "other data");
}

#[test]
fn a_terminal_sees_a_bar_and_a_log_lines() {
    let place = Place::new();
    let data = place.put("normal.csv", csv(1, 600));
    let command = format!("{PROGRAM} train isolation-forest --data {data} --output {}", place.models());
    let (status, on_terminal) = tool("script", &["-qec", &command, "/dev/null"], "");
    assert_eq!(status, 0, "{on_terminal}");
    assert!(on_terminal.contains("train █") && on_terminal.contains("100%"), "{on_terminal:?}");
    let (status, otherwise) = place.train("isolation-forest", &data);
    assert_eq!(status, 0, "{otherwise}");
    assert!(otherwise.contains("train: 600 of 600\n"), "{otherwise:?}");
    assert!(!otherwise.contains(['\r', '\u{1b}', '█']), "{otherwise:?}");
}

#[test]
fn models_of_other_signals_and_damaged_models_leave_the_running_ones_in_place() {
    let place = Place::new();
    let data = place.put("normal.csv", csv(1, 300));
    assert_eq!(place.train("isolation-forest", &data).0, 0);
    let sidecar = place.sidecar(&SIGNALS);
    wait_for("the models", Duration::from_secs(5), || version(&sidecar).is_some());
    let stays = |part: &str, what: &str| {
        let before = log(&sidecar).len();
        reload(&sidecar);
        wait_for(what, Duration::from_secs(10), || {
            let said = log(&sidecar)[before..].to_owned();
            said.lines()
                .any(|line| line.contains("models not taken up; those in use stay") && line.contains(part))
        });
        let forest = detector(&sidecar, "isolation_forest");
        assert_eq!((&forest["model_version"], &forest["ready"]), (&"000001".into(), &true.into()), "{what}");
    };

    let (_, said) =
        place.train("isolation-forest", &place.put("other.csv", csv(2, 300).replace("heat", "cold")));
    assert!(said.contains("version 000002"), "{said}");
    stays(
        "it was trained on the signals load, queue, cold, the configuration has load, queue, heat",
        "other signals",
    );
    assert_eq!(place.train("isolation-forest", &place.put("slower.csv", every_ten_seconds())).0, 0);
    stays("set check_interval or train anew", "another interval");

    assert_eq!(place.train("isolation-forest", &data).0, 0);
    let file = Path::new(&place.models()).join("000004.model");
    let sound = std::fs::read(&file).unwrap();
    // Every byte of the preamble, and a few of the rest: the tests of the store go through all.
    for length in (0..24).chain([200, sound.len() / 2, sound.len() - 5, sound.len() - 1]) {
        std::fs::write(&file, &sound[..length]).unwrap();
        stays("000004.model: has ", &format!("cut at {length}"));
    }
    for bit in [0, 65, 100, 170, 900, sound.len() * 4, sound.len() * 8 - 1] {
        let mut flipped = sound.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&file, flipped).unwrap();
        stays("000004.model: ", &format!("bit {bit}"));
    }
    std::fs::write(Path::new(&place.models()).join("current"), "seven\n").unwrap();
    stays("current: names no version; name one by `models rollback`", "no version");

    std::fs::write(&file, &sound).unwrap();
    assert_eq!(place.models_say(&["rollback", "4"]).0, 0);
    reload(&sidecar);
    wait_for("the sound version", Duration::from_secs(10), || version(&sidecar).as_deref() == Some("000004"));
}

/// A recording with its lines passed through `line`, which gets their number from 0.
fn rewritten(text: &str, line: impl Fn(usize, &str) -> String) -> String {
    text.lines().enumerate().map(|(at, text)| line(at, text) + "\n").collect()
}

fn every_ten_seconds() -> String {
    rewritten(&csv(2, 300), |at, line| match at {
        0 => line.to_owned(),
        _ => format!("{}{}", 1_700_000_000 + 10 * at, &line[10..]),
    })
}

/// Data that will not do: the name of the file, its content, and what is said of it.
fn bad_data() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = csv(1, 300);
    let column = |at: usize, cell: &dyn Fn(usize, &str) -> String| {
        let line = |row: usize, line: &str| {
            let cells = line.split(',').enumerate();
            let cells = cells.map(|(n, c)| if n == at && row > 0 { cell(row, c) } else { c.to_owned() });
            cells.collect::<Vec<_>>().join(",")
        };
        rewritten(&good, line).into_bytes()
    };
    let one = |at: usize, cell: &'static str| {
        column(at, &move |row, c| if row == 100 { cell.to_owned() } else { c.to_owned() })
    };
    let gz = packed(&good);
    let mut flipped = gz.clone();
    flipped[gz.len() / 2] ^= 8;
    let mut latin = good.clone().into_bytes();
    let byte = latin.len() - 3;
    latin[byte] = 0xe9;
    let labelled = |name: &str| {
        let last = |row: usize| if row == 0 { name.to_owned() } else { (row % 2).to_string() };
        rewritten(&good, |row, line| format!("{line},{}", last(row))).into_bytes()
    };
    vec![
        (
            "few.csv",
            csv(1, 99).into_bytes(),
            "has 99 rows; at least 100 are needed to learn from: give a longer",
        ),
        ("constant.csv", column(2, &|_, _| "5".to_owned()), "column queue: is 5 in every row"),
        ("missing.csv", column(3, &|_, _| String::new()), "column heat: has no value in any row"),
        ("nan.csv", one(1, "NaN"), "line 101: column load: NaN is no value; leave the cell empty"),
        ("infinite.csv", one(1, "-inf"), "line 101: column load: -inf is no value"),
        (
            "repeated.csv",
            one(0, "1700000098"),
            "line 101: the time 1700000098 repeats that of the row before",
        ),
        (
            "backward.csv",
            one(0, "1700000010"),
            "line 101: the time 1700000010 is earlier than that of the row",
        ),
        (
            "when.csv",
            one(0, "yesterday"),
            "line 101: column timestamp: \"yesterday\" is neither Unix seconds",
        ),
        ("label.csv", labelled("label"), "line 1: column label looks like labels"),
        ("cased.csv", labelled("Is_Anomaly"), "line 1: column Is_Anomaly looks like labels"),
        ("ragged.csv", one(3, "1,2"), "line 101: has 5 cells where the header has 4; give every row"),
        ("short.csv", [good.as_bytes(), b"1700009999,1,2\n"].concat(), "line 302: has 3 cells where"),
        (
            "headless.csv",
            good.split_once('\n').unwrap().1.into(),
            "line 1: has numbers where names should be",
        ),
        ("nameless.csv", good.replace("queue", "").into(), "line 1: column 3 has no name"),
        (
            "twins.csv",
            good.replace("queue", "load").into(),
            "line 1: two columns are called load; rename one",
        ),
        (
            "text.csv",
            one(2, "fast"),
            "line 101: column queue: \"fast\" is not a number; leave the cell empty",
        ),
        ("empty.csv", Vec::new(), "is empty; give it a header row and rows of numbers"),
        ("bare.csv", b"timestamp,load,queue,heat\n".to_vec(), "has no rows below its header"),
        ("latin.csv", latin, "line 301: column heat: is not UTF-8 text; save the file as UTF-8"),
        ("cut.csv.gz", gz[..gz.len() / 2].to_vec(), "cannot be unpacked: "),
        ("almost.csv.gz", gz[..gz.len() - 1].to_vec(), "cut short or damaged, so copy or pack it anew"),
        ("flipped.csv.gz", flipped, "cut short or damaged"),
    ]
}

#[test]
fn bad_data_are_one_line_with_file_place_and_remedy_and_touch_no_model() {
    let place = Place::new();
    let good = place.put("normal.csv", csv(1, 300));
    assert_eq!(place.train("isolation-forest", &good).0, 0);
    let listed = place.models_say(&["list"]);
    let sidecar = place.sidecar(&SIGNALS);
    wait_for("the models", Duration::from_secs(5), || version(&sidecar).is_some());
    let refused = |(status, said): (i32, String), file: &str, part: &str| {
        assert_eq!(status, 1, "{said}");
        assert!(
            said.starts_with(&format!("dwcp-anomaly: {file}: ")) && said.contains(part),
            "{part}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    for (name, content, part) in bad_data() {
        let file = place.put(name, content);
        refused(place.train("isolation-forest", &file), &file, part);
    }
    std::fs::create_dir(place.path("directory.csv")).unwrap();
    for (name, part) in [("directory.csv", "Is a directory"), ("absent.csv", "No such file or directory")] {
        let file = place.path(name).display().to_string();
        refused(place.train("all", &file), &file, part);
    }
    let file = place.put("brief.csv", csv(1, 428));
    let (status, said) = place.train("all", &file);
    assert!(
        status == 1 && said.contains("on 428 rows; give it at least 429, without gaps"),
        "{status} {said}"
    );
    let second = place.put("second.csv", csv(1, 10));
    let both = ["train", "all", "--data", &good, &second, "--output", &place.models()];
    refused(tool(PROGRAM, &both, ""), &second, "line 2: the time 1700000000 is earlier");
    let more = |row: usize, line: &str| {
        format!("{line},{}", if row == 0 { "more".to_owned() } else { row.to_string() })
    };
    let configured = place.put("config.yaml", config(exporter(), &SIGNALS, ""));
    for (name, data, part) in [
        ("wrong.csv", csv(1, 300).replace("queue", "line"), "(missing: queue; too many: line)"),
        ("more.csv", rewritten(&csv(1, 300), more), "(missing: none; too many: more)"),
    ] {
        let file = place.put(name, data);
        let arguments =
            ["train", "all", "--data", &file, "--output", &place.models(), "--config.file", &configured];
        refused(tool(PROGRAM, &arguments, ""), &file, part);
    }
    let (status, said) = tool(PROGRAM, &["train", "all", "--output", &place.models()], "");
    assert!(status == 2 && said.contains("--data"), "{status} {said}");
    assert_eq!(place.models_say(&["list"]), listed);
    assert_eq!(version(&sidecar).as_deref(), Some("000001"));
}
