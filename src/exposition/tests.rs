use super::*;
use rand_core::Rng;

fn read(text: &str) -> Page {
    Reader::new(Arc::new(Everything)).read(text.as_bytes(), Format::Text)
}

#[test]
fn lines_are_samples_or_say_what_is_wrong_with_them() {
    let sample = |text: &str| {
        let page = read(text);
        page.samples.first().map(|s| (s.labels.to_string(), s.value, s.at.map(Timestamp::millis)))
    };
    for (text, labels, value, at) in [
        ("up 1", "up", 1.0, None),
        ("up{} 1", "up", 1.0, None),
        ("up{a=\"b\",} 1", "up{a=\"b\"}", 1.0, None),
        ("  up  {  a = \"b\" , c=\"d\" }  1e3  ", "up{a=\"b\", c=\"d\"}", 1000.0, None),
        ("up 1 1395066363000", "up", 1.0, Some(1_395_066_363_000)),
        ("up +Inf -3", "up", f64::INFINITY, Some(-3)),
        ("a:b:c -inf", "a:b:c", f64::NEG_INFINITY, None),
        ("uri{p=\"/a/{id}\"} 2", "uri{p=\"/a/{id}\"}", 2.0, None),
        ("up{a=\"x,y=z\"}1", "up{a=\"x,y=z\"}", 1.0, None),
        ("up\t1\r", "up", 1.0, None),
    ] {
        assert_eq!(sample(text), Some((labels.to_owned(), value, at)), "{text}");
    }
    assert!(sample("up NaN").unwrap().1.is_nan());
    for (text, fault) in [
        ("up", Fault::Name),
        ("up ", Fault::Value),
        ("1up 1", Fault::Name),
        ("up-time 1", Fault::Name),
        ("{a=\"b\"} 1", Fault::Name),
        ("up one", Fault::Value),
        ("up 1 2 3", Fault::Timestamp),
        ("up 1 1.5", Fault::Timestamp),
        ("up{a=\"b} 1", Fault::Labels),
        ("up{a=b} 1", Fault::Labels),
        ("up{a=\"b\" c=\"d\"} 1", Fault::Labels),
        ("up{=\"b\"} 1", Fault::Labels),
        ("up{a=\"b\",a=\"c\"} 1", Fault::DuplicateLabel),
        ("<html><body>hello</body></html>", Fault::Name),
    ] {
        let page = read(text);
        assert_eq!((page.rejected, page.first_rejected), (1, Some((1, fault))), "{text}");
    }
    assert_eq!(Reader::new(Arc::new(Everything)).read(b"up{a=\"\xff\"} 1", Format::Text).rejected, 1);
}

#[test]
fn a_bad_line_costs_only_itself() {
    let page = read("# HELP a b\na 1\nb{ 2\n\nc 3\nd\n");
    assert_eq!(page.samples.len(), 2);
    assert_eq!((page.exposed, page.rejected), (2, 2));
    assert_eq!(page.first_rejected.unwrap().0, 3);
}

#[test]
fn of_two_samples_of_one_series_the_first_counts() {
    let page = read("a{x=\"1\",y=\"2\"} 1\na{x=\"1\",y=\"2\"} 2\na{y=\"2\",x=\"1\"} 3\n");
    assert_eq!((page.samples.len(), page.duplicates, page.exposed), (1, 2, 3));
    assert_eq!(page.samples[0].value, 1.0);
    let stamped = read("a 1 1000\na 2 2000\n");
    assert_eq!(stamped.samples.len(), 2, "with times of their own they are two samples");
}

#[test]
fn open_metrics_has_seconds_exemplars_and_an_end() {
    let text = "a_total 1 1.5 # {trace=\"x\"} 0.3\nb 2 # {trace=\"y\"} 1\n# EOF\nc 3\n";
    let page = Reader::new(Arc::new(Everything)).read(text.as_bytes(), Format::OpenMetrics);
    let at: Vec<_> = page.samples.iter().map(|s| s.at.map(Timestamp::millis)).collect();
    assert_eq!((at, page.rejected), (vec![Some(1500), None], 0));
    assert_eq!(Format::of_content_type("application/openmetrics-text; version=1.0.0"), Format::OpenMetrics);
    assert_eq!(Format::of_content_type("text/plain; version=0.0.4"), Format::Text);
}

struct OnlyUp;

impl Wanted for OnlyUp {
    fn name(&self, name: &str) -> bool {
        name == "up"
    }
    fn series(&self, labels: &Labels) -> bool {
        labels.get("a") != Some("no")
    }
}

#[test]
fn only_what_is_wanted_is_kept_and_the_rest_is_counted() {
    let mut reader = Reader::new(Arc::new(OnlyUp));
    for _ in 0..3 {
        let page = reader.read(b"up{a=\"yes\"} 1\nup{a=\"no\"} 1\ndown 1\n", Format::Text);
        assert_eq!((page.samples.len(), page.exposed), (1, 3));
    }
}

#[test]
fn series_that_have_gone_are_forgotten() {
    let mut reader = Reader::new(Arc::new(Everything));
    for i in 0..200 {
        reader.read(format!("pod{{id=\"{i}\"}} 1\n").as_bytes(), Format::Text);
    }
    assert!(reader.known.len() <= 2 * FORGET_AFTER as usize);
}

#[test]
fn series_that_come_and_go_are_remembered_in_bounded_bytes() {
    for (length, wanted) in [(5_000, false), (5_000, true), (20, true), (500_000, true)] {
        let mut reader =
            if wanted { Reader::new(Arc::new(Everything)) } else { Reader::new(Arc::new(OnlyUp)) };
        for page in 0..12 {
            let one = |id: usize| format!("junk{{id=\"{page}_{id}\",p=\"{}\"}} 1\n", "x".repeat(length));
            let text = (0..1_000_000 / length).map(one).collect::<Vec<_>>().concat();
            let read = reader.read(text.as_bytes(), Format::Text);
            assert_eq!(read.exposed, 1_000_000 / length);
            assert_eq!(read.samples.len(), if wanted { read.exposed } else { 0 });
            let held: usize = reader.known.keys().map(|series| series.len()).sum();
            assert!(held <= MOST_BYTES && reader.bytes <= MOST_BYTES, "{length}: {held}");
            assert!(reader.spelled.len() <= reader.known.len());
        }
    }
}

/// A page like `node_exporter`'s.
fn page(random: &mut impl Rng) -> Vec<u8> {
    use std::fmt::Write;
    let mut text = String::new();
    for cpu in 0..4 {
        text.push_str("# HELP node_cpu_seconds_total Seconds.\n# TYPE node_cpu_seconds_total counter\n");
        for mode in ["idle", "iowait", "user"] {
            let value = f64::from(random.next_u32()) / 7.0;
            let _ = writeln!(text, "node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}} {value}");
        }
    }
    text.push_str("node_disk_info{device=\"sda\",path=\"C:\\\\x\",model=\"a \\\"b\\\"\"} 1\nup NaN\nbig 1.5e+09 1395066363000\n");
    text.into_bytes()
}

/// Changes, drops, repeats or swaps a few bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut impl Rng) {
    for _ in 0..=random.next_u32() % 8 {
        if bytes.is_empty() {
            return;
        }
        let at = random.next_u32() as usize % bytes.len();
        let odd = b"{}\"\\,= \n#\t\r\0\xff1eN+-"[random.next_u32() as usize % 18];
        match random.next_u32() % 4 {
            0 => bytes[at] = odd,
            1 => bytes.insert(at, odd),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at.max(1)),
        }
    }
}

#[test]
fn of_a_hundred_thousand_damaged_pages_none_panics_and_every_line_is_accounted_for() {
    let mut random = rand_pcg::Pcg64Mcg::new(1);
    let mut reader = Reader::new(Arc::new(Everything));
    let whole = page(&mut random);
    for _ in 0..100_000 {
        let mut bytes = whole.clone();
        mutate(&mut bytes, &mut random);
        let page = reader.read(&bytes, Format::Text);
        let lines = bytes.split(|b| *b == b'\n').filter(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let start = line.iter().find(|b| !matches!(b, b' ' | b'\t'));
            !matches!(start, None | Some(b'#')) || std::str::from_utf8(line).is_err()
        });
        assert_eq!(page.exposed + page.rejected, lines.count(), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_page_of_openmetrics_that_does_not_end_with_eof_is_known_to_be_cut() {
    for (text, bad_end) in [
        ("a 1\n# EOF\n", None),
        ("a 1\n# EOF", None),
        ("a 1\n", Some("does not end with # EOF")),
        ("a 1\nb 50", Some("does not end with # EOF")),
        ("a 1\n# EO", Some("does not end with # EOF")),
        ("", Some("does not end with # EOF")),
        ("a 1\n# EOF\nb 2\n", Some("goes on after # EOF")),
    ] {
        let mut reader = Reader::new(Arc::new(Everything));
        assert_eq!(reader.read(text.as_bytes(), Format::OpenMetrics).bad_end, bad_end, "{text:?}");
        assert_eq!(reader.read(text.as_bytes(), Format::Text).bad_end, None, "{text:?}");
    }
}

#[test]
fn labels_in_two_orders_are_one_series_on_every_page_and_the_first_counts() {
    let (one, other) = ("m{a=\"1\",b=\"2\"}", "m{b=\"2\",a=\"1\"}");
    let mut reader = Reader::new(Arc::new(Everything));
    for _ in 0..3 {
        for (first, second) in [(one, other), (other, one)] {
            let page = reader.read(format!("{first} 1\n{second} 2\n{first} 3\n").as_bytes(), Format::Text);
            let values: Vec<f64> = page.samples.iter().map(|sample| sample.value).collect();
            assert_eq!((values, page.duplicates, page.exposed), (vec![1.0], 2, 3), "{first}");
        }
        let alone = reader.read(format!("{other} 4\n").as_bytes(), Format::Text);
        assert_eq!((alone.samples.len(), alone.duplicates), (1, 0));
    }
}
