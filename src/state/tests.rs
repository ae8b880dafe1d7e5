use std::fs;

use super::*;
use crate::config::Config;
use crate::engine::{Engine, Event, Health};
use crate::scrape::config::Target;
use crate::series::{Batch, Origin, Sample, Timestamp};
use crate::signal::Definition;

fn config() -> Config {
    let mut config =
        Config { signals: ["load", "idle"].map(Definition::plain).to_vec(), ..Config::default() };
    config.buffer_size = 20;
    let mut target = Target::new("http://10.0.0.1:9100/metrics");
    target.labels.insert("rack".to_owned(), "a \"b\"".to_owned());
    config.scrape.targets.push(target);
    config
}

fn engine() -> Engine {
    Engine::new(crate::app::setup(&config(), "host", 10091))
}

/// Between 0 and 10, without any pattern (splitmix64).
fn noise(seed: i64) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 * 10.0
}

/// Ten seconds a row; high from row 40 on, so that an incident fires.
fn watch(engine: &mut Engine, rows: std::ops::Range<i64>) {
    for row in rows {
        let at = Timestamp::from_millis(1_700_000_000_000 + row * 10_000);
        let value = if row >= 40 { 900.0 } else { noise(2 * row) };
        let labels = Labels::new([("__name__", "load"), ("core", "0")]);
        let idle = Labels::new([("__name__", "idle")]);
        let idle = Sample { labels: idle, value: noise(2 * row + 1), at: None };
        let samples = vec![Sample { labels, value, at: None }, idle];
        let batch = Batch { origin: Origin::Scrape, at, samples };
        engine.step(Event::Batch(0, batch, Some(Health { exposed: 1, ..Health::default() })));
        for fit in engine.step(Event::Tick(0, at)).tasks {
            let what = fit.what.run(&mut || ());
            engine.step(Event::Install(crate::engine::Fit { target: fit.target, asked: fit.asked, what }));
        }
    }
}

fn write(engine: &mut Engine, path: &Path) {
    let directory = Directory::open(path).unwrap();
    directory.load();
    let mut known = Known::default();
    for target in engine.keep() {
        directory.write_target(&target, &mut known).unwrap();
    }
    directory.write_incidents(&engine.incidents()).unwrap();
    directory.settle_incidents().unwrap();
    directory.write_settled(&engine.incidents()).unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let mut names = disk::names(path).unwrap();
    names.sort();
    names
}

fn firing(engine: &Engine) -> Vec<crate::incident::Incident> {
    engine.snapshot().incidents.iter().filter(|incident| incident.ended_at.is_none()).cloned().collect()
}

fn fires(engine: &Engine) -> bool {
    firing(engine).iter().any(|incident| incident.metric_name() == "load")
}

/// A directory with the state of an engine in which an incident fires.
fn kept() -> (tempfile::TempDir, Engine) {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = engine();
    watch(&mut engine, 0..46);
    assert!(fires(&engine));
    write(&mut engine, directory.path());
    (directory, engine)
}

#[test]
fn a_restored_engine_goes_on_where_the_kept_one_was() {
    let (directory, mut engine) = kept();
    let loaded = Directory::open(directory.path()).unwrap().load();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    let mut other = self::engine();
    let restored = other.restore(loaded.targets, loaded.incidents);
    assert_eq!(
        restored.into_iter().map(|(_, how)| how).collect::<Vec<_>>(),
        [crate::engine::kept::Restored::Whole]
    );
    assert_eq!(firing(&other), firing(&engine));
    // The fit that was under way comes later than it would have.
    watch(&mut engine, 46..58);
    watch(&mut other, 46..58);
    let shown = |engine: &Engine| format!("{:?}", engine.snapshot().targets);
    let (whole, restored) = (shown(&engine), shown(&other));
    let differs = whole.bytes().zip(restored.bytes()).position(|(a, b)| a != b);
    assert_eq!(differs.map(|at| &whole[at.saturating_sub(60)..at + 20]), None);
}

#[test]
fn models_are_written_when_they_have_changed_and_what_is_watched_no_more_is_removed() {
    let (directory, mut engine) = kept();
    let models =
        || names(directory.path()).into_iter().filter(|name| name.ends_with(MODELS)).collect::<Vec<_>>();
    let before = models();
    watch(&mut engine, -100..38);
    write(&mut engine, directory.path());
    assert_eq!((before.len(), models().len()), (1, 1));
    assert_ne!(before, models());
    let held = Directory::open(directory.path()).unwrap();
    held.forget_others(&[], Duration::from_hours(1)).unwrap();
    assert_eq!(names(directory.path()).len(), 5, "it may come back");
    held.forget_others(&[], Duration::ZERO).unwrap();
    assert_eq!(names(directory.path()), [INCIDENTS, SETTLED, LOCK]);
}

#[test]
fn a_directory_is_of_one_process_and_of_the_next_once_that_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let held = Directory::open(directory.path()).unwrap();
    let error = Directory::open(directory.path()).err().unwrap().to_string();
    assert!(error.starts_with("storage.path: ") && error.contains("is in use by another process"), "{error}");
    drop(held);
    Directory::open(directory.path()).unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Directory::open(&file).err().unwrap().to_string();
    assert!(error.contains("cannot be used: "), "{error}");
}

#[test]
fn what_was_being_written_when_the_process_was_killed_is_cleared_away() {
    let (directory, _) = kept();
    let file = directory.path().join("incidents.new");
    fs::write(&file, "half").unwrap();
    fs::write(directory.path().join("notes.new"), "somebody else's").unwrap();
    let opened = Directory::open(directory.path()).unwrap();
    assert!(!file.exists() && directory.path().join("notes.new").exists());
    assert!(opened.load().damaged.is_empty());
}

/// Puts `bytes` in place of a file and says what is loaded then; the file is as it was after that.
fn load_with(directory: &Path, name: &str, bytes: &[u8]) -> Loaded {
    let file = directory.join(name);
    let sound = fs::read(&file).unwrap();
    fs::write(&file, bytes).unwrap();
    let loaded = Directory::open(directory).unwrap().load();
    let aside = directory.join(format!("{name}{}", disk::DAMAGED));
    if !loaded.damaged.is_empty() {
        assert!(!file.exists() && fs::read(&aside).unwrap() == bytes, "{name} is set aside as it was");
        fs::remove_file(aside).unwrap();
    }
    fs::write(&file, sound).unwrap();
    loaded
}

#[test]
fn a_file_cut_anywhere_or_with_any_bit_flipped_is_set_aside_and_the_rest_is_loaded() {
    let (directory, engine) = kept();
    let standing = engine.incidents().standing;
    for name in names(directory.path()).into_iter().filter(|name| name != LOCK) {
        let sound = fs::read(directory.path().join(&name)).unwrap();
        for length in 0..sound.len() {
            assert!(file::decode(&sound[..length]).is_err(), "{name} cut to {length}");
        }
        // Whole directories are read at some of them.
        let step = sound.len() / 40 + 1;
        let lengths = (0..sound.len()).filter(|at| at % step == 0 || *at < 40 || sound.len() - at < 20);
        let flips = (0..sound.len()).step_by(step);
        let cut = lengths.map(|length| sound[..length].to_vec());
        let flipped = flips.map(|at| {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        for (nth, bytes) in cut.chain(flipped).enumerate() {
            let loaded = load_with(directory.path(), &name, &bytes);
            assert_eq!(loaded.damaged.len(), 1, "{name} {nth}");
            assert!(loaded.damaged[0].file.ends_with(&name));
            assert_eq!(loaded.targets.len(), usize::from(!name.ends_with(STATE)));
            assert_eq!(loaded.incidents.standing, standing, "of two files of incidents one is enough");
            let learned = loaded.targets.first().is_some_and(|target| target.learned.is_some());
            assert_eq!(learned, !name.ends_with(STATE) && !name.ends_with(MODELS));
        }
    }
}

#[test]
fn without_what_was_learned_it_is_learned_anew_from_what_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = engine();
    watch(&mut engine, -300..40);
    write(&mut engine, directory.path());
    let models = names(directory.path()).into_iter().find(|name| name.ends_with(MODELS)).unwrap();
    let loaded = load_with(directory.path(), &models, b"");
    let mut other = self::engine();
    let restored = other.restore(loaded.targets, loaded.incidents);
    assert_eq!(restored[0].1, crate::engine::kept::Restored::Relearned);
    watch(&mut other, 40..46);
    assert!(fires(&other), "it does not warm up anew");
}

#[test]
fn other_signals_go_on_with_the_windows_and_an_incident_of_one_that_is_gone_ends() {
    let (directory, _) = kept();
    let loaded = Directory::open(directory.path()).unwrap().load();
    let mut config = config();
    config.signals = vec![Definition::plain("other")];
    let mut other = Engine::new(crate::app::setup(&config, "host", 10091));
    let restored = other.restore(loaded.targets, loaded.incidents);
    assert_eq!(restored[0].1, crate::engine::kept::Restored::Windows);
    let snapshot = other.snapshot();
    assert_eq!(snapshot.targets[0].series, 2);
    let ended = |incident: &crate::incident::Incident| {
        incident.ended_at.is_some() && incident.reason == crate::incident::Reason::Reconfigured
    };
    assert!(!snapshot.incidents.is_empty() && snapshot.incidents.iter().all(ended));
}
