use super::*;
use crate::series::{Batch, Origin, Sample};
use crate::window::{Limits, Window};
use proptest::prelude::*;

const MACROS: Macros = Macros { rate_interval: Duration::from_secs(40) };

fn labels(text: &str) -> Labels {
    let (name, rest) = text.split_once('{').unwrap_or((text, ""));
    let pairs =
        rest.trim_end_matches('}').split(',').filter(|p| !p.is_empty()).filter_map(|p| p.split_once('='));
    Labels::new([("__name__", name)].into_iter().chain(pairs))
}

/// One scrape each 10 s; a series is given by its values, `_` where it is missing.
fn window(series: &[(&str, &str)]) -> Window {
    let mut window = Window::new(Limits { samples: 100, bytes: 1 << 20 });
    let columns: Vec<(Labels, Vec<&str>)> =
        series.iter().map(|(name, values)| (labels(name), values.split(' ').collect())).collect();
    for row in 0..columns.iter().map(|(_, values)| values.len()).max().unwrap_or(0) {
        let sample = |(labels, values): &(Labels, Vec<&str>)| {
            let value = values.get(row)?.parse().ok()?;
            Some(Sample { labels: labels.clone(), value, at: None })
        };
        let at = Timestamp::from_millis(row as i64 * 10_000);
        window.push(&Batch {
            origin: Origin::Scrape,
            at,
            samples: columns.iter().filter_map(sample).collect(),
        });
    }
    window
}

fn read(window: &Window, expr: &str, seconds: i64) -> Vec<(String, f64)> {
    let plan = Plan::signal(expr, &MACROS).unwrap();
    let at = Timestamp::from_millis(seconds * 1000);
    let readings = plan.read(window.view(), at, &mut Selections::default()).unwrap();
    readings.values.into_iter().map(|(labels, value)| (labels.to_string(), value)).collect()
}

fn reads(window: &Window, expr: &str, seconds: i64) -> Option<f64> {
    let values = read(window, expr, seconds);
    assert!(values.len() <= 1, "{values:?}");
    values.first().map(|(_, value)| *value)
}

#[test]
fn a_rate_is_no_data_until_its_window_is_filled() {
    let window = window(&[("c", "1000 1010 1020 1030 1040 1050 1060")]);
    // Filled is when no more than one sample's spacing is missing at the start.
    for (at, expect) in [(0, None), (10, None), (20, None), (30, Some(1.0)), (40, Some(1.0)), (60, Some(1.0))]
    {
        assert_eq!(reads(&window, "rate(c[$__rate_interval])", at), expect, "at {at}");
    }
    let plan = Plan::parse("rate(c[40s])", &MACROS).unwrap();
    let at = Timestamp::from_millis(10_000);
    let as_prometheus = plan.eval(window.view(), at, Fill::AsPrometheus, &mut Selections::default()).unwrap();
    assert!(matches!(as_prometheus, Value::Vector(v) if v.len() == 1), "Prometheus extrapolates at once");
}

#[test]
fn a_counter_that_restarts_does_not_run_backwards() {
    let window = window(&[("c", "100 110 120 5 15 25")]);
    assert_eq!(reads(&window, "increase(c[40s])", 50), Some((25.0 - 110.0) + 120.0));
}

#[test]
fn a_series_missing_from_the_last_scrape_is_stale_at_once() {
    let window = window(&[("a", "1 2 _"), ("b", "1 2 3")]);
    assert_eq!(reads(&window, "a", 10), Some(2.0));
    assert_eq!(reads(&window, "a", 20), None);
    assert_eq!(reads(&window, "a / b", 20), None);
    assert_eq!(reads(&window, "b", 20 + 300), Some(3.0), "five minutes of lookback, both ends included");
    assert_eq!(reads(&window, "b", 20 + 301), None);
}

#[test]
fn nan_and_infinity_do_not_pass_for_values() {
    let window = window(&[("a", "NaN"), ("b", "+Inf"), ("zero", "0")]);
    for expr in ["a", "b", "zero / zero", "1 / zero", "a + b"] {
        assert_eq!(reads(&window, expr, 0), None, "{expr}");
    }
}

#[test]
fn at_most_sixteen_series_leave_a_signal_and_the_rest_are_counted() {
    let names: Vec<String> = (0..20).map(|i| format!("m{{i={i:02}}}")).collect();
    let window = window(&names.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>());
    let plan = Plan::signal("m", &MACROS).unwrap();
    let readings = plan.read(window.view(), Timestamp::default(), &mut Selections::default()).unwrap();
    assert_eq!((readings.values.len(), readings.dropped), (MOST_SERIES, 4));
    assert_eq!(readings.values[0].0.to_string(), r#"{i="00"}"#);
}

#[test]
fn a_selection_follows_series_that_come_and_go() {
    let mut window = window(&[("m{d=a}", "1")]);
    let plan = Plan::signal("sum(m)", &MACROS).unwrap();
    let mut selections = Selections::default();
    let mut read = |window: &Window, at| plan.read(window.view(), at, &mut selections).unwrap().values[0].1;
    assert_eq!(read(&window, Timestamp::default()), 1.0);
    let at = Timestamp::from_millis(10_000);
    let both = ["m{d=a}", "m{d=b}"].map(|name| Sample { labels: labels(name), value: 2.0, at: None });
    window.push(&Batch { origin: Origin::Scrape, at, samples: both.to_vec() });
    assert_eq!(read(&window, at), 4.0);
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_place() {
    for (expr, part) in [
        ("1 + histogram_count(c)", "the function histogram_count() at character 5"),
        ("histogram_fraction(0, 1, c)", "the function histogram_fraction() at character 1"),
        ("first_over_time(c[1m])", "the function first_over_time() at character 1"),
        ("double_exponential_smoothing(c[1m], 0.1, 0.1)", "double_exponential_smoothing() at character 1"),
        ("sum(rate(c[$__rate_interval])) + limitk(2, c)", "limitk at character 34"),
        ("c @ 100", "a fixed time after @ at character 3"),
        ("c + on(a) fill(0) d", "fill between vectors at character 11"),
        ("max_over_time(c[30d:1s])", "a subquery of 2592001 steps"),
        ("max_over_time(max_over_time(c[1h:1s])[1h:1m])", "a subquery of 219661 steps"),
        (r#"c{a=~"\\Qx\\E"}"#, "cannot parse"),
        (
            r#"label_replace(c, "a-b", "", "c", "")"#,
            r#"the label name "a-b" in label_replace() at character 1"#,
        ),
        (r#"label_join(c, "a", "", "0")"#, r#"the label name "0" in label_join() at character 1"#),
        (r#"count_values("1x", c)"#, r#"the label name "1x" at character 1"#),
        ("c[5m]", "range vector"),
        ("c[5m:1m]", "range vector"),
        ("\"text\"", "string"),
        ("sum(", "( at character 4 has no counterpart"),
        ("sum(c))", ") at character 7 has no counterpart"),
        ("c{a=\"b}", "\" at character 5 has no counterpart"),
        ("rate(c)", "cannot parse"),
        ("nothing_like_it(c)", "nothing_like_it"),
        ("", "cannot parse"),
    ] {
        let error = Plan::signal(expr, &MACROS).unwrap_err().to_string();
        assert!(error.contains(part), "{expr}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    for (expr, is_bounded) in [
        ("(".repeat(3000), false),
        (format!("{}1{}", "(".repeat(64), ")".repeat(64)), true),
        (format!("{}1{}", "(".repeat(65), ")".repeat(65)), false),
        (format!("{}1", "1+".repeat(250)), true),
        (format!("{}1", "1+".repeat(4000)), false),
        (format!("{}1", "1+".repeat(9000)), false),
        (format!("{}1", "2^".repeat(4000)), false),
        (format!("{}1", "- ".repeat(65)), false),
        (format!("{}1", "-\n".repeat(3000)), false),
        (format!("c{}", " or c".repeat(1500)), false),
    ] {
        // As small a stack as any thread of ours has.
        let parse = move || Plan::parse(&expr, &MACROS).map_err(|error| error.to_string()).map(|_| expr);
        let parsed = std::thread::Builder::new().stack_size(2 << 20).spawn(parse).unwrap().join().unwrap();
        assert_eq!(parsed.is_ok(), is_bounded, "{parsed:?}");
    }
}

#[test]
fn the_longest_range_counts_offsets_and_subqueries() {
    for (expr, seconds) in [
        ("c", 300),
        ("c offset 1m", 360),
        ("c offset -10m", 300),
        ("rate(c[10m])", 600),
        ("max_over_time(rate(c[1m])[10m:1m] offset 5m) + c", 60 + 600 + 300),
        ("max_over_time(max_over_time(c[5m:1m])[1h:1m])", 300 + 300 + 3600),
    ] {
        let plan = Plan::signal(expr, &MACROS).unwrap();
        assert_eq!(plan.longest_range(), Duration::from_secs(seconds), "{expr}");
    }
}

#[test]
fn the_default_signals_parse_and_read_a_node_exporters_page() {
    for definition in defaults() {
        Plan::signal(&definition.expr, &MACROS)
            .unwrap_or_else(|error| panic!("{}: {error}", definition.name));
    }
    let window = window(&[
        ("node_network_receive_bytes_total{device=eth0}", "0 1e6 2e6 3e6 4e6"),
        ("node_network_receive_bytes_total{device=lo}", "0 9e9 9e9 9e9 9e9"),
        ("node_network_transmit_bytes_total{device=eth0}", "0 0 0 0 0"),
        ("node_cpu_seconds_total{cpu=0,mode=idle}", "0 10 20 30 40"),
        ("node_cpu_seconds_total{cpu=1,mode=idle}", "0 5 10 15 20"),
        ("node_memory_MemAvailable_bytes", "1 1 1 1 1"),
        ("node_memory_MemTotal_bytes", "4 4 4 4 4"),
    ]);
    let expect = [("bandwidth", 0.8), ("cpu_usage", 25.0), ("memory_usage", 75.0)];
    for definition in defaults() {
        let value = reads(&window, &definition.expr, 40);
        let expect = expect.iter().find(|(name, _)| *name == definition.name).map(|(_, value)| *value);
        assert_eq!(value, expect, "{}", definition.name);
    }
}

#[test]
fn any_text_can_name_a_column() {
    let window = window(&[("free memory (%)", "7")]);
    let readings =
        Plan::column("free memory (%)").read(window.view(), Timestamp::default(), &mut Selections::default());
    assert_eq!(readings.unwrap().values, [(Labels::empty(), 7.0)]);
}

const WORDS: &[&str] = &[
    "a",
    "b",
    "(",
    ")",
    "(",
    ")",
    "[1m]",
    "[1m:10s]",
    "{",
    "}",
    "=~",
    "'.*'",
    ",",
    "+",
    "-",
    "^",
    "atan2",
    "==",
    "bool",
    "and",
    "or",
    "unless",
    "on",
    "group_left",
    "by",
    "without",
    "sum",
    "topk",
    "count_values",
    "rate",
    "deriv",
    "holt_winters",
    "histogram_quantile",
    "label_replace",
    "absent",
    "offset",
    "-1m",
    "@",
    "5",
    "1e308",
    "NaN",
    "time()",
];

#[test]
fn a_number_that_is_no_length_of_time_is_refused() {
    for expr in
        ["b offset 1e308", "b offset -1e308", "b offset NaN", "rate(b[1e308])", "b[NaN]", "b[5m:1e308]"]
    {
        assert!(Plan::parse(expr, &MACROS).is_err(), "{expr}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_words_make_the_parser_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        let expr = words.join(" ");
        if let Ok(plan) = Plan::parse(&expr, &MACROS) {
            let window = window(&[("a{le=1}", "1 2 _ 4"), ("b", "4 NaN 2")]);
            let at = Timestamp::from_millis(20_000);
            let _ = plan.eval(window.view(), at, Fill::Filled, &mut Selections::default());
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in r#"[a-c0-9(){}\[\]+*/=~!"', .:@-]{0,200}"#) {
        let _ = Plan::parse(&text, &MACROS);
    }
}

#[test]
fn a_narrowed_expression_asks_every_selector_for_the_target() {
    let macros = Macros { rate_interval: std::time::Duration::from_secs(40) };
    let labels = [("instance".to_owned(), "a:9100".to_owned())];
    for (expr, narrowed) in [
        ("up", r#"up{instance="a:9100"}"#),
        ("sum(rate(x{y=\"z\"}[$__rate_interval])) / 2", r#"sum(rate(x{instance="a:9100",y="z"}[40s])) / 2"#),
        (
            "clamp_min(a - b offset 1m, 0)",
            r#"clamp_min(a{instance="a:9100"} - b{instance="a:9100"} offset 1m, 0)"#,
        ),
    ] {
        let told = super::narrowed(expr, &macros, &labels).unwrap();
        // The printer may order matchers as it likes: what counts is that both read alike.
        let read = |text: &str| format!("{:?}", Plan::parse(text, &macros).unwrap().selectors().len());
        assert_eq!(read(&told), read(narrowed));
        assert_eq!(told.matches("a:9100").count(), narrowed.matches("a:9100").count(), "{told}");
    }
}
