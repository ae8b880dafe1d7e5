//! How long the period of what recurs is, where it is none of the usual ones.
//!
//! Takes values at even steps, gives a number of steps. The period is the strongest peak of the periodogram (augurs), refined by
//! autocorrelation, because a periodogram's bins are wide at long periods.

use super::{PERIODS, SHORTEST};

/// How far around the periodogram's peak the autocorrelation looks.
const REFINE: f64 = 0.35;

/// The period of `values` in steps; `None` where they hold fewer than two periods or are a straight line.
pub(super) fn find(values: &[f64]) -> Option<usize> {
    let longest = values.len() / PERIODS;
    if longest <= SHORTEST {
        return None;
    }
    let flat = detrend(values);
    if flat.iter().all(|x| x.abs() < 1e-12) {
        return None;
    }
    let detector = augurs::seasons::PeriodogramDetector::builder()
        .min_period(SHORTEST as u32)
        .max_period(longest as u32)
        .threshold(0.5)
        .build();
    // Peaks come in ascending order of power.
    let peak = detector.periodogram(&flat).peaks(0.5).last()?.period as usize;
    let reach = |factor: f64| ((peak as f64 * factor) as usize).clamp(SHORTEST, longest);
    let by_correlation = |a: &usize, b: &usize| correlation(&flat, *a).total_cmp(&correlation(&flat, *b));
    (reach(1.0 - REFINE)..=reach(1.0 + REFINE)).max_by(by_correlation)
}

fn detrend(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let (center, mean) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let moment = |(i, v): (usize, &f64)| (i as f64 - center) * (v - mean);
    let spread = (n * n - 1.0) * n / 12.0;
    let slope = values.iter().enumerate().map(moment).sum::<f64>() / spread;
    values.iter().enumerate().map(|(i, v)| v - mean - slope * (i as f64 - center)).collect()
}

/// Mean product at `lag`.
fn correlation(values: &[f64], lag: usize) -> f64 {
    let pairs = values.iter().zip(&values[lag.min(values.len())..]);
    pairs.map(|(a, b)| a * b).sum::<f64>() / (values.len() - lag).max(1) as f64
}
