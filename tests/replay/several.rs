//! Signals of several series, and of none: what is said of them, and what can be asked.

use std::collections::HashMap;

use dwcp_anomaly::engine::{Engine, Event, Health, Unanswerable};
use dwcp_anomaly::series::{Batch, Labels, Origin, Sample, Timestamp};
use dwcp_anomaly::signal::Definition;

use crate::{config, feed, setup};

const START: i64 = 1_800_000_000;

const NEVER: &str = "disk_lost is not exposed";
const NOT_YET: &str = "the range of up[40s] is not filled yet";
const NO_MORE: &str = "disk_free is not exposed any more";
const ONE_LESS: &str = "this series has no value now";

fn scrape(second: i64, disks: &[&str]) -> Batch {
    let free = |disk: &&str| {
        let labels = Labels::new([("__name__", "disk_free"), ("device", disk)]);
        Sample { labels, value: 50.0 + second as f64, at: None }
    };
    let up = Sample { labels: Labels::new([("__name__", "up")]), value: 1.0, at: None };
    let samples = disks.iter().map(free).chain([up]).collect();
    Batch { origin: Origin::Scrape, at: Timestamp::from_millis(second * 1000), samples }
}

/// Each metric in the order of its labels, with the reason for which it has no value.
fn reasons(engine: &Engine) -> Vec<(String, Option<String>)> {
    let snapshot = engine.snapshot();
    let metrics = snapshot.targets[0].metrics.iter();
    let mut reasons: Vec<_> = metrics
        .map(|metric| {
            let device = metric.labels.get("device").unwrap_or_default();
            (format!("{}{device}", metric.name()), metric.no_data.clone())
        })
        .collect();
    reasons.sort();
    reasons
}

fn watching(signals: &[(&str, &str)]) -> Engine {
    let definition =
        |(name, expr): &(&str, &str)| Definition { expr: (*expr).to_owned(), ..Definition::plain(name) };
    let mut config = config(10);
    config.signals = signals.iter().map(definition).collect();
    Engine::new(setup(&config))
}

#[test]
fn a_signal_and_each_of_its_series_say_why_they_have_no_value() {
    let mut engine = watching(&[("free", "disk_free"), ("fills", "rate(up[40s])"), ("never", "disk_lost")]);
    let mut at = START;
    let mut said_of = |disks: &[&str], expected: &[(&str, Option<&str>)]| {
        at += 10;
        feed(&mut engine, scrape(at, disks), false);
        let expected: Vec<_> =
            expected.iter().map(|(name, why)| ((*name).to_owned(), why.map(str::to_owned))).collect();
        assert_eq!(reasons(&engine), expected);
    };
    let never = ("never", Some(NEVER));
    for _ in 0..3 {
        said_of(&["a", "b"], &[("fills", Some(NOT_YET)), ("freea", None), ("freeb", None), never]);
    }
    said_of(&["a", "b"], &[("fills", None), ("freea", None), ("freeb", None), never]);
    said_of(&["a"], &[("fills", None), ("freea", None), ("freeb", Some(ONE_LESS)), never]);
    said_of(&[], &[("fills", None), ("freea", Some(NO_MORE)), ("freeb", Some(NO_MORE)), never]);

    let failure = Some("connection refused".to_owned());
    let health = Health { failure, ..Health::default() };
    let nothing = Batch { samples: Vec::new(), ..scrape(at + 10, &[]) };
    engine.step(Event::Batch(0, nothing, Some(health)));
    engine.step(Event::Tick(0, Timestamp::from_millis((at + 10) * 1000)));
    let refused = "the scrape failed: connection refused";
    let mut others = reasons(&engine).into_iter().filter(|(name, _)| name != "fills");
    assert!(others.all(|(_, why)| why.as_deref() == Some(refused)), "{:?}", reasons(&engine));
}

#[test]
fn why_a_signal_has_no_value_is_told_by_what_is_missing() {
    for (expr, why) in [
        ("disk_lost / disk_free", "disk_lost is not exposed"),
        ("disk_free / disk_lost", "disk_lost is not exposed"),
        ("disk_lost / disk_lost2", "disk_lost, disk_lost2 are not exposed"),
        ("sum(disk_lost) or rate(disk_free[40s])", "the range of disk_free[40s] is not filled yet"),
        ("disk_free{device=~\"x|y\"}", "disk_free{device=~\"x|y\"} is not exposed"),
        ("0 * disk_free / 0", "its value is not a number: NaN or infinite"),
        ("disk_free * 1e308 * 1e308", "its value is not a number: NaN or infinite"),
        ("disk_free < 0", "its series are exposed, but its operators and comparisons leave none of them"),
    ] {
        let mut engine = watching(&[("s", expr)]);
        feed(&mut engine, scrape(START, &["a"]), false);
        assert_eq!(reasons(&engine), [("s".to_owned(), Some(why.to_owned()))], "{expr}");
    }
}

#[test]
fn a_signal_whose_series_find_no_room_says_so() {
    let mut config = config(10);
    config.signals = vec![Definition { expr: "sum(disk_free)".to_owned(), ..Definition::plain("s") }];
    let mut setup = setup(&config);
    setup.limits.bytes = 3 * 1000;
    let mut engine = Engine::new(setup);
    feed(&mut engine, scrape(START, &["a", "b"]), false);
    let why =
        "disk_free is refused because the window is full; raise window.max_bytes or select fewer series";
    assert_eq!(reasons(&engine), [("s".to_owned(), Some(why.to_owned()))]);
}

#[test]
fn selectors_match_the_labels_of_the_target_and_outputs_do_not_repeat_them() {
    let mut config = config(10);
    let signals = [
        ("by_job", "up{job=\"web\"}"),
        ("by_label", "sum by (instance) (disk_free{instance=\"web-1\",dc=~\"f.*\"})"),
        ("joined", "disk_free{device=\"a\"} * on (instance, job) group_left () up"),
        ("own_device", "disk_free{exported_dc=\"c\"}"),
        ("other_job", "up{job!=\"web\"}"),
    ];
    config.signals =
        signals.map(|(name, expr)| Definition { expr: expr.to_owned(), ..Definition::plain(name) }).to_vec();
    let mut setup = setup(&config);
    setup.targets[0].labels = Labels::new([("job", "web"), ("instance", "web-1"), ("dc", "fra")]);
    let mut engine = Engine::new(setup);
    let mut batch = scrape(START, &["a"]);
    let labels = Labels::new([("__name__", "disk_free"), ("device", "b"), ("dc", "c")]);
    batch.samples.push(Sample { labels, value: 1.0, at: None });
    feed(&mut engine, batch, false);
    let snapshot = engine.snapshot();
    let told: Vec<_> = snapshot.targets[0].metrics.iter().map(|m| (m.labels.to_string(), m.value)).collect();
    let free = (START + 50) as f64;
    let expected = [
        (r#"{metric_name="by_job"}"#, Some(1.0)),
        (r#"{metric_name="by_label"}"#, Some(free + 1.0)),
        (r#"{device="a", metric_name="joined"}"#, Some(free)),
        (r#"{device="b", exported_dc="c", metric_name="own_device"}"#, Some(1.0)),
        (r#"{metric_name="other_job"}"#, None),
    ];
    assert_eq!(told, expected.map(|(labels, value)| (labels.to_owned(), value)));
}

#[test]
fn a_posted_value_is_of_one_series_and_which_is_asked_where_that_is_not_said() {
    let mut engine = watching(&[("free", "disk_free")]);
    feed(&mut engine, scrape(START, &["a", "b"]), false);
    let ask = |name: &str| engine.detect(None, Some(&HashMap::from([(name.to_owned(), 3.0)])));
    let values =
        |name: &str| ask(name).unwrap().metrics.iter().map(|metric| metric.value).collect::<Vec<_>>();
    let there = (START + 50) as f64;
    assert_eq!(values(r#"free{device="a"}"#), [Some(3.0), Some(there)]);
    assert_eq!(values(r#"free{device="b"}"#), [Some(there), Some(3.0)]);
    for (name, told) in [
        ("free", r#"free has several series; name one of free{device="a"}, free{device="b"}"#),
        (r#"free{device="c"}"#, r#"no signal is called "free{device=\"c\"}""#),
    ] {
        match ask(name) {
            Err(Unanswerable::Unclear(said)) => assert_eq!(said, told),
            other => panic!("{name}: {:?}", other.map(|detection| detection.metrics)),
        }
    }
}
