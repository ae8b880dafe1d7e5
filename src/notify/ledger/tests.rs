use super::*;
use crate::notify::level::tests::{at, incident, level};
use crate::notify::retry::Kind;

const CRITICAL: Severity = Severity::Critical;
const WARNING: Severity = Severity::Warning;

fn rules() -> Rules {
    Rules {
        place: "slack".to_owned(),
        sends_resolved: true,
        throttle: Duration::from_mins(5),
        missing_for: Duration::from_mins(4),
    }
}

/// What the channel is told at `now` of these incidents, each message arriving at once: severity and status.
fn told(
    ledger: &mut Ledger,
    incidents: Vec<crate::incident::Incident>,
    now: i64,
) -> Vec<(Severity, &'static str)> {
    let level = level(incidents, now);
    ledger.take(&level, |_| true);
    let mut told = Vec::new();
    while let Some(message) = ledger.next(&level, at(now)) {
        told.push((message.severity, message.status()));
        ledger.answered(&Ok(()), at(now));
    }
    told
}

#[test]
fn one_message_when_it_fires_one_when_it_rises_and_one_when_it_ends() {
    let mut ledger = Ledger::new(rules(), &[], at(0));
    let fires = || vec![incident("a", &[(WARNING, 5)], None)];
    let rises = || vec![incident("a", &[(WARNING, 5), (CRITICAL, 20)], None)];
    let ends = || vec![incident("a", &[(WARNING, 5), (CRITICAL, 20)], Some(40))];
    assert_eq!(told(&mut ledger, fires(), 10), [(WARNING, "firing")]);
    assert_eq!(told(&mut ledger, fires(), 11), []);
    assert_eq!(told(&mut ledger, rises(), 20), [(CRITICAL, "firing")], "the throttle is of each severity");
    assert_eq!(told(&mut ledger, rises(), 30), []);
    assert_eq!(told(&mut ledger, ends(), 40), [(CRITICAL, "resolved")]);
    assert_eq!(told(&mut ledger, ends(), 50), []);
}

#[test]
fn an_end_is_not_told_where_no_firing_went() {
    let mut ledger = Ledger::new(rules(), &[], at(0));
    assert_eq!(told(&mut ledger, vec![incident("a", &[(WARNING, 5)], Some(8))], 10), []);
}

#[test]
fn a_message_that_is_never_taken_holds_back_no_other() {
    let mut ledger = Ledger::new(rules(), &[], at(0));
    let all = || {
        let of_host = |host: &str| incident(host, &[(WARNING, 5)], None);
        vec![incident("never", &[(CRITICAL, 1)], None), of_host("a"), of_host("b")]
    };
    let (mut taken, mut tries) = (Vec::new(), 0);
    for now in 10..100 {
        let level = level(all(), now);
        ledger.take(&level, |_| true);
        while let Some(message) = ledger.next(&level, at(now)) {
            let is_taken = message.severity == WARNING;
            let outcome = if is_taken { Ok(()) } else { Err(Failure::new(Kind::Unavailable, "HTTP 500")) };
            ledger.answered(&outcome, at(now));
            if is_taken {
                taken.push(now);
            } else {
                tries += 1;
            }
        }
    }
    assert_eq!(taken, [11, 11], "as soon as the pause after the first failure is over");
    assert!((4..20).contains(&tries), "{tries}: it is tried again, with longer and longer pauses");
}

#[test]
fn two_hosts_with_the_same_fault_are_two_messages() {
    let mut ledger = Ledger::new(rules(), &[], at(0));
    let both = ["a", "b"].map(|host| incident(host, &[(WARNING, 5)], None)).to_vec();
    assert_eq!(told(&mut ledger, both, 10).len(), 2);
}

#[test]
fn what_comes_back_too_soon_is_told_when_the_throttle_expires_or_given_up_when_it_ends() {
    let first = || incident("a", &[(WARNING, 5)], Some(20));
    for (ends, expect) in [(None, vec![(WARNING, "firing")]), (Some(200), vec![])] {
        let mut ledger = Ledger::new(rules(), &[], at(0));
        told(&mut ledger, vec![incident("a", &[(WARNING, 5)], None)], 10);
        told(&mut ledger, vec![first()], 20);
        assert_eq!(told(&mut ledger, vec![incident("a", &[(WARNING, 60)], None), first()], 61), []);
        assert_eq!(ledger.due(), Some(at(310)), "five minutes after it was told");
        let again = || vec![incident("a", &[(WARNING, 60)], ends), first()];
        let given_up = ledger.take(&level(again(), 309), |_| true);
        assert_eq!(given_up, usize::from(ends.is_some()));
        assert_eq!(told(&mut ledger, again(), 310), expect);
    }
}

#[test]
fn while_alertmanager_speaks_nothing_begins_but_what_was_begun_ends() {
    let mut ledger = Ledger::new(rules(), &[], at(0));
    let fires = || vec![incident("a", &[(WARNING, 5)], None)];
    ledger.take(&level(fires(), 10), |_| false);
    assert!(ledger.is_empty());
    assert_eq!(told(&mut ledger, fires(), 11).len(), 1);
    let ended = level(vec![incident("a", &[(WARNING, 5)], Some(20))], 20);
    ledger.take(&ended, |_| false);
    assert!(ledger.next(&ended, at(20)).is_some_and(|message| message.resolved));
}

#[test]
fn a_failure_is_tried_again_and_a_refusal_is_not() {
    for (kind, tries) in [(Kind::Unavailable, 2), (Kind::Unreachable, 2), (Kind::Refused, 1)] {
        let mut ledger = Ledger::new(rules(), &[], at(0));
        let mut tried = 0;
        for now in 10..13 {
            let level = level(vec![incident("a", &[(WARNING, 5)], None)], now);
            ledger.take(&level, |_| true);
            if ledger.next(&level, at(now)).is_some() {
                tried += 1;
                let outcome = if tried == 1 { Err(Failure::new(kind, "no")) } else { Ok(()) };
                ledger.answered(&outcome, at(now));
            }
        }
        assert_eq!(tried, tries, "{kind:?}");
    }
}

#[test]
fn a_restart_neither_tells_again_nor_forgets_the_end() {
    let mut before = Ledger::new(rules(), &[], at(0));
    let fires = || vec![incident("a", &[(WARNING, 5)], None)];
    told(&mut before, fires(), 10);
    let log = before.unlogged();
    let restarted = || Ledger::new(rules(), &log, at(100));

    let mut ledger = restarted();
    assert_eq!(told(&mut ledger, fires(), 101), [], "its incident was restored");
    assert_eq!(
        told(&mut ledger, vec![incident("a", &[(WARNING, 5)], Some(110))], 110),
        [(WARNING, "resolved")]
    );

    let mut ledger = restarted();
    assert_eq!(told(&mut ledger, Vec::new(), 101), [], "the level may not be whole yet");
    assert_eq!(told(&mut ledger, Vec::new(), 340), []);
    assert_eq!(told(&mut ledger, Vec::new(), 341), [(WARNING, "resolved")], "it is known no more");

    let mut ledger = restarted();
    assert_eq!(
        told(&mut ledger, vec![incident("a", &[(WARNING, 105)], None)], 106),
        [],
        "it began anew with us"
    );
    let log = [log.clone(), ledger.unlogged()].concat();
    let mut again = Ledger::new(rules(), &log, at(120));
    assert_eq!(
        told(&mut again, vec![incident("a", &[(WARNING, 105)], None)], 121),
        [],
        "and goes on with those after us"
    );
    assert_eq!(
        told(&mut again, vec![incident("a", &[(WARNING, 105)], Some(125))], 126),
        [(WARNING, "resolved")]
    );
}

#[test]
fn an_end_that_could_not_be_told_is_told_before_the_next_firing() {
    let mut ledger = Ledger::new(Rules { throttle: Duration::ZERO, ..rules() }, &[], at(0));
    told(&mut ledger, vec![incident("a", &[(WARNING, 5)], None)], 10);
    let next = || vec![incident("a", &[(WARNING, 30)], None), incident("a", &[(WARNING, 5)], Some(20))];
    assert_eq!(told(&mut ledger, next(), 31), [(WARNING, "resolved")]);
    assert_eq!(told(&mut ledger, next(), 32), [(WARNING, "firing")]);
}
