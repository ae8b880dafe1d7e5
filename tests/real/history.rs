//! The past as a real Prometheus tells it.

use std::fmt::Write;
use std::time::Duration;

use dwcp_anomaly::history::{Error, Problem, Prometheus, Series};
use dwcp_anomaly::series::{Labels, Timestamp};
use dwcp_anomaly::setting::{Address, Redirects, http_client};

use crate::servers::{free_port, prometheus_remembering};

const BEGIN: i64 = 1_700_000_100;
const STEP: i64 = 15;
const SAMPLES: i64 = 3 * 3600 / STEP;
/// Samples that one of the two series lacks: the second half of the second hour.
const GAP: std::ops::Range<i64> = 360..480;
/// Samples for which Prometheus goes on giving the last one.
const LOOKBACK: i64 = 300 / STEP;

fn wave(sample: i64) -> f64 {
    10.0 + (sample as f64 / 40.0).sin()
}

/// Three hours of two sines, one with a gap.
fn openmetrics() -> String {
    let mut text = "# TYPE wave gauge\n".to_owned();
    for (host, gap) in [("gappy", GAP), ("whole", 0..0)] {
        for sample in (0..SAMPLES).filter(|sample| !gap.contains(sample)) {
            let at = BEGIN + sample * STEP;
            writeln!(text, "wave{{host=\"{host}\"}} {} {at}", wave(sample)).unwrap();
        }
    }
    text + "# EOF\n"
}

type Heard = Vec<(usize, usize)>;

/// Asks for all three hours; the instants are a second after the samples. Answers how far it went, too.
fn ask(prometheus: &Prometheus, query: &str, step: Duration) -> (Result<Vec<Series>, Error>, Heard) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let at = |seconds: i64| Timestamp::from_millis((BEGIN + seconds) * 1000);
    let mut heard = Vec::new();
    let progress = &mut |done, total| heard.push((done, total));
    let series = runtime.block_on(prometheus.range(query, at(1), at(SAMPLES * STEP), step, progress));
    (series, heard)
}

fn prometheus_at(url: &str) -> Prometheus {
    Prometheus::new(http_client(Duration::from_secs(10), Redirects::SameHost).unwrap().0, &Address::new(url))
        .unwrap()
}

fn series(host: &str, sample_at: impl Fn(i64) -> Option<i64>) -> Series {
    let point = |instant: i64| {
        let at = Timestamp::from_millis((BEGIN + instant * STEP + 1) * 1000);
        Some((at, wave(sample_at(instant)?)))
    };
    let labels = Labels::new([("__name__", "wave"), ("host", host)]);
    Series { labels, points: (0..SAMPLES).filter_map(point).collect() }
}

#[test]
fn a_range_comes_back_as_it_was_and_its_gaps_stay_gaps() {
    let server = prometheus_remembering(&openmetrics());
    let last_before = GAP.start - 1;
    let expect = [
        series("gappy", |instant| match instant {
            _ if !GAP.contains(&instant) => Some(instant),
            _ if instant < last_before + LOOKBACK => Some(last_before),
            _ => None,
        }),
        series("whole", Some),
    ];
    let step = Duration::from_secs(STEP as u64);
    for (chunk, requests) in [(11_000, 1), (100, 8), (SAMPLES as usize - 1, 2)] {
        let prometheus = prometheus_at(&server.url()).in_chunks_of(chunk);
        let (answer, heard) = ask(&prometheus, "wave", step);
        assert_eq!(answer.unwrap(), expect, "in chunks of {chunk}");
        assert_eq!(heard, (1..=requests).map(|done| (done, requests)).collect::<Vec<_>>());
    }
    let prometheus = prometheus_at(&server.url()).in_chunks_of(100);
    for query in ["wave / 0", "wave * NaN", "nonsense"] {
        assert_eq!(ask(&prometheus, query, step).0, Ok(Vec::new()), "{query}");
    }
}

#[test]
fn what_prometheus_refuses_is_told_in_its_own_words() {
    let server = prometheus_remembering(&openmetrics());
    let prometheus = prometheus_at(&server.url());
    let refused = |prometheus: &Prometheus, query, step| {
        let error = ask(prometheus, query, step).0.unwrap_err();
        assert_eq!(error.url, format!("{}/api/v1/query_range", server.url()));
        let Problem::Refused { status, kind, text } = error.problem else { panic!("{error}") };
        (status, kind, text)
    };
    let second = Duration::from_secs(1);
    for (query, status, kind, says) in [
        ("wave{", 400, "bad_data", "parse error: unexpected end of input inside braces"),
        ("wave + on() wave", 422, "execution", "found duplicate series for the match group"),
    ] {
        let (is, kind_is, text) = refused(&prometheus, query, second);
        assert_eq!((is, kind_is.as_str()), (status, kind), "{text}");
        assert!(text.contains(says), "{text}");
    }
    // 21 600 instants: what is asked for at once is as much as Prometheus gives, and no more would do.
    let half = Duration::from_millis(500);
    let (answer, heard) = ask(&prometheus, "wave{host=\"whole\"}", half);
    assert_eq!((answer.unwrap()[0].points.len(), heard.len()), (21_599, 2));
    let (_, _, text) = refused(&prometheus.in_chunks_of(12_000), "wave", half);
    assert!(text.contains("exceeded maximum resolution of 11,000 points per timeseries"), "{text}");
}

#[test]
fn a_host_that_nobody_answers_at_is_told_with_the_address() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let error = ask(&prometheus_at(&url), "wave", Duration::from_secs(15)).0.unwrap_err().to_string();
    let expect = format!("{url}/api/v1/query_range: cannot be reached: Connection refused");
    assert!(
        error.starts_with(&expect) && error.ends_with("is Prometheus running there, and the address right?"),
        "{error}"
    );
    let error = ask(&prometheus_at("http://nowhere.invalid"), "wave", Duration::from_secs(15)).0.unwrap_err();
    assert!(matches!(error.problem, Problem::Unreachable(_)), "{error}");
}
