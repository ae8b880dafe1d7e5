//! The calibration's one free parameter: how surprising is surprising enough, so that normal data stay within the
//! budget of false alerts.
//!
//! An incident opens when the evidence stays over κ for as many checks as the configuration asks for, so κ is fit to
//! the smallest evidence of the last so many checks: it is what normal data exceed as often a day as the budget allows, by
//! the tail of that quantity (peaks over threshold, [`super::calibrate`]). Until enough of it is known κ leans on what
//! independent, well-calibrated surprises would give; it never leaves [`RANGE`] of that, so that neither a quiet hour
//! nor a rough one can talk the detectors into crying wolf or into silence.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calibrate::Calibration;

/// An incident needs several checks in a row, so a lone crossing may be likelier than the budget: the share of its
/// surprise that is asked for until the target's own evidence is known.
const PERSISTENCE: f64 = 0.75;
/// Checks at which what was measured weighs as much as what is assumed.
const TRUST: f64 = 1000.0;
/// κ at least and at most, of what is assumed.
const RANGE: (f64, f64) = (0.4, 2.0);
/// No check is taken for rarer than this, however long the interval.
const LIKELIEST: f64 = 2e-3;

/// κ of one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Budget {
    checks_per_day: f64,
    per_day: f64,
    /// Evidence of the newest checks, as many as open an incident.
    newest: VecDeque<f64>,
    open_after: usize,
    lasting: Calibration,
}

impl Budget {
    /// `per_day` false alerts at one check every `interval`, of which `open_after` open an incident.
    pub fn new(per_day: f64, interval: Duration, open_after: usize) -> Self {
        Self {
            checks_per_day: 86_400.0 / interval.as_secs_f64().max(1e-3),
            per_day: per_day.max(1e-6),
            newest: VecDeque::new(),
            open_after: open_after.max(1),
            lasting: Calibration::new(interval),
        }
    }

    /// Goes on with another budget.
    pub fn ask(&mut self, per_day: f64) {
        self.per_day = per_day.max(1e-6);
    }

    /// Takes over what `learned` knows of normal evidence; how much is asked for stays.
    pub fn adopt(&mut self, learned: &Self) {
        self.lasting.clone_from(&learned.lasting);
    }

    /// Takes in the evidence of one check that was not flagged.
    pub fn absorb(&mut self, evidence: f64) {
        self.newest.push_back(evidence);
        if self.newest.len() > self.open_after {
            self.newest.pop_front();
        }
        if self.newest.len() == self.open_after {
            self.lasting.absorb(self.newest.iter().copied().fold(f64::INFINITY, f64::min));
        }
    }

    /// A check that was flagged: what comes after it does not go on from what was before.
    pub fn pass_over(&mut self) {
        self.newest.clear();
    }

    /// Surprise of a check that is as rare as the budget.
    fn rarity(&self) -> f64 {
        -(self.per_day / self.checks_per_day).min(LIKELIEST).log10()
    }

    /// The evidence that is at the budget level.
    pub fn kappa(&self) -> f64 {
        let assumed = PERSISTENCE * (self.checks_per_day / self.per_day).log10().max(1.0);
        let known = self.lasting.len() as f64;
        let trust = known / (known + TRUST);
        let measured = self.lasting.score_at(self.rarity()).unwrap_or(assumed);
        let kappa = trust * measured + (1.0 - trust) * assumed;
        kappa.clamp(RANGE.0 * assumed, RANGE.1 * assumed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_larger_budget_and_rarer_checks_ask_for_less() {
        let kappa = |per_day, seconds| Budget::new(per_day, SECOND * seconds, 3).kappa();
        assert!(kappa(10.0, 10) < kappa(1.0, 10));
        assert!(kappa(1.0, 60) < kappa(1.0, 10));
        assert!(kappa(1000.0, 3600).is_finite());
    }

    #[test]
    fn restless_normal_data_raise_the_bar_and_quiet_ones_lower_it_within_bounds() {
        let fed = |evidence: f64| {
            let mut budget = Budget::new(1.0, SECOND * 10, 3);
            (0..60_000).for_each(|i| budget.absorb(evidence * (1.0 + f64::from(i % 97) / 100.0)));
            budget.kappa()
        };
        let assumed = Budget::new(1.0, SECOND * 10, 3).kappa();
        assert!(fed(2.5) > assumed, "{} {assumed}", fed(2.5));
        assert!(fed(0.5) < assumed);
        assert_eq!(fed(100.0), RANGE.1 * assumed);
        assert_eq!(fed(0.0), RANGE.0 * assumed);
    }

    #[test]
    fn single_peaks_count_for_nothing_where_three_checks_open_an_incident() {
        let fed = |peak: usize| {
            let mut budget = Budget::new(1.0, SECOND * 10, 3);
            (0..60_000).for_each(|i| budget.absorb(if i % 100 < peak { 9.0 } else { 0.5 }));
            budget.kappa()
        };
        assert_eq!(fed(1), fed(2));
        assert!(fed(4) > fed(2));
    }
}
