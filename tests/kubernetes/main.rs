//! The injector over real TLS, and manifests under the real tools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, dead_code, reason = "the servers are shared with other tests")]

mod authority;
mod degraded;
mod image;
mod manifests;
mod operators;
mod readme;
#[path = "../real/servers.rs"]
mod servers;
mod shared_nodes;
#[path = "../real/sink.rs"]
mod sink;
#[path = "../real/synthetic.rs"]
mod synthetic;
mod tools;
mod webhook;
mod webhook_server;
