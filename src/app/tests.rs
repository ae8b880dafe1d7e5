use std::time::Duration;

use axum::Router;
use serde_json::json;

use super::*;
use crate::setting::{Redirects, http_client};

/// Keeps what Alertmanagers are told.
async fn sink() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel(1000);
    let take = move |body: String| async move { tell.send(body).await.unwrap() };
    tokio::spawn(async {
        axum::serve(listener, Router::new().route("/api/v2/alerts", axum::routing::post(take))).await
    });
    (url, told)
}

async fn start(directory: &Path, alertmanager: &str) -> (Start, String) {
    let (file, found) = (directory.join("dwcp.yaml"), directory.join("am.json"));
    std::fs::write(&found, json!([{"targets": ["127.0.0.1:9"]}]).to_string()).unwrap();
    let config = json!({
        "check_interval": "500ms",
        "scrape": {"targets": [{"url": crate::scrape::config::EMBEDDED}]},
        "probe": {"targets": [{"tcp": "127.0.0.1:9"}]},
        "alert": {
            "resend_delay": "1s",
            "alertmanagers": [{"url": alertmanager}, {"file_sd": {"files": [found], "refresh_interval": "1s"}}],
        },
        "storage": {"path": directory.join("state")},
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let sources = Sources { file: Some(file), environment: Vec::new(), quick_start: false };
    let (config, overlay) = sources.load_whole(&Overlay::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let guard = Guard {
        changes_enabled: true,
        hosts: vec!["127.0.0.1".to_owned()],
        any_address: false,
        external_origin: url.clone(),
    };
    let start = Start {
        sources,
        config: Some(config),
        overlay,
        listener: std::future::ready(listener).boxed(),
        port,
        is_lenient: false,
        host: "here".to_owned(),
        external_url: url.clone(),
        guard,
        web: WebConfig::default(),
        quick_target: None,
        give_back: || (),
    };
    (start, url)
}

fn client() -> reqwest::Client {
    http_client(Duration::from_secs(5), Redirects::SameHost).unwrap().0
}

fn post(url: String, body: &serde_json::Value) -> reqwest::RequestBuilder {
    client().post(url).header("content-type", "application/json").body(body.to_string())
}

/// Waits until `is_so`, and meanwhile asks for what a task does only when asked.
async fn wait(url: &str, what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        let path = match what {
            "config" => "-/reload",
            "detect" => "api/v1/monitoring/anomaly/detect",
            _ => "-/healthy",
        };
        let _ = post(format!("{url}/{path}"), &json!({})).send().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the target is scraped again.
async fn wait_until_up(url: &str) {
    let is_up = |line: &str| line.starts_with("dwcp_target_up{") && line.ends_with(" 1");
    loop {
        let page = client().get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
        if page.lines().any(is_up) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_that_panics_comes_back_and_the_next_alert_is_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let (alertmanager, mut told) = sink().await;
    let (start, url) = start(directory.path(), &alertmanager).await;
    let (telemetry, registry) = Telemetry::new();
    let tasks = telemetry.tasks.clone();
    let page = telemetry::write(&registry);
    for task in Task::ALL {
        let series = format!("dwcp_task_restarts_total{{task=\"{}\"}} 0\n", task.name());
        assert!(page.contains(&series), "{page}");
        // Each at what it does first.
        tasks.have_panic(task);
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(run_with((telemetry, registry), start, stop.clone()));
    for task in Task::ALL {
        wait(&url, task.name(), || tasks.count(task) > 0).await;
    }
    wait(&url, "health", || tasks.problems().is_empty()).await;
    // And in turn, in the midst of what they do all the time.
    for task in [Task::Engine, Task::Alerts, Task::Discovery, Task::Config, Task::Detect] {
        let before = tasks.count(task);
        tasks.have_panic(task);
        wait(&url, task.name(), || tasks.count(task) > before && tasks.problems().is_empty()).await;
    }
    assert!(post(format!("{url}/-/reload"), &json!({})).send().await.unwrap().status().is_success());
    let alert = json!([{"labels": {"alertname": "Handed in"}}]);
    let taken = post(format!("{url}/api/v2/alerts"), &alert).send().await.unwrap();
    assert!(taken.status().is_success(), "{taken:?}");
    let arrives = async { while !told.recv().await.unwrap().contains("Handed in") {} };
    tokio::time::timeout(Duration::from_secs(20), arrives).await.expect("the alert is delivered");
    let healthy = client().get(format!("{url}/-/healthy")).send().await.unwrap();
    assert!(healthy.status().is_success(), "{healthy:?}");
    tokio::time::timeout(Duration::from_secs(20), wait_until_up(&url)).await.expect("it is scraped");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it ends").unwrap().unwrap();
}
