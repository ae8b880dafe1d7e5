//! Several sidecars report one node, each as it saw it: people are told once of a fault, and once of its end.
//!
//! The Alertmanager is a real one that tells of every change within a second, so that an alert which ends and begins again
//! is seen to. It waits with the first message for as long as reporters may differ, and lets the worse severity stand for
//! the milder.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dwcp_anomaly::detect::verdict::{Assessment, Severity};
use dwcp_anomaly::engine::snapshot::Snapshot;
use dwcp_anomaly::incident::{Incident, Reason};
use dwcp_anomaly::notify::config::{Alertmanager, Config};
use dwcp_anomaly::notify::counters::Counters;
use dwcp_anomaly::notify::courier::Courier;
use dwcp_anomaly::notify::desk::{Desk, Setting};
use dwcp_anomaly::notify::discovery::{Endpoint, named};
use dwcp_anomaly::notify::level::Identity;
use dwcp_anomaly::notify::nflog::Log;
use dwcp_anomaly::notify::outbox::Pace;
use dwcp_anomaly::notify::relay::Relay;
use dwcp_anomaly::series::{Labels, Timestamp};
use dwcp_anomaly::setting::Address;
use dwcp_anomaly::supervisor::Tasks;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::servers::{
    Server, active, alertmanager_with, free_port, sidecar, unix_now, value, wait_for, wait_until_all_vote,
};
use crate::sink::{Request, Sink};
use crate::synthetic::{answer, serve};

/// How far apart reporters see a fault begin, and end.
const APART: Duration = Duration::from_secs(30);
/// An alert that nobody tells any more lapses, and that is told within seconds.
const LAPSED: Duration = Duration::from_mins(1);

/// A real Alertmanager that tells `receiver`.
fn telling(receiver: &Sink) -> Server {
    alertmanager_with(
        free_port(),
        &format!(
            "route: {{receiver: recording, group_by: [instance, metric_name], group_wait: {}s, group_interval: 1s}}\n\
         receivers: [{{name: recording, webhook_configs: [{{url: '{}/told'}}]}}]\n\
         inhibit_rules:\n  - source_matchers: [severity = critical]\n    target_matchers: [severity = warning]\n    \
         equal: [instance, metric_name]\n",
            APART.as_secs() + 5,
            receiver.url(),
        ),
    )
}

/// What was told of each node, in order.
fn told(receiver: &Sink) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in receiver.got("/told").iter().map(Request::json) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        told.entry(text(&message["groupLabels"]["instance"])).or_default().push(text(&message["status"]));
    }
    told
}

/// A node as one sidecar gets to see it: late, at times not at all, at times without what it looks for.
struct View {
    url: String,
    level: Arc<Mutex<f64>>,
}

impl View {
    fn start(random: u64) -> Self {
        let (level, random) = (Arc::new(Mutex::new(0.0)), AtomicU64::new(random));
        let served = Arc::clone(&level);
        let address = serve(move |stream| {
            let random = random.fetch_add(7919, Ordering::Relaxed) % 1009;
            std::thread::sleep(Duration::from_millis(random % 40));
            let page =
                format!("# TYPE level gauge\nlevel {}\n", *served.lock().unwrap() + random as f64 / 1e3);
            match random % 12 {
                0 => drop(stream),
                1 => answer(stream, "# TYPE other gauge\nother 1\n"),
                _ => answer(stream, &page),
            }
        });
        Self { url: format!("http://{address}/metrics"), level }
    }

    fn set(&self, level: f64) {
        *self.level.lock().unwrap() = level;
    }
}

/// A sidecar of the node, as the injector sets it up; one that is `mild` never finds anything critical.
fn reporter(view: &View, alertmanager: &Server, pod: &str, is_mild: bool) -> Server {
    let most = if is_mild { 1000 } else { 5 };
    sidecar(&format!(
        "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}', labels: {{instance: node-1, pod: {pod}}}}}]\n\
         signals: [{{name: level, expr: level}}]\n\
         severity: {{warning: {{confidence: 0.7, sigma: 3}}, critical: {{confidence: 0.75, sigma: {most}}}}}\n\
         detector: {{lstm_autoencoder: {{enabled: false}}}}\n\
         alert: {{shared_nodes: true, alertmanagers: [{{url: '{}'}}]}}\n",
        view.url,
        alertmanager.url(),
    ))
}

/// Waits until it has told the Alertmanager `times`.
fn wait_told(sidecar: &Server, alertmanager: &Server, times: f64) {
    wait_for("telling", Duration::from_secs(20), || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        value(&page, "dwcp_alerts_sent_total", &[&alertmanager.url()]).is_some_and(|sent| sent >= times)
    });
}

/// Waits for a moment of the script that the faults follow.
fn until(began: Instant, after: Duration) {
    std::thread::sleep(after.saturating_sub(began.elapsed()));
}

#[test]
fn three_sidecars_of_one_node_tell_of_a_fault_once_though_one_is_killed_and_one_restarted() {
    let receiver = Sink::start();
    let alertmanager = telling(&receiver);
    let views = [1, 2, 3].map(View::start);
    let [mut mild, mut killed, short] =
        [0, 1, 2].map(|at| reporter(&views[at], &alertmanager, &format!("pod-{at}"), at == 0));
    [&mild, &killed, &short].iter().for_each(|sidecar| wait_until_all_vote(sidecar));
    views[0].set(100.0);
    let began = Instant::now();
    wait_told(&mild, &alertmanager, 1.0);
    let [first] = active(&alertmanager, "level").try_into().unwrap();
    assert_eq!(first["labels"]["severity"], "warning");
    until(began, APART / 3);
    views[1].set(100.0);
    wait_told(&killed, &alertmanager, 1.0);
    until(began, APART);
    views[2].set(100.0);
    wait_told(&short, &alertmanager, 1.0);
    wait_for("message", Duration::from_secs(20), || !told(&receiver).is_empty());

    killed.kill();
    assert!(Command::new("kill").args(["-TERM", &mild.id().to_string()]).status().unwrap().success());
    mild.wait_end();
    mild.start_again();
    // Where it was critical it has ended, which must not end it where it goes on, nor make news of its being mild there.
    let ends = Instant::now();
    views[2].set(0.0);
    until(ends, APART);
    assert_eq!(told(&receiver)["node-1"], ["firing"]);
    views[0].set(0.0);
    wait_for("end", LAPSED, || told(&receiver)["node-1"].len() > 1);
    assert_eq!(told(&receiver)["node-1"], ["firing", "resolved"]);
    for message in receiver.got("/told") {
        let labels = &message.json()["commonLabels"];
        assert_eq!((&labels["severity"], &labels["pod"]), (&"critical".into(), &Value::Null), "{labels}");
    }
}

/// What befalls one reporter of a node.
#[derive(Clone, Copy)]
enum Lot {
    Lives,
    IsKilled,
    IsRestarted,
}

/// One reporter of a node, when it sees the fault, and as what.
struct Part {
    node: String,
    pod: String,
    severity: Severity,
    begins: Duration,
    ends: Duration,
    lot: Lot,
}

/// When everyone has seen the fault, and been told of.
const HALFWAY: Duration = Duration::from_secs(45);

impl Part {
    /// The three of a node, the first of which sees the fault at once. To one of them it is mild.
    fn of_node(node: u64) -> [Self; 3] {
        let random = |salt: u64| APART.mul_f64((node * 37 + salt * 59) as f64 % 101.0 / 101.0);
        let lots = [Lot::Lives, Lot::IsKilled, Lot::IsRestarted];
        [0, 1, 2].map(|at| Self {
            node: format!("node-{node}"),
            pod: format!("pod-{node}-{at}"),
            severity: if at == node % 3 { Severity::Warning } else { Severity::Critical },
            begins: if at == 0 { Duration::ZERO } else { random(at) },
            ends: HALFWAY + random(at + 3),
            lot: lots[(at + node / 3) as usize % 3],
        })
    }

    fn snapshot(&self, began: Timestamp, ended_at: Option<Timestamp>) -> Arc<Snapshot> {
        let target = [("instance", &*self.node), ("job", "node"), ("namespace", "shop"), ("pod", &*self.pod)];
        let incident = Incident {
            target: Labels::new(target),
            metric: Labels::new([("metric_name", "cpu_usage")]),
            severities: vec![(self.severity, began)],
            started_at: began,
            ended_at,
            reason: if ended_at.is_some() { Reason::Recovered } else { Reason::Persisted },
            value: 97.0,
            expected: Some(5.0),
            worst: Assessment {
                score: 0.9,
                confidences: [Some(0.9); 4],
                confidence: 0.9,
                deviation_sigma: 9.0,
            },
            explanation: None,
            also: Vec::new(),
        };
        Arc::new(Snapshot { incidents: [incident].into(), ..Snapshot::default() })
    }

    /// Plays it, and goes on telling until it is dropped.
    async fn play(self, alertmanager: Vec<Endpoint>, fault: Instant) {
        let (snapshots, heard) = watch::channel(Arc::default());
        let stop = CancellationToken::new();
        let telling = tokio::spawn(tell(heard.clone(), alertmanager.clone(), stop.clone()));
        sleep_until(fault + self.begins).await;
        let began = now();
        snapshots.send_replace(self.snapshot(began, None));
        sleep_until(fault + HALFWAY).await;
        match self.lot {
            Lot::Lives => {}
            Lot::IsKilled => return telling.abort(),
            Lot::IsRestarted => {
                stop.cancel();
                telling.await.unwrap();
                tokio::spawn(tell(heard, alertmanager, CancellationToken::new()));
            }
        }
        sleep_until(fault + self.ends).await;
        snapshots.send_replace(self.snapshot(began, Some(now())));
        std::future::pending::<()>().await;
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis((unix_now() * 1e3) as i64)
}

async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}

/// What a sidecar tells Alertmanagers by.
async fn tell(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    alertmanagers: Vec<Endpoint>,
    stop: CancellationToken,
) {
    let resend = Config { shared_nodes: true, ..Config::default() }.resend();
    let setting = Setting {
        identity: Arc::new(Identity { shared_nodes: true, heartbeat: resend, ..Identity::default() }),
        pace: Pace { resend, probe: None },
        has_alertmanagers: true,
        failover_after: Duration::from_mins(1),
        route: Box::new(|_| Vec::new()),
    };
    let desk = Desk::new(setting, Vec::new(), &[], Counters::default(), now());
    let courier = Courier { desk, channels: Vec::new(), log: Log::default(), relay: Relay::default() };
    let (_found, endpoints) = watch::channel(alertmanagers);
    courier.run(&Tasks::default(), snapshots, endpoints, stop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_forty_nodes_with_three_reporters_each_people_hear_forty_times_and_of_forty_ends() {
    let receiver = Sink::start();
    let alertmanager = telling(&receiver);
    let endpoints =
        named(&[Alertmanager { url: Address::new(alertmanager.url()), ..Alertmanager::default() }]);
    let fault = Instant::now();
    let mut reporters = JoinSet::new();
    for part in (1..=40).flat_map(Part::of_node) {
        reporters.spawn(part.play(endpoints.clone(), fault));
    }
    sleep_until(fault + HALFWAY).await;
    let once = |nodes: BTreeMap<String, Vec<String>>, messages: &[&str]| {
        assert_eq!(nodes.len(), 40);
        nodes.iter().for_each(|(node, told)| assert_eq!(told, messages, "{node}"));
    };
    once(told(&receiver), &["firing"]);
    sleep_until(fault + HALFWAY + APART).await;
    once(told(&receiver), &["firing"]);
    let all_ended =
        || told(&receiver).values().all(|told| told.last().is_some_and(|last| last == "resolved"));
    tokio::task::block_in_place(|| wait_for("ends", LAPSED, all_ended));
    once(told(&receiver), &["firing", "resolved"]);
}
