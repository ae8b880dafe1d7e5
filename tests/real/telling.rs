//! People are told natively where no Alertmanager answers: once, through kills and restarts, and with no secret in sight.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::servers::{
    Server, active, alertmanager, alertmanager_at, free_port, mail_server, request, sidecar, tool, value,
    wait_for, wait_until_all_vote,
};
use crate::sink::Sink;
use crate::synthetic::Synthetic;

/// Whatever it takes a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(2);

fn soon(what: &str, ready: impl FnMut() -> bool) -> Duration {
    wait_for(what, PATIENCE, ready)
}

/// How many of the JSON bodies at `path` say `value` under `name`.
fn count(sink: &Sink, path: &str, name: &str, value: &str) -> usize {
    sink.got(path).iter().filter(|request| request.json().pointer(name) == Some(&value.into())).count()
}

/// Firings and ends that Slack, PagerDuty and the webhook got.
fn told(sink: &Sink) -> [(usize, usize); 3] {
    let color = |color: &str| count(sink, "/slack/secret-path", "/attachments/0/color", color);
    let action = |action: &str| count(sink, "/pagerduty", "/event_action", action);
    let status = |status: &str| count(sink, "/hook", "/status", status);
    [
        (color("danger") + color("warning"), color("good")),
        (action("trigger"), action("resolve")),
        (status("firing"), status("resolved")),
    ]
}

/// Ends every incident, by switching detection off. The evidence of a fault fades too slowly to be waited for.
fn end_all(sidecar: &Server, config: &str) {
    std::fs::write(sidecar.directory.path().join("config.yaml"), format!("enabled: false\n{config}"))
        .unwrap();
    let (status, said) = request("POST", &format!("{}/-/reload", sidecar.url()), &[], "").unwrap();
    assert_eq!(status, 200, "{said}");
}

/// Waits until the notification log has so many lines.
fn written(storage: &std::path::Path, lines: usize) {
    soon("lines in the log", || {
        let text = std::fs::read_to_string(storage.join("notifications.jsonl")).unwrap_or_default();
        text.lines().count() >= lines
    });
}

fn native(sink: &Sink, storage: &std::path::Path, alertmanagers: &str) -> String {
    format!(
        "  alertmanagers: [{alertmanagers}]\n  resend_delay: 1s\n  failover_after: 3s\n  \
         slack_enabled: true\n  slack_webhook_url: {url}/slack/secret-path\n  \
         pagerduty_enabled: true\n  pagerduty_key: secret-key\n  pagerduty_url: {url}/pagerduty\n  \
         webhook_enabled: true\n  webhook_url: {url}/hook\nstorage: {{path: '{}'}}\n",
        storage.display(),
        url = sink.url(),
    )
}

fn watching(target: &Synthetic, alert: &str) -> String {
    format!(
        "check_interval: 200ms\nscrape:\n  targets: [{{url: '{}'}}]\nsignals: [{{name: level, expr: level}}]\n\
         severity: {{warning: {{confidence: 0.5, sigma: 3}}, critical: {{confidence: 0.6, sigma: 4}}}}\nalert:\n{alert}",
        target.url()
    )
}

#[test]
fn when_the_only_alertmanager_is_killed_each_channel_is_told_once_through_a_restart_and_to_the_end() {
    let (target, sink, storage, port) =
        (Synthetic::start(), Sink::start(), tempfile::tempdir().unwrap(), free_port());
    let first = alertmanager_at(port);
    let url = format!("{{url: '{}'}}", first.url());
    let config = watching(&target, &native(&sink, storage.path(), &url));
    let running = sidecar(&config);
    wait_until_all_vote(&running);
    target.set(100.0);
    soon("alert", || !active(&first, "level").is_empty());
    assert_eq!(told(&sink), [(0, 0); 3], "the Alertmanager answers");
    drop(first);
    let everywhere = [(1, 0); 3];
    let took = soon("messages", || told(&sink) == everywhere);
    assert!(took <= Duration::from_millis(3000 + 2 * 200 + 2000), "failover_after and two checks: {took:?}");
    // What it does not know to have arrived it would have to tell again.
    written(storage.path(), 3);
    drop(running);
    let again = sidecar(&config);
    let second = alertmanager_at(port);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(told(&sink), everywhere, "nobody is told again");
    drop(second);
    end_all(&again, &config);
    soon("ends", || told(&sink) == [(1, 1); 3]);
    written(storage.path(), 6);
    drop(again);
    let _third = sidecar(&config);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(told(&sink), [(1, 1); 3], "nobody is told the end again");
}

#[test]
fn an_alertmanager_that_comes_back_is_told_at_once() {
    let (target, port) = (Synthetic::start(), free_port());
    let config = watching(
        &target,
        &format!("  alertmanagers: [{{url: 'http://127.0.0.1:{port}'}}]\n  resend_delay: 1m\n"),
    );
    let running = sidecar(&config);
    wait_until_all_vote(&running);
    target.set(100.0);
    soon("a try that failed", || {
        let page = running.get("/metrics").unwrap_or_default();
        value(&page, "dwcp_alerts_failed_total", &[&port.to_string()]).is_some_and(|failed| failed >= 1.0)
    });
    let late = alertmanager_at(port);
    let took = soon("alert", || !active(&late, "level").is_empty());
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn without_an_alertmanager_channels_always_send_and_no_secret_is_shown_whatever_is_answered() {
    let (target, sink, storage) = (Synthetic::start(), Sink::start(), tempfile::tempdir().unwrap());
    sink.answer_with(403);
    let token = storage.path().join("token");
    std::fs::write(&token, "secret-token\n").unwrap();
    let secured = format!(
        "{{url: '{0}', basic_auth: {{username: u, password: secret-password}}}}, \
         {{url: '{0}/am', bearer_token_file: '{1}'}}",
        sink.url(),
        token.display()
    );
    let config = watching(&target, &native(&sink, storage.path(), &secured));
    let running = sidecar(&config);
    wait_until_all_vote(&running);
    target.set(100.0);
    // Who is not let in counts as not answering.
    soon("tries", || {
        ["/api/v2/alerts", "/am/api/v2/alerts", "/slack/secret-path", "/pagerduty", "/hook"]
            .iter()
            .all(|path| !sink.got(path).is_empty())
    });
    assert!(sink.got("/api/v2/alerts")[0].head.to_lowercase().contains("authorization: basic "));
    assert!(sink.got("/am/api/v2/alerts")[0].head.contains("Bearer secret-token"));
    std::thread::sleep(Duration::from_secs(1));
    let mut shown = std::fs::read_to_string(running.directory.path().join("log")).unwrap();
    for path in ["/metrics", "/", "/api/v1/monitoring/anomaly/status"] {
        shown.push_str(&running.get(path).unwrap());
    }
    let (status, said) = test_alert(&config, &["--native", "--severity", "critical"]);
    assert_eq!(status, 1, "{said}");
    shown.push_str(&said);
    assert!(shown.contains("HTTP 403"), "{shown}");
    // The password in Basic's disguise as well.
    for secret in ["secret-password", "secret-token", "secret-path", "secret-key", "dTpzZWNyZXQtcGFzc3dvcmQ"]
    {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

fn test_alert(config: &str, arguments: &[&str]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, config).unwrap();
    let file = format!("--config.file={}", file.display());
    let all = [&["alert", "test", &file], arguments].concat();
    tool(env!("CARGO_BIN_EXE_dwcp-anomaly"), &all, "")
}

#[test]
fn a_test_alert_goes_the_real_way_and_says_where_it_went() {
    let (sink, storage, taker) = (Sink::start(), tempfile::tempdir().unwrap(), alertmanager());
    let target = Synthetic::start();
    let config = watching(&target, &native(&sink, storage.path(), &format!("{{url: '{}'}}", taker.url())));
    let (status, said) = test_alert(&config, &[]);
    assert_eq!((status, said.trim()), (0, format!("alertmanager {}: taken", taker.url()).as_str()));
    let held = active(&taker, "test");
    assert_eq!((held.len(), &held[0]["labels"]["test"]), (1, &"true".into()), "{held:?}");
    assert_eq!(told(&sink), [(0, 0); 3]);
    let (status, said) = test_alert(&config, &["--native", "--severity", "critical"]);
    assert_eq!((status, said.lines().count()), (0, 4), "{said}");
    assert_eq!(told(&sink), [(1, 1); 3]);
    let (status, said) = test_alert("alert: {}\n", &[]);
    assert!(status == 1 && said.contains("nobody is told"), "{status} {said}");
    assert_eq!(test_alert(&config, &["--severity", "bad"]).0, 2);
}

#[test]
fn email_goes_over_tls_with_a_login_and_has_a_plain_part() {
    let certificates = certificates();
    let path = |name: &str| certificates.path().join(name).display().to_string();
    for mode in ["starttls", "implicit"] {
        let server = mail_server(mode, &path("server.pem"), &path("server.key"));
        let config = |password: &str| {
            format!(
                "alert:\n  email_enabled: true\n  email_recipients: [ops@example.com]\n  smtp_from: anomaly@example.com\n  \
                 smtp_server: 127.0.0.1\n  smtp_port: {}\n  smtp_tls: {mode}\n  smtp_tls_config: {{ca_file: '{}'}}\n  \
                 smtp_username: user\n  smtp_password: {password}\n",
                server.port,
                path("ca.pem")
            )
        };
        let (status, said) = test_alert(&config("hunter2"), &["--severity", "critical"]);
        assert_eq!(status, 0, "{mode}: {said}");
        let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
        let mails: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(mails.len(), 2, "{log}");
        let text = mails[0]["text"].as_str().unwrap();
        assert_eq!((&mails[0]["secure"], &mails[0]["authenticated"]), (&true.into(), &true.into()), "{log}");
        for part in
            ["Subject: [FIRING]", "multipart/alternative", "text/plain", "text/html", "To: ops@example.com"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let (status, said) = test_alert(&config("wrong-secret"), &["--severity", "critical"]);
        assert!(status == 1 && !said.contains("wrong-secret"), "{status} {said}");
    }
}

#[test]
fn a_mailbox_that_is_refused_or_put_off_keeps_no_mail_from_the_others() {
    let certificates = certificates();
    let path = |name: &str| certificates.path().join(name).display().to_string();
    let server = mail_server("none", &path("server.pem"), &path("server.key"));
    let config = |more: &str| {
        format!(
            "  email_enabled: true\n  email_recipients: [a@example.com, gone@example.com, later@example.com, c@example.com]\n  \
             smtp_from: anomaly@example.com\n  smtp_server: 127.0.0.1\n  smtp_port: {}\n{more}",
            server.port
        )
    };
    let mails = || -> Vec<Value> {
        let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let got = |whose: &str| mails().iter().filter(|mail| mail["to"][0] == whose).count();
    // While it runs, who was put off is tried again, and alone.
    let target = Synthetic::start();
    let watching = watching(&target, &config("  smtp_hello: web-1.example.com\n"));
    let sidecar = sidecar(&watching);
    wait_until_all_vote(&sidecar);
    target.set(100.0);
    soon("mails", || ["a", "later", "c"].iter().all(|who| got(&format!("{who}@example.com")) == 1));
    assert_eq!(got("gone@example.com"), 0);
    assert!(mails().iter().all(|mail| mail["hello"] == "web-1.example.com"), "{:?}", mails());
    let text = mails()[0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("gone@example.com") && text.contains("c@example.com"), "each names all: {text}");
    // Asked for once, each mailbox has its line, and this host's name is good enough for a greeting.
    let (status, said) = test_alert(&format!("alert:\n{}", config("")), &["--severity", "critical"]);
    assert!(status == 1 && said.contains("1 of 4 did not take it"), "{said}");
    let line = |whose: &str| said.lines().find(|line| line.contains(whose)).unwrap().to_owned();
    assert!(line("gone@").contains("no such mailbox"), "{said}");
    assert!(["a@", "later@", "c@"].iter().all(|whose| line(whose).contains("taken")), "{said}");
}

/// An authority, and two certificates of it: for 127.0.0.1, and for a client.
fn certificates() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca 2>&1 && \
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server 2>&1 && \
        printf 'subjectAltName=IP:127.0.0.1,DNS:am.example' > ext && \
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem 2>&1 && \
        openssl req -x509 -newkey rsa:2048 -nodes -keyout foreign.key -out foreign.pem -days 2 -subj /CN=foreign 2>&1 && \
        openssl req -newkey rsa:2048 -nodes -keyout client.key -out client.csr -subj /CN=client 2>&1 && \
        openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out client.pem 2>&1";
    let output = Command::new("sh").args(["-c", script]).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    directory
}

#[test]
fn a_sidecar_takes_the_alerts_of_another_and_tells_them_as_its_own() {
    let (target, taker) = (Synthetic::start(), alertmanager());
    let relay =
        sidecar(&watching(&Synthetic::start(), &format!("  alertmanagers: [{{url: '{}'}}]\n", taker.url())));
    let config = watching(
        &target,
        &format!(
            "  resend_delay: 1s\n  external_labels: {{from: far}}\n  alertmanagers: [{{url: '{}'}}]\n",
            relay.url()
        ),
    );
    let far = sidecar(&config);
    wait_until_all_vote(&far);
    target.set(100.0);
    soon("alert", || !active(&taker, "level").is_empty());
    assert_eq!(active(&taker, "level")[0]["labels"]["from"], "far");
    end_all(&far, &config);
    soon("end", || active(&taker, "level").is_empty());
    let url = format!("{}/api/v2/alerts", relay.url());
    for (headers, body, expect) in [
        (vec!["Content-Type: application/json"], "[]", 200),
        (vec!["Content-Type: application/json"], "[{\"labels\": {}}]", 400),
        (vec!["Content-Type: text/plain"], "[]", 415),
        (vec!["Content-Type: application/json", "Origin: http://evil.example"], "[]", 403),
    ] {
        assert_eq!(request("POST", &url, &headers, body).unwrap().0, expect, "{body}");
    }
}

#[test]
fn routes_are_picked_as_amtool_picks_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("am.yml");
    std::fs::write(&file, include_str!("routes.yml")).unwrap();
    let file = format!("--config.file={}", file.display());
    for labels in [
        vec![],
        vec!["severity=critical"],
        vec!["severity=critical", "team=db"],
        vec!["severity=warning", "team=db"],
        vec!["severity=warning", "team=web", "instance=web-1"],
        vec!["team=web", "instance=db-1"],
        vec!["team=web", "both=yes"],
        vec!["service=foo1"],
        vec!["service=foo1", "owner=x"],
        vec!["service=foot"],
        vec!["quoted=a,b"],
        vec!["alertname=DwcpAnomaly", "metric_name=cpu_usage", "severity=critical"],
    ] {
        let (status, ours) = tool(
            env!("CARGO_BIN_EXE_dwcp-anomaly"),
            &[&["routes", "test", &file], labels.as_slice()].concat(),
            "",
        );
        let (_, theirs) =
            tool("amtool", &[&["config", "routes", "test", &file], labels.as_slice()].concat(), "");
        // amtool warns of a configuration file of its own that it does not use.
        let theirs = theirs.lines().find(|line| !line.starts_with("Warning:")).unwrap().to_owned();
        assert_eq!((status, ours.trim().to_owned()), (0, theirs), "{labels:?}");
    }
    let (status, said) =
        tool(env!("CARGO_BIN_EXE_dwcp-anomaly"), &["check-config", &file["--config.file=".len()..]], "");
    assert!(status == 0 && said.contains("6 receivers"), "{said}");
}

#[test]
fn alertmanagers_own_configuration_routes_natively_when_it_does_not_answer() {
    let (target, sink, storage) = (Synthetic::start(), Sink::start(), tempfile::tempdir().unwrap());
    let file = storage.path().join("am.yml");
    let routes = format!(
        "route:\n  receiver: none\n  routes:\n    - {{matchers: ['metric_name=\"level\"'], receiver: level}}\nreceivers:\n  \
         - name: none\n    webhook_configs: [{{url: '{0}/none'}}]\n  - name: level\n    webhook_configs: [{{url: '{0}/level'}}]\n",
        sink.url()
    );
    std::fs::write(&file, routes).unwrap();
    let alert = format!(
        "  alertmanagers: [{{url: 'http://127.0.0.1:{}'}}]\n  failover_after: 1s\n  alertmanager_config: '{}'\nstorage: {{path: '{}'}}\n",
        free_port(),
        file.display(),
        storage.path().display()
    );
    let config = watching(&target, &alert);
    let running = sidecar(&config);
    wait_until_all_vote(&running);
    target.set(100.0);
    soon("message", || count(&sink, "/level", "/status", "firing") == 1);
    assert_eq!(sink.got("/level")[0].json()["receiver"], "level");
    end_all(&running, &config);
    soon("end", || count(&sink, "/level", "/status", "resolved") == 1);
    assert!(sink.got("/none").is_empty());
    let moved = std::fs::read_to_string(&file).unwrap().replace("/level'", "/moved'");
    std::fs::write(&file, "route: {receiver: nobody}\nreceivers: []\n").unwrap();
    let log = running.directory.path().join("log");
    soon("word of the bad routes", || std::fs::read_to_string(&log).unwrap().contains("nobody"));
    std::fs::write(&file, moved).unwrap();
    let taken_up = || running.get("/metrics").unwrap().contains("dwcp_config_last_reload_successful 1");
    soon("good routes", taken_up);
    let page = running.get("/metrics").unwrap();
    assert_eq!(value(&page, "dwcp_alerts_sent_total", &["notifier=\"webhook\"", &sink.url()]), Some(2.0));
}

#[test]
fn alertmanagers_are_found_by_files_and_asked_by_tls_with_certificates_on_both_sides_through_a_proxy() {
    let certificates = certificates();
    let path = |name: &str| certificates.path().join(name).display().to_string();
    let taker =
        crate::servers::alertmanager_with_tls(&path("server.pem"), &path("server.key"), &path("ca.pem"));
    let (target, list) = (Synthetic::start(), path("list.json"));
    let (proxy, tunnels) = tunnelling();
    std::fs::write(&list, "[]").unwrap();
    let alert = format!(
        "  resend_delay: 1s\n  alertmanagers:\n    - file_sd: {{files: ['{list}'], refresh_interval: 1s}}\n      scheme: https\n      \
         path_prefix: /am\n      proxy_url: 'http://{proxy}'\n      \
         tls: {{ca_file: '{}', server_name: am.example, cert_file: '{}', key_file: '{}'}}\n",
        path("ca.pem"),
        path("current.pem"),
        path("current.key")
    );
    // First a certificate that nobody has signed, then nonsense, and at last the right one.
    let put = |name: &str| {
        std::fs::copy(path(&format!("{name}.key")), path("current.key")).unwrap();
        std::fs::copy(path(&format!("{name}.pem")), path("current.pem")).unwrap();
    };
    put("foreign");
    let running = sidecar(&watching(&target, &alert));
    wait_until_all_vote(&running);
    target.set(100.0);
    std::fs::write(&list, format!("[{{\"targets\": [\"127.0.0.1:{}\"]}}]", taker.port)).unwrap();
    let says =
        |text: &str| std::fs::read_to_string(running.directory.path().join("log")).unwrap().contains(text);
    soon("refusal", || says("alerts not delivered"));
    std::fs::write(path("current.pem"), "nonsense").unwrap();
    soon("word of the nonsense", || says("certificates have changed and are no good; those before stay"));
    put("client");
    soon("alert", || {
        let url = format!("https://127.0.0.1:{}/am/api/v2/alerts", taker.port);
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "--cacert",
            &path("ca.pem"),
            "--cert",
            &path("client.pem"),
            "--key",
            &path("client.key"),
        ]);
        String::from_utf8_lossy(&curl.arg(&url).output().unwrap().stdout).contains("\"level\"")
    });
    assert_eq!(*tunnels.lock().unwrap(), BTreeSet::from([format!("127.0.0.1:{}", taker.port)]));
}

/// A proxy that tunnels, and where it was asked to.
fn tunnelling() -> (SocketAddr, Arc<Mutex<BTreeSet<String>>>) {
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&asked);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                near.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let host = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
            let mut far = TcpStream::connect(&host).unwrap();
            noted.lock().unwrap().insert(host);
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut back, mut forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut near, &mut forth));
            std::thread::spawn(move || std::io::copy(&mut far, &mut back));
        }
    });
    (address, asked)
}
