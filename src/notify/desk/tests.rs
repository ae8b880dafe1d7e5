//! A thousand seeded schedules of fault, rise, end, outage, restart and slow receivers, in virtual time.

mod schedule;

use std::collections::{HashMap, HashSet};

use self::schedule::{Event, Got, Schedule, check_channel, host_of};
use super::*;
use crate::detect::verdict::Severity;
use crate::incident::Incident;
use crate::notify::level::tests::{at, identity, incident};
use crate::notify::retry::Kind;

const SECONDS: i64 = 900;
/// Time between looks.
const STEP: usize = 3;
/// At the end nothing happens any more, so that everything may arrive.
const QUIET: i64 = 400;
const FAILOVER: i64 = 60;
const THROTTLE: i64 = 120;

/// One run of one schedule: what happens, and what each receiver got.
struct World {
    schedule: Schedule,
    has_alertmanagers: bool,
    desk: Desk,
    log: HashMap<(String, u64), Record>,
    /// Errands under way, and when they end.
    under_way: Vec<(i64, Errand)>,
    alertmanager_is_up: bool,
    slow: Vec<bool>,
    /// Per channel.
    got: Vec<Vec<Got>>,
    /// What the Alertmanager holds as told firing.
    told: HashSet<(String, i64, Severity)>,
}

fn channels() -> Vec<Channel> {
    let channel = |place: &str, severity| Channel {
        endpoint: Endpoint { notifier: "test", endpoint: place.to_owned() },
        rules: Rules {
            place: place.to_owned(),
            sends_resolved: true,
            throttle: Duration::from_secs(THROTTLE as u64),
            missing_for: Duration::from_mins(4),
        },
        takes: Takes::AtLeast(severity),
    };
    vec![channel("slack", Severity::Warning), channel("pagerduty", Severity::Critical)]
}

fn desk(log: &[Record], now: i64, has_alertmanagers: bool) -> Desk {
    let setting = Setting {
        identity: identity(),
        pace: Pace { resend: Duration::from_mins(1), probe: Some(Duration::from_secs(10)) },
        has_alertmanagers,
        failover_after: Duration::from_secs(FAILOVER as u64),
        route: Box::new(|_| Vec::new()),
    };
    let mut desk = Desk::new(setting, channels(), log, Counters::default(), at(now));
    if has_alertmanagers {
        desk.know(["http://am"].into_iter(), at(now));
    }
    desk
}

impl World {
    fn new(seed: u64) -> Self {
        // Half of them have nobody but the channels.
        let has_alertmanagers = seed.is_multiple_of(2);
        Self {
            schedule: Schedule::new(seed, channels().len(), incident("", &[(Severity::Info, 0)], None)),
            has_alertmanagers,
            desk: desk(&[], 0, has_alertmanagers),
            log: HashMap::new(),
            under_way: Vec::new(),
            alertmanager_is_up: true,
            slow: vec![false; channels().len()],
            got: vec![Vec::new(); channels().len()],
            told: HashSet::new(),
        }
    }

    fn run(&mut self) {
        for now in (1..SECONDS).step_by(STEP) {
            if now < SECONDS - QUIET {
                self.happen(now);
            } else {
                self.alertmanager_is_up = true;
                self.slow.fill(false);
            }
            self.step(now);
        }
    }

    fn happen(&mut self, now: i64) {
        match self.schedule.happen(at(now)) {
            Some(Event::Outage) => self.alertmanager_is_up = !self.alertmanager_is_up,
            Some(Event::Restart) => self.restart(now),
            Some(Event::Slow(at)) => self.slow[at] = !self.slow[at],
            None => {}
        }
    }

    /// Killed: what is under way is lost, but may have arrived; what was written down stays.
    fn restart(&mut self, now: i64) {
        self.under_way.clear();
        let log: Vec<Record> = self.log.values().cloned().collect();
        self.desk = desk(&log, now, self.has_alertmanagers);
    }

    /// The errands that take until `now` arrive.
    fn arrive_all(&mut self, now: i64) {
        let (done, rest) =
            std::mem::take(&mut self.under_way).into_iter().partition(|(ends, _)| *ends <= now);
        self.under_way = rest;
        let done: Vec<(i64, Errand)> = done;
        for (_, errand) in done {
            let report = self.arrive(errand, now);
            self.desk.report(&report, at(now));
        }
    }

    fn write_log(&mut self) {
        for record in self.desk.unlogged() {
            self.log.insert((record.place.clone(), record.key), record);
        }
    }

    fn step(&mut self, now: i64) {
        self.arrive_all(now);
        let snapshot = Snapshot { incidents: self.schedule.incidents.clone().into(), ..Snapshot::default() };
        self.desk.hear(Arc::new(snapshot), &[], at(now));
        self.write_log();
        for errand in self.desk.errands(at(now)) {
            let slow = matches!(&errand, Errand::Tell(channel, _) if self.slow[*channel]);
            let takes = if slow { 10 } else { 0 };
            self.under_way.push((now + takes, errand));
        }
        // What takes no time has arrived.
        self.arrive_all(now);
        self.write_log();
    }

    fn arrive(&mut self, errand: Errand, now: i64) -> Report {
        let unreachable = || Err(Failure::new(Kind::Unreachable, "down"));
        match errand {
            Errand::Post(url, batch) => {
                if !self.alertmanager_is_up {
                    return Report::Posted(url, unreachable(), Duration::ZERO);
                }
                for alert in batch {
                    let json: serde_json::Value = serde_json::from_str(&alert.json).unwrap();
                    let host = json["labels"]["instance"].as_str().unwrap().to_owned();
                    let critical = json["labels"]["severity"] == "critical";
                    let severity = if critical { Severity::Critical } else { Severity::Warning };
                    let start = alert.starts_at.millis() / 1000;
                    if !alert.resolved {
                        self.told.insert((host, start, severity));
                    }
                }
                Report::Posted(url, Ok(()), Duration::ZERO)
            }
            Errand::Probe(url) => Report::Probed(url, self.alertmanager_is_up),
            // A slow receiver times out, and did not take it.
            Errand::Tell(channel, _) if self.slow[channel] => {
                Report::Told(channel, Err(Failure::new(Kind::TimedOut, "timed out")), Duration::ZERO)
            }
            Errand::Tell(channel, message) => {
                let host = message.worst().labels.get("instance").unwrap().to_owned();
                let (start, severity) = (message.started_at(), message.severity);
                let resolved = message.resolved;
                self.got[channel].push(Got { at: at(now), host, start, severity, resolved });
                Report::Told(channel, Ok(()), Duration::ZERO)
            }
        }
    }
}

#[test]
fn in_a_thousand_schedules_everything_arrives_nothing_twice_and_no_end_without_a_start() {
    for seed in 0..1000 {
        let mut world = World::new(seed);
        world.run();
        if world.has_alertmanagers {
            check_alertmanager(&world, seed);
        }
        for (channel, got) in channels().iter().zip(&world.got) {
            check_told(channel, got, &world, seed);
        }
    }
}

/// Beside what holds for every channel: where nobody else speaks, it is told everything that fires.
fn check_told(channel: &Channel, got: &[Got], world: &World, seed: u64) {
    let (incidents, place) = (&world.schedule.incidents, format!("seed {seed}, {}", channel.rules.place));
    let told = check_channel(got, incidents, channel.rules.throttle, &place);
    let Takes::AtLeast(least) = channel.takes else { panic!("{channel:?}") };
    let fires = |incident: &&Incident| incident.ended_at.is_none() && incident.severity() >= least;
    for incident in incidents.iter().filter(fires).filter(|_| !world.has_alertmanagers) {
        let key = (host_of(incident), incident.started_at);
        assert!(told.contains(&key), "{place}: everything that fires is told: {got:?}");
    }
}

/// Every incident at warning or above that fired while it was reachable for long enough was told there.
fn check_alertmanager(world: &World, seed: u64) {
    let quiet = SECONDS - QUIET;
    for incident in &world.schedule.incidents {
        let ends = incident.ended_at.map_or(SECONDS, |at| at.millis() / 1000);
        if incident.severity() < Severity::Warning || ends <= quiet + 40 {
            continue;
        }
        let host = host_of(incident).to_owned();
        let start = incident.started_at.millis() / 1000;
        assert!(world.told.contains(&(host, start, incident.severity())), "seed {seed}: {incident:?}");
    }
}

#[test]
fn when_the_only_alertmanager_dies_each_channel_is_told_once_and_it_is_told_at_once_when_it_is_back() {
    let mut world = World::new(0);
    world.schedule.incidents.push(incident("host0", &[(Severity::Critical, 5)], None));
    let (dies, back, ends) = (30, 150, 200);
    for now in 5..260 {
        world.alertmanager_is_up = !(dies..back).contains(&now);
        if now == back - 1 {
            world.told.clear();
        }
        if now == back + 2 {
            assert_eq!(world.told.len(), 1, "told at once");
        }
        if now == 120 || now == 180 {
            world.restart(now);
        }
        if now == ends {
            world.schedule.incidents[0].ended_at = Some(at(ends));
        }
        world.step(now);
    }
    for got in &world.got {
        let told: Vec<(i64, bool)> = got.iter().map(|got| (got.at.millis() / 1000, got.resolved)).collect();
        let [(fired, false), (ended, true)] = told[..] else { panic!("{got:?}") };
        assert!((dies + FAILOVER - 10..=dies + FAILOVER + 20).contains(&fired), "{fired}");
        assert_eq!(ended, ends);
    }
}

#[test]
fn a_receiver_that_hangs_holds_up_no_other() {
    let mut desk = desk(&[], 0, true);
    desk.setting.has_alertmanagers = false;
    let hear = |desk: &mut Desk, now| {
        let incidents = [incident("a", &[(Severity::Critical, 5)], None)];
        let snapshot = Snapshot { incidents: incidents.into(), ..Snapshot::default() };
        desk.hear(Arc::new(snapshot), &[], at(now));
        desk.errands(at(now))
    };
    let first = hear(&mut desk, 10);
    assert_eq!(first.len(), 3, "both channels and the Alertmanager at once: {first:?}");
    desk.report(&Report::Told(1, Ok(()), Duration::ZERO), at(11));
    assert!(hear(&mut desk, 12).is_empty(), "one errand each");
}
