//! The sidecar beside real servers: `node_exporter`, Prometheus, Alertmanager, and real load on this machine.
//!
//! The load tests share the machine's CPUs and memory, so this binary runs its tests one after another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod alerts;
mod page;
mod servers;
mod targets;
