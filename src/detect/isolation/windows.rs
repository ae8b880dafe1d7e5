//! Distance of the recent course from the nearest typical one: what no single row shows.
//!
//! The last rows of all metrics are one point, and the normal points are gathered around a few centres (k-means; Yairi,
//! Kato & Hori 2001 for anomalies). A metric's score is the root mean square distance of its part of the window from
//! that of the nearest centre, so that it is known which metric is meant. Deviations: the centres are drawn far from one
//! another (Arthur & Vassilvitskii 2007) and moved a few times only, because where exactly they lie matters little.
//!
//! Units: spreads of the metric. Cost: centres × rows × metrics multiply-adds a row.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::forest::below;
use crate::detect::lstm::Course;
use crate::detect::surprisal::Raw;
use crate::detect::training_set::{Scale, TrainingSet};

/// Centres, times they are moved, and windows that they are fitted on at most.
const CENTRES: usize = 20;
const MOVES: usize = 10;
const MOST_WINDOWS: usize = 3000;
/// Rows of a window; of one that has a single metric, which says less a row.
const ROWS: usize = 10;
/// Rows that any window has at most.
pub const MOST_ROWS: usize = 30;
/// Scaled values end here.
const CLIP: f32 = 20.0;
/// Windows that a fit needs for each centre.
const FEWEST: usize = 3;
/// Share of a window's values that may be missing; they are taken for the value before.
const MOST_MISSING: usize = 5;

/// Centres of the normal windows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Windows {
    metrics: Vec<(usize, Scale)>,
    rows: usize,
    /// `centres × rows × metrics`, row-major.
    centres: Vec<f32>,
}

impl Windows {
    /// Rows of a window.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Fits the centres on the windows of `training_set`; `None` where there are too few of them.
    pub(super) fn fit(training_set: &TrainingSet, random: &mut Pcg64Mcg) -> Option<Self> {
        let metrics = training_set.scales();
        let rows = if metrics.len() == 1 { MOST_ROWS } else { ROWS };
        let starts = training_set.windows(rows);
        if metrics.is_empty() || starts.len() < FEWEST * CENTRES {
            return None;
        }
        let scaled = training_set.scaled(&metrics, CLIP);
        let width = metrics.len();
        let stride = starts.len().div_ceil(MOST_WINDOWS);
        let windows: Vec<&[f32]> =
            starts.iter().step_by(stride).map(|start| &scaled[start * width..][..rows * width]).collect();
        let mut centres = drawn(&windows, random);
        (0..MOVES).for_each(|_| moved(&mut centres, &windows));
        Some(Self { metrics, rows, centres })
    }

    /// Scores the window that ends with the course's last row; says nothing where it is not full or too much is missing.
    pub(in super::super) fn score(&self, course: &Course<'_>, window: &mut Vec<f32>, raw: &mut Raw) {
        raw.clear(course.last.len());
        if !self.read(course, window) {
            return;
        }
        let size = self.rows * self.metrics.len();
        let Some(nearest) = nearest(self.centres.chunks_exact(size), window) else { return };
        let centre = &self.centres[nearest * size..][..size];
        for (at, (metric, _)) in self.metrics.iter().enumerate() {
            let off = |(a, b): (&f32, &f32)| f64::from((a - b) * (a - b));
            let own = |values| <[f32]>::iter(values).skip(at).step_by(self.metrics.len());
            let square: f64 = own(window.as_slice()).zip(own(centre)).map(off).sum();
            raw.metrics[*metric] = course.last[*metric].map(|_| (square / self.rows as f64).sqrt());
        }
    }

    fn read(&self, course: &Course<'_>, window: &mut Vec<f32>) -> bool {
        window.clear();
        if course.before.len() + 1 < self.rows {
            return false;
        }
        let (width, mut missing) = (self.metrics.len(), 0);
        for row in course.rows(self.rows) {
            for (metric, scale) in &self.metrics {
                let before = window.len().checked_sub(width).map_or(0.0, |at| window[at]);
                let value = row.get(*metric).copied().flatten();
                missing += usize::from(value.is_none());
                window.push(value.map_or(before, |value| scale.clipped(value, CLIP)));
            }
        }
        missing * MOST_MISSING <= self.rows * width
    }
}

/// First centres: each is a window, the likelier the farther it is from those drawn before.
fn drawn(windows: &[&[f32]], random: &mut Pcg64Mcg) -> Vec<f32> {
    let mut centres = windows[below(random, windows.len())].to_vec();
    let mut distances = vec![f32::INFINITY; windows.len()];
    for _ in 1..CENTRES {
        let newest = &centres[centres.len() - windows[0].len()..];
        for (distance, window) in distances.iter_mut().zip(windows) {
            *distance = distance.min(squared(window, newest));
        }
        let total: f64 = distances.iter().map(|distance| f64::from(*distance)).sum();
        let mut left = total * f64::from(random.next_u32()) / f64::from(u32::MAX);
        let chosen = distances.iter().position(|distance| {
            left -= f64::from(*distance);
            left <= 0.0
        });
        centres.extend_from_slice(windows[chosen.unwrap_or(windows.len() - 1)]);
    }
    centres
}

/// Moves each centre to the mean of the windows nearest to it; one without any stays.
fn moved(centres: &mut [f32], windows: &[&[f32]]) {
    let size = centres.len() / CENTRES;
    let mut sums = vec![0.0_f32; centres.len()];
    let mut counts = [0_u32; CENTRES];
    for window in windows {
        let Some(at) = nearest(centres.chunks_exact(size), window) else { continue };
        counts[at] += 1;
        sums[at * size..][..size].iter_mut().zip(*window).for_each(|(sum, value)| *sum += value);
    }
    for ((centre, sum), count) in centres.chunks_exact_mut(size).zip(sums.chunks_exact(size)).zip(counts) {
        if count > 0 {
            centre.iter_mut().zip(sum).for_each(|(to, sum)| *to = sum / count as f32);
        }
    }
}

fn nearest<'a>(centres: impl Iterator<Item = &'a [f32]>, window: &[f32]) -> Option<usize> {
    let distances = centres.map(|centre| squared(window, centre)).enumerate();
    distances.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

/// Squared distance, in eight sums that the processor can hold side by side.
fn squared(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Two waves that move together.
    fn row(i: usize) -> Vec<Option<f64>> {
        let wave = (i as f64 * 0.4).sin();
        vec![Some(10.0 + wave), Some(50.0 - 5.0 * wave)]
    }

    fn fitted() -> Windows {
        let training_set =
            TrainingSet::new((0..600).collect(), (0..600).flat_map(row).collect(), vec![true; 2], 1);
        Windows::fit(&training_set, &mut Pcg64Mcg::new(3)).unwrap()
    }

    fn score(windows: &Windows, before: impl Iterator<Item = usize>, last: &[Option<f64>]) -> Raw {
        let before: VecDeque<_> = before.map(row).collect();
        let mut raw = Raw::default();
        windows.score(&Course { before: &before, last }, &mut Vec::new(), &mut raw);
        raw
    }

    #[test]
    fn a_course_that_was_seen_is_near_and_the_metric_that_strays_is_far() {
        let windows = fitted();
        let usual = score(&windows, 700..709, &row(709));
        let [a, b] = [usual.metrics[0].unwrap(), usual.metrics[1].unwrap()];
        assert!(a < 0.5 && b < 0.5, "{a} {b}");
        let stray = score(&windows, 700..709, &[row(709)[0], Some(90.0)]);
        assert!(stray.metrics[1].unwrap() > 3.0 && stray.metrics[0].unwrap() < 1.0, "{stray:?}");
    }

    #[test]
    fn a_window_that_is_not_full_or_has_holes_says_nothing() {
        let windows = fitted();
        assert_eq!(score(&windows, 700..708, &row(708)).metrics, [None, None]);
        assert_eq!(score(&windows, 700..709, &[None, None]).metrics, [None, None]);
    }

    #[test]
    fn few_windows_have_no_centres() {
        let training_set =
            TrainingSet::new((0..68).collect(), (0..68).flat_map(row).collect(), vec![true; 2], 1);
        assert!(Windows::fit(&training_set, &mut Pcg64Mcg::new(3)).is_none());
    }
}
