//! The command line.

mod alert;
mod arguments;
mod backtest;
mod inject;
mod injector;
mod listen;
mod models;
mod output;
mod progress;
mod query;
mod run;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config;
use crate::setting::Address;
use crate::telemetry::log::{self, Format};

/// Anomaly detection beside a node exporter: learns what is normal, tells Prometheus and Alertmanager when it ends.
#[derive(Parser)]
#[command(name = "dwcp-anomaly", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the sidecar.
    #[command(version, display_name = "dwcp-anomaly")]
    Run(Box<Run>),
    /// Validate configuration files and change nothing.
    CheckConfig {
        /// Our configuration, or an alertmanager.yml.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Evaluate one signal expression the way `run` would.
    Query(Query),
    /// Replay a recording through the engine of `run`.
    Backtest(Backtest),
    /// Fit models on confirmed-normal data and keep them.
    Train(Train),
    /// The models that are kept.
    Models(Models),
    /// Run the Kubernetes admission webhook that gives pods their sidecars.
    Injector(Box<Injector>),
    /// Give the workloads in manifests their sidecars, as the webhook would.
    Inject(Inject),
    /// Whether alerts arrive.
    #[command(subcommand)]
    Alert(OfAlert),
    /// Where alerts go by an alertmanager.yml, natively.
    #[command(subcommand)]
    Routes(OfRoutes),
}

#[derive(Subcommand)]
enum OfAlert {
    /// Send one alert with the label test="true" by the real path, and say where it went and what was answered.
    Test {
        /// info, warning or critical.
        #[arg(long, default_value = "warning")]
        severity: String,
        /// Also by native channels, as if no Alertmanager answered; its end follows at once.
        #[arg(long)]
        native: bool,
        /// Configuration file.
        #[arg(long = "config.file")]
        config_file: Option<PathBuf>,
        /// Name of this host.
        #[arg(long)]
        instance: Option<String>,
        /// URL under which people reach this sidecar.
        #[arg(long = "web.external-url")]
        external_url: Option<String>,
    },
}

#[derive(Subcommand)]
enum OfRoutes {
    /// Print the receivers of an alert with these labels.
    Test {
        /// An alertmanager.yml.
        #[arg(long = "config.file")]
        config_file: PathBuf,
        /// Say on standard error what each route was asked.
        #[arg(long)]
        verbose: bool,
        /// Labels of the alert: name=value.
        #[arg(value_parser = label)]
        labels: Vec<(String, String)>,
    },
}

/// Where `run` listens by default.
const LISTEN: &str = "127.0.0.1:10091";

/// `run`.
#[derive(Args)]
struct Run {
    /// Configuration file; without one, a quick start.
    #[arg(long = "config.file")]
    config_file: Option<PathBuf>,
    /// What to do when the configuration, or the value of another flag, is bad.
    #[arg(long = "config.on-error", default_value = "exit")]
    on_error: OnError,
    /// Name of this host in the label `instance` of loopback and embedded targets.
    #[arg(long)]
    instance: Option<String>,
    /// Address to listen on.
    #[arg(long = "web.listen-address", default_value = LISTEN)]
    listen_address: String,
    /// TLS, users and headers of the listener, in the format of Prometheus' exporter-toolkit; read again when it changes.
    #[arg(long = "web.config.file")]
    web_config_file: Option<PathBuf>,
    /// URL under which people reach this sidecar; http://HOSTNAME:PORT by default.
    #[arg(long = "web.external-url")]
    external_url: Option<String>,
    /// Further names that requests may call this sidecar by in their Host header, without a port, parted by commas: those of
    /// a Service or a proxy, say. Its addresses, localhost, its host name and the external URL's name are known.
    #[arg(long = "web.allowed-hosts", value_delimiter = ',')]
    allowed_hosts: Vec<String>,
    /// Let requests change things; on by default on a loopback address outside containers.
    #[arg(long = "web.enable-changes", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_changes: Option<String>,
    /// debug, info, warn or error.
    #[arg(long = "log.level", default_value = "info")]
    log_level: String,
    /// How log lines are written: logfmt or json.
    #[arg(long = "log.format", default_value = "logfmt")]
    log_format: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// Exit with status 2.
    Exit,
    /// Report, serve /metrics and /-/healthy, and take up the good file when it comes. Any other flag whose value is bad is
    /// reported and as if it was left out; a port that is taken is asked for again; with a bad web configuration nobody is
    /// let in.
    Degraded,
}

/// `query`.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["target", "openmetrics"])))]
struct Query {
    /// Exporter to scrape until rates are defined.
    #[arg(long)]
    target: Option<Address>,
    /// OpenMetrics text with timestamps.
    #[arg(long)]
    openmetrics: Option<PathBuf>,
    /// `PromQL`.
    expr: String,
    /// Unix time or RFC 3339; the newest sample by default.
    #[arg(long, allow_hyphen_values = true)]
    time: Option<String>,
    /// Time between scrapes of the target.
    #[arg(long, default_value = "2s")]
    interval: crate::setting::Span,
    /// text or json.
    #[arg(short = 'o', long = "output", default_value = "text")]
    output: Output,
}

/// `train`.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["data", "prometheus_url"])))]
struct Train {
    /// What is trained.
    #[arg(value_enum)]
    subject: Subject,
    /// Confirmed-normal data: CSV or CSV.gz, a time column and metrics; several files are taken one after the other.
    #[arg(long, num_args = 1..)]
    data: Vec<PathBuf>,
    /// A Prometheus that remembers the configured signals.
    #[arg(long = "prometheus.url")]
    prometheus_url: Option<Address>,
    /// How far back.
    #[arg(long, default_value = "7d", requires = "prometheus_url")]
    range: crate::setting::Span,
    /// Label of the target's series in Prometheus, as instance=HOST:PORT; may be given several times.
    #[arg(long = "prometheus.match", requires = "prometheus_url", value_parser = label)]
    matches: Vec<(String, String)>,
    /// Directory of the model store, or the file of priors.
    #[arg(long)]
    output: PathBuf,
    /// Configuration file.
    #[arg(long = "config.file")]
    config_file: Option<PathBuf>,
    /// Column to leave out; may be given several times.
    #[arg(long)]
    ignore_column: Vec<String>,
    /// Column of times; `timestamp`, or else the first, by default.
    #[arg(long)]
    time_column: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The isolation forest only.
    IsolationForest,
    /// The LSTM autoencoder only.
    LstmAutoencoder,
    /// Every detector.
    All,
    /// No model, but what is typical of many machines: each file is one of them, and --output a file for detector.priors.
    Priors,
}

/// A label's name and value.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be name=value, such as instance=web-1:9100")?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
        return Err(format!("{name:?} is no name of a label; give name=value, such as instance=web-1:9100"));
    }
    Ok((name.to_owned(), value.trim_matches('"').to_owned()))
}

/// `injector`.
#[derive(Args)]
struct Injector {
    /// What pods may ask for; see k8s/base/policy.yaml.
    #[arg(long = "policy.file")]
    policy_file: Option<PathBuf>,
    /// Image of the sidecars, instead of the policy's.
    #[arg(long)]
    image: Option<String>,
    /// Address for the API server, over TLS.
    #[arg(long = "web.listen-address", default_value = ":8443")]
    listen_address: String,
    /// Address for /metrics, /healthz and /readyz, in the clear.
    #[arg(long = "metrics.listen-address", default_value = ":8080")]
    metrics_address: String,
    /// Certificate chain, in PEM; read again when it changes.
    #[arg(long = "tls.cert-file", requires = "tls_key_file", required_unless_present = "self_managed")]
    tls_cert_file: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long = "tls.key-file", requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// Make certificates, rotate them and put their authority into the webhook; needs k8s/overlays/self-managed.
    #[arg(long = "tls.self-managed", conflicts_with = "tls_cert_file")]
    self_managed: bool,
    /// Service by which the API server calls.
    #[arg(long = "tls.service", default_value = "dwcp-injector", requires = "self_managed")]
    service: String,
    /// `MutatingWebhookConfiguration` that the authority is put into.
    #[arg(long = "tls.webhook", default_value = "dwcp-injector", requires = "self_managed")]
    webhook: String,
    /// API server; that of the cluster it runs in by default.
    #[arg(long = "kubernetes.url", requires = "self_managed")]
    kubernetes_url: Option<String>,
    /// Directory with the service account's token, ca.crt and namespace.
    #[arg(
        long = "kubernetes.service-account",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount",
        requires = "self_managed"
    )]
    service_account: PathBuf,
    /// How long to go on serving once told to stop, until everybody knows.
    #[arg(long = "shutdown-delay", default_value = "5s")]
    shutdown_delay: crate::setting::Span,
    /// debug, info, warn or error.
    #[arg(long = "log.level", default_value = "info")]
    log_level: String,
    /// How log lines are written.
    #[arg(long = "log.format", default_value = "logfmt")]
    log_format: Format,
}

/// `inject`.
#[derive(Args)]
struct Inject {
    /// Manifests, or - for standard input; may be given several times.
    #[arg(short = 'f', long = "filename", required = true)]
    files: Vec<PathBuf>,
    /// What pods may ask for; see k8s/base/policy.yaml.
    #[arg(long = "policy.file")]
    policy_file: Option<PathBuf>,
    /// Image of the sidecars, instead of the policy's.
    #[arg(long)]
    image: Option<String>,
}

/// `models`.
#[derive(Args)]
struct Models {
    #[command(subcommand)]
    what: OfModels,
    /// Directory of the model store; `detector.models.path` by default.
    #[arg(long, global = true)]
    path: Option<PathBuf>,
    /// Configuration file.
    #[arg(long = "config.file", global = true)]
    config_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum OfModels {
    /// The versions, oldest first; the one in use has a star.
    List,
    /// What a version says of itself.
    Show {
        /// Number of the version.
        version: String,
    },
    /// Make an older version the one in use; a running sidecar takes it up within half a minute.
    Rollback {
        /// Number of the version.
        version: String,
    },
}

/// `backtest`.
#[derive(Args)]
struct Backtest {
    /// Recording: CSV or CSV.gz with a header row.
    #[arg(long)]
    data: PathBuf,
    /// Where the scores go, one row for each of the recording's.
    #[arg(long)]
    output: PathBuf,
    /// Configuration file.
    #[arg(long = "config.file")]
    config_file: Option<PathBuf>,
    /// The first rows, known to be normal: they are fit on and not judged.
    #[arg(long, default_value_t = 0)]
    train_rows: usize,
    /// Column of labels; never shown to a detector.
    #[arg(long)]
    label_column: Option<String>,
    /// Column to leave out; may be given several times.
    #[arg(long)]
    ignore_column: Vec<String>,
    /// Column of times; `timestamp`, or else the first, by default.
    #[arg(long)]
    time_column: Option<String>,
    /// Time between rows; the median step by default.
    #[arg(long)]
    interval: Option<crate::setting::Span>,
    /// Have fits take effect at the checks of a run rather than as soon as they may: fits.jsonl in the run's storage.path.
    /// Rows are that run's checks, from the first one on.
    #[arg(long)]
    fits: Option<PathBuf>,
    /// Instance of the target whose fits are meant, where the run had several.
    #[arg(long, requires = "fits")]
    fits_target: Option<String>,
    /// Refuse times that repeat or step back.
    #[arg(long)]
    strict: bool,
    /// Where a page to look at goes: charts, votes, alerts, and what other thresholds would give.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Replay the recording for each threshold of the page, however long that takes; a small one is in any case.
    #[arg(long, requires = "report")]
    replay_thresholds: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One line a series.
    Text,
    /// The `data` of Prometheus' `/api/v1/query`.
    Json,
}

/// Why a command did not do its work, with its exit status.
enum Failed {
    /// 1: it failed while running.
    Running(String),
    /// 2: it was asked for something wrong.
    Asked(String),
}

/// What only the program can tell the allocator.
#[derive(Clone, Copy)]
pub struct Allocator {
    /// To be sparing; called by what stays until it is told to stop, while it has one thread.
    pub settle: fn(),
    /// To give free memory to the system; called now and then, by any thread.
    pub give_back: fn(),
}

/// Does what the arguments say.
pub fn main(allocator: Allocator) -> ExitCode {
    let outcome = match Cli::parse_from(arguments::with_expression_apart(std::env::args_os())).command {
        Command::Run(args) => run::run(&args, allocator),
        Command::CheckConfig { files } => check(&files),
        Command::Query(args) => query::query(&args),
        Command::Backtest(args) => backtest::backtest(&args),
        Command::Train(args) => train::train(&args),
        Command::Models(args) => models::models(&args),
        Command::Injector(args) => injector::injector(&args, allocator),
        Command::Inject(args) => inject::inject(&args),
        Command::Alert(what) => alert::alert(&what),
        Command::Routes(what) => alert::routes(&what),
    };
    log::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Running(error)) => {
            output::note(format_args!("dwcp-anomaly: {error}"));
            ExitCode::from(1)
        }
        Err(Failed::Asked(error)) => {
            output::note(error);
            ExitCode::from(2)
        }
    }
}

/// All files are checked, whatever is wrong with one.
fn check(files: &[PathBuf]) -> Result<(), Failed> {
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let mut problems = Vec::new();
    for file in files {
        match config::check_file(file, &environment) {
            Ok(checked) => output::say(format_args!("{}: SUCCESS", checked.summary))?,
            Err(wrong) => problems.extend(wrong.0),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failed::Asked(problems.join("\n"))) }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    // One thread serves and scrapes; the engine and the fits have their own.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failed::Running(error.to_string()))
}
