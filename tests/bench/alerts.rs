//! What a re-send round costs: 10 000 firing incidents to three Alertmanagers, over real connections.
//!
//! Prints the CPU time of a round and the memory over that before the first; the receivers are a process of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a measurement"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dwcp_anomaly::detect::verdict::{Assessment, Severity};
use dwcp_anomaly::engine::snapshot::Snapshot;
use dwcp_anomaly::incident::{Incident, Reason};
use dwcp_anomaly::notify::alertmanager::Alertmanager;
use dwcp_anomaly::notify::counters::Counters;
use dwcp_anomaly::notify::desk::{Desk, Errand, Report, Setting};
use dwcp_anomaly::notify::discovery::named;
use dwcp_anomaly::notify::level::Identity;
use dwcp_anomaly::notify::outbox::Pace;
use dwcp_anomaly::series::{Labels, Timestamp};

const INCIDENTS: usize = 10_000;
const ALERTMANAGERS: usize = 3;
const ROUNDS: u32 = 10;

/// Takes every request and forgets it.
const RECEIVER: &str = "
import http.server
class Take(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Take)
print(server.server_port, flush=True)
server.serve_forever()
";

struct Receiver(Child, String);

impl Receiver {
    fn start() -> Self {
        let mut child =
            Command::new("python3").args(["-c", RECEIVER]).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(child, format!("http://127.0.0.1:{}", port.trim()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn incident(n: usize) -> Incident {
    let began = Timestamp::from_millis(1_700_000_000_000);
    Incident {
        target: Labels::new([("instance", format!("host-{n}:9100")), ("job", "node".to_owned())]),
        metric: Labels::new([("metric_name", "cpu_usage")]),
        severities: vec![(Severity::Critical, began)],
        started_at: began,
        ended_at: None,
        reason: Reason::Persisted,
        value: 97.1,
        expected: Some(5.5),
        worst: Assessment {
            score: 0.91,
            confidences: [Some(0.9), Some(0.9), Some(0.95), Some(0.9)],
            confidence: 0.92,
            deviation_sigma: 38.0,
        },
        explanation: None,
        also: vec!["memory_usage".to_owned()],
    }
}

/// CPU seconds and resident bytes of this process.
fn spent() -> (f64, u64) {
    let stat = procfs::process::Process::myself().unwrap().stat().unwrap();
    ((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64, stat.rss * procfs::page_size())
}

async fn round(
    desk: &mut Desk,
    clients: &[(String, Alertmanager)],
    snapshot: &Arc<Snapshot>,
    now: Timestamp,
) {
    desk.hear(Arc::clone(snapshot), &[], now);
    loop {
        let errands = desk.errands(now);
        if errands.is_empty() {
            return;
        }
        for errand in errands {
            let Errand::Post(url, batch) = errand else { continue };
            let (_, client) = clients.iter().find(|(known, _)| *known == url).unwrap();
            let outcome = client.post(&batch).await;
            assert!(outcome.is_ok(), "{outcome:?}");
            desk.report(&Report::Posted(url, outcome, Duration::ZERO), now);
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let receivers: Vec<Receiver> = (0..ALERTMANAGERS).map(|_| Receiver::start()).collect();
    let entries: Vec<_> = receivers
        .iter()
        .map(|receiver| dwcp_anomaly::notify::config::Alertmanager {
            url: dwcp_anomaly::setting::Address::new(receiver.1.clone()),
            ..Default::default()
        })
        .collect();
    let clients: Vec<_> = named(&entries)
        .into_iter()
        .map(|endpoint| (endpoint.url.clone(), Alertmanager::new(endpoint)))
        .collect();
    let resend = Duration::from_mins(1);
    let setting = Setting {
        identity: Arc::new(Identity { heartbeat: resend, ..Identity::default() }),
        pace: Pace { resend, probe: None },
        has_alertmanagers: true,
        failover_after: resend,
        route: Box::new(|_| Vec::new()),
    };
    let began = Timestamp::from_millis(1_700_000_000_000);
    let mut desk = Desk::new(setting, Vec::new(), &[], Counters::default(), began);
    desk.know(clients.iter().map(|(url, _)| url.as_str()), began);
    let snapshot =
        Arc::new(Snapshot { incidents: (0..INCIDENTS).map(incident).collect(), ..Snapshot::default() });
    let (_, idle) = spent();
    runtime.block_on(round(&mut desk, &clients, &snapshot, began));
    let (before, _) = spent();
    for n in 1..=ROUNDS {
        runtime.block_on(round(&mut desk, &clients, &snapshot, began + resend * n));
    }
    let (after, resident) = spent();
    println!(
        "{INCIDENTS} incidents to {ALERTMANAGERS} Alertmanagers: {:.0} ms of CPU a round, {:.1} MiB over idle",
        (after - before) * 1e3 / f64::from(ROUNDS),
        resident.saturating_sub(idle) as f64 / f64::from(1 << 20),
    );
}
