//! The one path from samples to verdicts, for `run` and for `backtest`.

pub mod snapshot;
