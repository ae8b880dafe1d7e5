//! `run`: from flags to the app.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::{Allocator, Failed, OnError, Run, listen, runtime};
use crate::app::{self, Quick, Start};
use crate::config::{Config, Overlay, Sources};
use crate::hostmetrics::{self, Root};
use crate::scrape::config::EMBEDDED;
use crate::serve::{Guard, WebConfig};
use crate::telemetry::log;

/// Runs the sidecar until it is told to stop.
pub(super) fn run(args: &Run, allocator: Allocator) -> Result<(), Failed> {
    (allocator.settle)();
    log::init(&args.log_level, args.log_format).map_err(Failed::Asked)?;
    let sources = Sources {
        file: args.config_file.clone(),
        environment: std::env::vars().collect(),
        quick_start: args.config_file.is_none(),
    };
    // The configuration is read before anything is bound.
    let (config, overlay) = read(&sources, args.on_error)?.unzip();
    let web = WebConfig::load(args.web_config_file.as_deref()).map_err(Failed::Asked)?;
    runtime()?.block_on(start(args, sources, config, overlay.unwrap_or_default(), web, allocator.give_back))
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
    let given = args.external_url.as_deref().map(listen::external).transpose()?;
    let listener = listen::listen("--web.listen-address", &args.listen_address).await?;
    let address = listener.local_addr().map_err(|error| Failed::Running(error.to_string()))?;
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
            flag = %format!("--web.listen-address=0.0.0.0:{}", address.port()),
            "listening on loopback only; a Prometheus elsewhere gets in with this flag"
        );
    }
    let start = Start {
        sources,
        config,
        overlay,
        web,
        guard: guard(args, address, in_container, &own_name, &external_url),
        listener,
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

fn guard(args: &Run, address: SocketAddr, in_container: bool, own_name: &str, external_url: &str) -> Guard {
    let external = reqwest::Url::parse(external_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let listen_name = args.listen_address.rsplit_once(':').map(|(name, _)| name.to_owned());
    let listen_name = listen_name.filter(|name| !name.is_empty());
    // Listening on all addresses is no address that anybody could mean.
    let listen_name = listen_name.filter(|_| !address.ip().is_unspecified());
    let names = ["localhost", "127.0.0.1", "[::1]", own_name].map(str::to_owned);
    let allowed = args.allowed_hosts.iter().cloned();
    Guard {
        changes_enabled: args.enable_changes.unwrap_or(address.ip().is_loopback() && !in_container),
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
