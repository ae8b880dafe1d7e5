//! Those who want to be let in by a password: one comparison at a time, and one of each network at a time in the queue for
//! it, so that guessing takes neither the processor nor the place of others.
//!
//! A refusal takes the longer the more often a network has been refused, whoever it named.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Semaphore;

/// Networks that are remembered; of those that are forgotten the next refusal is the first.
const NETWORKS: u64 = 1024;
/// A network is forgotten after so long without a login.
const REMEMBERED: Duration = Duration::from_mins(5);
/// Logins of one network that wait; more are refused.
const WAITING: u32 = 64;
/// A refusal takes so much longer than the one before.
const STEP: Duration = Duration::from_millis(250);
/// And no longer than this.
const LONGEST: Duration = Duration::from_secs(10);
/// Failures of a network are logged at most so often.
const LOGGED: Duration = Duration::from_mins(1);

/// What came of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Login {
    /// The password was right.
    Right,
    /// It was not, or nobody has it.
    Wrong,
    /// It was not looked at: too many wait already.
    TooMany,
}

/// Counts a refusal, by reason.
pub(in crate::serve) type Count = dyn Fn(&'static str) + Send + Sync;

/// What is known of those who came.
pub(in crate::serve) struct Logins {
    networks: Cache<IpAddr, Arc<Network>>,
    /// Failures that were logged lately.
    logged: Cache<IpAddr, ()>,
    turn: Semaphore,
}

struct Network {
    turn: Semaphore,
    waiting: AtomicU32,
    failures: AtomicU32,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            networks: Cache::builder().max_capacity(NETWORKS).time_to_idle(REMEMBERED).build(),
            logged: Cache::builder().max_capacity(NETWORKS).time_to_live(LOGGED).build(),
            turn: Semaphore::new(1),
        }
    }
}

impl Logins {
    /// Compares when it is `from`'s turn. A refusal takes its time.
    pub(in crate::serve) async fn ask<C>(&self, from: IpAddr, count: &Count, compare: C) -> Login
    where
        C: FnOnce() -> bool + Send + 'static,
    {
        let network = self.network(from);
        let login = if network.waiting.fetch_add(1, Ordering::Relaxed) < WAITING {
            let _leaves = Leaves(&network.waiting);
            self.in_turn(&network, compare).await
        } else {
            drop(Leaves(&network.waiting));
            Login::TooMany
        };
        // Counted at once: who was refused may not wait to hear it.
        match login {
            Login::Right => return login,
            Login::Wrong => count("bad_credentials"),
            Login::TooMany => count("too_many"),
        }
        self.failed(from, &network).await;
        login
    }

    /// A login that names nobody and nothing.
    pub(in crate::serve) async fn malformed(&self, from: IpAddr, count: &Count) -> Login {
        count("bad_credentials");
        self.failed(from, &self.network(from)).await;
        Login::Wrong
    }

    fn network(&self, from: IpAddr) -> Arc<Network> {
        let new =
            || Network { turn: Semaphore::new(1), waiting: AtomicU32::new(0), failures: AtomicU32::new(0) };
        self.networks.get_with(from, || Arc::new(new()))
    }

    async fn in_turn<C>(&self, network: &Network, compare: C) -> Login
    where
        C: FnOnce() -> bool + Send + 'static,
    {
        let (Ok(_own), Ok(_all)) = (network.turn.acquire().await, self.turn.acquire().await) else {
            return Login::TooMany;
        };
        match tokio::task::spawn_blocking(compare).await {
            Ok(true) => Login::Right,
            _ => Login::Wrong,
        }
    }

    async fn failed(&self, from: IpAddr, network: &Network) {
        let failures = network.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !self.logged.contains_key(&from) {
            self.logged.insert(from, ());
            // Not the user: a password may have been written in its place.
            tracing::warn!(%from, failures, "failed login; more of it from there are told in a minute");
        }
        tokio::time::sleep(delay(failures)).await;
    }
}

fn delay(failures: u32) -> Duration {
    STEP.saturating_mul(failures).min(LONGEST)
}

/// One that waits no more, also where its connection has ended meanwhile.
struct Leaves<'a>(&'a AtomicU32);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);

    #[test]
    fn a_refusal_takes_the_longer_the_more_there_were() {
        for (failures, seconds) in [(1, 0.25), (2, 0.5), (3, 0.75), (100, 10.0), (u32::MAX, 10.0)] {
            assert_eq!(delay(failures).as_secs_f64(), seconds, "{failures}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_the_refusals_of_others() {
        let logins = Arc::new(Logins::default());
        logins.network(HERE).failures.store(100, Ordering::Relaxed);
        let refused = Arc::clone(&logins);
        let refused = tokio::spawn(async move { refused.ask(HERE, &|_| {}, || false).await });
        while logins.network(HERE).failures.load(Ordering::Relaxed) == 100 {
            tokio::task::yield_now().await;
        }
        for from in [HERE, THERE] {
            assert_eq!(logins.ask(from, &|_| {}, || true).await, Login::Right);
        }
        assert!(!refused.is_finished());
        refused.abort();
    }

    #[tokio::test]
    async fn a_network_has_one_login_in_the_queue_and_so_many_that_wait_for_it() {
        let logins = Arc::new(Logins::default());
        let (go, wait) = mpsc::channel::<()>();
        let ask = |compare: Box<dyn FnOnce() -> bool + Send>| {
            let logins = Arc::clone(&logins);
            tokio::spawn(async move { logins.ask(HERE, &|_| {}, compare).await })
        };
        let first = ask(Box::new(move || wait.recv().is_ok()));
        let others: Vec<_> = (1..WAITING).map(|_| ask(Box::new(|| true))).collect();
        let network = logins.network(HERE);
        while network.waiting.load(Ordering::Relaxed) < WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(logins.ask(HERE, &|_| {}, || true).await, Login::TooMany);
        let there = {
            let logins = Arc::clone(&logins);
            tokio::spawn(async move { logins.ask(THERE, &|_| {}, || true).await })
        };
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Login::Right);
        assert_eq!(there.await.unwrap(), Login::Right);
        for other in others {
            assert_eq!(other.await.unwrap(), Login::Right);
        }
        assert_eq!(network.waiting.load(Ordering::Relaxed), 0);
    }
}
