//! Our answers against those of others: PromQL's in `promql`, of a real Prometheus over the same samples; the detectors'
//! in `detectors`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod detectors;
mod expressions;
mod prometheus;
mod promql;
mod windows;
