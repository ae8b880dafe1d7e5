//! What other thresholds would have given: the same verdicts, each threshold with its own incidents.
//!
//! A threshold below its default also decides what is learned, because incidents are not, so this is exact only where both
//! would have learned the same ([`crate::engine::trial`]). How often they would not is counted and told; what it comes to
//! is more than one would think, above all far below the default, so [`super::rerun`] tells for certain.

use super::outcome::{Counted, Quality};
use crate::detect::verdict::Severity;
use crate::engine::trial::Trial;
use crate::engine::{Judgement, Setup};
use crate::series::Timestamp;

/// Thresholds tried, in hundredths.
const TRIED: std::ops::RangeInclusive<u32> = 30..=95;
const STEP: usize = 5;

/// What one threshold would have given.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// `detector.ensemble_threshold`.
    pub threshold: f64,
    /// Whether it is the configured one.
    pub configured: bool,
    /// Alerts that would have begun.
    pub alerts: usize,
    /// Against labels, where there are any.
    pub quality: Option<Quality>,
    /// How this is known.
    pub basis: Basis,
}

/// How it is known what a threshold would have given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It would have learned the same, so it would have said the same.
    SameLearned,
    /// It had a replay of its own.
    Replayed,
    /// By the scores of another threshold's replay.
    Estimated {
        /// Checks of which it would have learned something else.
        learned_otherwise: usize,
    },
}

impl Tried {
    /// Whether it is what a backtest by this threshold says.
    pub fn is_exact(&self) -> bool {
        !matches!(self.basis, Basis::Estimated { .. })
    }
}

/// Trials under way.
pub(super) struct Sweep {
    lanes: Vec<Lane>,
    /// Position of the configured threshold.
    configured: usize,
}

struct Lane {
    trial: Trial,
    /// One a row.
    alert: Vec<bool>,
    learned_otherwise: usize,
}

impl Sweep {
    /// Trials of every threshold, and of the one in `setup`.
    pub(super) fn new(setup: &Setup) -> Self {
        let own = setup.detection.threshold;
        let mut thresholds: Vec<f64> = TRIED.step_by(STEP).map(|tried| f64::from(tried) / 100.0).collect();
        if !thresholds.contains(&own) {
            thresholds.push(own);
        }
        thresholds.sort_by(f64::total_cmp);
        let configured = thresholds.iter().position(|tried| *tried == own).unwrap_or_default();
        let lane =
            |threshold| Lane { trial: Trial::new(setup, threshold), alert: Vec::new(), learned_otherwise: 0 };
        Self { lanes: thresholds.into_iter().map(lane).collect(), configured }
    }

    /// Takes the step that the engine took, to stand for the rows before `next`.
    pub(super) fn step(&mut self, next: usize, at: Timestamp, judgement: &Judgement<'_>) {
        for lane in &mut self.lanes {
            lane.trial.step(at, judgement);
            let alerts = lane.trial.firing().any(|firing| firing >= Some(Severity::Warning));
            lane.alert.resize(next, alerts);
        }
        let learned = self.lanes[self.configured].trial.learning().to_vec();
        for lane in &mut self.lanes {
            lane.learned_otherwise += usize::from(lane.trial.learning() != learned);
        }
    }

    /// Rows that were learned from.
    pub(super) fn untouched(&mut self, rows: usize) {
        self.lanes.iter_mut().for_each(|lane| lane.alert.resize(rows, false));
    }

    /// Severity of the incident that fires by the configured threshold, one a metric.
    pub(super) fn firing(&self) -> impl Iterator<Item = Option<Severity>> {
        self.lanes[self.configured].trial.firing()
    }

    /// What came of it.
    pub(super) fn tally(&self, counted: &Counted) -> Vec<Tried> {
        let tally = |(at, lane): (usize, &Lane)| {
            let (alerts, quality) = counted.tally(|row| lane.alert[row]);
            Tried {
                threshold: lane.trial.threshold(),
                configured: at == self.configured,
                alerts: alerts.len(),
                quality,
                basis: lane.basis(),
            }
        };
        self.lanes.iter().enumerate().map(tally).collect()
    }
}

impl Lane {
    fn basis(&self) -> Basis {
        match self.learned_otherwise {
            0 => Basis::SameLearned,
            learned_otherwise => Basis::Estimated { learned_otherwise },
        }
    }
}
