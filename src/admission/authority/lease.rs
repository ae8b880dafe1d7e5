//! Who leads: the one whose name is in the Lease, as long as it renews it.
//!
//! Times in the Lease are never compared with our own clock: a lease has run out when we have seen it unchanged for as long
//! as it lasts, as other electors do it.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::cluster::{Cluster, Problem};

/// A leader that is not heard of for so long has left.
const LASTS: Duration = Duration::from_secs(30);

/// Our view of the Lease.
pub(super) struct Lease {
    path: String,
    name: String,
    identity: String,
    /// Its version when it last changed, and when we saw that.
    seen: Option<(String, Instant)>,
}

/// What to do about a lease.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    /// Ours: renew it.
    Renew,
    /// Nobody's any more: take it.
    Take,
    /// Another's.
    Wait,
}

fn decide(holder: &str, identity: &str, unchanged_for: Duration) -> Move {
    if holder == identity {
        Move::Renew
    } else if holder.is_empty() || unchanged_for >= LASTS {
        Move::Take
    } else {
        Move::Wait
    }
}

impl Lease {
    pub(super) fn new(path: String, name: String, identity: String) -> Self {
        Self { path, name, identity, seen: None }
    }

    /// Holds the lease if it can; whether it does.
    pub(super) async fn hold(&mut self, cluster: &Cluster) -> Result<bool, Problem> {
        let Some(mut lease) = cluster.get(&self.path).await? else {
            let parent = self.path.rsplit_once('/').map_or(self.path.as_str(), |(parent, _)| parent);
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.name},
                "spec": self.spec(&now(), 0),
            });
            return won(cluster.create(parent, &lease).await);
        };
        let version = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let since = match &self.seen {
            Some((known, since)) if *known == version => *since,
            _ => Instant::now(),
        };
        self.seen = Some((version, since));
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let transitions = lease["spec"]["leaseTransitions"].as_i64().unwrap_or_default();
        match decide(holder, &self.identity, since.elapsed()) {
            Move::Wait => Ok(false),
            Move::Renew => {
                lease["spec"]["renewTime"] = json!(now());
                won(cluster.update(&self.path, &lease).await)
            }
            Move::Take => {
                lease["spec"] = self.spec(&now(), transitions + 1);
                won(cluster.update(&self.path, &lease).await)
            }
        }
    }

    /// Leaves it to the next one at once.
    pub(super) async fn release(&self, cluster: &Cluster) -> Result<(), Problem> {
        let Some(mut lease) = cluster.get(&self.path).await? else { return Ok(()) };
        if lease["spec"]["holderIdentity"] != self.identity.as_str() {
            return Ok(());
        }
        lease["spec"]["holderIdentity"] = json!("");
        won(cluster.update(&self.path, &lease).await).map(|_| ())
    }

    fn spec(&self, now: &str, transitions: i64) -> Value {
        json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LASTS.as_secs(),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        })
    }
}

/// That another was quicker is no problem.
fn won(outcome: Result<Value, Problem>) -> Result<bool, Problem> {
    match outcome {
        Ok(_) => Ok(true),
        Err(problem) if problem.is_conflict() => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// With microseconds, as the API wants it.
fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_is_nobodys_or_was_not_renewed() {
        for (holder, unchanged, expect) in [
            ("me", 0, Move::Renew),
            ("me", 100, Move::Renew),
            ("", 0, Move::Take),
            ("other", 0, Move::Wait),
            ("other", 29, Move::Wait),
            ("other", 30, Move::Take),
        ] {
            assert_eq!(decide(holder, "me", Duration::from_secs(unchanged)), expect, "{holder} {unchanged}");
        }
    }
}
