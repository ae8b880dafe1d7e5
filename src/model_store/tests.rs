use std::collections::BTreeSet;
use std::fs;

use super::*;

fn metadata(rows: u64) -> Metadata {
    Metadata {
        features: vec!["latency".to_owned(), "jitter".to_owned()],
        rows,
        first: Timestamp::from_millis(1_000),
        last: Timestamp::from_millis(1_000 + rows as i64 * 10_000),
        fingerprint: "5f3a".to_owned(),
        seed: 7,
        detectors: vec!["isolation_forest".to_owned()],
        interval_ms: 10_000,
    }
}

fn store(keep: usize) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("models"), keep);
    (directory, store)
}

fn version(number: u32) -> Version {
    Version::new(number).unwrap()
}

fn numbers(store: &Store) -> Vec<u32> {
    store.list().unwrap().iter().map(|entry| entry.version.number()).collect()
}

#[test]
fn what_was_added_comes_back_and_is_in_use() {
    let (_directory, store) = store(5);
    for payload in [&b""[..], b"one", &vec![0xff; 100_000]] {
        let added = store.add(&metadata(3), payload).unwrap();
        let loaded = store.load_current().unwrap().unwrap();
        assert_eq!(loaded, Loaded { version: added, metadata: metadata(3), payload: payload.to_vec() });
        assert_eq!(store.current(), Some(added));
    }
    assert_eq!(numbers(&store), [1, 2, 3]);
    let in_use: Vec<bool> = store.list().unwrap().iter().map(|entry| entry.is_current).collect();
    assert_eq!(in_use, [false, false, true]);
}

#[test]
fn a_directory_that_does_not_exist_reads_as_empty_and_stays_so() {
    let (_directory, store) = store(5);
    assert!(store.list().unwrap().is_empty());
    assert_eq!(store.load_current().unwrap(), None);
    assert_eq!(store.current(), None);
    assert!(matches!(store.load(version(1)), Err(Error::Absent { .. })));
    assert!(matches!(store.rollback(version(1)), Err(Error::Absent { .. })));
    assert!(!store.path().exists());
}

#[test]
fn the_same_models_give_the_same_bytes() {
    let (_directory, here) = store(5);
    let (_other, there) = store(5);
    there.add(&metadata(1), b"before").unwrap();
    let bytes = |store: &Store| {
        let version = store.add(&metadata(9), b"models").unwrap();
        fs::read(store.file(version)).unwrap()
    };
    assert_eq!(bytes(&here), bytes(&there));
}

#[test]
fn the_format_is_what_files_written_by_earlier_programs_have() {
    let bytes = file::encode(&metadata(2), b"payload").unwrap();
    let header = r#"{"features":["latency","jitter"],"rows":2,"first":1000,"last":21000,"fingerprint":"5f3a","seed":7,"detectors":["isolation_forest"],"interval_ms":10000}"#;
    let expect = [
        &b"DWCPMODL\x03\0\0\0"[..],
        &[header.len() as u8, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
        header.as_bytes(),
        b"payload",
    ]
    .concat();
    assert_eq!(bytes[..bytes.len() - 4], expect);
    assert_eq!(bytes[bytes.len() - 4..], crc32fast::hash(&expect).to_le_bytes());
}

#[test]
fn old_versions_go_but_neither_the_one_in_use_nor_the_one_just_added() {
    for (keep, expect) in [(0, vec![1, 6]), (1, vec![1, 6]), (2, vec![1, 6]), (3, vec![1, 5, 6])] {
        let (_directory, store) = store(keep);
        let first = store.add(&metadata(1), b"").unwrap();
        for _ in 0..5 {
            store.add_aside(&metadata(1), b"").unwrap();
        }
        assert_eq!(numbers(&store), expect, "keep {keep}");
        assert_eq!(store.current(), Some(first));
        store.add(&metadata(1), b"").unwrap();
        assert_eq!(store.current(), Some(version(7)));
        assert_eq!(numbers(&store).len(), keep.max(1), "keep {keep}");
    }
}

#[test]
fn an_older_version_is_used_again_only_if_it_is_sound() {
    let (_directory, store) = store(5);
    for payload in [b"one", b"two", b"six"] {
        store.add(&metadata(1), payload).unwrap();
    }
    store.rollback(version(1)).unwrap();
    assert_eq!(store.load_current().unwrap().unwrap().payload, b"one");
    fs::write(store.file(version(2)), "nonsense").unwrap();
    let error = store.rollback(version(2)).unwrap_err().to_string();
    assert!(
        error.ends_with("000002.model: is no model of this program; remove it from the directory"),
        "{error}"
    );
    assert!(matches!(store.rollback(version(9)), Err(Error::Absent { .. })));
    assert_eq!(store.current(), Some(version(1)));
    assert_eq!(store.add(&metadata(1), b"new").unwrap(), version(4));
}

#[test]
fn a_number_is_not_given_again() {
    let (_directory, store) = store(5);
    for _ in 0..3 {
        store.add(&metadata(1), b"").unwrap();
    }
    // By somebody's hand; `current` still names it.
    fs::remove_file(store.file(version(3))).unwrap();
    assert!(matches!(store.load_current(), Err(Error::Absent { .. })));
    assert_eq!(store.add(&metadata(1), b"").unwrap(), version(4));
    fs::write(store.file(version(LAST)), "").unwrap();
    assert!(matches!(store.add(&metadata(1), b""), Err(Error::Full { .. })));
}

/// Every wrong file is refused, and listed with the reason.
fn refuses(store: &Store, wrong: &[u8], what: &dyn fmt::Display) {
    let path = store.file(version(1));
    fs::write(&path, wrong).unwrap();
    let error = store.load_current().unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{what}: {error}");
    let listed = store.list().unwrap().remove(0).metadata.unwrap_err();
    assert_eq!(listed.to_string(), error.to_string(), "{what}");
    assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
}

#[test]
fn a_file_cut_anywhere_or_with_more_at_its_end_is_refused() {
    let (_directory, store) = store(5);
    store.add(&metadata(3), b"payload").unwrap();
    let sound = fs::read(store.file(version(1))).unwrap();
    for length in 0..sound.len() {
        refuses(&store, &sound[..length], &format!("cut at {length}"));
    }
    refuses(&store, &[&sound[..], b"\0"].concat(), &"a byte more");
    refuses(&store, &sound.repeat(2), &"twice");
}

#[test]
fn a_file_with_any_one_bit_flipped_is_refused() {
    let (_directory, store) = store(5);
    store.add(&metadata(3), b"payload").unwrap();
    let mut bytes = fs::read(store.file(version(1))).unwrap();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        refuses(&store, &bytes, &format!("bit {bit}"));
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    fs::write(store.file(version(1)), &bytes).unwrap();
    assert_eq!(store.load_current().unwrap().unwrap().payload, b"payload");
}

/// A file whose checksum and lengths are right.
fn sealed(format: u32, header: &str) -> Vec<u8> {
    let mut bytes = b"DWCPMODL".to_vec();
    bytes.extend(format.to_le_bytes());
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

#[test]
fn a_foreign_file_is_refused_with_the_reason() {
    let good = serde_json::to_string(&metadata(1)).unwrap();
    let more = good.replacen('{', "{\"later\":1,", 1);
    let endless = [&b"DWCPMODL\x03\0\0\0"[..], &[0xff; 12], &[0; 100]].concat();
    for (bytes, reason) in [
        (b"#!/bin/sh\n".to_vec(), "is no model of this program"),
        (Vec::new(), "has 0 bytes where it should have"),
        (sealed(2, &good), "has format 2, and this program reads 3"),
        (sealed(3, "{}"), "has a header that cannot be read: missing field `features`"),
        (sealed(3, &more), "has a header that cannot be read: unknown field `later`"),
        (endless, "has 124 bytes where it should have 18446744073709551615"),
    ] {
        let refusal = file::decode(&bytes).unwrap_err().to_string();
        assert!(refusal.starts_with(reason), "{refusal}");
        assert!(refusal.contains(';'), "no remedy: {refusal}");
    }
    assert!(file::decode(&sealed(3, &good)).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(tail in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        assert!(file::decode(&tail).is_err());
        assert!(file::decode(&[&b"DWCPMODL\x03\0\0\0"[..], &tail].concat()).is_err());
    }
}

#[test]
fn a_directory_that_takes_no_files_is_a_clear_error_and_still_reads() {
    let (directory, store) = store(5);
    store.add(&metadata(1), b"models").unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let mut closed =
        vec![(Store::open("/sys/kernel/models", 5), "cannot be written"), (Store::open(&file, 5), "")];
    let mut read_only = fs::metadata(store.path()).unwrap().permissions();
    read_only.set_readonly(true);
    fs::set_permissions(store.path(), read_only).unwrap();
    // Root may write all the same.
    if fs::write(store.path().join("probe"), "").is_err() {
        closed.push((store.clone(), "cannot be written: Permission denied"));
    }
    for (store, says) in closed {
        let error = store.add(&metadata(1), b"").unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(store.path().to_str().unwrap()) && error.contains(says), "{error}");
        assert!(error.ends_with("set detector.models.path to a directory where it may"), "{error}");
    }
    assert_eq!(store.load_current().unwrap().unwrap().payload, b"models");
    assert_eq!(numbers(&store), [1]);
    assert!(matches!(Store::open(file, 5).list(), Err(Error::Read { .. })));
}

#[test]
fn a_current_that_names_nothing_is_an_error_until_it_is_named_anew() {
    let (_directory, store) = store(1);
    store.add(&metadata(1), b"models").unwrap();
    for nonsense in ["", "\n", "0", "seven", "0000001", "-1", "+1", "999999999", &"1".repeat(100)] {
        fs::write(store.path().join(CURRENT), nonsense).unwrap();
        assert_eq!(store.current(), None, "{nonsense:?}");
        let error = store.load_current().unwrap_err().to_string();
        assert!(error.ends_with("current: names no version; name one by `models rollback`"), "{error}");
    }
    // Which version is in use is not known, so none goes.
    store.add_aside(&metadata(1), b"").unwrap();
    assert_eq!(numbers(&store), [1, 2]);
    store.rollback(version(1)).unwrap();
    assert_eq!(store.load_current().unwrap().unwrap().payload, b"models");
}

#[test]
fn what_a_dying_writer_leaves_is_cleared_away_and_what_others_keep_there_is_not() {
    let (_directory, store) = store(5);
    store.add(&metadata(1), b"models").unwrap();
    for name in ["000002.model.new", "current.new", "notes.new", "notes.model", "0000003.model"] {
        fs::write(store.path().join(name), "half").unwrap();
    }
    fs::create_dir(store.path().join("000003.model")).unwrap();
    assert_eq!(numbers(&store), [1, 3]);
    assert!(matches!(store.list().unwrap()[1].metadata, Err(Error::Read { .. })));
    assert_eq!(store.add(&metadata(1), b"models").unwrap(), version(4));
    let names: BTreeSet<String> = disk::names(store.path()).unwrap().into_iter().collect();
    let expect = [
        ".lock",
        "000001.model",
        "000003.model",
        "000004.model",
        "0000003.model",
        "current",
        "notes.model",
        "notes.new",
    ];
    assert_eq!(names, expect.map(str::to_owned).into());
}

#[test]
fn many_writers_take_turns_and_readers_always_find_a_sound_version() {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 8;
    let (_directory, first) = store(1);
    first.add(&metadata(0), b"0").unwrap();
    let write = |writer: u64| {
        // A lock of its own, as another process has.
        let store = Store::open(first.path(), 1);
        let add = |round| {
            let rows = writer * ROUNDS + round;
            store.add(&metadata(rows), rows.to_string().as_bytes()).unwrap().number()
        };
        (0..ROUNDS).map(add).collect::<Vec<_>>()
    };
    let added: Vec<u32> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let loaded = first.load_current().unwrap().unwrap();
            assert_eq!(loaded.payload, loaded.metadata.rows.to_string().into_bytes());
            assert!(first.list().unwrap().iter().all(|entry| entry.metadata.is_ok()));
        }
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let distinct: BTreeSet<u32> = added.iter().copied().collect();
    let newest = (WRITERS * ROUNDS) as u32 + 1;
    assert_eq!(distinct, (2..=newest).collect());
    assert_eq!(numbers(&first), [newest]);
    assert_eq!(first.current(), Some(version(newest)));
}

#[test]
fn a_turn_that_does_not_come_is_not_waited_for_for_ever() {
    let (_directory, store) = store(2);
    let take = || Lock::take(store.path(), LOCK, Duration::ZERO, is_ours).unwrap();
    let held = take().unwrap();
    assert!(take().is_none());
    drop(held);
    assert!(take().is_some());
}

#[test]
fn versions_read_with_and_without_their_zeros() {
    for text in ["7", "000007", "07"] {
        assert_eq!(text.parse(), Ok(version(7)), "{text}");
    }
    assert_eq!(version(7).to_string(), "000007");
    for text in ["", "0", "000000", "1000000", "0000007", "+7", " 7", "7a", "٧"] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
}
