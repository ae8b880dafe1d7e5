//! No secret is shown: whatever is asked, whatever is answered, at every level.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::servers::{Server, free_port, get, sidecar_with, tool, value, wait_for};
use crate::sink::Sink;

const PATIENCE: Duration = Duration::from_mins(1);

/// What must never be seen, and what `user:password` becomes in Basic's disguise.
const CANARIES: [&str; 4] = ["CANARY", "Q0FOQVJZ", "NBTkFSW", "DQU5BUl"];

fn is_silent(shown: &str) {
    for canary in CANARIES {
        assert!(!shown.contains(canary), "{canary} in {shown}");
    }
}

/// A server that sends every request on to another address, or serves one sample at /page.
fn redirecting(to: &str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let (to, heads) = (to.to_owned(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            redirect(stream, &to, &noted);
        }
    });
    (url, heads)
}

fn redirect(mut stream: TcpStream, to: &str, heads: &Mutex<Vec<String>>) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let is_page = head.first().is_some_and(|line| line.contains("/page"));
    heads.lock().unwrap().push(head.join("\n"));
    let answer = if is_page {
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\nConnection: close\r\n\r\nlevel 1\n"
            .to_owned()
    } else {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let _ = stream.write_all(answer.as_bytes());
}

fn scraping(url: &str, more: &str) -> Server {
    let config = format!(
        "check_interval: 200ms\nscrape: {{targets: [{{url: '{url}'}}]{more}}}\n\
         signals: [{{name: level, expr: level}}]\nstorage: {{path: ''}}\n"
    );
    sidecar_with(&config, &["--log.level=debug".to_owned()])
}

fn log(server: &Server) -> String {
    std::fs::read_to_string(server.directory.path().join("log")).unwrap_or_default()
}

fn is_up(server: &Server) -> Option<f64> {
    value(&server.get("/metrics").unwrap_or_default(), "dwcp_target_up", &[])
}

#[test]
fn no_secret_is_shown_whatever_is_asked_and_answered_at_every_level() {
    let sink = Sink::start();
    sink.answer_with(500);
    let at = sink.url().replace("http://", "");
    let with_user = format!("http://CANARYuser:CANARY%40word@{at}");
    let config = format!(
        "check_interval: 200ms\nscrape: {{targets: [{{url: '{with_user}/metrics?token=CANARYquery'}}, \
         {{url: 'http://CANARYuser:CANARY@127.0.0.1:{closed}/metrics?CANARY'}}]}}\n\
         history: {{prometheus_url: '{with_user}/'}}\n\
         probe: {{targets: [{{http: '{with_user}/healthz?key=CANARY'}}]}}\n\
         signals: [{{name: level, expr: level}}]\nstorage: {{path: ''}}\n\
         alert:\n  resend_delay: 1s\n  failover_after: 1s\n  alertmanagers:\n    \
         - {{url: 'http://am.example:9093', proxy_url: '{with_user}', bearer_token: CANARYtoken}}\n    \
         - {{url: 'http://{at}/am', basic_auth: {{username: u, password: CANARYword}}}}\n  \
         slack_enabled: true\n  slack_webhook_url: http://{at}/slack/CANARYpath\n  \
         pagerduty_enabled: true\n  pagerduty_key: CANARYkey\n  pagerduty_url: http://{at}/pagerduty\n  \
         webhook_enabled: true\n  webhook_url: {with_user}/hook?sign=CANARYsign\n",
        closed = free_port(),
    );
    let running = sidecar_with(&config, &["--log.level=debug".to_owned()]);
    wait_for("a scrape that failed", PATIENCE, || log(&running).matches("scrape failed").count() >= 2);
    wait_for("an Alertmanager that was asked", PATIENCE, || !sink.got("/am/-/healthy").is_empty());
    let mut shown = log(&running);
    for part in ["watching", "no past", "http://<secret>@127.0.0.1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    for path in ["/metrics", "/", "/api/v1/monitoring/anomaly/status", "/api/v1/monitoring/anomaly/config"] {
        shown.push_str(&get(&format!("{}{path}", running.url())).unwrap());
    }
    is_silent(&shown);
    let file = running.directory.path().join("config.yaml").display().to_string();
    let program = env!("CARGO_BIN_EXE_dwcp-anomaly");
    let (status, said) = tool(
        program,
        &["alert", "test", "--native", "--severity=critical", &format!("--config.file={file}")],
        "",
    );
    assert!(status == 1 && said.contains("HTTP 500"), "{said}");
    is_silent(&said);
    for arguments in [
        vec!["query", "--target", &format!("{with_user}/metrics?CANARY"), "up"],
        vec!["query", "--target", "CANARYuser:CANARY@host:1", "up"],
        vec!["train", "all", "--output=/nonexistent", "--prometheus.url", &with_user],
        vec!["train", "all", "--output=/nonexistent", "--prometheus.url", "CANARYuser:CANARY@host"],
    ] {
        let (status, said) = tool(program, &arguments, "");
        assert!(status != 0 && !said.is_empty(), "{arguments:?}: {said}");
        is_silent(&said);
    }
    for wrong in [
        "scrape: {targets: [{url: 'htp://CANARYuser:CANARY@host'}]}",
        "scrape: {targets: [{url: 'http://u:12/CANARY@host'}]}",
        "scrape: {targets: [{url: 'http://host/#CANARY'}]}",
        "history: {prometheus_url: 'CANARYuser:CANARY@host:9090'}",
        "probe: {targets: [{http: 'ftp://CANARYuser:CANARY@host'}]}",
        "alert: {alertmanagers: [{url: 'http://CANARYuser:CANARY@host'}]}",
        "alert: {alertmanagers: [{url: 'http://host/?CANARY=CANARY'}]}",
        "alert: {pagerduty_url: 'CANARY:CANARY@host'}",
    ] {
        std::fs::write(&file, wrong).unwrap();
        let (status, said) = tool(program, &["check-config", &file], "");
        assert_eq!(status, 2, "{wrong}: {said}");
        // The name of a parameter is none.
        is_silent(&said.replace("?CANARY=", ""));
    }
}

#[test]
fn a_redirect_is_followed_on_its_host_alone_and_takes_no_secret_to_another() {
    let (other, heads) = redirecting("/page");
    let (first, _) = redirecting(&format!("http://{other}/page"));
    let (same, _) = redirecting("/page");
    let target = |host: &str| format!("http://CANARYuser:CANARY@{host}/metrics?token=CANARY");
    let stays = scraping(&target(&same), "");
    wait_for("a scrape", PATIENCE, || is_up(&stays) == Some(1.0));
    drop(stays);
    let leaves = scraping(&target(&first), "");
    wait_for("a refusal", PATIENCE, || log(&leaves).contains("scrape.follow_redirects"));
    assert!(heads.lock().unwrap().is_empty());
    assert!(log(&leaves).contains(&format!("redirects to http://{other}")), "{}", log(&leaves));
    drop(leaves);
    let never = scraping(&target(&same), ", follow_redirects: false");
    wait_for("a refusal", PATIENCE, || log(&never).contains("scrape.follow_redirects"));
    drop(never);
    let allowed = scraping(&target(&first), ", follow_redirects: true");
    wait_for("a scrape", PATIENCE, || is_up(&allowed) == Some(1.0));
    let seen = heads.lock().unwrap().join("\n").to_lowercase();
    for header in ["referer", "authorization", "canary"] {
        assert!(!seen.contains(header), "{seen}");
    }
    is_silent(&log(&allowed));
}
