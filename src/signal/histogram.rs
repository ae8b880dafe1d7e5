//! Quantiles of classic histograms: buckets that are series with a label `le`.

use std::collections::HashMap;

use super::eval::Vector;
use crate::series::{Labels, METRIC_NAME};

const BOUND: &str = "le";

#[derive(Clone, Copy)]
struct Bucket {
    /// Upper bound, included.
    bound: f64,
    /// Observations up to it.
    count: f64,
}

/// Quantile `q` of each histogram among `buckets`, histograms in the order they appear.
pub(super) fn quantiles(q: f64, buckets: &Vector) -> Vector {
    let mut histograms: Vec<(Labels, Vec<Bucket>)> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for (labels, count) in buckets {
        let Some(bound) = labels.get(BOUND).and_then(|bound| bound.parse().ok()) else { continue };
        let at = *known.entry(labels.without(|name| name == BOUND)).or_insert_with(|| {
            let kept = labels.without(|name| name == BOUND || name == METRIC_NAME);
            histograms.push((kept, Vec::new()));
            histograms.len() - 1
        });
        histograms[at].1.push(Bucket { bound, count: *count });
    }
    histograms.into_iter().map(|(labels, buckets)| (labels, quantile(q, buckets))).collect()
}

fn quantile(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return f64::NAN;
    }
    buckets.dedup_by(|later, first| {
        let same = later.bound == first.bound;
        first.count += if same { later.count } else { 0.0 };
        same
    });
    rise(&mut buckets);
    within(q, &buckets)
}

/// Counts that fall from one bucket to the next, as scrapes at different moments make them, are held at the largest.
fn rise(buckets: &mut [Bucket]) {
    let mut most = buckets.first().map_or(f64::NAN, |first| first.count);
    for bucket in buckets {
        if bucket.count < most {
            bucket.count = most;
        } else if bucket.count > most {
            most = bucket.count;
        }
    }
}

/// Linear within the bucket that holds the rank.
fn within(q: f64, buckets: &[Bucket]) -> f64 {
    let [.., before_last, last] = buckets else { return f64::NAN };
    if last.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * last.count;
    let holds = |bucket: &Bucket| bucket.count >= rank;
    let at = buckets[..buckets.len() - 1].partition_point(|bucket| !holds(bucket));
    if at == buckets.len() - 1 {
        return before_last.bound;
    }
    let Bucket { bound: end, count } = buckets[at];
    if at == 0 {
        return if end <= 0.0 { end } else { end * (rank / count) };
    }
    let below = buckets[at - 1];
    below.bound + (end - below.bound) * ((rank - below.count) / (count - below.count))
}
