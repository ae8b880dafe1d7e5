//! From a configuration to those who tell people.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::unix_now;
use crate::config::Config;
use crate::engine::snapshot::Snapshot;
use crate::notify::channels::{self, Configured, How};
use crate::notify::counters::Counters;
use crate::notify::courier::Courier;
use crate::notify::desk::{Desk, Setting};
use crate::notify::discovery::{self, Endpoint};
use crate::notify::level::Identity;
use crate::notify::message::Wording;
use crate::notify::nflog::Log;
use crate::notify::outbox::Pace;
use crate::notify::relay::Relay;
use crate::series::{Labels, Timestamp};

/// What outlives a reload: what other sidecars handed in, and the notification log.
#[derive(Default)]
pub(super) struct Telling {
    pub(super) relay: Relay,
    log: Option<(String, Log)>,
}

impl Telling {
    /// Starts the courier, and who looks for Alertmanagers.
    pub(super) fn start(
        &mut self,
        config: &Config,
        external_url: &str,
        counters: Counters,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        stop: CancellationToken,
        tasks: &mut JoinSet<()>,
    ) {
        let now = Timestamp::from_seconds(unix_now() as f64);
        let configured = channels(config, external_url);
        let log = self.log(&config.storage.path, !configured.is_empty(), now);
        let (channels, notifiers) =
            configured.into_iter().map(|configured| (configured.channel, configured.notifier)).unzip();
        let setting = setting(config, external_url);
        let desk = Desk::new(setting, channels, &log.records(), counters, now);
        let courier = Courier { desk, channels: notifiers, log, relay: self.relay.clone() };
        let (tell, found) = watch::channel::<Vec<Endpoint>>(discovery::named(&config.alert.alertmanagers));
        let entries = config.alert.alertmanagers.clone();
        tasks.spawn(async move {
            // The one looks only for as long as the other listens.
            tokio::join!(courier.run(snapshots, found, stop), discovery::run(entries, tell));
        });
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
        pace: Pace { resend: alert.resend(), probe: Some(probe) },
        has_alertmanagers: !alert.alertmanagers.is_empty(),
        failover_after,
        route: Box::new(|_| Vec::new()),
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
    channels::enabled(alert, &how)
}

/// What alerts say about their sender.
pub(super) fn identity(config: &Config, external_url: &str) -> Identity {
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
