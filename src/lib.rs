//! A sidecar beside a node exporter that learns what normal looks like and tells Prometheus and Alertmanager when it
//! stops being normal.

pub mod detect;
pub mod engine;
pub mod incident;
pub mod series;
pub mod setting;
pub mod signal;
pub mod window;
