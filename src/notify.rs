//! Notifying.

pub mod config;
