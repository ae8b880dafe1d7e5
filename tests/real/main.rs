//! The sidecar beside real servers: node_exporter, Prometheus, Alertmanager, and real load on this machine.
//!
//! The load tests share the machine's CPUs and memory, so this binary runs its tests one after another.

mod alerts;
mod page;
mod servers;
mod targets;
