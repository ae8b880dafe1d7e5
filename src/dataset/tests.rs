//! Of recordings, good and bad.

use super::*;

fn parse(text: &str, columns: &Columns) -> Result<Dataset, String> {
    Dataset::parse(text.as_bytes(), Path::new("d.csv"), columns).map_err(|bad| bad.to_string())
}

#[test]
fn rows_are_read_with_gaps_as_no_data() {
    let data =
        parse("timestamp,a,b\n10,1,\n20,,2.5\n2024-01-01T00:00:00Z,3,4\n", &Columns::default()).unwrap();
    assert_eq!(data.metrics, ["a", "b"]);
    assert_eq!([data.row(0), data.row(1)], [[Some(1.0), None], [None, Some(2.5)]]);
    assert_eq!(data.times[2], Timestamp::from_millis(1_704_067_200_000));
}

#[test]
fn times_are_read_with_their_offset_and_in_any_unit() {
    for times in [
        ["1714521590", "1714521600"],
        ["1714521590000", "1714521600000"],
        ["1714521590000000000", "1714521600000000000"],
        ["2024-05-01T01:59:50+02:00", "2024-05-01T02:00:00.000+02:00"],
        ["2024-04-30 23:59:50+00", "2024-05-01 00:00:00.000000+00"],
    ] {
        let data = parse(&format!("t,a\n{},1\n{},2\n", times[0], times[1]), &Columns::default()).unwrap();
        let read: Vec<i64> = data.times.iter().map(|at| at.millis()).collect();
        assert_eq!(read, [1_714_521_590_000, 1_714_521_600_000], "{times:?}");
    }
    let night = "t,a\n2024-10-27T02:59:50+02:00,1\n2024-10-27T02:00:00+01:00,2\n";
    assert_eq!(parse(night, &Columns::default()).unwrap().strict(), Ok(()), "clocks go back in order");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_remedy() {
    let strict = Columns { refuse_labels: true, ..Columns::default() };
    for (text, part) in [
        ("1,2\n3,4\n", "header row"),
        ("t,a\n", "has no rows"),
        ("t\n1\n", "no metric"),
        ("t,a\n1,2\n3\n", "line 3: has 1 cells where the header has 2"),
        ("t,a\n1,x\n", "line 2: column a: \"x\" is not a number"),
        ("t,a\n1,NaN\n", "line 2: column a: NaN is no value"),
        ("t,a\n1,inf\n", "column a: inf is no value"),
        ("t,a\nyesterday,1\n", "neither Unix seconds nor RFC 3339"),
        ("t,a,a\n1,2,3\n", "two columns are called a"),
        ("t,a,label\n1,2,0\n", "line 1: column label looks like labels"),
        ("t,a,Is_Anomaly\n1,2,0\n", "line 1: column Is_Anomaly looks like labels"),
        ("t,\"a\nb\"\n1,2\n", "line 1: the name \"a\\nb\" has a line break"),
        ("", "is empty; give it a header row"),
        ("t,a\n1,2,3\n", "line 2: has 3 cells where the header has 2"),
    ] {
        let error = parse(text, &strict).unwrap_err();
        assert!(error.starts_with("d.csv: ") && error.contains(part), "{text:?}: {error}");
    }
    let missing = Columns { label: Some("y".to_owned()), ..Columns::default() };
    assert!(parse("t,a\n1,2\n", &missing).unwrap_err().contains("no column is called y; there are: t, a"));
}

#[test]
fn disorder_is_found_and_refused_where_it_matters() {
    let data = parse("t,a\n10,1\n20,2\n20,3\n15,4\n25,5\n", &Columns::default()).unwrap();
    assert_eq!(data.disorder(), (vec![2], vec![3]));
    assert!(data.strict().unwrap_err().to_string().contains("line 5: the time 15 is earlier"));
    assert_eq!(data.interval(), Some(Duration::from_secs(10)));
}

#[test]
fn the_place_of_a_disorder_is_that_in_its_own_file() {
    let part = |name: &str, text: &str| {
        Dataset::parse(text.as_bytes(), Path::new(name), &Columns::default()).unwrap()
    };
    let first = part("a.csv", "t,a\n10,1\n20,2\n");
    let joined = |second: &str| first.clone().followed_by(part("b.csv", second)).unwrap();
    for (second, expect) in [
        ("t,a\n\n\n30,1\n30,2\n", "b.csv: line 5: the time 30 repeats"),
        ("t,a\n15,1\n30,2\n", "b.csv: line 2: the time 15 is earlier"),
        ("t,a\n20,1\n30,2\n", "b.csv: line 2: the time 20 repeats"),
    ] {
        let error = joined(second).strict().unwrap_err().to_string();
        assert!(error.starts_with(expect), "{error}");
    }
    assert_eq!(joined("t,a\n30,1\n").strict(), Ok(()));
}

#[test]
fn what_nothing_can_be_learned_from_is_refused() {
    for (text, part) in [
        ("t,a\n1,1\n2,2\n", "has 2 rows; at least 3"),
        ("t,a,b\n1,1,5\n2,2,5\n3,3,5\n", "column b: is 5 in every row"),
        ("t,a,b\n1,1,\n2,2,\n3,3,\n", "column b: has no value"),
        ("t,a,b\n1,7,\n2,7,\n3,7,\n", "no column ever changes"),
    ] {
        let data = parse(text, &Columns::default()).unwrap();
        let error = data.learnable(3).and_then(|()| data.telling()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn columns_are_put_in_another_order_and_absent_ones_are_no_data() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let data = parse("t,a,b\n1,2,3\n", &Columns::default()).unwrap();
    assert_eq!(data.clone().arranged(&names(&["b", "a"])).row(0), [Some(3.0), Some(2.0)]);
    for others in [&["b"][..], &["a", "c"], &["a", "b", "c"]] {
        assert_eq!(data.clone().arranged(&names(others)).metrics, ["a", "b"], "{others:?}");
    }
    let wider = data.with_columns(&names(&["b", "c", "a"]));
    assert_eq!((wider.row(0), wider.metrics.len()), (&[Some(3.0), None, Some(2.0)][..], 3));
}

#[test]
fn a_gzipped_file_reads_like_a_plain_one() {
    use std::io::Write;
    let directory = tempfile::tempdir().unwrap();
    let text = "t,a\n1,2\n3,4\n";
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    let file = directory.path().join("d.csv.gz");
    std::fs::write(&file, packer.finish().unwrap()).unwrap();
    let packed = Dataset::read(&file, &Columns::default()).unwrap();
    assert_eq!(packed.times, parse(text, &Columns::default()).unwrap().times);
}

#[test]
fn a_column_to_be_ignored_marks_rows_only_if_it_holds_marks() {
    let columns = Columns { ignore: vec!["mark".to_owned(), "cpu".to_owned()], ..Columns::default() };
    let data = parse("t,a,mark,cpu\n1,2,0,55\n2,3,1,56\n3,4,,0\n", &columns).unwrap();
    assert_eq!((data.metrics.len(), data.ignored), (1, vec![false, true, false]));
}
