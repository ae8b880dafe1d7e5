//! Lines and smoothed trends through a range of samples.

use super::range::add;

/// Slope a second and value at `at` (Unix milliseconds) of the least-squares line; `None` of fewer than two samples.
pub(super) fn line(samples: &[(i64, f64)], at: i64) -> Option<(f64, f64)> {
    let [(_, first), _, ..] = samples else { return None };
    if samples.iter().all(|(_, y)| y == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, *first) });
    }
    let n = samples.len() as f64;
    let total = |term: &dyn Fn(f64, f64) -> f64| {
        let terms = samples.iter().map(|(t, y)| term((t - at) as f64 / 1e3, *y));
        let (sum, lost) = terms.fold((0.0, 0.0), |(sum, lost), v| add(sum, lost, v));
        sum + lost
    };
    let (x, y) = (total(&|x, _| x), total(&|_, y| y));
    let covariance = total(&|x, y| x * y) - x * y / n;
    let slope = covariance / (total(&|x, _| x * x) - x * x / n);
    Some((slope, y / n - slope * x / n))
}

/// Double exponential smoothing, which Prometheus calls Holt-Winters; `None` of fewer than two samples.
pub(super) fn smoothed(samples: &[(i64, f64)], [smoothing, trending]: [f64; 2]) -> Option<f64> {
    let [(_, first), (_, second), ..] = samples else { return None };
    let (mut before, mut now, mut trend) = (0.0, *first, second - first);
    for (turn, (_, value)) in samples.iter().skip(1).enumerate() {
        if turn > 0 {
            trend = trending * (now - before) + (1.0 - trending) * trend;
        }
        (before, now) = (now, smoothing * value + (1.0 - smoothing) * (now + trend));
    }
    Some(now)
}
