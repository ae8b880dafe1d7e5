//! From signals to a verdict: four detectors, one calibration, one weighted vote.

pub mod budget;
pub mod calibrate;
mod esd;
pub mod isolation;
pub mod memory;
pub mod robust;
pub mod season;
pub mod seasonal_esd;
pub mod shape;
pub mod verdict;
pub mod vote;
pub mod zscore;
