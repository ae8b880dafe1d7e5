//! A sidecar beside a node exporter that learns what normal looks like and tells Prometheus and Alertmanager when it
//! stops being normal.
//!
//! Bytes scraped from an exporter become Arrow windows, windows become signals (PromQL), signals become scores (the
//! detectors, one weighted vote), scores become Prometheus series and alerts; each module is passed once, in this order.
//!
//! ```text
//! scrape ─► exposition ─► window ─► signal ─► detect ─► incident ─► snapshot ─┬─► serve   /metrics, API, page
//! (HTTP)    (bytes→samples) (Arrow)  (PromQL)  (vote)    (state)              └─► notify  Alertmanagers, native channels
//! probe ────────────────────►
//! ```
//!
//! Other programs embed it by [`embed`], which is the library's stable interface; the rest is how the sidecar is made.
//!
//! # Layers
//!
//! | layer | modules | rule |
//! |---|---|---|
//! | 0 words | `series`, `setting` | no clock, no I/O; import nothing of ours above them |
//! | 1 core | `exposition`, `window`, `signal`, `detect`, `incident`, `engine` | synchronous, deterministic: no I/O, clock, environment or entropy |
//! | 2 edges | `scrape`, `probe`, `hostmetrics`, `notify`, `serve`, `dataset`, `model_store`, `state`, `history`, `admission` | never import each other, but all may `disk`, `accept`, `negotiate`, `clock` and `supervisor` |
//! | 3 whole | `telemetry`, `config`, `train`, `backtest`, `app`, `embed`, `cli` | compose; nobody imports `app` but `cli` and `embed`, and nobody these |
//!
//! The page is drawn of the same snapshots: `serve` records the recent course of every metric, draws the page's parts once
//! a snapshot however many look, and pushes what has changed. Settings changed while running are an overlay that `config`
//! keeps between file and environment.
//!
//! `admission` stands apart: it puts sidecars into pods. Its core is pure, and what a sidecar is to do it hands down as
//! configuration under the sidecar's own (`DWCP_DEFAULTS`).
//!
//! Within `notify`, who is told what and when is decided without clock or I/O (`notify::desk`), so that schedules of faults
//! are played through in virtual time.
//!
//! `tests/architecture.rs` keeps this table. Where it differs from what one might expect: `config` of a component lies
//! beside its code and holds no I/O, so layer 1 has some; `signal` takes its effect filter from `detect`.
//!
//! # Invariants
//!
//! 1. **Layer 1 reads no clock, environment, file, socket or entropy.** Time arrives as a `Timestamp`, randomness as a
//!    seed. Kept by clippy's `disallowed-methods`, denied below, and by `tests/architecture.rs`, which looks for the
//!    names of what a method list cannot tell.
//! 2. **The same events give the same verdicts.** A fit asked for at check k takes effect at check k + 30, however long
//!    it took; one that took longer takes effect at a later check, which is noted, so that a replay has it there too.
//!    Kept by `tests/replay`.
//! 3. **No data, stale, warming up and score 0 are four different things.** A missing value is an absent series, never
//!    a zero and never the last value; NaN does not pass `signal`.
//! 4. **A score never looks ahead.** Calibration takes a row's score before any model has learned the row.
//! 5. **What was flagged is not learned**, until it ended or proved to be the new normal.
//! 6. **Every queue and every buffer is bounded**, and says where it is created what happens when it is full.
//! 7. **Alerts are a level, not an event.** Losing one request loses nothing.
//! 8. **A broken scrape, model or receiver never stops the others.**
//! 9. **What is kept goes on byte for byte.** An engine that was restored says what the one that was kept would have
//!    said. Kept by tests of `detect::ensemble` and `tests/replay`.
//! 10. **A bad configuration leaves the running one in place.**
//! 11. **No task dies unnoticed.** What runs for as long as the process is kept by `supervisor`: after a panic it goes on
//!     with its state and without what it had in hand, is counted, and fails `/-/healthy` while it is down or stuck.

#![forbid(unsafe_code)]

pub mod accept;
pub mod admission;
pub mod app;
pub mod backtest;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dataset;
#[deny(clippy::disallowed_methods)]
pub mod detect;
pub mod disk;
pub mod embed;
#[deny(clippy::disallowed_methods)]
pub mod engine;
#[deny(clippy::disallowed_methods)]
pub mod exposition;
pub mod history;
pub mod hostmetrics;
#[deny(clippy::disallowed_methods)]
pub mod incident;
pub mod model_store;
pub mod negotiate;
pub mod notify;
pub mod probe;
pub mod scrape;
#[deny(clippy::disallowed_methods)]
pub mod series;
pub mod serve;
pub mod setting;
#[deny(clippy::disallowed_methods)]
pub mod signal;
pub mod state;
pub mod supervisor;
pub mod telemetry;
pub mod train;
#[deny(clippy::disallowed_methods)]
pub mod window;
