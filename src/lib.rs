//! A sidecar beside a node exporter that learns what normal looks like and tells Prometheus and Alertmanager when it
//! stops being normal.

pub mod app;
pub mod cli;
pub mod config;
pub mod detect;
pub mod engine;
pub mod exposition;
pub mod hostmetrics;
pub mod incident;
pub mod notify;
pub mod scrape;
pub mod series;
pub mod serve;
pub mod setting;
pub mod signal;
pub mod telemetry;
pub mod window;
