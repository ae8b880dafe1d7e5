//! From signals to a verdict: four detectors, one calibration, one weighted vote.

pub mod verdict;
