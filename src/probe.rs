//! Probes: what a node exporter cannot know, because it takes a peer — latency, jitter and packet loss.
//!
//! Every interval each peer is asked once, all at the same time, each over a connection of its own: a TCP peer for the
//! time of a connect, an HTTP peer for the time to the first byte of its answer. A round yields one batch of ordinary
//! series; a peer that did not answer has no round-trip time in it, which leaves that series stale, never at its last
//! value. What was not answered in time is lost; what was refused came through, and is counted apart.

mod ask;
pub mod config;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::exposition::Wanted;
use crate::series::{Batch, Origin, Timestamp};
use ask::Asker;
pub use ask::Outcome;
use config::Config;
use tally::Tally;

/// What the names of all probed series begin with.
pub const PREFIX: &str = "dwcp_probe_";

/// All peers, with what is known about each.
pub struct Prober {
    peers: Vec<(Asker, Tally)>,
    interval: Duration,
    timeout: Duration,
    clock: Clock,
    /// Of the last round.
    last: Timestamp,
}

impl Prober {
    /// Probes what `config` names; loss is that of the last `window`. Rounds are stamped by `clock`.
    pub fn new(config: &Config, window: Duration, clock: Clock) -> Result<Self, reqwest::Error> {
        let (interval, timeout) = (config.interval.0, config.timeout.0.min(config.interval.0));
        let rounds = (window.as_secs_f64() / interval.as_secs_f64().max(1e-3)).ceil() as usize;
        let peer =
            |peer: &config::Peer| Ok((Asker::new(peer, timeout)?, Tally::new(&peer.to_string(), rounds)));
        let peers = config.targets.iter().map(peer).collect::<Result<_, reqwest::Error>>()?;
        Ok(Self { peers, interval, timeout, clock, last: Timestamp::default() })
    }

    /// Asks every peer once and says what is known now; of its series, those that are `wanted`.
    async fn round(&mut self, wanted: &dyn Wanted) -> Batch {
        let outcomes = self.peers.iter().map(|(asker, _)| asker.ask(self.timeout));
        let outcomes = futures_util::future::join_all(outcomes).await;
        let at = self.clock.now();
        self.last = at;
        let mut samples = Vec::new();
        for ((_, tally), outcome) in self.peers.iter_mut().zip(outcomes) {
            tally.count(&outcome);
            samples.extend(tally.samples(&outcome));
        }
        samples.retain(|sample| wanted.series(&sample.labels));
        Batch { origin: Origin::Probe, at, samples }
    }

    /// Probes until told to stop. Rounds that were missed, because the one before took long, are left out. The last batch
    /// is empty: nothing probed is current any more.
    pub async fn run(mut self, wanted: Arc<dyn Wanted>, out: mpsc::Sender<Batch>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let round = async {
                ticks.tick().await;
                self.round(&*wanted).await
            };
            let batch = tokio::select! {
                () = stop.cancelled() => break,
                batch = round => batch,
            };
            if out.send(batch).await.is_err() {
                return;
            }
        }
        // Told to stop within the millisecond of the last round, it would not be newer than that.
        let at = self.clock.now().max(self.last + Duration::from_millis(1));
        // Whoever listened may have left before.
        let _ = out.send(Batch { origin: Origin::Probe, at, samples: Vec::new() }).await;
    }
}

#[cfg(test)]
mod tests;
