//! What people do not want to hear about, whatever the detectors think of it.

/// The sides and the size of deviations that matter for a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Whether values above expected matter.
    pub above: bool,
    /// Whether values below expected matter.
    pub below: bool,
    /// Deviations up to this matter to nobody; in the metric's unit, 0 and up.
    pub min_deviation: f64,
}

impl Gate {
    /// Everything matters.
    pub const OPEN: Self = Self { above: true, below: true, min_deviation: 0.0 };

    /// The smallest spread that matters: what lies within three of it matters to nobody.
    pub fn least_spread(&self) -> f64 {
        self.min_deviation / 3.0
    }

    /// Whether `value` is one that may be anomalous where `expected` is expected.
    pub fn passes(&self, value: f64, expected: f64) -> bool {
        let deviation = value - expected;
        let side = if deviation >= 0.0 { self.above } else { self.below };
        side && deviation.abs() > self.min_deviation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_passes_what_is_far_enough_on_a_side_that_matters() {
        let up = Gate { above: true, below: false, min_deviation: 5.0 };
        for (value, passes) in [(15.0, false), (15.1, true), (4.0, false), (10.0, false)] {
            assert_eq!(up.passes(value, 10.0), passes, "{value}");
        }
        assert!(Gate::OPEN.passes(9.99, 10.0));
        assert!(!Gate::OPEN.passes(10.0, 10.0), "what is expected is not anomalous");
    }
}
