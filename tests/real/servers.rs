//! Real programs, each on a free loopback port with a directory of its own, ended by its process id.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A program that runs until it is dropped.
pub struct Server {
    child: Child,
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    pub port: u16,
    pub directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One load at a time on one machine.
pub fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// Several that differ, each handed out once, and from below what the kernel hands out: while a server is down, nobody
/// comes to answer at its port.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    const PORTS: std::ops::Range<u32> = 20_000..32_000;
    static HANDED_OUT: AtomicU32 = AtomicU32::new(0);
    // Tests of another process begin elsewhere.
    let first = std::process::id().wrapping_mul(997);
    std::array::from_fn(|_| {
        let ports = std::iter::repeat_with(|| HANDED_OUT.fetch_add(1, Ordering::Relaxed)).take(PORTS.len());
        let mut ports = ports.map(|n| (PORTS.start + first.wrapping_add(n) % PORTS.len() as u32) as u16);
        ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("no port is free")
    })
}

/// Waits for `ready`, which is asked every 50 ms, and says how long it took.
pub fn wait_for(what: &str, patience: Duration, ready: impl FnMut() -> bool) -> Duration {
    in_time(patience, ready).unwrap_or_else(|| panic!("no {what} within {patience:?}"))
}

/// The same for whoever says more of what was not ready in time.
pub fn in_time(patience: Duration, mut ready: impl FnMut() -> bool) -> Option<Duration> {
    let began = Instant::now();
    while !ready() {
        if began.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(began.elapsed())
}

fn start(
    program: &str,
    package: &str,
    arguments: &[String],
    directory: tempfile::TempDir,
    port: u16,
) -> Server {
    start_where(program, package, arguments, &[], directory, port)
}

fn start_where(
    program: &str,
    package: &str,
    arguments: &[String],
    environment: &[(String, String)],
    directory: tempfile::TempDir,
    port: u16,
) -> Server {
    let child = spawn(program, arguments, environment, directory.path())
        .unwrap_or_else(|error| panic!("{program}: {error}; apt-get install {package}"));
    let (program, arguments, environment) = (program.to_owned(), arguments.to_vec(), environment.to_vec());
    Server { child, program, arguments, environment, port, directory }
}

/// What it says goes to the end of `log` in its directory.
fn spawn(
    program: &str,
    arguments: &[String],
    environment: &[(String, String)],
    directory: &std::path::Path,
) -> std::io::Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(directory.join("log"))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).envs(environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

impl Server {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn get(&self, path: &str) -> Option<String> {
        get(&format!("{}{path}", self.url()))
    }

    /// Ends it as nothing else would: without a word.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.wait_end();
    }

    pub fn wait_end(&mut self) {
        self.child.wait().unwrap();
    }

    /// Starts it again where it was; its log goes on.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.program, &self.arguments, &self.environment, self.directory.path()).unwrap();
    }

    /// Whether it has ended, for instance because somebody else has its port.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn wait_ready(&self) {
        wait_for("readiness", Duration::from_secs(20), || self.get("/-/ready").is_some());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn ready(self, path: &str) -> Self {
        wait_for(&format!("answer at {}{path}", self.url()), Duration::from_secs(20), || {
            self.get(path).is_some()
        });
        self
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub fn node_exporter() -> Server {
    node_exporter_at(free_port())
}

pub fn node_exporter_at(port: u16) -> Server {
    let arguments = [format!("--web.listen-address=127.0.0.1:{port}")];
    start("prometheus-node-exporter", "prometheus-node-exporter", &arguments, directory(), port)
        .ready("/metrics")
}

/// A Prometheus that scrapes `targets` every second, honouring their labels.
pub fn prometheus(targets: &[u16]) -> Server {
    let list: Vec<String> = targets.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
    prometheus_with(&format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nscrape_configs:\n  - job_name: dwcp-anomaly\n    \
         honor_labels: true\n    static_configs: [{{targets: [{}]}}]\n",
        list.join(", ")
    ))
}

/// A Prometheus with a configuration.
pub fn prometheus_with(config: &str) -> Server {
    let (port, directory) = (free_port(), directory());
    let file = directory.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", directory.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--log.level=warn".to_owned(),
    ];
    start("prometheus", "prometheus", &arguments, directory, port).ready("/-/ready")
}

/// A Prometheus that scrapes nothing and remembers `openmetrics`, a text with timestamps.
pub fn prometheus_remembering(openmetrics: &str) -> Server {
    let (port, directory) = (free_port(), directory());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (config, text, data) = (path("prometheus.yml"), path("openmetrics"), path("data"));
    std::fs::write(&config, "scrape_configs: []\n").unwrap();
    std::fs::write(&text, openmetrics).unwrap();
    let (status, said) =
        tool("promtool", &["tsdb", "create-blocks-from", "--quiet", "openmetrics", &text, &data], "");
    assert_eq!(status, 0, "{said}");
    let arguments = [
        format!("--config.file={config}"),
        format!("--storage.tsdb.path={data}"),
        "--storage.tsdb.retention.time=100y".to_owned(),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--log.level=warn".to_owned(),
    ];
    start("prometheus", "prometheus", &arguments, directory, port).ready("/-/ready")
}

pub fn unix_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

pub fn alertmanager() -> Server {
    alertmanager_at(free_port())
}

pub fn alertmanager_at(port: u16) -> Server {
    alertmanager_with(port, "route: {receiver: none}\nreceivers: [{name: none}]\n")
}

/// An Alertmanager with a configuration.
pub fn alertmanager_with(port: u16, config: &str) -> Server {
    let directory = directory();
    let file = directory.path().join("alertmanager.yml");
    std::fs::write(&file, config).unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", directory.path().display()),
        "--cluster.listen-address=".to_owned(),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    start("prometheus-alertmanager", "prometheus-alertmanager", &arguments, directory, port).ready("/-/ready")
}

/// An Alertmanager that answers over TLS only, below /am, and only those who have a certificate of `authority` themselves.
pub fn alertmanager_with_tls(certificate: &str, key: &str, authority: &str) -> Server {
    let (port, directory) = (free_port(), directory());
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("alertmanager.yml"), "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
    std::fs::write(
        path("web.yml"),
        format!(
            "tls_server_config: {{cert_file: '{certificate}', key_file: '{key}', client_ca_file: '{authority}', \
             client_auth_type: RequireAndVerifyClientCert}}\n"
        ),
    )
    .unwrap();
    let arguments = [
        format!("--config.file={}", path("alertmanager.yml")),
        format!("--storage.path={}", directory.path().display()),
        "--cluster.listen-address=".to_owned(),
        format!("--web.listen-address=127.0.0.1:{port}"),
        format!("--web.config.file={}", path("web.yml")),
        "--web.route-prefix=/am".to_owned(),
    ];
    start("prometheus-alertmanager", "prometheus-alertmanager", &arguments, directory, port)
}

/// A mail server that asks for a login; `mode` is starttls or implicit. Its log has each message as a line of JSON.
pub fn mail_server(mode: &str, certificate: &str, key: &str) -> Server {
    let (port, directory) = (free_port(), directory());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/smtp.py");
    let arguments = [script, &port.to_string(), mode, certificate, key].map(str::to_owned);
    let server = start("/usr/bin/python3", "python3-aiosmtpd", &arguments, directory, port);
    let log = server.directory.path().join("log");
    wait_for("mail server", Duration::from_secs(20), || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("ready")
    });
    server
}

fn sidecar_arguments(directory: &std::path::Path, port: u16) -> [String; 4] {
    [
        "run".to_owned(),
        format!("--config.file={}", directory.join("config.yaml").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--instance=here".to_owned(),
    ]
}

/// The sidecar itself, with a configuration.
pub fn sidecar(config: &str) -> Server {
    sidecar_with(config, &[]).ready("/-/ready")
}

/// The same with further flags; it may not be ready yet.
pub fn sidecar_with(config: &str, flags: &[String]) -> Server {
    sidecar_where(config, flags, None)
}

/// The same listening at `host` rather than on loopback.
pub fn sidecar_on(host: &str, config: &str, flags: &[String]) -> Server {
    let (port, directory) = (free_port(), directory());
    std::fs::write(directory.path().join("config.yaml"), config).unwrap();
    let mut arguments = sidecar_arguments(directory.path(), port).to_vec();
    arguments[2] = format!("--web.listen-address={host}:{port}");
    arguments.extend_from_slice(flags);
    start(env!("CARGO_BIN_EXE_dwcp-anomaly"), "nothing: build it", &arguments, directory, port)
}

/// The same within a control group.
pub fn sidecar_in(config: &str, group: &std::path::Path) -> Server {
    sidecar_where(config, &[], Some(group)).ready("/-/ready")
}

/// The same with variables of its own.
pub fn sidecar_in_environment(config: &str, flags: &[String], environment: &[(String, String)]) -> Server {
    let (port, directory) = (free_port(), directory());
    std::fs::write(directory.path().join("config.yaml"), config).unwrap();
    let mut arguments = sidecar_arguments(directory.path(), port).to_vec();
    arguments.extend_from_slice(flags);
    let program = env!("CARGO_BIN_EXE_dwcp-anomaly");
    start_where(program, "nothing: build it", &arguments, environment, directory, port)
}

fn sidecar_where(config: &str, flags: &[String], group: Option<&std::path::Path>) -> Server {
    let (port, directory) = (free_port(), directory());
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, config).unwrap();
    let mut arguments = sidecar_arguments(directory.path(), port).to_vec();
    arguments.extend_from_slice(flags);
    let program = env!("CARGO_BIN_EXE_dwcp-anomaly");
    let Some(group) = group else {
        return start(program, "nothing: build it", &arguments, directory, port);
    };
    // It joins before it begins.
    let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display());
    let within = ["-c".to_owned(), join, "sh".to_owned(), program.to_owned()];
    start("sh", "dash", &[&within[..], &arguments].concat(), directory, port)
}

/// A share of this machine's memory, for stress-ng, whose own percentages are of what is free and not of what is available.
pub fn of_memory(percent: u64) -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let kilobytes: u64 = total.trim().trim_end_matches(" kB").parse().unwrap();
    format!("{}k", kilobytes * percent / 100)
}

/// Load on this machine until it is dropped.
pub fn stress(arguments: &[&str]) -> Server {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    start("stress-ng", "stress-ng", &arguments, directory(), 0)
}

impl Server {
    /// Waits for a program that ends by itself.
    pub fn finish(mut self) {
        self.child.wait().unwrap();
    }
}

/// The body of a 200, if that is the answer.
pub fn get(url: &str) -> Option<String> {
    request("GET", url, &[], "").filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

/// One HTTP request over a connection of its own; status and body.
pub fn request(method: &str, url: &str, headers: &[&str], body: &str) -> Option<(u16, String)> {
    let mut command = Command::new("curl");
    command.args(["-sg", "--max-time", "10", "-X", method, "-w", "\n%{http_code}", url]);
    for header in headers {
        command.args(["-H", header]);
    }
    if !body.is_empty() {
        command.args(["--data-binary", "@-"]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("curl; apt-get install curl");
    // Who answers before all is read closes the other end.
    let sent = child.stdin.take().map(|mut input| input.write_all(body.as_bytes()));
    drop(sent);
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (body, status) = text.rsplit_once('\n')?;
    let status = status.parse().ok().filter(|status| *status > 0)?;
    Some((status, body.to_owned()))
}

/// Runs a tool with `input`; its status and what it said.
pub fn tool(program: &str, arguments: &[&str], input: &str) -> (i32, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// The value of the one series on a page that has all of `parts`; `None` if it is absent.
pub fn value(page: &str, name: &str, parts: &[&str]) -> Option<f64> {
    let is_it =
        |line: &&str| line.starts_with(&format!("{name}{{")) && parts.iter().all(|part| line.contains(part));
    let mut found = page.lines().filter(is_it);
    let line = found.next()?;
    assert!(found.next().is_none(), "several {name} with {parts:?}");
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Alerts of one metric that Alertmanager holds as active.
pub fn active(alertmanager: &Server, metric: &str) -> Vec<serde_json::Value> {
    let body = alertmanager.get("/api/v2/alerts?active=true").unwrap_or_default();
    let all: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap_or_default();
    let is_it = |alert: &serde_json::Value| alert["labels"]["metric_name"] == metric;
    all.into_iter().filter(is_it).collect()
}

/// Waits until z-score, seasonal ESD and forest vote.
pub fn wait_until_all_vote(sidecar: &Server) {
    wait_for("vote of three detectors", Duration::from_mins(3), || {
        let page = sidecar.get("/metrics").unwrap_or_default();
        page.lines().filter(|line| line.starts_with("dwcp_detector_ready") && line.ends_with(" 1")).count()
            >= 3
    });
}
