//! Little memory: what is given up, in which order, and that a fault is found all the same.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::servers::{Server, sidecar, sidecar_in, value, wait_for, wait_until_all_vote};
use crate::synthetic::{answer, serve};

const MINUTE: Duration = Duration::from_mins(1);
const LIMIT: u64 = 48 << 20;
const OFFERED: usize = 5000;

/// A host whose one CPU is as busy as a test says, behind thousands of series of something else.
struct Crowded {
    url: String,
    busy: Arc<Mutex<f64>>,
}

impl Crowded {
    fn start() -> Self {
        let busy = Arc::new(Mutex::new(0.1));
        let told = Arc::clone(&busy);
        let (began, idle) = (Instant::now(), Mutex::new((0.0, Instant::now())));
        let address = serve(move |stream| {
            let mut page = String::from("# TYPE shop_requests_total counter\n");
            let seconds = began.elapsed().as_secs();
            for path in 0..OFFERED {
                writeln!(page, "shop_requests_total{{path=\"/{path}\"}} {}", seconds * path as u64).unwrap();
            }
            let mut idle = idle.lock().unwrap();
            idle.0 += idle.1.elapsed().as_secs_f64() * (1.0 - *told.lock().unwrap());
            idle.1 = Instant::now();
            writeln!(
                page,
                "# TYPE node_cpu_seconds_total counter\nnode_cpu_seconds_total{{cpu=\"0\",mode=\"idle\"}} {}",
                idle.0
            )
            .unwrap();
            answer(stream, &page);
        });
        Self { url: format!("http://{address}/metrics"), busy }
    }

    fn config(&self, more: &str) -> String {
        format!(
            "check_interval: 500ms\nscrape:\n  targets: [{{url: '{}'}}]\nsignals:\n  \
             - {{name: requests, expr: 'sum(rate(shop_requests_total[$__rate_interval]))'}}\n  \
             - {{name: cpu_usage, unit: '%', direction: up, min_deviation: 10, expr: '100 * (1 - avg(rate(node_cpu_seconds_total{{mode=\"idle\"}}[$__rate_interval])))'}}\n{more}",
            self.url
        )
    }

    fn finds_the_fault(&self, sidecar: &Server) {
        wait_until_all_vote(sidecar);
        *self.busy.lock().unwrap() = 0.98;
        wait_for("incident of the CPU", MINUTE, || {
            let page = sidecar.get("/metrics").unwrap_or_default();
            page.lines().any(|line| {
                line.starts_with("dwcp_anomaly_firing{") && line.contains("cpu_usage") && line.ends_with(" 1")
            })
        });
    }
}

fn plain(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// A control group of this test, in whichever version the system has; removed in the end.
struct Group(PathBuf);

impl Group {
    fn new(limit: u64) -> Self {
        let name = format!("dwcp-test-{}", std::process::id());
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        let (top, file) = if v1.exists() {
            (v1, "memory.limit_in_bytes")
        } else {
            (PathBuf::from("/sys/fs/cgroup"), "memory.max")
        };
        let group = top.join(name);
        std::fs::create_dir(&group)
            .expect("a control group: run the tests as root, where control groups can be written");
        std::fs::write(group.join(file), limit.to_string()).unwrap();
        Self(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn in_a_group_of_48_mib_with_5000_series_offered_it_stays_up_and_finds_the_fault() {
    let (host, group) = (Crowded::start(), Group::new(LIMIT));
    let sidecar = sidecar_in(&host.config(""), &group.0);
    host.finds_the_fault(&sidecar);
    let page = sidecar.get("/metrics").unwrap();
    assert_eq!(plain(&page, "dwcp_memory_limit_bytes "), Some(LIMIT as f64), "told by the control group");
    let resident = plain(&page, "process_resident_memory_bytes ").unwrap();
    println!(
        "{} MiB resident, {:?} series held, level {:?}",
        resident / f64::from(1 << 20),
        value(&page, "dwcp_window_series", &["job=\"node\""]),
        plain(&page, "dwcp_memory_shed_level ")
    );
    assert!(resident < LIMIT as f64);
    assert!(value(&page, "dwcp_samples_refused_total", &["job=\"node\""]).unwrap() > 0.0);
    drop(sidecar);
}

#[test]
fn below_the_ceiling_things_are_given_up_in_the_stated_order_and_the_fault_is_still_found() {
    let host = Crowded::start();
    let sidecar = sidecar(&host.config("limits: {memory: 16MiB}\n"));
    let log = || std::fs::read_to_string(sidecar.directory.path().join("log")).unwrap();
    wait_for("the last of the order", MINUTE, || log().contains("what=\"least recent series\""));
    let log = log();
    let order = ["coarse tiers", "LSTM autoencoder", "forest size", "least recent series"];
    let places: Vec<usize> =
        order.iter().map(|what| log.find(&format!("what=\"{what}\"")).unwrap()).collect();
    assert!(places.is_sorted(), "{log}");
    wait_for("the series that says so", MINUTE, || {
        plain(&sidecar.get("/metrics").unwrap_or_default(), "dwcp_memory_shed_level ")
            .is_some_and(|level| level >= 4.0)
    });
    host.finds_the_fault(&sidecar);
}
