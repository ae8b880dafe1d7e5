//! `run`: from flags to the app.

use std::net::SocketAddr;
use std::path::Path;

use clap::ValueEnum;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Allocator, Failed, OnError, Run, listen, runtime};
use crate::app::{self, Quick, Start};
use crate::config::{Config, Overlay, Sources};
use crate::hostmetrics::{self, Root};
use crate::scrape::config::EMBEDDED;
use crate::serve::{Guard, WebConfig};
use crate::telemetry::log::{self, Format};

/// Runs the sidecar until it is told to stop.
pub(super) fn run(args: &Run, allocator: Allocator) -> Result<(), Failed> {
    (allocator.settle)();
    begin_log(args)?;
    let on_error = args.on_error;
    let sources = Sources {
        file: args.config_file.clone(),
        environment: std::env::vars().collect(),
        quick_start: args.config_file.is_none(),
    };
    // The configuration is read before anything is bound.
    let (config, overlay) = read(&sources, on_error)?.unzip();
    let file = args.web_config_file.as_deref();
    let web = on_error.forgive(WebConfig::load(file).map_err(Failed::Asked), || {
        WebConfig::closed(file.unwrap_or(Path::new("")))
    })?;
    runtime()?.block_on(start(args, sources, config, overlay.unwrap_or_default(), web, allocator.give_back))
}

fn begin_log(args: &Run) -> Result<(), Failed> {
    let format = Format::from_str(&args.log_format, false).map_err(|_| {
        Failed::Asked(format!("--log.format: {:?} is neither logfmt nor json", args.log_format))
    });
    let level = log::known(&args.log_level).map_err(Failed::Asked);
    if args.on_error == OnError::Degraded {
        // What is wrong with the log can be logged once there is one.
        let (shown, written) = (level.as_ref().copied().unwrap_or("info"), format.as_ref().copied());
        log::init(shown, written.unwrap_or_default()).map_err(Failed::Asked)?;
    }
    let (level, format) =
        (args.on_error.forgive(level, || "info")?, args.on_error.forgive(format, Format::default)?);
    if args.on_error == OnError::Exit { log::init(level, format).map_err(Failed::Asked) } else { Ok(()) }
}

impl OnError {
    /// What is wrong with a flag ends the start, or is reported and done without.
    fn forgive<T>(self, outcome: Result<T, Failed>, instead: impl FnOnce() -> T) -> Result<T, Failed> {
        match outcome {
            Err(Failed::Asked(problem) | Failed::Running(problem)) if self == Self::Degraded => {
                tracing::error!(problem, "bad flag; running degraded without it");
                Ok(instead())
            }
            outcome => outcome,
        }
    }
}

fn read(sources: &Sources, on_error: OnError) -> Result<Option<(Config, Overlay)>, Failed> {
    match sources.load_whole(&Overlay::default()) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(problems) if on_error == OnError::Degraded => {
            for problem in &problems.0 {
                tracing::error!(problem, "bad configuration; running degraded until it is good");
            }
            Ok(None)
        }
        Err(problems) => Err(Failed::Asked(problems.to_string())),
    }
}

async fn start(
    args: &Run,
    sources: Sources,
    config: Option<Config>,
    overlay: Overlay,
    web: WebConfig,
    give_back: fn(),
) -> Result<(), Failed> {
    let stop = stop_on_signal();
    let given = args.external_url.as_deref().map(listen::external).transpose();
    let given = args.on_error.forgive(given, || None)?;
    let changes = args.on_error.forgive(enabled(args), || Some(false))?;
    let (listener, address) = listener(args).await?;
    let in_container = app::in_container();
    let has_targets = config.as_ref().is_some_and(|config| !config.scrape.targets.is_empty());
    let quick_target =
        if sources.quick_start && !has_targets { quick(in_container, &stop).await } else { None };
    let own_name = hostmetrics::host_name(&Root::default()).unwrap_or_else(|| "localhost".to_owned());
    let host =
        args.instance.clone().or_else(|| std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty()));
    let scheme = if web.has_tls() { "https" } else { "http" };
    let external_url = given.unwrap_or_else(|| format!("{scheme}://{own_name}:{}", address.port()));
    if address.ip().is_loopback() {
        tracing::info!(
            flag = %format!("--web.listen-address=:{}", address.port()),
            "listening on loopback only; a Prometheus elsewhere gets in with this flag"
        );
    }
    let start = Start {
        sources,
        config,
        overlay,
        web,
        guard: guard(args, changes, (address, in_container), &own_name, &external_url),
        listener,
        port: address.port(),
        is_lenient: args.on_error == OnError::Degraded,
        host: host.unwrap_or(own_name),
        external_url,
        quick_target,
        give_back,
    };
    app::run(start, stop).await.map_err(Failed::Running)
}

async fn quick(in_container: bool, stop: &CancellationToken) -> Option<String> {
    let found = tokio::select! {
        found = app::find_target(in_container) => found,
        () = stop.cancelled() => Quick::Nothing,
    };
    match found {
        Quick::NodeExporter => Some(app::NODE_EXPORTER.to_owned()),
        Quick::Embedded => {
            tracing::info!("no node_exporter answers; reading this host's /proc instead");
            Some(EMBEDDED.to_owned())
        }
        Quick::Nothing => None,
    }
}

/// `--web.enable-changes`, if it is given.
fn enabled(args: &Run) -> Result<Option<bool>, Failed> {
    let Some(text) = &args.enable_changes else { return Ok(None) };
    let wrong = |_| Failed::Asked(format!("--web.enable-changes: {text:?} is neither true nor false"));
    text.parse().map(Some).map_err(wrong)
}

/// Who listens, and where. Degraded, a bad address is as if it was left out, and one that is taken is waited for.
async fn listener(args: &Run) -> Result<(BoxFuture<'static, TcpListener>, SocketAddr), Failed> {
    const FLAG: &str = "--web.listen-address";
    let mut text = args.listen_address.clone();
    let mut outcome = listen::listen(FLAG, &text).await;
    if matches!(outcome, Err(Failed::Asked(_))) && args.on_error == OnError::Degraded {
        args.on_error.forgive(outcome.map(drop), || ())?;
        super::LISTEN.clone_into(&mut text);
        outcome = listen::listen(FLAG, &text).await;
    }
    match outcome {
        Ok(listener) => {
            let address = listener.local_addr().map_err(|error| Failed::Running(error.to_string()))?;
            Ok((Box::pin(std::future::ready(listener)), address))
        }
        Err(Failed::Running(problem)) if args.on_error == OnError::Degraded => {
            tracing::error!(problem, "running degraded: nobody is answered until it can be listened there");
            let address = listen::meant(&text);
            Ok((Box::pin(async move { listen::listen_in_time(FLAG, &text).await }), address))
        }
        Err(failed) => Err(failed),
    }
}

fn guard(
    args: &Run,
    changes: Option<bool>,
    (address, in_container): (SocketAddr, bool),
    own_name: &str,
    external_url: &str,
) -> Guard {
    let external = reqwest::Url::parse(external_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let listen_name = args.listen_address.rsplit_once(':').map(|(name, _)| name.to_owned());
    let listen_name = listen_name.filter(|name| !name.is_empty());
    // Listening on all addresses is no address that anybody could mean.
    let listen_name = listen_name.filter(|_| !address.ip().is_unspecified());
    let names = ["localhost", "127.0.0.1", "[::1]", own_name].map(str::to_owned);
    let allowed = args.allowed_hosts.iter().cloned();
    Guard {
        changes_enabled: changes.unwrap_or(address.ip().is_loopback() && !in_container),
        hosts: names.into_iter().chain(external).chain(listen_name).chain(allowed).collect(),
        any_address: address.ip().is_unspecified(),
        external_origin: reqwest::Url::parse(external_url)
            .map(|url| url.origin().ascii_serialization())
            .unwrap_or_default(),
    }
}

/// Cancelled by SIGTERM or SIGINT.
pub(super) fn stop_on_signal() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let Ok(mut stream) = signal(kind) else { continue };
        let stop = stop.clone();
        tokio::spawn(async move {
            stream.recv().await;
            stop.cancel();
        });
    }
    stop
}
