//! The seeded schedules that are played through in virtual time beside the desk, on the wall clock: against real
//! Alertmanagers, of which some are killed and come back, with recording receivers behind them and for native channels.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dwcp_anomaly::detect::verdict::{Assessment, Severity};
use dwcp_anomaly::engine::snapshot::Snapshot;
use dwcp_anomaly::incident::{Incident, Reason};
use dwcp_anomaly::notify;
use dwcp_anomaly::notify::channels::{Configured, How};
use dwcp_anomaly::notify::counters::Counters;
use dwcp_anomaly::notify::courier::Courier;
use dwcp_anomaly::notify::desk::{Desk, Setting, Takes};
use dwcp_anomaly::notify::discovery::{Endpoint, named};
use dwcp_anomaly::notify::http::{Poster, Source};
use dwcp_anomaly::notify::level::Identity;
use dwcp_anomaly::notify::message::Wording;
use dwcp_anomaly::notify::nflog::Log;
use dwcp_anomaly::notify::outbox::Pace;
use dwcp_anomaly::notify::relay::Relay;
use dwcp_anomaly::notify::webhook::Webhook;
use dwcp_anomaly::series::{Labels, Timestamp};
use dwcp_anomaly::setting::{Access, Address, Redirects, Secret, http_client};
use dwcp_anomaly::supervisor::Tasks;
use serde_json::Value;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::schedule::{Event, Got, Schedule, check_channel, host_of};
use crate::servers::{Server, alertmanager_with, free_ports, in_time, wait_for};
use crate::sink::{Request, Sink};

#[path = "../../src/notify/desk/tests/schedule.rs"]
mod schedule;

const SCHEDULES: usize = 20;
const STEPS: usize = 100;
const STEP: Duration = Duration::from_millis(200);
const RESEND: Duration = Duration::from_secs(1);
const THROTTLE: Duration = Duration::from_secs(2);
/// Whatever it takes a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(1);
/// The native channels, and what they take.
const CHANNELS: [(&str, Severity); 2] = [("/slack", Severity::Warning), ("/pagerduty", Severity::Critical)];

/// Host and severity of what fires, as somebody sees it.
type Firing = BTreeSet<(String, Severity)>;

/// One run of one schedule: what happens, whom it befalls, and who is told.
struct World {
    schedule: Schedule,
    place: String,
    /// Whether native channels wait until no Alertmanager answers. If not, they are told everything.
    fails_over: bool,
    handle: Handle,
    client: reqwest::Client,
    alertmanagers: [Server; 2],
    /// How many of them, from the last on, an outage strikes.
    struck: usize,
    is_out: bool,
    /// Behind the Alertmanagers: what each says comes under its number.
    behind: Sink,
    sinks: [Sink; CHANNELS.len()],
    slow: [bool; CHANNELS.len()],
    storage: tempfile::TempDir,
    snapshots: watch::Sender<Arc<Snapshot>>,
    found: watch::Sender<Vec<Endpoint>>,
    courier: Option<JoinHandle<()>>,
    restarts: usize,
    outages: usize,
    /// Messages that the channels had got, and lines of the log, when the courier began.
    began_with: (usize, usize),
}

/// An incident but for its host and its times.
fn template() -> Incident {
    Incident {
        target: Labels::new([("job", "node")]),
        metric: Labels::new([("metric_name", "cpu_usage")]),
        severities: Vec::new(),
        started_at: Timestamp::default(),
        ended_at: None,
        reason: Reason::Persisted,
        value: 97.1,
        expected: Some(5.5),
        worst: Assessment {
            score: 0.91,
            confidences: [Some(0.9); 4],
            confidence: 0.92,
            deviation_sigma: 38.0,
        },
        also: Vec::new(),
        explanation: None,
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::from_millis(at.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
}

fn now() -> Timestamp {
    timestamp(SystemTime::now())
}

impl World {
    fn new(seed: u64, ports: [u16; 2], handle: Handle) -> Self {
        let behind = Sink::start();
        // Each alert is a group of its own, told at once and once.
        let config = |number: usize| {
            format!(
                "route: {{receiver: behind, group_by: ['...'], group_wait: 0s, group_interval: 100ms}}\n\
                 receivers: [{{name: behind, webhook_configs: [{{url: '{}/{number}', send_resolved: true}}]}}]\n",
                behind.url()
            )
        };
        let alertmanagers = [0, 1].map(|number| alertmanager_with(ports[number], &config(number)));
        let entry = |server: &Server| notify::config::Alertmanager {
            url: Address::new(server.url()),
            ..Default::default()
        };
        let fails_over = !seed.is_multiple_of(2);
        let mut world = Self {
            schedule: Schedule::new(seed, CHANNELS.len(), template()),
            place: format!("seed {seed}"),
            fails_over,
            handle,
            client: http_client(PATIENCE, Redirects::No).unwrap().0,
            found: watch::Sender::new(named(&[entry(&alertmanagers[0]), entry(&alertmanagers[1])])),
            alertmanagers,
            struck: if fails_over { 2 } else { 1 },
            is_out: false,
            behind,
            sinks: CHANNELS.map(|_| Sink::start()),
            slow: [false; CHANNELS.len()],
            storage: tempfile::tempdir().unwrap(),
            snapshots: watch::Sender::default(),
            courier: None,
            restarts: 0,
            outages: 0,
            began_with: (0, 0),
        };
        world.start_courier();
        world
    }

    /// Starts telling where the notification log ends.
    fn start_courier(&mut self) {
        let log = Log::open(&self.storage.path().display().to_string(), now()).unwrap();
        self.began_with = (self.taken(), self.logged());
        let how = How {
            wording: Arc::new(Wording::new("", "").unwrap()),
            external_url: "http://here".to_owned(),
            throttle: THROTTLE,
            missing_for: PATIENCE,
        };
        let configured = CHANNELS.iter().zip(&self.sinks).map(|((path, least), sink)| {
            let url = Source::Here(Secret::new(format!("{}{path}", sink.url())));
            let to = Poster::new("webhook", url, Access::default(), Duration::from_secs(5));
            let webhook =
                Webhook { to, receiver: (*path).to_owned(), external_url: how.external_url.clone() };
            Configured::new(path, Takes::AtLeast(*least), true, &how, Arc::new(webhook))
        });
        let (channels, notifiers) =
            configured.map(|configured| (configured.channel, configured.notifier)).unzip();
        let setting = Setting {
            // Good for long enough that an alert ends because its end is told, and never by itself.
            identity: Arc::new(Identity { heartbeat: PATIENCE, ..Identity::default() }),
            pace: Pace { resend: RESEND, probe: Some(RESEND / 2) },
            has_alertmanagers: self.fails_over,
            failover_after: RESEND,
            route: Box::new(|_| Vec::new()),
        };
        let desk = Desk::new(setting, channels, &log.records(), Counters::default(), now());
        let courier = Courier { desk, channels: notifiers, log, relay: Relay::default() };
        let (snapshots, found) = (self.snapshots.subscribe(), self.found.subscribe());
        self.courier = Some(self.handle.spawn(async move {
            courier.run(&Tasks::default(), snapshots, found, CancellationToken::new()).await;
        }));
    }

    /// Messages that the channels have got.
    fn taken(&self) -> usize {
        CHANNELS.iter().zip(&self.sinks).map(|((path, _), sink)| sink.got(path).len()).sum()
    }

    /// Lines of the notification log.
    fn logged(&self) -> usize {
        let text = std::fs::read_to_string(self.storage.path().join("notifications.jsonl")).unwrap();
        text.lines().count()
    }

    /// Kills whoever tells, and starts it anew. Channels take nothing meanwhile, so that all they have taken is written
    /// down: whether what was under way arrived nobody could know.
    fn restart(&mut self) {
        self.sinks.iter().for_each(|sink| sink.hang(true));
        let (taken, logged) = self.began_with;
        self.wait("line for each message", |world| world.logged() - logged >= world.taken() - taken);
        if let Some(courier) = self.courier.take() {
            courier.abort();
            assert!(self.handle.block_on(courier).unwrap_err().is_cancelled());
        }
        self.restarts += 1;
        self.start_courier();
        for (sink, slow) in self.sinks.iter().zip(self.slow) {
            sink.hang(slow);
        }
    }

    fn outage(&mut self, begins: bool) {
        let struck = self.alertmanagers.len() - self.struck;
        for server in self.alertmanagers[struck..].iter_mut().filter(|_| begins != self.is_out) {
            if begins { server.kill() } else { server.start_again() }
        }
        self.is_out = begins;
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            match self.schedule.happen(now()) {
                Some(Event::Outage) => {
                    self.outages += 1;
                    self.outage(!self.is_out);
                }
                Some(Event::Restart) => self.restart(),
                Some(Event::Slow(at)) => {
                    self.slow[at] = !self.slow[at];
                    self.sinks[at].hang(self.slow[at]);
                }
                None => {}
            }
            self.look();
            std::thread::sleep(STEP);
        }
    }

    /// The engine shows what there is now.
    fn look(&self) {
        let incidents = self.schedule.incidents.clone().into();
        self.snapshots.send_replace(Arc::new(Snapshot { incidents, ..Snapshot::default() }));
    }

    /// Nothing happens any more until everything has arrived; then everything ends, and that arrives as well.
    fn settle(&mut self) {
        self.slow = [false; CHANNELS.len()];
        self.sinks.iter().for_each(|sink| sink.hang(false));
        if self.fails_over {
            self.outage(true);
        }
        self.wait("message for each that fires", Self::channels_know_all);
        self.outage(false);
        self.wait_answers();
        self.wait("alert for each that fires", Self::alertmanagers_know_all);
        let fired = self.firing(Severity::Warning);
        for incident in self.schedule.incidents.iter_mut().filter(|incident| incident.ended_at.is_none()) {
            incident.ended_at = Some(now());
        }
        self.look();
        self.wait("message for each end", Self::channels_know_all);
        self.wait("end of each alert", |world| {
            world.alertmanagers_know_all() && [0, 1].iter().all(|at| world.behind(*at).is_disjoint(&fired))
        });
    }

    /// One that could not get its port back is started once more.
    fn wait_answers(&mut self) {
        for server in &mut self.alertmanagers {
            wait_for("Alertmanager that is back", PATIENCE, || {
                if server.has_ended() {
                    server.start_again();
                }
                server.get("/-/ready").is_some()
            });
        }
    }

    fn wait(&self, what: &str, ready: impl Fn(&Self) -> bool) {
        if in_time(PATIENCE, || ready(self)).is_none() {
            let answers = [0, 1].map(|at| self.ask(at, "/-/ready"));
            let got = [0, 1].map(|at| self.got(at));
            let fires = self.firing(Severity::Info);
            panic!(
                "{}: no {what}; fires: {fires:?}; Alertmanagers: {answers:?}; channels: {got:?}",
                self.place
            );
        }
    }

    /// What fires and has reached `least`.
    fn firing(&self, least: Severity) -> Firing {
        let fires = |incident: &&Incident| incident.ended_at.is_none() && incident.severity() >= least;
        let firing = self.schedule.incidents.iter().filter(fires);
        firing.map(|incident| (host_of(incident).to_owned(), incident.severity())).collect()
    }

    fn channels_know_all(&self) -> bool {
        CHANNELS.iter().enumerate().all(|(at, (_, least))| {
            let mut known = BTreeMap::new();
            for Got { host, severity, resolved, .. } in self.got(at) {
                if resolved {
                    known.remove(&host);
                } else {
                    known.insert(host, severity);
                }
            }
            known.into_iter().collect::<Firing>() == self.firing(*least)
        })
    }

    /// What they hold as active, and what the receivers behind them know.
    fn alertmanagers_know_all(&self) -> bool {
        let firing = self.firing(Severity::Warning);
        (0..self.alertmanagers.len())
            .all(|at| self.behind(at).is_superset(&firing) && self.held(at) == firing)
    }

    /// The answer of an Alertmanager at `path`.
    fn ask(&self, at: usize, path: &str) -> String {
        let url = format!("{}{path}", self.alertmanagers[at].url());
        let asked = async { self.client.get(url).send().await?.text().await };
        self.handle.block_on(asked).unwrap_or_default()
    }

    /// What an Alertmanager holds as active.
    fn held(&self, at: usize) -> Firing {
        let body = self.ask(at, "/api/v2/alerts?active=true");
        let alerts: Vec<Value> = serde_json::from_str(&body).unwrap_or_default();
        alerts.iter().map(|alert| host_and_severity(&alert["labels"])).collect()
    }

    /// Every alert that the receiver behind an Alertmanager was told, in order.
    fn told_behind(&self, at: usize) -> Vec<Got> {
        let alerts = |request: Request| {
            let alerts = request.json()["alerts"].as_array().cloned().unwrap();
            alerts.into_iter().map(move |alert| got(request.at, &alert))
        };
        self.behind.got(&format!("/{at}")).into_iter().flat_map(alerts).collect()
    }

    /// What fires, as far as that receiver knows.
    fn behind(&self, at: usize) -> Firing {
        let mut known = Firing::new();
        for Got { host, severity, resolved, .. } in self.told_behind(at) {
            let key = (host, severity);
            if resolved {
                known.remove(&key)
            } else {
                known.insert(key)
            };
        }
        known
    }

    /// What a native channel got.
    fn got(&self, channel: usize) -> Vec<Got> {
        let worst = |request: Request| {
            let body = request.json();
            let worst = got(request.at, body["alerts"].as_array().unwrap().last().unwrap());
            Got { resolved: body["status"] == "resolved", ..worst }
        };
        self.sinks[channel].got(CHANNELS[channel].0).into_iter().map(worst).collect()
    }

    /// Returns how many restarts and outages it stood, and how much channels and those behind Alertmanagers were told.
    fn check(&self) -> [usize; 4] {
        for (channel, (path, _)) in CHANNELS.iter().enumerate() {
            let place = format!("{}, {path}", self.place);
            // Receivers look at their clocks within the millisecond that senders write down.
            let throttle = THROTTLE.saturating_sub(Duration::from_millis(1));
            check_channel(&self.got(channel), &self.schedule.incidents, throttle, &place);
        }
        for at in 0..self.alertmanagers.len() {
            self.check_behind(at);
        }
        if self.struck < self.alertmanagers.len() {
            self.check_tellings();
        }
        let behind = [0, 1].map(|at| self.told_behind(at).len());
        [self.restarts, self.outages, self.taken(), behind.iter().sum()]
    }

    /// Nobody is told the end of what goes on, nor, by an Alertmanager that was never killed, anything twice.
    fn check_behind(&self, at: usize) {
        let told = self.told_behind(at);
        let say = |what: &str| format!("{}, Alertmanager {at}: {what}: {told:?}", self.place);
        let mut known = BTreeSet::new();
        for Got { at: when, host, start, severity, resolved } in &told {
            if *resolved {
                let is_it = |incident: &&Incident| host_of(incident) == host && incident.started_at >= *start;
                let ends = self.schedule.incidents.iter().filter(is_it).filter_map(|i| end(i, *severity));
                assert!(ends.min().is_some_and(|end| end <= *when), "{}", say("an end of what goes on"));
            }
            let is_new = known.insert((host, start, severity, resolved));
            assert!(is_new || at >= self.alertmanagers.len() - self.struck, "{}", say("told twice"));
        }
    }

    /// The Alertmanager that was never killed was told each alert when it began, once more in each resend delay, and
    /// after each restart.
    fn check_tellings(&self) {
        let page = self.ask(0, "/metrics");
        let is_it = |line: &&str| line.starts_with("alertmanager_alerts_received_total{status=\"firing\"");
        let lines: Vec<&str> = page.lines().filter(is_it).collect();
        let told: f64 = lines.iter().filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
        let mut most = 0.0;
        for incident in &self.schedule.incidents {
            for (severity, since) in incident.severities.iter().filter(|(of, _)| *of >= Severity::Warning) {
                let lasted = end(incident, *severity).unwrap().since(*since);
                most += 2.0 + self.restarts as f64 + lasted.div_duration_f64(RESEND);
            }
        }
        assert!(told <= most, "{}: told {told} times, at most {most} are called for", self.place);
    }
}

/// When an incident's alert of that severity ended, if it had one and that has ended.
fn end(incident: &Incident, severity: Severity) -> Option<Timestamp> {
    let at = incident.severities.iter().position(|(of, _)| *of == severity)?;
    incident.severities.get(at + 1).map(|(_, since)| *since).or(incident.ended_at)
}

/// An alert of a webhook's payload.
fn got(at: SystemTime, alert: &Value) -> Got {
    let (host, severity) = host_and_severity(&alert["labels"]);
    let start = notify::alert::time(alert["startsAt"].as_str().unwrap()).unwrap();
    Got { at: timestamp(at), host, start, severity, resolved: alert["status"] == "resolved" }
}

fn host_and_severity(labels: &Value) -> (String, Severity) {
    let is_it = |severity: &Severity| labels["severity"] == severity.name();
    (labels["instance"].as_str().unwrap().to_owned(), Severity::ALL.into_iter().find(is_it).unwrap())
}

#[test]
fn in_twenty_schedules_on_the_wall_clock_everything_arrives_nothing_twice_and_no_end_without_a_start() {
    let runtime = Runtime::new().unwrap();
    let ports = free_ports::<{ 2 * SCHEDULES }>();
    let play = |seed: usize| {
        let ports = [ports[2 * seed], ports[2 * seed + 1]];
        let mut world = World::new(seed as u64, ports, runtime.handle().clone());
        world.run();
        world.settle();
        world.check()
    };
    let stood: Vec<[usize; 4]> = std::thread::scope(|threads| {
        let play = &play;
        let worlds: Vec<_> = (0..SCHEDULES).map(|seed| threads.spawn(move || play(seed))).collect();
        worlds.into_iter().map(|world| world.join().unwrap_or_else(|cause| resume_unwind(cause))).collect()
    });
    for (at, what) in ["restarts", "outages", "messages", "alerts"].into_iter().enumerate() {
        let count: usize = stood.iter().map(|of| of[at]).sum();
        assert!(count >= SCHEDULES, "only {count} {what}");
    }
}
