//! Real load on this machine, and none: a binary of its own, because its tests must have the machine to themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, dead_code, reason = "the servers are shared with the other real tests")]

mod faults;
mod quiet;
#[path = "../real/servers.rs"]
mod servers;
mod steps;
#[path = "../real/synthetic.rs"]
mod synthetic;
