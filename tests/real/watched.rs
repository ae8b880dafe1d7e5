//! A Prometheus with the shipped rules that has scraped a sidecar through a fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::dashboard;
use crate::recorded::{SIGNALS, csv_every, normal};
use crate::rules;
use crate::servers::{
    Server, alertmanager, prometheus_with, sidecar, tool, unix_now, value, wait_for, wait_until_all_vote,
};
use crate::synthetic::{answer, serve};

/// Checks are this far apart, in milliseconds.
const INTERVAL: u64 = 200;

/// What was watched, and with what.
pub struct Watched {
    pub prometheus: Server,
    pub sidecar: Server,
    /// When Prometheus began to scrape, and when the fault had been told; Unix seconds.
    pub during: (f64, f64),
    _alertmanager: Server,
    _models: tempfile::TempDir,
}

/// One fault is enough for all who look at it, so they do within one test.
#[test]
fn after_a_fault_every_rule_and_every_panel_has_data() {
    let watched = watch();
    rules::no_rule_is_empty(&watched);
    rules::every_alert_has_a_runbook(&watched);
    rules::the_incident_is_told_with_its_figures_and_its_runbook(&watched);
    dashboard::every_query_has_data(&watched);
}

fn watch() -> Watched {
    let (exporter, fault) = exporter();
    let models = tempfile::tempdir().unwrap();
    let data = models.path().join("normal.csv");
    std::fs::write(&data, csv_every(INTERVAL as f64 / 1e3, 1, 600)).unwrap();
    let (data, path) = (data.display().to_string(), models.path().join("models").display().to_string());
    let (status, said) = tool(
        env!("CARGO_BIN_EXE_dwcp-anomaly"),
        &["train", "isolation-forest", "--data", &data, "--output", &path],
        "",
    );
    assert_eq!(status, 0, "{said}");
    let alertmanager = alertmanager();
    let signals = SIGNALS.map(|name| format!("{{name: {name}, expr: {name}}}")).join(", ");
    let sidecar = sidecar(&format!(
        "check_interval: {INTERVAL}ms\nsignals: [{signals}]\nscrape:\n  targets:\n    - url: '{exporter}'\n      \
         labels: {{namespace: shop, cluster: east}}\ndetector: {{models: {{path: '{path}'}}}}\n\
         alert: {{alertmanagers: [{{url: '{}'}}]}}\n",
        alertmanager.url()
    ));
    let began = unix_now();
    let prometheus = prometheus_with(&format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}/rules/*.yaml']\nscrape_configs:\n  \
         - {{job_name: dwcp-anomaly, honor_labels: true, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}\n",
        env!("CARGO_MANIFEST_DIR"),
        sidecar.port
    ));
    wait_until_all_vote(&sidecar);
    let page = || sidecar.get("/metrics").unwrap_or_default();
    wait_for("a drift index, which takes 100 values", Duration::from_mins(2), || {
        value(&page(), "dwcp_signal_drift_index", &["heat"]).is_some()
    });
    fault.store(60, Ordering::Relaxed);
    wait_for("the alert in Prometheus", Duration::from_mins(1), || {
        let alerts = prometheus.get("/api/v1/alerts").unwrap_or_default();
        alerts.contains("DwcpAnomalyFiring") && alerts.contains("\"firing\"")
    });
    // A rate over 4 s, of a scrape a second.
    let told = unix_now() + 5.0;
    wait_for("some seconds of the fault", Duration::from_secs(10), || unix_now() > told);
    Watched { prometheus, sidecar, during: (began, unix_now()), _alertmanager: alertmanager, _models: models }
}

/// An exporter of what is normal, with a fault to be added to `heat`.
fn exporter() -> (String, Arc<AtomicU64>) {
    let fault = Arc::new(AtomicU64::new(0));
    let (added, tick) = (Arc::clone(&fault), AtomicU64::new(0));
    let address = serve(move |stream| {
        let [load, queue, heat] = normal(99, tick.fetch_add(1, Ordering::Relaxed));
        let heat = heat + added.load(Ordering::Relaxed) as f64;
        answer(stream, &format!("load {load}\nqueue {queue}\nheat {heat}\n"));
    });
    (format!("http://{address}/metrics"), fault)
}

impl Watched {
    /// `/api/v1/query` at the end of the fault, or over all the time it was watched, a sample a second.
    pub fn ask(&self, expr: &str, over_time: bool) -> Result<Vec<Value>, String> {
        let (from, to) = self.during;
        let question = if over_time {
            vec![
                ("query", expr.to_owned()),
                ("start", from.to_string()),
                ("end", to.to_string()),
                ("step", "1".into()),
            ]
        } else {
            vec![("query", expr.to_owned()), ("time", to.to_string())]
        };
        let path = if over_time { "query_range" } else { "query" };
        let url = format!("{}/api/v1/{path}", self.prometheus.url());
        let mut arguments = vec!["-sg".to_owned(), url];
        for (name, value) in question {
            arguments.extend(["--data-urlencode".to_owned(), format!("{name}={value}")]);
        }
        let (_, body) = tool("curl", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
        let answer: Value =
            serde_json::from_str(&body).map_err(|error| format!("{expr}: {error}: {body}"))?;
        if answer["status"] != "success" {
            return Err(format!("{expr}: {}", answer["error"]));
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }
}
