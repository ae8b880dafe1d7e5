//! The recent course of every metric: what charts are drawn from and windows are handed out of.
//!
//! It follows the snapshots, so the engine knows nothing of it. The newest points are kept, so many a metric that all
//! metrics together stay within [`POINTS`]; older ones go.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::detect::verdict::{Band, PerDetector};
use crate::engine::snapshot::{MetricSnapshot, Snapshot, TargetSnapshot};
use crate::series::{Labels, Timestamp};

/// Points over all metrics, at most: some ten megabytes.
const POINTS: usize = 100_000;
/// Points of one metric: two hours of a check every ten seconds, at most, however few the metrics are; and at least.
const MOST: usize = 720;
const FEWEST: usize = 60;
/// A step back of wall time up to this is waited out.
const FURTHEST_BACK: Duration = Duration::from_mins(2);

/// One metric at one check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: Timestamp,
    pub(super) value: Option<f64>,
    pub(super) band: Option<Band>,
    pub(super) score: Option<f64>,
    pub(super) confidences: PerDetector<f64>,
    pub(super) firing: bool,
}

/// The courses, by target and metric. Cheap to clone; one writer.
#[derive(Clone, Default)]
pub(super) struct Courses(Arc<RwLock<HashMap<Labels, OfTarget>>>);

type OfTarget = HashMap<Labels, VecDeque<Point>>;

impl Courses {
    /// Takes in what is new in a snapshot.
    pub(super) fn record(&self, snapshot: &Snapshot) {
        let metrics: usize = snapshot.targets.iter().map(|target| target.metrics.len()).sum();
        let room = (POINTS / metrics.max(1)).clamp(FEWEST, MOST);
        let mut courses = self.0.write().unwrap_or_else(PoisonError::into_inner);
        courses.retain(|labels, _| snapshot.targets.iter().any(|target| target.labels == *labels));
        for target in &snapshot.targets {
            let Some(at) = target.last_scrape else { continue };
            record(courses.entry(target.labels.clone()).or_default(), target, at, room);
        }
    }

    /// What `look` makes of a metric's points, oldest first; of none where there is no such metric.
    pub(super) fn read<T>(
        &self,
        target: &Labels,
        metric: &Labels,
        look: impl FnOnce(&mut dyn Iterator<Item = &Point>) -> T,
    ) -> T {
        let courses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let points = courses.get(target).and_then(|metrics| metrics.get(metric));
        look(&mut points.into_iter().flatten())
    }
}

fn record(metrics: &mut OfTarget, target: &TargetSnapshot, at: Timestamp, room: usize) {
    // A snapshot shows every target whenever one of them was judged.
    let newest = |metric: &MetricSnapshot| metrics.get(&metric.labels)?.back().map(|point| point.at);
    match target.metrics.first().and_then(newest) {
        // Wall time was set back far: what lies ahead is of another time.
        Some(newest) if newest.since(at) > FURTHEST_BACK => metrics.clear(),
        Some(newest) if newest >= at => return,
        _ => {}
    }
    metrics.retain(|labels, _| target.metrics.iter().any(|metric| metric.labels == *labels));
    for metric in &target.metrics {
        let points = metrics.entry(metric.labels.clone()).or_default();
        while points.len() >= room {
            points.pop_front();
        }
        points.push_back(point(metric, at));
    }
}

fn point(metric: &MetricSnapshot, at: Timestamp) -> Point {
    Point {
        at,
        value: metric.value,
        band: metric.band,
        score: metric.assessment.map(|assessment| assessment.score),
        confidences: metric.confidences(),
        firing: metric.firing.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::example;

    #[test]
    fn a_check_is_recorded_once_and_the_oldest_go_first() {
        let courses = Courses::default();
        let (target, metric) = (example::labels("web-1"), example::metric("cpu_usage"));
        let times = |courses: &Courses| {
            courses.read(&target, &metric, |points| points.map(|p| p.at.millis()).collect::<Vec<_>>())
        };
        for at in 0..2 * MOST as i64 {
            let snapshot = example::snapshot(&["cpu_usage"], Timestamp::from_millis(at));
            courses.record(&snapshot);
            courses.record(&snapshot);
        }
        assert_eq!(times(&courses), (MOST as i64..2 * MOST as i64).collect::<Vec<_>>());
        courses.record(&example::snapshot(&["cpu_usage"], Timestamp::from_millis(-1_000_000)));
        assert_eq!(times(&courses), [-1_000_000], "it goes on after wall time was set back far");
        courses.record(&example::snapshot(&["other"], Timestamp::from_millis(9999)));
        assert!(times(&courses).is_empty(), "what is no longer watched is let go");
    }
}
