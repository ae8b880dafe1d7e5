//! The sidecar beside real servers: node_exporter, Prometheus' tools, Alertmanager.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, dead_code, reason = "the servers are shared with the tests under load")]

mod alerts;
mod api;
mod browser;
mod ceiling;
mod dashboard;
mod deployment;
mod history;
mod host;
mod page;
mod probe;
mod recorded;
mod remembered;
mod rules;
mod schedules;
mod secrets;
mod servers;
mod sink;
mod state;
mod synthetic;
mod targets;
mod telling;
mod training;
mod watched;
mod web;
