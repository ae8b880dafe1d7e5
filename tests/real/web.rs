//! The web configuration file, by OpenSSL's client and curl; and clients that are slow.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::servers::{Server, request, sidecar, sidecar_on, sidecar_with, value, wait_for};

const IDLE: &str = "signals: []\nstorage: {path: ''}\n";

fn openssl(arguments: &[&str], directory: &Path, input: &str) -> (bool, String) {
    let mut child = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl; apt-get install openssl");
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// A certificate of its own authority, `NAME.crt` with `NAME.key`.
fn authority(directory: &Path, name: &str) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", "/CN=localhost"];
    arguments.extend(KEY);
    arguments.extend([
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ]);
    let (made, said) = openssl(&arguments, directory, "");
    assert!(made, "{said}");
}

/// A client's certificate that `authority` has signed.
fn client(directory: &Path, name: &str, authority: &str) {
    let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
    let mut arguments = vec!["req", "-new", "-subj", "/CN=prometheus"];
    arguments.extend(KEY);
    arguments.extend(["-keyout", &key, "-out", &request]);
    let (made, said) = openssl(&arguments, directory, "");
    assert!(made, "{said}");
    let (ca, ca_key, out) = (format!("{authority}.crt"), format!("{authority}.key"), format!("{name}.crt"));
    // Without an extension it would be a certificate of version 1, which is not verified any more.
    std::fs::write(directory.join("ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    let mut signed = vec!["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
    signed.extend(["-extfile", "ext", "-days", "2", "-out", &out]);
    let (made, said) = openssl(&signed, directory, "");
    assert!(made, "{said}");
}

fn with_web(web: &Path) -> Server {
    sidecar_with(IDLE, &[format!("--web.config.file={}", web.display())])
}

/// What OpenSSL's client gets to see of one request.
fn shake(server: &Server, directory: &Path, more: &[&str]) -> String {
    let address = format!("127.0.0.1:{}", server.port);
    let mut arguments = vec!["s_client", "-connect", &address, "-CAfile", "server.crt", "-ign_eof"];
    arguments.extend(more);
    let get = "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    openssl(&arguments, directory, get).1
}

#[test]
fn who_has_no_certificate_is_refused_and_a_rotated_one_is_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for name in ["server", "ca", "stranger"] {
        authority(at, name);
    }
    client(at, "prometheus", "ca");
    client(at, "other", "stranger");
    let web = at.join("web.yml");
    std::fs::write(
        &web,
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.crt\n  \
         client_auth_type: RequireAndVerifyClientCert\n  min_version: TLS13\n",
    )
    .unwrap();
    let server = with_web(&web);
    let known = ["-cert", "prometheus.crt", "-key", "prometheus.key"];
    wait_for("answer over TLS", Duration::from_secs(20), || shake(&server, at, &known).contains("200 OK"));
    for refused in
        [&[][..], &["-cert", "other.crt", "-key", "other.key"], &[&known[..], &["-tls1_2"]].concat()]
    {
        let said = shake(&server, at, refused);
        assert!(!said.contains("200 OK") && said.contains("alert"), "{refused:?}: {said}");
    }
    assert!(
        request("GET", &format!("{}/metrics", server.url()), &[], "").is_none(),
        "plain HTTP is not answered"
    );
    // Who has shown a certificate may change things.
    let reload = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "--cacert", "server.crt"])
        .args(["--cert", "prometheus.crt", "--key", "prometheus.key"])
        .arg(format!("https://127.0.0.1:{}/-/reload", server.port))
        .current_dir(at)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&reload.stdout), "200");
    let subject = |said: &str| said.split("BEGIN CERTIFICATE").nth(1).unwrap_or_default()[..200].to_owned();
    let before = subject(&shake(&server, at, &known));
    std::fs::write(&web, "tls_server_config: {cert_file: none.crt, key_file: none.key}\n").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(subject(&shake(&server, at, &known)), before, "a bad file changes nothing");
    std::fs::write(
        &web,
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.crt\n  \
         client_auth_type: RequireAndVerifyClientCert\n",
    )
    .unwrap();
    authority(at, "server");
    wait_for("the new certificate", Duration::from_secs(10), || {
        let said = shake(&server, at, &known);
        said.contains("200 OK") && subject(&said) != before
    });
}

#[test]
fn users_are_let_in_by_their_password_and_may_change_things() {
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    let hash = |password: &str| bcrypt::hash(password, 5).unwrap();
    let file = |password: &str| {
        format!(
            "basic_auth_users: {{ann: '{}'}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n",
            hash(password)
        )
    };
    std::fs::write(&web, file("s3cret")).unwrap();
    let server = with_web(&web);
    let status = |path: &str, user: &str, method: &str| {
        let mut command = Command::new("curl");
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code} %header{x-frame-options}", "-X", method]);
        if !user.is_empty() {
            command.args(["-u", user]);
        }
        let output = command.arg(format!("{}{path}", server.url())).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    wait_for("answer", Duration::from_secs(20), || {
        status("/-/healthy", "ann:s3cret", "GET").starts_with("200")
    });
    for (path, user, method, expect) in [
        ("/metrics", "", "GET", "401 deny"),
        ("/", "", "GET", "401 deny"),
        ("/metrics", "ann:wrong", "GET", "401 deny"),
        ("/metrics", "bob:s3cret", "GET", "401 deny"),
        ("/metrics", "ann:s3cret", "GET", "200 deny"),
        ("/-/reload", "", "POST", "401 deny"),
        ("/-/reload", "ann:s3cret", "POST", "200 deny"),
    ] {
        assert_eq!(status(path, user, method), expect, "{method} {path} {user}");
    }
    std::fs::write(&web, file("changed")).unwrap();
    wait_for("the new password", Duration::from_secs(10), || {
        status("/metrics", "ann:changed", "GET").starts_with("200")
    });
    assert_eq!(status("/metrics", "ann:s3cret", "GET"), "401 deny");
    for text in ["", "# nothing\n", "http_server_config: {headers: {X-Frame-Options: deny}}\n"] {
        let told = |what: &str| said(&server).matches(what).count();
        let (lost, taken_up) = ("it would end users (basic_auth_users)", "web configuration taken up");
        let before = (told(lost), told(taken_up));
        std::fs::write(&web, text).unwrap();
        wait_for("a word about it", Duration::from_secs(10), || {
            assert_eq!(status("/metrics", "", "GET"), "401 deny", "{text:?}");
            told(lost) > before.0
        });
        assert!(status("/metrics", "ann:changed", "GET").starts_with("200"), "{text:?}");
        std::fs::write(&web, file("changed")).unwrap();
        wait_for("the good file", Duration::from_secs(10), || {
            status("/metrics", "ann:changed", "GET");
            told(taken_up) > before.1
        });
    }
}

/// What a sidecar has logged.
fn said(server: &Server) -> String {
    std::fs::read_to_string(server.directory.path().join("log")).unwrap()
}

#[test]
fn a_configuration_file_that_is_emptied_leaves_the_running_configuration_in_place() {
    let server = sidecar("check_interval: 3s\nsignals: []\nstorage: {path: ''}\n");
    let file = server.directory.path().join("config.yaml");
    std::fs::write(&file, "\n# being written\n").unwrap();
    let url = |path: &str| format!("{}{path}", server.url());
    let (status, said) = request("POST", &url("/-/reload"), &[], "").unwrap();
    assert!(status == 500 && said.contains("is empty and was not"), "{status} {said}");
    let config = "/api/v1/monitoring/anomaly/config";
    let json = ["Content-Type: application/json"];
    let (status, said) = request("PUT", &url(config), &json, r#"{"enabled": true}"#).unwrap();
    assert!(status == 400 && said.contains("is empty and was not"), "{status} {said}");
    assert!(server.get(config).unwrap().contains("\"check_interval\":\"3s\""));
}

#[test]
fn what_is_not_meant_for_us_is_neither_read_nor_changed_on_whatever_address_we_listen() {
    let flags = ["--web.allowed-hosts=sidecar,dwcp.shop.svc", "--web.enable-changes"].map(str::to_owned);
    let server = sidecar_on("", IDLE, &flags);
    let status = |method: &str, path: &str, headers: &[&str]| {
        request(method, &format!("{}{path}", server.url()), headers, "").map(|(status, _)| status)
    };
    wait_for("answer", Duration::from_secs(20), || status("GET", "/-/ready", &[]) == Some(200));
    for path in ["/metrics", "/", "/-/healthy", "/api/v1/monitoring/anomaly/status", "/live", "/none"] {
        assert_eq!(status("GET", path, &["Host: evil.example"]), Some(403), "{path}");
    }
    for host in ["sidecar:10091", "dwcp.shop.svc", "10.0.0.5:10091", "[fd00::1]:10091", "localhost"] {
        assert_eq!(status("GET", "/metrics", &[&format!("Host: {host}")]), Some(200), "{host}");
    }
    let asked = format!("Host: 10.0.0.5:{}", server.port);
    for (origin, expect) in
        [("6.6.6.6", 403), ("93.184.216.34", 403), ("evil.example", 403), ("10.0.0.5", 200)]
    {
        let origin = format!("Origin: http://{origin}:{}", server.port);
        assert_eq!(status("POST", "/-/reload", &[&asked, &origin]), Some(expect), "{origin}");
    }
}

#[test]
fn a_bad_web_configuration_ends_the_start_with_status_2() {
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    std::fs::write(&web, "basic_auth_users: {ann: plain}\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dwcp-anomaly"))
        .args(["run", &format!("--web.config.file={}", web.display())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("basic_auth_users.ann: is no bcrypt hash") && !said.contains("plain"), "{said}");
}

#[test]
fn clients_that_are_slow_or_say_too_much_are_cut_off() {
    let server = sidecar(IDLE);
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream
    };
    let mut slow = connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    let _ = slow.read_to_end(&mut said);
    assert!(began.elapsed() < Duration::from_secs(30), "headers that do not come");
    let mut long = connect();
    let _ = long.write_all(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)).as_bytes());
    let mut said = String::new();
    let _ = long.read_to_string(&mut said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    let body = "x".repeat(2 << 20);
    let file = server.directory.path().join("body");
    std::fs::write(&file, body).unwrap();
    let url = format!("{}/api/v1/monitoring/anomaly/config", server.url());
    let output = Command::new("curl")
        .args([
            "-s",
            "-X",
            "PUT",
            "-H",
            "Content-Type: application/json",
            "-H",
            "Expect:",
            "-w",
            "%{http_code}",
            "-o",
            "/dev/null",
        ])
        .args(["--data-binary", &format!("@{}", file.display()), &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "413");
    assert!(server.get("/-/healthy").is_some());
}

#[test]
fn who_holds_connections_or_guesses_passwords_keeps_nobody_from_the_metrics() {
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    std::fs::write(&web, format!("basic_auth_users: {{ann: '{}'}}\n", bcrypt::hash("s3cret", 8).unwrap()))
        .unwrap();
    let server = with_web(&web);
    let scrape = || {
        let began = Instant::now();
        let authorization = "Authorization: Basic YW5uOnMzY3JldA==";
        let status = request("GET", &format!("{}/metrics", server.url()), &[authorization], "");
        status.is_some_and(|(status, _)| status == 200).then(|| began.elapsed())
    };
    wait_for("answer", Duration::from_secs(20), || scrape().is_some());
    let connect = || TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    // More than there are places.
    let idle: Vec<TcpStream> = (0..1400).map(|_| connect()).collect();
    let guessing: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = connect();
            let guess =
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YW5uOmd1ZXNz\r\n\r\n";
            stream.write_all(guess.as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut took: Vec<Duration> = (0..20).map(|_| scrape().expect("an answer")).collect();
    took.sort();
    assert!(took[18] < Duration::from_millis(500), "{took:?}");
    wait_for("refusals", Duration::from_secs(20), || {
        let authorization = "Authorization: Basic YW5uOnMzY3JldA==";
        let page = request("GET", &format!("{}/metrics", server.url()), &[authorization], "").unwrap().1;
        let of = |reason| value(&page, "dwcp_web_failed_logins_total", &[reason]).unwrap();
        of("bad_credentials") + of("too_many") == 100.0
    });
    assert_eq!(said(&server).matches("failed login").count(), 1, "once a minute");
    drop((idle, guessing));
}
