//! From surprisals to confidences, and from confidences to one score.
//!
//! A surprisal L becomes the confidence c(L ÷ κ): strictly increasing all the way, so that scores rank; close to 0 on
//! normal data; past a half around κ, the target's budget of false alerts (see [`super::alert_rate`]); towards 1 without
//! reaching it. Around κ the curve is steep, so that whoever votes is sure enough for a warning, and above it flat, so
//! that two very sure detectors do not outvote two that see nothing. The score is the weighted mean over the detectors
//! that are ready; one that sees nothing stays in the denominator.

use statrs::distribution::{ContinuousCDF, Normal};

use super::verdict::{Assessment, Detector, PerDetector, VOTE};

/// Where the curve leaves the square root for 0: L ÷ κ squared at which half of it is left.
const KNEE: f64 = 0.04;
/// L ÷ κ and confidence where the curve gets steep, and where it bends towards 1.
const STEEP: (f64, f64) = (0.8, 0.55);
const BEND: (f64, f64) = (1.05, 0.72);
/// Confidence of the voters from which on an anomaly is worth an alert, by default.
const WARNING: f64 = 0.7;
/// The threshold the calibration is fit for.
pub const CANONICAL_THRESHOLD: f64 = 0.6;
/// Deviations end here: the quantile of the smallest tail an f64 can hold.
pub const MOST_SIGMA: f64 = 38.0;

/// Weights of the vote; 0 for a detector that is disabled.
pub type Weights = [f64; Detector::COUNT];

/// Weights the calibration is fit for.
pub const CANONICAL_WEIGHTS: Weights = [0.3, 0.3, 0.2, 0.2];

/// Confidence of a surprisal at the scale `kappa`; 0–1, strictly increasing.
pub fn confidence(surprisal: f64, kappa: f64) -> f64 {
    let x = surprisal.max(0.0) / kappa;
    if x < STEEP.0 {
        let knee = |x: f64| x * x / (x * x + KNEE);
        STEEP.1 * (x / STEEP.0).sqrt() * knee(x) / knee(STEEP.0)
    } else if x < BEND.0 {
        STEEP.1 + (BEND.1 - STEEP.1) * (x - STEEP.0) / (BEND.0 - STEEP.0)
    } else {
        1.0 - (1.0 - BEND.1) * (BEND.0 - x).exp()
    }
}

/// The surprisal, in units of κ, at which the confidence reaches `level`.
pub fn line(level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 64.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if confidence(middle, 1.0) < level { low = middle } else { high = middle }
    }
    high
}

/// Φ⁻¹(1 − p) of the tail probability p = 10^−`surprisal`; 0 where the surprisal is less than even.
pub fn sigmas(surprisal: f64) -> f64 {
    let p = 10.0_f64.powf(-surprisal.max(0.0)).max(f64::MIN_POSITIVE);
    (-Normal::standard().inverse_cdf(p)).clamp(0.0, MOST_SIGMA)
}

/// Σ weight × confidence ÷ Σ weight over the detectors that are ready; `None` when none is, or none has weight.
pub fn score(confidences: &PerDetector<f64>, weights: &Weights) -> Option<f64> {
    let mut sum = (0.0, 0.0);
    for (confidence, weight) in confidences.iter().zip(weights) {
        if let Some(confidence) = confidence {
            sum = (sum.0 + weight * confidence, sum.1 + weight);
        }
    }
    (sum.1 > 0.0).then(|| (sum.0 / sum.1).clamp(0.0, 1.0))
}

/// The vote on one metric, or on the target: `deviations` are in sigmas, for the detectors that have one.
pub fn assess(
    confidences: PerDetector<f64>,
    deviations: &PerDetector<f64>,
    weights: &Weights,
) -> Option<Assessment> {
    let score = score(&confidences, weights)?;
    let voters = confidences.map(|c| c.filter(|c| *c >= VOTE));
    let voted = |(voter, deviation): (&Option<f64>, &Option<f64>)| voter.and(*deviation);
    let deviation = voters.iter().zip(deviations).filter_map(voted).fold(0.0, f64::max);
    Some(Assessment {
        score,
        confidences,
        confidence: self::score(&voters, weights).unwrap_or(0.0),
        deviation_sigma: deviation.min(MOST_SIGMA),
    })
}

/// How much it would take to keep `surprisals` from being an alert: the largest κ at which the canonical vote is over
/// the threshold and those who voted are sure enough for a warning. Unbounded; κ is fit to it.
pub fn reach(surprisals: &PerDetector<f64>) -> f64 {
    let strongest = surprisals.iter().flatten().fold(0.0, |a: f64, b| a.max(*b));
    let alerts = |kappa: f64| {
        let confidences = surprisals.map(|s| s.map(|s| confidence(s, kappa)));
        let voters = confidences.map(|c| c.filter(|c| *c >= VOTE));
        score(&confidences, &CANONICAL_WEIGHTS).unwrap_or(0.0) > CANONICAL_THRESHOLD
            && score(&voters, &CANONICAL_WEIGHTS).unwrap_or(0.0) >= WARNING
    };
    // At twice the strongest surprisal no confidence reaches 0.5.
    let (mut low, mut high) = (0.0, 2.0 * strongest);
    for _ in 0..30 {
        let middle = f64::midpoint(low, high);
        if alerts(middle) { low = middle } else { high = middle }
    }
    low
}

/// The threshold-free strength of `surprisals` that ranks rows over a whole run: their weighted root mean square, not
/// bounded as confidences are, and unmoved by κ. Squared, because what one detector is sure of ranks above what two find a
/// little odd.
pub fn strength(surprisals: &PerDetector<f64>) -> f64 {
    let mut sum = (0.0, 0.0);
    for (surprisal, weight) in surprisals.iter().zip(&CANONICAL_WEIGHTS) {
        if let Some(surprisal) = surprisal {
            sum = (sum.0 + weight * surprisal * surprisal, sum.1 + weight);
        }
    }
    if sum.1 > 0.0 { (sum.0 / sum.1).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example_stays_below_the_threshold() {
        let confidences = [Some(0.8), Some(0.9), Some(0.0), Some(0.0)];
        let score = score(&confidences, &CANONICAL_WEIGHTS).unwrap();
        assert!((score - 0.51).abs() < 1e-12);
        assert!(score <= CANONICAL_THRESHOLD);
    }

    #[test]
    fn a_tail_probability_is_told_in_sigmas() {
        for (p, sigma) in [(0.5, 0.0), (0.158_655_253_931_457, 1.0), (0.001_349_898_031_630_09, 3.0)] {
            assert!((sigmas(-f64::log10(p)) - sigma).abs() < 1e-9);
        }
        assert!(sigmas(400.0) <= MOST_SIGMA);
    }

    #[test]
    fn weights_are_those_of_the_detectors_that_are_ready() {
        let confidences = [None, None, Some(1.0), Some(0.5)];
        assert!((score(&confidences, &CANONICAL_WEIGHTS).unwrap() - 0.75).abs() < 1e-15);
        assert_eq!(score(&[None; 4], &CANONICAL_WEIGHTS), None);
        assert_eq!(score(&[Some(1.0), None, None, None], &[0.0, 0.3, 0.2, 0.2]), None);
    }

    #[test]
    fn confidence_rises_strictly_from_zero_to_one() {
        assert_eq!(confidence(0.0, 3.0), 0.0);
        for (x, expect) in [STEEP, BEND] {
            assert!((confidence(3.0 * x, 3.0) - expect).abs() < 1e-9);
            assert!((confidence(3.0 * x - 1e-9, 3.0) - expect).abs() < 1e-6, "no step");
        }
        let mut before = 0.0;
        for step in 1..1200 {
            let now = confidence(f64::from(step) * 0.01, 3.0);
            assert!(before < now && now < 1.0, "at {step}: {before} then {now}");
            before = now;
        }
    }

    #[test]
    fn a_level_is_reached_at_its_line_and_not_before() {
        for level in [0.1, VOTE, 0.7, 0.99] {
            let at = line(level);
            assert!(confidence(at, 1.0) >= level && confidence(at * (1.0 - 1e-9), 1.0) <= level, "{level}");
        }
    }

    #[test]
    fn half_of_normal_data_leave_no_detector_surer_than_a_twentieth() {
        assert!(confidence(2.0_f64.log10(), 3.0) < 0.05);
    }

    #[test]
    fn only_those_who_voted_make_the_verdicts_confidence_and_deviation() {
        let deviations = [Some(9.0), None, Some(4.0), Some(7.0)];
        let a = assess([Some(0.2), None, Some(0.8), Some(0.6)], &deviations, &CANONICAL_WEIGHTS).unwrap();
        assert!((a.confidence - 0.7).abs() < 1e-12);
        assert_eq!(a.deviation_sigma, 7.0);
        let votes: Vec<Detector> = a.votes().map(|(detector, _)| detector).collect();
        assert_eq!(votes, [Detector::Zscore, Detector::SeasonalEsd]);
    }

    #[test]
    fn reach_is_the_scale_at_which_the_vote_is_just_an_alert() {
        for surprisals in [[Some(5.0), None, Some(7.0), Some(6.0)], [Some(0.1), None, Some(30.0), Some(25.0)]]
        {
            let kappa = reach(&surprisals);
            let alerts = |kappa: f64| {
                let confidences = surprisals.map(|s| s.map(|s| confidence(s, kappa)));
                let vote = assess(confidences, &[None; 4], &CANONICAL_WEIGHTS).unwrap();
                vote.score > CANONICAL_THRESHOLD && vote.confidence >= WARNING
            };
            assert!(alerts(kappa * 0.999) && !alerts(kappa * 1.001), "{kappa}");
        }
        assert_eq!(reach(&[Some(0.0), None, Some(0.0), None]), 0.0);
    }

    #[test]
    fn strength_is_the_weighted_root_mean_square_of_those_who_say_anything() {
        let strength = strength(&[Some(4.0), None, Some(8.0), None]);
        assert!((strength - ((0.3 * 16.0 + 0.2 * 64.0) / 0.5_f64).sqrt()).abs() < 1e-12);
        assert_eq!(super::strength(&[None; 4]), 0.0);
    }
}
