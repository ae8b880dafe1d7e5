//! The calibration's one free parameter: how surprising is surprising enough, so that normal data stay within the
//! budget of false alerts.
//!
//! κ is the evidence that normal data exceed as often a day as the budget allows, by the tail of the largest evidence
//! of each minute. Until enough minutes are known it leans on what independent, well-calibrated surprises would give;
//! it never leaves 0.6 to 2 times that, so that neither a quiet hour nor a rough one can talk the detectors into
//! crying wolf or into silence.

use std::time::Duration;

use super::calibrate::Calibration;

/// An incident needs several checks in a row, so a lone crossing may be likelier than the budget: the share of its
/// surprise that is asked for until the target's own evidence is known.
const PERSISTENCE: f64 = 0.75;
/// Minutes at which what was measured weighs as much as what is assumed.
const TRUST: f64 = 500.0;
const RANGE: (f64, f64) = (0.6, 2.0);

/// κ of one target.
#[derive(Clone, Debug)]
pub struct Budget {
    assumed: f64,
    per_day: f64,
    block: u32,
    /// The largest evidence of the current block and the checks in it.
    current: (f64, u32),
    blocks: Calibration,
}

impl Budget {
    /// `per_day` false alerts at one check every `interval`.
    pub fn new(per_day: f64, interval: Duration) -> Self {
        let checks_per_day = 86_400.0 / interval.as_secs_f64().max(1e-3);
        let assumed = PERSISTENCE * (checks_per_day / per_day.max(1e-6)).log10().max(1.0);
        let block = (60.0 / interval.as_secs_f64().max(1e-3)).round().max(1.0) as u32;
        Self { assumed, per_day: per_day.max(1e-6), block, current: (0.0, 0), blocks: Calibration::default() }
    }

    /// Takes in the evidence of one check that was not flagged.
    pub fn absorb(&mut self, evidence: f64) {
        self.current = (self.current.0.max(evidence), self.current.1 + 1);
        if self.current.1 >= self.block {
            self.blocks.absorb(self.current.0);
            self.current = (0.0, 0);
        }
    }

    /// The evidence that is at the budget level.
    pub fn kappa(&self) -> f64 {
        let trust = self.blocks.len() as f64 / (self.blocks.len() as f64 + TRUST);
        let per_block = 1440.0 / self.per_day;
        let measured = self.blocks.score_at(per_block.log10().max(0.5)).unwrap_or(self.assumed);
        let kappa = trust * measured + (1.0 - trust) * self.assumed;
        kappa.clamp(RANGE.0 * self.assumed, RANGE.1 * self.assumed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_larger_budget_and_rarer_checks_ask_for_less() {
        let kappa = |per_day, seconds| Budget::new(per_day, SECOND * seconds).kappa();
        assert!(kappa(10.0, 10) < kappa(1.0, 10));
        assert!(kappa(1.0, 60) < kappa(1.0, 10));
        assert!(kappa(1000.0, 3600).is_finite());
    }

    #[test]
    fn restless_normal_data_raise_the_bar_and_quiet_ones_lower_it_within_bounds() {
        let fed = |evidence: f64| {
            let mut budget = Budget::new(1.0, SECOND * 10);
            (0..60_000).for_each(|i| budget.absorb(evidence * (1.0 + f64::from(i % 97) / 100.0)));
            budget.kappa()
        };
        let assumed = Budget::new(1.0, SECOND * 10).kappa();
        assert!(fed(2.0) > assumed);
        assert!(fed(0.1) < assumed);
        assert_eq!(fed(100.0), 2.0 * assumed);
        assert_eq!(fed(0.0), 0.6 * assumed);
    }
}
