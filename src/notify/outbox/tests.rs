use super::*;
use crate::detect::verdict::Severity;
use crate::notify::level::tests::{at, incident, level};

const PACE: Pace = Pace { resend: Duration::from_mins(1), probe: Some(Duration::from_secs(10)) };

fn refused(status: u16) -> Result<(), Failure> {
    crate::notify::retry::judge(status, None, "", std::time::UNIX_EPOCH)
}

fn unreachable() -> Result<(), Failure> {
    Err(Failure::new(Kind::Unreachable, "connection refused"))
}

/// The label sets of the next request: severity and whether it is an end.
fn sent(outbox: &mut Outbox, now: i64) -> Option<Vec<(String, bool)>> {
    let batch = outbox.next_batch(at(now))?;
    let told = batch.iter().map(|alert| {
        let json: serde_json::Value = serde_json::from_str(&alert.json).unwrap();
        (json["labels"]["severity"].as_str().unwrap().to_owned(), alert.resolved)
    });
    Some(told.collect())
}

fn warning() -> (String, bool) {
    ("warning".to_owned(), false)
}

#[test]
fn what_fires_is_told_at_once_again_after_the_delay_and_its_end_at_once_and_again() {
    let mut outbox = Outbox::new(PACE, at(0));
    let fires = |now| level(vec![incident("a", &[(Severity::Warning, 5)], None)], now);
    let ended = |now| level(vec![incident("a", &[(Severity::Warning, 5)], Some(100))], now);
    let mut told = Vec::new();
    for now in 0..1100 {
        match now {
            5..100 => outbox.take(&fires(now)),
            100.. => outbox.take(&ended(now)),
            _ => outbox.take(&level(Vec::new(), now)),
        };
        if let Some(batch) = sent(&mut outbox, now) {
            outbox.answered(&Ok(()), at(now));
            told.push((now, batch[0].1));
        }
    }
    let firing: Vec<i64> = told.iter().filter(|(_, resolved)| !resolved).map(|(now, _)| *now).collect();
    assert_eq!(firing, [5, 65], "firing");
    let ends: Vec<i64> = told.iter().filter(|(_, resolved)| *resolved).map(|(now, _)| *now).collect();
    assert_eq!(ends, (100..=1000).step_by(60).collect::<Vec<i64>>(), "resolved, for 15 minutes");
}

#[test]
fn an_end_is_not_told_to_whom_the_start_was_not() {
    let ended = level(vec![incident("a", &[(Severity::Warning, 5)], Some(20))], 30);
    let mut late = Outbox::new(PACE, at(0));
    late.take(&ended);
    assert!(late.is_empty());
    let mut after_restart = Outbox::new(PACE, at(10));
    after_restart.take(&ended);
    assert_eq!(after_restart.len(), 1, "whoever ran before may have told the start");
}

#[test]
fn a_queue_is_bounded_drops_the_oldest_and_sends_in_batches() {
    let incidents = |count: usize| -> Vec<_> {
        (0..count)
            .map(|n| incident(&format!("host{n}"), &[(Severity::Warning, n as i64)], None))
            .rev()
            .collect()
    };
    let mut outbox = Outbox::new(PACE, at(0));
    assert_eq!(outbox.take(&level(incidents(QUEUE + 300), 20_000)), 300);
    assert_eq!(outbox.len(), QUEUE);
    let first = outbox.next_batch(at(20_000)).unwrap();
    assert_eq!((first.len(), first[0].starts_at), (BATCH, at(300)));
    assert!(outbox.next_batch(at(20_000)).is_none(), "one request at a time");
    outbox.answered(&Ok(()), at(20_000));
    let mut sizes = Vec::new();
    while let Some(batch) = outbox.next_batch(at(20_000)) {
        sizes.push(batch.len());
        outbox.answered(&Ok(()), at(20_000));
    }
    assert_eq!(sizes.iter().sum::<usize>(), QUEUE - BATCH);
    assert_eq!(sizes.len(), QUEUE.div_ceil(BATCH) - 1);
}

#[test]
fn what_failed_is_tried_again_and_what_overtook_it_goes_in_its_place() {
    let mut outbox = Outbox::new(PACE, at(0));
    outbox.take(&level(vec![incident("a", &[(Severity::Warning, 5)], None)], 5));
    assert_eq!(sent(&mut outbox, 5), Some(vec![warning()]));
    assert_eq!(outbox.answered(&unreachable(), at(5)), (0, 1, false));
    assert_eq!(sent(&mut outbox, 5), None, "not at once");
    assert_eq!(sent(&mut outbox, 6), Some(vec![warning()]));
    outbox.take(&level(vec![incident("a", &[(Severity::Warning, 5)], Some(7))], 7));
    outbox.answered(&unreachable(), at(7));
    assert_eq!(sent(&mut outbox, 8), Some(vec![("warning".to_owned(), true)]));
    assert_eq!(outbox.answered(&Ok(()), at(8)), (1, 0, true));
    assert!(outbox.is_empty());
}

#[test]
fn a_refused_batch_is_not_tried_again_before_everything_is() {
    let mut outbox = Outbox::new(PACE, at(0));
    let fires = |now| level(vec![incident("a", &[(Severity::Warning, 5)], None)], now);
    outbox.take(&fires(5));
    sent(&mut outbox, 5);
    assert_eq!(outbox.answered(&refused(400), at(5)), (0, 1, true), "it listens");
    outbox.take(&fires(64));
    assert!(outbox.is_empty());
    outbox.take(&fires(65));
    assert_eq!(outbox.len(), 1);
    sent(&mut outbox, 65);
    assert_eq!(outbox.answered(&refused(401), at(65)), (0, 1, false), "it does not let us in");
    assert!(!outbox.probed(true), "whatever it says of its health");
}

#[test]
fn an_alert_that_is_refused_spoils_no_other_and_is_asked_for_alone_from_then_on() {
    let hosts: Vec<String> = (0..300).map(|n| format!("host{n}")).collect();
    let fires = |now| {
        let of_host = |host: &String| incident(host, &[(Severity::Warning, 5)], None);
        level(hosts.iter().map(of_host).collect(), now)
    };
    let is_bad = |alert: &Posted| alert.json.contains("\"host7\"") || alert.json.contains("\"host222\"");
    let mut outbox = Outbox::new(PACE, at(0));
    let mut requests = Vec::new();
    for now in [5, 65, 125] {
        outbox.take(&fires(now));
        let (mut taken, mut failed, mut asked) = (0, 0, 0);
        while let Some(batch) = outbox.next_batch(at(now)) {
            let outcome = if batch.iter().any(|alert| is_bad(alert)) { refused(400) } else { Ok(()) };
            let (sent, lost, lives) = outbox.answered(&outcome, at(now));
            assert!(lives);
            (taken, failed, asked) = (taken + sent, failed + lost, asked + 1);
        }
        assert_eq!((taken, failed), (298, 2), "at {now}");
        requests.push(asked);
    }
    // Two that are alone, and what is before, between and after them.
    assert!(requests[0] < 50 && requests[2] == 5, "{requests:?}");
}

#[test]
fn whoever_refuses_everything_is_not_asked_for_each_alert_in_turn() {
    let incidents = (0..1000).map(|n| incident(&format!("host{n}"), &[(Severity::Warning, 5)], None));
    let mut outbox = Outbox::new(PACE, at(0));
    outbox.take(&level(incidents.collect(), 5));
    let mut asked = 0;
    while outbox.next_batch(at(5)).is_some() {
        outbox.answered(&refused(400), at(5));
        asked += 1;
    }
    assert_eq!(asked, REFUSALS);
    assert!(!outbox.is_empty() && outbox.due() > Some(at(5)));
}

#[test]
fn life_is_asked_for_only_in_silence() {
    let mut outbox = Outbox::new(PACE, at(0));
    assert!(!outbox.next_probe(at(9)));
    assert!(outbox.next_probe(at(10)));
    assert!(!outbox.next_probe(at(30)), "one at a time");
    assert!(outbox.probed(true));
    assert_eq!(outbox.due(), Some(at(20)));
}

#[test]
fn a_step_of_the_clock_neither_hastens_nor_delays() {
    let mut outbox = Outbox::new(PACE, at(0));
    let fires = |now| level(vec![incident("a", &[(Severity::Warning, 5)], None)], now);
    outbox.take(&fires(5));
    sent(&mut outbox, 5);
    outbox.answered(&Ok(()), at(5));
    outbox.shift(-3_600_000);
    outbox.take(&fires(5 - 3600 + 59));
    assert!(outbox.is_empty());
    outbox.take(&fires(5 - 3600 + 60));
    assert_eq!(outbox.len(), 1);
}

/// Prometheus' alert-generator specification 1.0, as far as it is about a sender: each rule, and what shows it.
#[test]
fn each_rule_of_the_alert_generator_specification_holds() {
    let firing = |severity, now| level(vec![incident("a", &[(severity, 100)], None)], now);
    let resolved = |now| level(vec![incident("a", &[(Severity::Warning, 100)], Some(200))], now);
    let json = |level: &Level| -> Vec<serde_json::Value> {
        let steps = level.cases.iter().flat_map(|case| case.steps.iter().map(move |step| (case, step)));
        steps.map(|(case, step)| serde_json::from_str(&level.posted(case, step).json).unwrap()).collect()
    };
    let fires = &json(&firing(Severity::Warning, 130))[0];
    let ends = &json(&resolved(230))[0];
    let told = |levels: &[Level]| -> Vec<usize> {
        let mut outbox = Outbox::new(PACE, at(0));
        let mut tell = |level: &Level| {
            outbox.take(level);
            let batch = outbox.next_batch(level.at).unwrap_or_default();
            outbox.answered(&Ok(()), level.at);
            batch.len()
        };
        levels.iter().map(&mut tell).collect()
    };
    let warning = |now| firing(Severity::Warning, now);
    let again = level(
        vec![
            incident("a", &[(Severity::Warning, 230)], None),
            incident("a", &[(Severity::Warning, 100)], Some(200)),
        ],
        290,
    );
    for (rule, holds) in [
        ("labels MUST be present", fires["labels"]["alertname"] == "DwcpAnomaly"),
        ("annotations MUST be present if the alert has any", fires["annotations"]["value"] == "97.1"),
        ("startsAt is when it fired, for firing alerts", fires["startsAt"] == "1970-01-01T00:01:40.000Z"),
        ("startsAt is when it fired, for inactive alerts", ends["startsAt"] == "1970-01-01T00:01:40.000Z"),
        (
            "endsAt is four times the larger of interval and ResendDelay ahead",
            fires["endsAt"] == "1970-01-01T00:06:10.000Z",
        ),
        ("endsAt is ResolvedAt, for inactive alerts", ends["endsAt"] == "1970-01-01T00:03:20.000Z"),
        ("times are RFC 3339 with milliseconds", fires["startsAt"].as_str().is_some_and(|at| at.len() == 24)),
        (
            "generatorURL SHOULD lead to the source",
            fires["generatorURL"].as_str().is_some_and(|url| url.contains("metric=cpu_usage")),
        ),
        ("only firing and inactive alerts are sent", json(&firing(Severity::Info, 130)).is_empty()),
        ("a firing alert is sent when it first fires", told(&[warning(130)]) == [1]),
        (
            "a firing alert is not sent again before ResendDelay",
            told(&[warning(130), warning(189)]) == [1, 0],
        ),
        (
            "a firing alert is sent again after ResendDelay",
            told(&[warning(130), warning(190), warning(250)]) == [1, 1, 1],
        ),
        ("an inactive alert is sent when it first is", told(&[warning(199), resolved(200)]) == [1, 1]),
        (
            "an inactive alert is sent again after ResendDelay",
            told(&[warning(199), resolved(200), resolved(259), resolved(260)]) == [1, 1, 0, 1],
        ),
        (
            "an inactive alert is sent for 15 minutes",
            told(&[warning(199), resolved(1100), resolved(1161)]) == [1, 1, 0],
        ),
        (
            "an inactive alert is not sent once a new one has its labels",
            json(&again).len() == 1 && json(&again)[0]["startsAt"] == "1970-01-01T00:03:50.000Z",
        ),
        (
            "ResendDelay is configurable and 1 minute by default",
            crate::notify::config::Config::default().resend_delay.0 == PACE.resend,
        ),
    ] {
        assert!(holds, "{rule}");
    }
}
