//! From a configuration to those who tell people.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::unix_now;
use crate::config::Config;
use crate::detect::verdict::Severity;
use crate::engine::snapshot::Snapshot;
use crate::notify::alertmanager::Alertmanager;
use crate::notify::channels::{self, Configured, How};
use crate::notify::counters::Counters;
use crate::notify::courier::Courier;
use crate::notify::desk::{Desk, Routes, Setting};
use crate::notify::discovery::{self, Endpoint};
use crate::notify::ledger::Message;
use crate::notify::level::{Identity, Posted};
use crate::notify::message::Wording;
use crate::notify::nflog::Log;
use crate::notify::outbox::Pace;
use crate::notify::receivers::Native;
use crate::notify::relay::{NotTaken, Relay};
use crate::series::{Labels, Timestamp};
use crate::serve::Refused;
use crate::setting::told;
use crate::supervisor::Tasks;

/// Takes in what another sidecar posts, if anybody is there to be told of it.
pub(super) fn hand_in(relay: &Relay, body: &[u8]) -> Result<(), Refused> {
    relay.hand_in(body, Timestamp::from_seconds(unix_now() as f64)).map_err(|not_taken| match not_taken {
        NotTaken::Deaf => Refused::Failed(
            "nobody is there to be told: set alert.alertmanagers or enable a channel here".to_owned(),
        ),
        NotTaken::Wrong(problem) => Refused::Bad(problem),
    })
}

/// What outlives a reload: what other sidecars handed in, and the notification log.
#[derive(Default)]
pub(crate) struct Telling {
    pub(super) relay: Relay,
    log: Option<(String, Log)>,
}

impl Telling {
    /// Starts the courier, and who looks for Alertmanagers.
    pub(crate) fn start(
        &mut self,
        config: &Config,
        external_url: &str,
        counters: Counters,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        stop: CancellationToken,
        (tasks, senders): (&Tasks, &mut JoinSet<()>),
    ) {
        let now = Timestamp::from_seconds(unix_now() as f64);
        self.relay.has_listeners(!config.alert.alertmanagers.is_empty() || config.alert.has_channels());
        let configured = channels(config, external_url);
        let log = self.log(&config.storage.path, !configured.is_empty(), now);
        let (channels, notifiers) =
            configured.into_iter().map(|configured| (configured.channel, configured.notifier)).unzip();
        let setting = setting(config, external_url);
        let desk = Desk::new(setting, channels, &log.records(), counters, now);
        let courier = Courier { desk, channels: notifiers, log, relay: self.relay.clone() };
        let (tell, found) = watch::channel::<Vec<Endpoint>>(discovery::named(&config.alert.alertmanagers));
        let entries = config.alert.alertmanagers.clone();
        let (kept, token) = (tasks.clone(), stop.clone());
        senders.spawn(async move { courier.run(&kept, snapshots, found, token).await });
        let kept = tasks.clone();
        // They are looked for only for as long as the courier listens.
        senders.spawn(async move { discovery::run(&kept, entries, tell, stop).await });
    }

    /// The notification log in `path`: the same through all reloads, and nothing on the disk where nobody needs it.
    fn log(&mut self, path: &str, is_needed: bool, now: Timestamp) -> Log {
        let path = if is_needed { path } else { "" };
        if let Some((known, log)) = &self.log
            && (known == path || !is_needed)
        {
            return log.clone();
        }
        let log = Log::open(path, now).unwrap_or_else(|error| {
            tracing::error!(
                error,
                "no notification log (storage.path); after a restart people may be told again"
            );
            Log::default()
        });
        if is_needed {
            self.log = Some((path.to_owned(), log.clone()));
        }
        log
    }
}

fn setting(config: &Config, external_url: &str) -> Setting {
    let alert = &config.alert;
    let failover_after = alert.failover_after.0;
    // Often enough to know of a death within a check, and of a life before it counts as death.
    let probe = config.check_interval.0.min(failover_after / 3).max(Duration::from_millis(200));
    Setting {
        identity: Arc::new(identity(config, external_url)),
        pace: Pace { resend: alert.resend(), probe: alert.has_channels().then_some(probe) },
        has_alertmanagers: !alert.alertmanagers.is_empty(),
        failover_after,
        route: route(config),
    }
}

/// Receivers by `alert.alertmanager_config`; it was validated, and one that has gone since routes nothing.
fn route(config: &Config) -> Box<Routes> {
    match native(config) {
        Some(native) => Box::new(move |labels| native.route.receivers(labels)),
        None => Box::new(|_| Vec::new()),
    }
}

fn native(config: &Config) -> Option<Native> {
    let path = &config.alert.alertmanager_config;
    if path.is_empty() {
        return None;
    }
    match Native::read(Path::new(path)) {
        Ok(native) => {
            for what in &native.ignored {
                tracing::warn!(what, "is not told natively; it needs an Alertmanager");
            }
            Some(native)
        }
        Err(problems) => {
            tracing::error!(problems = problems.join("; "), "nothing is routed natively");
            None
        }
    }
}

/// The native channels.
pub(super) fn channels(config: &Config, external_url: &str) -> Vec<Configured> {
    let alert = &config.alert;
    // The configuration was validated: the templates are some.
    let Ok(wording) = Wording::new(&alert.message_title, &alert.message_text) else { return Vec::new() };
    let how = How {
        wording: Arc::new(wording),
        external_url: external_url.to_owned(),
        throttle: alert.throttle_duration.0,
        missing_for: identity(config, external_url).heartbeat * 4,
    };
    let mut all = channels::enabled(alert, &how);
    all.extend(native(config).iter().flat_map(|native| native.channels(&how)).filter(|routed| {
        let kind = routed.notifier.endpoint().notifier;
        let may = !alert.is_all_switched_off() && !alert.switched_off.contains(&kind);
        if !may {
            tracing::warn!(
                channel = routed.channel.rules.place,
                variable = %format!("DWCP__ALERT__{}_ENABLED", kind.to_uppercase()),
                "is not told: the environment has switched this kind of channel off, alert.alertmanager_config or not"
            );
        }
        may
    }));
    all
}

/// Where a test alert went.
#[derive(Debug)]
pub struct Trial {
    /// Kind of receiver, and its address.
    pub to: String,
    /// What it answered, or why it was not reached.
    pub outcome: Result<String, String>,
}

/// Sends one alert with the label `test="true"` by the real path: to every Alertmanager, and natively where none is
/// configured or it is asked for. Natively its end follows at once.
///
/// # Errors
/// Why it goes nowhere.
pub async fn test_alert(
    config: &Config,
    host: &str,
    external_url: &str,
    severity: Severity,
    natively: bool,
) -> Result<Vec<Trial>, String> {
    let now = Timestamp::from_seconds(unix_now() as f64);
    let identity = identity(config, external_url);
    let alert = identity.test_alert(host, severity, now).ok_or("alert.relabel_configs drop it")?;
    let mut trials = Vec::new();
    let endpoints = discovery::once(&config.alert.alertmanagers).await?;
    for endpoint in endpoints {
        let client = Alertmanager::new(endpoint);
        let outcome = client.post(&[Arc::new(Posted::of(&alert))]).await;
        let outcome = outcome.map(|()| "taken".to_owned()).map_err(|failure| failure.to_string());
        trials.push(Trial { to: format!("alertmanager {}", client.endpoint().url), outcome });
    }
    if natively || config.alert.alertmanagers.is_empty() {
        let route = route(config);
        for configured in channels(config, external_url) {
            let message = Message::of_alert(&alert, severity);
            if !configured.channel.takes.alert(&alert, severity, &*route) {
                continue;
            }
            let endpoint = configured.notifier.endpoint();
            let to =
                format!("{} {} ({})", endpoint.notifier, endpoint.endpoint, configured.channel.rules.place);
            let mut outcome = configured.notifier.tell(&message).await;
            if outcome.is_ok() && configured.channel.rules.sends_resolved {
                let ended = configured.notifier.tell(&message.ended(now)).await;
                outcome = outcome.and_then(|answer| ended.map(|_| answer));
            }
            let said = |answer: String| match told(&answer, &[]) {
                point if point.is_empty() => "taken".to_owned(),
                point => format!("taken: {point}"),
            };
            trials.push(Trial { to, outcome: outcome.map(said).map_err(|failure| failure.to_string()) });
        }
    }
    if trials.is_empty() {
        return Err("nobody is told of this severity; configure alert.alertmanagers or a channel".to_owned());
    }
    Ok(trials)
}

/// What alerts say about their sender.
pub(crate) fn identity(config: &Config, external_url: &str) -> Identity {
    let alert = &config.alert;
    let pairs = alert.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Identity {
        external_labels: Labels::new(pairs),
        // The configuration was validated: every rule compiles.
        rules: alert.relabel_configs.iter().filter_map(|rule| rule.compile().ok()).collect(),
        external_url: external_url.to_owned(),
        heartbeat: config.check_interval.0.max(alert.resend()),
        shared_nodes: alert.shared_nodes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn what_the_environment_has_switched_off_is_not_told_by_an_alertmanagers_configuration_either() {
        let directory = tempfile::tempdir().unwrap();
        let routes = "route: {receiver: all}\nreceivers:\n  - name: all\n    webhook_configs: [{url: 'http://127.0.0.1:1/a'}]\n    \
                      slack_configs: [{api_url: 'http://127.0.0.1:1/b', channel: c}]\n";
        std::fs::write(directory.path().join("am.yml"), routes).unwrap();
        let file = directory.path().join("c.yaml");
        std::fs::write(&file, "alert: {alertmanager_config: am.yml}\n").unwrap();
        let told = |off: &[&str]| {
            let variable = |kind: &&str| (format!("DWCP__ALERT__{kind}_ENABLED"), "false".to_owned());
            let environment = off.iter().map(variable).collect();
            let sources = Sources { file: Some(file.clone()), environment, ..Sources::default() };
            let found = channels(&sources.load().unwrap(), "http://web-1:10091");
            found.iter().map(|found| found.notifier.endpoint().notifier).collect::<Vec<_>>()
        };
        assert_eq!(told(&[]), ["slack", "webhook"]);
        assert_eq!(told(&["WEBHOOK"]), ["slack"]);
        assert_eq!(told(&["SLACK", "PAGERDUTY", "WEBHOOK", "EMAIL"]), Vec::<&str>::new());
    }
}
