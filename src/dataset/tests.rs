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

/// Bounds that a test can reach.
const SMALL: Bounds = Bounds { bytes: 1 << 20, row: 1 << 16, columns: 3000, held: 1 << 20 };

fn packed(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

fn within(bounds: Bounds, bytes: &[u8]) -> Result<Dataset, String> {
    let bytes = unpacked(bytes).unwrap();
    let data = Dataset::take(bytes, Path::new("d.csv.gz"), &Columns::default(), bounds);
    data.map_err(|bad| bad.to_string())
}

#[test]
fn a_table_reads_the_same_whatever_stands_between_its_cells() {
    for text in [
        "t,a,b\n10,1.5,\n20,-2000.25,3e2\n",
        "\u{feff}t,a,b\r\n10,1.5,\r\n20,-2000.25,3e2\r\n",
        "t\ta\tb\n10\t1.5\t\n20\t-2000.25\t3e2\n",
        "t\ta\tb\n10\t1,5\t\n20\t-2000,25\t3e2\n",
        "t;a;b\n10;1.5;\n20;-2000.25;3e2\n",
        "t;a;b\n10,0;1,5;\n20,0;-2000,25;3,0e2\n",
        "\n\nt;a;b\n10;1,5;\n\n20;-2000,25;3e2\n",
        "sep=;\r\nt;a;b\r\n10;1,5;\r\n20;-2000,25;3e2\r\n",
        "\u{feff}SEP=;\n\nt;a;b\n10;1,5;\n20;-2000,25;3e2\n",
        "\"sep=;\"\nt;a;b\n10;1,5;\n20;-2000,25;3e2\n",
        "sep=,\nt,a,b\n10,1.5,\n20,-2000.25,3e2\n",
        "sep=\t\nt\ta\tb\n10\t1,5\t\n20\t-2000,25\t3e2\n",
        "sep=|\nt|a|b\n10|1,5|\n20|-2000,25|3e2\n",
    ] {
        let data = parse(text, &Columns::default()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(data.metrics, ["a", "b"], "{text:?}");
        assert_eq!(data.times.iter().map(|at| at.millis()).collect::<Vec<_>>(), [10_000, 20_000], "{text:?}");
        assert_eq!(
            [data.row(0), data.row(1)],
            [[Some(1.5), None], [Some(-2000.25), Some(300.0)]],
            "{text:?}"
        );
    }
}

#[test]
fn a_semicolon_or_tab_separates_only_where_the_header_would_be_one_column() {
    for (header, metrics) in [
        ("t,a;b,c", &["a;b", "c"][..]),
        ("\"t\";\"a,b\";c", &["a,b", "c"]),
        ("t\ta;b\tc", &["a;b", "c"]),
        ("sep=;\nt;a,b;c", &["a,b", "c"]),
    ] {
        let separator = if header.contains("t,") {
            ","
        } else if header.contains("t\t") {
            "\t"
        } else {
            ";"
        };
        let text = format!("{header}\n1{separator}2{separator}3\n");
        assert_eq!(parse(&text, &Columns::default()).unwrap().metrics, metrics, "{header}");
    }
}

#[test]
fn a_comma_in_a_number_is_a_decimal_point_or_an_error() {
    let column = |cells: &[&str]| {
        let rows: Vec<_> = cells.iter().enumerate().map(|(at, cell)| format!("{at};{cell}\n")).collect();
        let data = parse(&format!("t;a\n{}", rows.concat()), &Columns::default())?;
        Ok::<_, String>((0..data.len()).filter_map(|row| data.row(row)[0]).collect::<Vec<_>>())
    };
    assert_eq!(column(&["1,234", "12,5"]), Ok(vec![1.234, 12.5]));
    assert_eq!(column(&["1,234", "7"]), Ok(vec![1.234, 7.0]));
    assert_eq!(column(&["1,234", "0.5", "0,25"]), Ok(vec![1.234, 0.5, 0.25]));
    for (cells, part) in [
        (&["1", "1,234", "0.5"][..], "d.csv: line 3: column a: 1,234 may have a decimal comma or thousands"),
        (
            &["1,234,567"],
            "line 2: column a: \"1,234,567\" is not a number with its comma as the decimal point",
        ),
        (&["5", "1.234,5"], "line 3: column a: \"1.234,5\" is not a number with its comma"),
        (&["1,234.5"], "separators of thousands"),
        (&["1,x"], "line 2: column a: \"1,x\" is not a number"),
    ] {
        let error = column(cells).unwrap_err();
        assert!(error.contains(part), "{cells:?}: {error}");
    }
    let error = parse("t,a\n1,\"1,5\"\n", &Columns::default()).unwrap_err();
    assert!(error.contains("\"1,5\" is not a number; leave"), "commas separate: {error}");
}

#[test]
fn lines_are_counted_from_the_top_of_the_file() {
    for (text, part) in [
        ("sep=;\nt;a\n1;2\n2;x\n", "line 4: column a"),
        ("sep=;\n\nt;a\n1;2;3\n", "line 4: has 3 cells where the header has 2"),
        ("sep=;\nt;a\n2;1\n1;1\n", "line 4: the time 1 is earlier"),
        ("sep=\nt;a\n1;2\n", "line 1: sep= names no separator"),
        ("sep=ab\nt;a\n1;2\n", "line 1: sep=ab names no separator"),
        ("sep=1\nt;a\n1;2\n", "line 1: sep=1 names no separator"),
        ("t;a,b\n1;2,5\n", "neither Unix seconds nor RFC 3339"),
    ] {
        let strict = |data: Dataset| data.strict().map_err(|bad| bad.to_string());
        let error = parse(text, &Columns::default()).and_then(strict).unwrap_err();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn a_label_is_one_of_a_closed_list() {
    let columns = Columns { label: Some("y".to_owned()), ..Columns::default() };
    let label = |cell: &str| {
        parse(&format!("t;a;y\n1;2;{cell}\n2;3;0\n"), &columns).map(|data| {
            assert_eq!((data.labels.len(), data.metrics.len()), (2, 1));
            data.labels[0]
        })
    };
    for (cells, is_anomalous) in [
        (&["1", "1.0", "1,0", "true", "TRUE", "t", "Yes", "y", "anomaly", "Anomalous", "abnormal"][..], true),
        (&["0", "0.0", "0,0", "-0", "", "false", "False", "F", "no", "N", "normal", "OK"], false),
    ] {
        for cell in cells {
            assert_eq!(label(cell), Ok(is_anomalous), "{cell:?}");
        }
    }
    for cell in ["2", "-1", "0.5", "NaN", "attack", "tru", "1;", "null"] {
        let error = label(cell).unwrap_err();
        let is_told = error.contains("line 2: column y: ") && error.contains("give 0, false, f, no");
        assert!(is_told || cell.contains(';'), "{cell}: {error}");
    }
}

#[test]
fn a_wide_table_is_read_and_a_wider_one_is_refused_with_both_figures() {
    let table = |columns: usize, rows: usize| {
        let names: Vec<_> = (0..columns).map(|at| format!(",metric_{at}")).collect();
        let cells = ",1.25".repeat(columns);
        let rows: Vec<_> = (0..rows).map(|row| format!("{row}{cells}\n")).collect();
        format!("t{}\n{}", names.concat(), rows.concat())
    };
    let data = parse(&table(2000, 50), &Columns::default()).unwrap();
    assert_eq!((data.len(), data.row(49).len(), data.row(49)[1999]), (50, 2000, Some(1.25)));
    assert!(
        within(SMALL, table(3000, 1).as_bytes()).unwrap_err().contains("has 3001 columns, and at most 3000")
    );
    let error = within(SMALL, table(2000, 40).as_bytes()).unwrap_err();
    let expect = "d.csv.gz: line 34: more than 32 rows of 2000 columns do not fit into the 1048576 bytes";
    assert!(error.starts_with(expect), "{error}");
    let missing = Columns { label: Some("y".to_owned()), ..Columns::default() };
    let error = parse(&table(2000, 1), &missing).unwrap_err();
    assert!(error.contains("there are: t, metric_0") && error.ends_with("and 1981 more"), "{error}");
}

#[test]
fn what_unpacks_to_more_than_a_recording_is_refused_with_its_bound() {
    let rows = |row: &str, bytes: usize| format!("t,a\n{}", row.repeat(bytes / row.len()));
    for (text, part) in [
        (rows("1,1e0\n", 32 << 10), None),
        (rows(&format!("1,1.{}\n", "0".repeat(128)), 2 << 20), Some("more than 1048576 bytes once unpacked")),
        (rows("1,1\n", 1 << 19), Some("do not fit into the 1048576 bytes")),
        (rows("0", 1 << 19), Some("a row of more than 65536 bytes")),
        (rows("\n", 1 << 19), Some("a row of more than 65536 bytes")),
        (rows("\0", 1 << 19), Some("a row of more than 65536 bytes")),
        ("t".repeat(1 << 19), Some("a row of more than 65536 bytes")),
        ("\n".repeat(1 << 19), Some("a row of more than 65536 bytes")),
        (format!("t,a\n1,\"{}", "\n".repeat(1 << 19)), Some("a row of more than 65536 bytes")),
    ] {
        for bytes in [packed(text.as_bytes()), text.into_bytes()] {
            match (within(SMALL, &bytes), part) {
                (Ok(_), None) => {}
                (Err(error), Some(part)) if error.starts_with("d.csv.gz: ") && error.contains(part) => {}
                (read, part) => panic!("{part:?}: {:?}", read.map(|data| data.len())),
            }
        }
    }
}

#[test]
fn a_damaged_packing_is_told_from_a_file_that_is_not_there() {
    let whole = packed(b"t,a\n1,2\n3,4\n");
    for bytes in [&whole[..whole.len() - 9], &[0x1f, 0x8b, 1, 2, 3]] {
        let error = within(Bounds::USUAL, bytes).unwrap_err();
        assert!(error.contains("d.csv.gz: cannot be unpacked: "), "{error}");
    }
    let error = Dataset::read(Path::new("/nowhere/d.csv"), &Columns::default()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/d.csv: cannot be read: "), "{error}");
    let error = Dataset::read(Path::new("/"), &Columns::default()).unwrap_err().to_string();
    assert!(error.contains("/: cannot be read: "), "{error}");
}
