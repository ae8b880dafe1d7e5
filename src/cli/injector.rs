//! `injector`: the admission webhook.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Allocator, Failed, Injector, listen::listen, run::stop_on_signal, runtime};
use crate::admission::authority::{Authority, Cluster, Names};
use crate::admission::certificate::{Files, Serving};
use crate::admission::metrics::Metrics;
use crate::admission::{Policy, server};
use crate::config::Sources;
use crate::telemetry::log;

/// Serves until it is told to stop, and then a little longer: until the API server has heard of it.
pub(super) fn injector(args: &Injector, allocator: Allocator) -> Result<(), Failed> {
    (allocator.settle)();
    log::init(&args.log_level, args.log_format).map_err(Failed::Asked)?;
    let mut policy = policy(args.policy_file.as_deref(), args.image.as_deref())?;
    // Its own pods must start without it.
    policy.excluded_namespaces.extend(std::env::var("POD_NAMESPACE").ok().filter(|name| !name.is_empty()));
    runtime()?.block_on(serve(args, policy))
}

/// The policy of a file, and of the flag over it.
pub(super) fn policy(file: Option<&Path>, image: Option<&str>) -> Result<Policy, Failed> {
    let asked = |problems: Vec<String>| {
        let name = file.map_or_else(|| "policy".into(), |file| file.display().to_string());
        let lines: Vec<String> = problems.iter().map(|problem| format!("{name}: {problem}")).collect();
        Failed::Asked(lines.join("\n"))
    };
    let text = match file {
        None => String::new(),
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            asked(vec![format!("cannot be read: {error}; give a readable file to --policy.file")])
        })?,
    };
    let mut policy = Policy::read(&text).map_err(asked)?;
    if let Some(image) = image {
        image.clone_into(&mut policy.image);
        let told = |problem: String| format!("--{}", problem.replace("image: ", "image "));
        let problems: Vec<String> = policy.problems().into_iter().map(told).collect();
        if !problems.is_empty() {
            return Err(Failed::Asked(problems.join("\n")));
        }
    }
    // What every sidecar will read must be sound before the first one does.
    let profiles = policy.profiles.iter().map(|(name, profile)| (name.as_str(), &profile.defaults));
    let all = std::iter::once(("defaults", &policy.defaults)).chain(profiles);
    for (name, defaults) in all.filter(|(_, defaults)| !defaults.is_null()) {
        let environment = vec![("DWCP_DEFAULTS".to_owned(), defaults.to_string())];
        let sources = Sources { environment, ..Sources::default() };
        sources.load().map_err(|problems| asked(vec![format!("{name}: {problems}")]))?;
    }
    Ok(policy)
}

async fn serve(args: &Injector, policy: Policy) -> Result<(), Failed> {
    let told = stop_on_signal();
    let (serving, metrics) = (Arc::new(Serving::default()), Arc::new(Metrics::default()));
    let stop = CancellationToken::new();
    let keeper = certificates(args, &serving, &metrics, &stop)?;
    let leaving = Arc::new(AtomicBool::new(false));
    let shared = server::Shared {
        policy: Arc::new(policy),
        serving: Arc::clone(&serving),
        metrics: Arc::clone(&metrics),
        leaving: Arc::clone(&leaving),
    };
    let secure = listen("--web.listen-address", &args.listen_address).await?;
    let plain = listen("--metrics.listen-address", &args.metrics_address).await?;
    tracing::info!(
        reviews = %args.listen_address, metrics = %args.metrics_address, image = shared.policy.image, "injector listens"
    );
    let plain = tokio::spawn(server::run_plain(plain, shared.clone(), stop.clone()));
    let secure = tokio::spawn(server::run(secure, shared, stop.clone()));
    told.cancelled().await;
    leaving.store(true, Ordering::Relaxed);
    tracing::info!(after = %args.shutdown_delay, "stopping");
    tokio::time::sleep(args.shutdown_delay.0).await;
    stop.cancel();
    let ended = (secure.await, plain.await, keeper.await);
    ended.0.map_err(|error| error.to_string()).and_then(|served| served).map_err(Failed::Running)
}

/// Begins to look after the certificate: files that are read again, or certificates of our own.
fn certificates(
    args: &Injector,
    serving: &Arc<Serving>,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>, Failed> {
    if let (Some(certificate), Some(key)) = (args.tls_cert_file.clone(), args.tls_key_file.clone()) {
        let files = Files { certificate, key };
        files.load(serving, metrics).map_err(Failed::Asked)?;
        return Ok(tokio::spawn(files.watch(Arc::clone(serving), Arc::clone(metrics), stop.clone())));
    }
    let cluster = Cluster::new(&api_server(args)?, &args.service_account).map_err(Failed::Asked)?;
    let file = args.service_account.join("namespace");
    let namespace = std::fs::read_to_string(&file)
        .map_err(|error| Failed::Asked(format!("{}: cannot be read: {error}", file.display())))?;
    let names = Names {
        namespace: namespace.trim().to_owned(),
        service: args.service.clone(),
        webhook: args.webhook.clone(),
        identity: identity(),
    };
    let authority = Authority::new(names, cluster, Arc::clone(serving), Arc::clone(metrics));
    Ok(tokio::spawn(authority.run(stop.clone())))
}

fn api_server(args: &Injector) -> Result<String, Failed> {
    if let Some(url) = &args.kubernetes_url {
        return Ok(url.clone());
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"));
    let host = host.ok_or_else(|| {
        Failed::Asked("--tls.self-managed: this is no pod of a cluster; give --kubernetes.url".to_owned())
    })?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{}", port.as_deref().unwrap_or("443")))
}

/// The pod's name, or else one that no other process here has.
fn identity() -> String {
    let name = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    name.unwrap_or_else(|| format!("injector-{}", std::process::id()))
}
