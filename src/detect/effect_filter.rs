//! What people do not want to hear about, whatever the detectors think of it.

/// Share of the range of possible values that one may lie outside of it by: scrapes that are 100 ms off in 10 s.
const ROUNDING: f64 = 0.01;

/// The sides and the size of deviations that matter for a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EffectFilter {
    /// Whether values above expected matter.
    pub above: bool,
    /// Whether values below expected matter.
    pub below: bool,
    /// Deviations up to this matter to nobody; in the metric's unit, 0 and up.
    pub min_deviation: f64,
    /// The same as a share of what is expected.
    pub relative: f64,
    /// Values below this are impossible, and bands do not reach there; negative infinity where all are possible.
    pub lowest: f64,
    /// Values above this are impossible, likewise.
    pub highest: f64,
    /// Whether it matters that what recurs is missing.
    pub recurrences: bool,
}

impl EffectFilter {
    /// Everything matters.
    pub const OPEN: Self = Self {
        above: true,
        below: true,
        min_deviation: 0.0,
        relative: 0.0,
        lowest: f64::NEG_INFINITY,
        highest: f64::INFINITY,
        recurrences: false,
    };

    /// The value that was meant, or `None` where there can be none like it: rates are extrapolated, so a value just outside
    /// of two bounds is that at the bound.
    pub fn meant(&self, value: f64) -> Option<f64> {
        let range = self.highest - self.lowest;
        let slack = if range.is_finite() { ROUNDING * range } else { 0.0 };
        let is_meant = (self.lowest - slack..=self.highest + slack).contains(&value);
        is_meant.then(|| self.possible(value))
    }

    /// The possible value that is next to `value`.
    pub fn possible(&self, value: f64) -> f64 {
        value.max(self.lowest).min(self.highest)
    }

    /// Deviations up to this matter to nobody where `expected` is expected.
    pub fn least(&self, expected: f64) -> f64 {
        self.min_deviation.max(self.relative * expected.abs())
    }

    /// Whether `value` is one that may be anomalous where `expected` is expected.
    pub fn passes(&self, value: f64, expected: f64) -> bool {
        let deviation = value - expected;
        let side = if deviation >= 0.0 { self.above } else { self.below };
        side && deviation.abs() > self.least(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_passes_what_is_far_enough_on_a_side_that_matters() {
        let up = EffectFilter { below: false, min_deviation: 5.0, ..EffectFilter::OPEN };
        for (value, passes) in [(15.0, false), (15.1, true), (4.0, false), (10.0, false)] {
            assert_eq!(up.passes(value, 10.0), passes, "{value}");
        }
        assert!(EffectFilter::OPEN.passes(9.99, 10.0));
        assert!(!EffectFilter::OPEN.passes(10.0, 10.0), "what is expected is not anomalous");
    }

    #[test]
    fn a_value_outside_of_what_is_possible_is_none_but_for_rounding() {
        let percent = EffectFilter { lowest: 0.0, highest: 100.0, ..EffectFilter::OPEN };
        let positive = EffectFilter { lowest: 0.0, ..EffectFilter::OPEN };
        for (filter, value, meant) in [
            (percent, 55.0, Some(55.0)),
            (percent, -0.2, Some(0.0)),
            (percent, 100.9, Some(100.0)),
            (percent, -382.0, None),
            (percent, 102.0, None),
            (positive, -0.2, None),
            (positive, 1e300, Some(1e300)),
            (EffectFilter::OPEN, -1e300, Some(-1e300)),
        ] {
            assert_eq!(filter.meant(value), meant, "{value}");
        }
    }

    #[test]
    fn of_two_bounds_the_wider_holds() {
        let effect_filter = EffectFilter { min_deviation: 1.0, relative: 0.01, ..EffectFilter::OPEN };
        for (value, expected, passes) in
            [(42.9, 42.0, false), (43.1, 42.0, true), (1004.0, 1000.0, false), (1011.0, 1000.0, true)]
        {
            assert_eq!(effect_filter.passes(value, expected), passes, "{value}");
        }
    }
}
