//! From surprises to confidences, and from confidences to one score.
//!
//! A surprise L becomes the confidence c(L ÷ κ): 0.7 where this detector alone is at the target's budget of false
//! alerts (κ, see [`super::budget`]), close to 0 on normal data, towards 1 without reaching it, strictly increasing
//! all the way, so that scores rank. The score is the weighted mean over the detectors that are ready; one that sees
//! nothing stays in the denominator.

use statrs::distribution::{ContinuousCDF, Normal};

use super::verdict::{Assessment, Detector, PerDetector, VOTE};

/// Confidence at the budget level.
const AT_BUDGET: f64 = 0.7;
/// Where the curve leaves the square root for 0: L ÷ κ squared at which half of it is left.
const KNEE: f64 = 0.04;
/// Where the curve bends towards 1.
const BEND: f64 = 0.9;
/// The threshold the calibration is fit for.
pub const CANONICAL_THRESHOLD: f64 = 0.6;
/// Deviations end here: the quantile of the smallest tail an f64 can hold.
pub const MOST_SIGMA: f64 = 38.0;

/// Weights of the vote; 0 for a detector that is disabled.
pub type Weights = [f64; Detector::COUNT];

/// Weights the calibration is fit for.
pub const CANONICAL_WEIGHTS: Weights = [0.3, 0.3, 0.2, 0.2];

/// Confidence of a surprise at the scale `kappa`; 0–1, strictly increasing.
pub fn confidence(surprise: f64, kappa: f64) -> f64 {
    let x = surprise.max(0.0) / kappa;
    let knee = (1.0 + KNEE) * x * x / (x * x + KNEE);
    let raw = AT_BUDGET * x.sqrt() * knee;
    if raw <= BEND { raw } else { 1.0 - (1.0 - BEND) * (-(raw - BEND) / (1.0 - BEND)).exp() }
}

/// Φ⁻¹(1 − p) of the tail probability p = 10^−`surprise`; 0 where the surprise is less than even.
pub fn sigmas(surprise: f64) -> f64 {
    let p = 10.0_f64.powf(-surprise.max(0.0)).max(f64::MIN_POSITIVE);
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

/// The threshold-free strength of `surprises`: the κ at which the canonical score would be just at the threshold.
/// Unbounded, so rows rank over a whole run whatever the budget is at the time.
pub fn evidence(surprises: &PerDetector<f64>) -> f64 {
    let strongest = surprises.iter().flatten().fold(0.0, |a: f64, b| a.max(*b));
    let over = |kappa: f64| {
        let confidences = surprises.map(|s| s.map(|s| confidence(s, kappa)));
        score(&confidences, &CANONICAL_WEIGHTS).unwrap_or(0.0) > CANONICAL_THRESHOLD
    };
    // At twice the strongest surprise no confidence reaches 0.5.
    let (mut low, mut high) = (0.0, 2.0 * strongest);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if over(middle) { low = middle } else { high = middle }
    }
    low
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
        assert!((confidence(3.0, 3.0) - AT_BUDGET).abs() < 1e-12);
        let mut before = 0.0;
        for step in 1..1200 {
            let now = confidence(f64::from(step) * 0.01, 3.0);
            assert!(before < now && now < 1.0, "at {step}: {before} then {now}");
            before = now;
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
    fn evidence_is_the_scale_at_which_the_score_meets_the_threshold() {
        for surprises in [[Some(5.0), None, Some(7.0), Some(6.0)], [Some(0.1), None, Some(30.0), Some(25.0)]]
        {
            let kappa = evidence(&surprises);
            let at =
                |kappa: f64| score(&surprises.map(|s| s.map(|s| confidence(s, kappa))), &CANONICAL_WEIGHTS);
            assert!(at(kappa * 0.999).unwrap() > CANONICAL_THRESHOLD);
            assert!(at(kappa * 1.001).unwrap() <= CANONICAL_THRESHOLD);
        }
        assert_eq!(evidence(&[Some(0.0), None, Some(0.0), None]), 0.0);
    }
}
