//! The training set as fits see it: rows of values, gaps and all.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::robust;
use super::shape::{Recent, Shape};
use crate::series::Timestamp;
use crate::window::Frozen;

/// Rows in the order of time, one value a metric.
#[derive(Clone, Debug, Default)]
pub struct TrainingSet {
    width: usize,
    times: Vec<i64>,
    /// Row-major.
    values: Vec<Option<f64>>,
    /// Which metrics form the vector.
    in_vector: Vec<bool>,
    /// Smallest spread that matters, one a metric; nothing is too small for those beyond its end.
    least: Vec<f64>,
    /// Milliseconds between rows at most, beyond which what follows is not the course of what went before.
    longest_step: i64,
}

/// Where a metric's values lie, and how far they stray; the floors keep constant and nearly constant ones harmless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    center: f64,
    spread: f64,
}

impl Scale {
    /// `None` of nothing.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        robust::sort(&mut values);
        let center = robust::median(&values)?;
        let range = values[values.len() - 1] - values[0];
        if range < 1e-12 {
            return Some(Self { center, spread: (0.05 * center.abs()).max(0.05) });
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64;
        let floor = (0.01 * range).max(1e-3 * center.abs().max(range)).max(1e-6);
        Some(Self { center, spread: square.sqrt().max(floor) })
    }

    /// The same with a spread of at least `least`.
    #[must_use]
    pub fn floored(self, least: f64) -> Self {
        Self { spread: self.spread.max(least), ..self }
    }

    /// `value` in spreads from the center, cut at ±`clip`.
    pub fn clipped(&self, value: f64, clip: f32) -> f32 {
        (((value - self.center) / self.spread) as f32).clamp(-clip, clip)
    }

    /// A distance of values in spreads, cut at ±`clip`.
    pub fn clipped_distance(&self, distance: f64, clip: f32) -> f32 {
        ((distance / self.spread) as f32).clamp(-clip, clip)
    }

    /// Root mean square distance of normal values, in the metric's unit; above 0.
    pub fn spread(&self) -> f64 {
        self.spread
    }
}

impl TrainingSet {
    /// Rows of `values` at `times`; more than `longest_step` milliseconds between two is a gap.
    pub fn new(times: Vec<i64>, values: Vec<Option<f64>>, in_vector: Vec<bool>, longest_step: i64) -> Self {
        Self { width: in_vector.len(), times, values, in_vector, least: Vec::new(), longest_step }
    }

    /// Copies the newest `most` rows of a frozen table, so that the engine may go on writing it.
    pub fn of(table: &Frozen, most: usize, in_vector: Vec<bool>, longest_step: i64) -> Self {
        let (width, first) = (in_vector.len(), table.len().saturating_sub(most));
        let mut values = Vec::with_capacity((table.len() - first) * width);
        for row in first..table.len() {
            values.extend((0..width).map(|metric| table.get(metric, row)));
        }
        Self::new(table.times()[first..].to_vec(), values, in_vector, longest_step)
    }

    /// The same without rows of any of these times, both ends included.
    #[must_use]
    pub fn without(mut self, times: &[(Timestamp, Timestamp)]) -> Self {
        let is_out = |at: i64| times.iter().any(|(from, to)| from.millis() <= at && at <= to.millis());
        if self.times.iter().any(|at| is_out(*at)) {
            let width = self.width;
            let kept: Vec<usize> = (0..self.times.len()).filter(|row| !is_out(self.times[*row])).collect();
            self.values =
                kept.iter().flat_map(|row| self.values[row * width..][..width].iter().copied()).collect();
            self.times = kept.iter().map(|row| self.times[*row]).collect();
        }
        self
    }

    /// The same of metrics whose spread is no smaller than `least`, one a metric: of one that hardly moves a model would
    /// learn the little it does, and hold whatever is further out for equally unusual.
    #[must_use]
    pub fn with_least(self, least: Vec<f64>) -> Self {
        Self { least, ..self }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Metrics of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Time of the newest row.
    pub fn newest(&self) -> Option<Timestamp> {
        self.times.last().copied().map(Timestamp::from_millis)
    }

    /// Time of the oldest row.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.times.first().copied().map(Timestamp::from_millis)
    }

    /// Time of a row.
    pub fn at(&self, row: usize) -> Timestamp {
        Timestamp::from_millis(self.times[row])
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[Option<f64>] {
        &self.values[row * self.width..][..self.width]
    }

    /// One value.
    pub fn value(&self, row: usize, metric: usize) -> Option<f64> {
        self.values[row * self.width + metric]
    }

    /// The values of one metric that are there.
    pub fn column(&self, metric: usize) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().skip(metric).step_by(self.width.max(1)).filter_map(|value| *value)
    }

    /// The rows before `row`, and those from it on.
    pub fn split(mut self, row: usize) -> (Self, Self) {
        let times = self.times.split_off(row);
        let values = self.values.split_off(row * self.width);
        let (in_vector, least) = (self.in_vector.clone(), self.least.clone());
        let rest = Self { times, values, in_vector, least, ..self };
        (self, rest)
    }

    /// These rows, and those that came after them.
    #[must_use]
    pub fn join(mut self, rest: Self) -> Self {
        self.times.extend(rest.times);
        self.values.extend(rest.values);
        self
    }

    /// Scale of each metric of the vector that has values.
    pub fn scales(&self) -> Vec<(usize, Scale)> {
        let least = |metric: usize| self.least.get(metric).copied().unwrap_or(0.0);
        let scale = |metric: usize| Some((metric, Scale::of(self.column(metric))?.floored(least(metric))));
        (0..self.width).filter(|metric| self.in_vector[*metric]).filter_map(scale).collect()
    }

    /// First rows of every `steps` rows on end without a gap.
    pub fn windows(&self, steps: usize) -> Vec<usize> {
        let mut since = 0;
        let mut starts = Vec::new();
        for row in 0..self.len() {
            if self.is_gap(row) {
                since = row;
            }
            if row + 1 >= since + steps {
                starts.push(row + 1 - steps);
            }
        }
        starts
    }

    fn is_gap(&self, row: usize) -> bool {
        row > 0 && self.times[row] - self.times[row - 1] > self.longest_step
    }

    /// Shape of one metric at each row.
    pub fn shapes(&self, metric: usize) -> Vec<Option<Shape>> {
        let mut recent = Recent::default();
        let shape = |row: usize| {
            if self.is_gap(row) {
                recent.clear();
            }
            let value = self.value(row, metric)?;
            let shape = recent.shape_with(value);
            recent.push(self.at(row), value);
            shape
        };
        (0..self.len()).map(shape).collect()
    }

    /// The course of each metric in its scale, cut at ±`clip`, row by row; a missing value is that of the row before.
    pub fn scaled(&self, metrics: &[(usize, Scale)], clip: f32) -> Vec<f32> {
        let mut rows = vec![0.0; self.len() * metrics.len()];
        for (at, (metric, scale)) in metrics.iter().enumerate() {
            let mut last = 0.0;
            let cells = rows.iter_mut().skip(at).step_by(metrics.len());
            for (row, cell) in cells.enumerate() {
                last = self.value(row, *metric).map_or(last, |value| scale.clipped(value, clip));
                *cell = last;
            }
        }
        rows
    }

    /// The same rows, each value being the mean of the last `n` that were there.
    #[must_use]
    pub fn smoothed(&self, n: usize) -> Self {
        let mut values = vec![None; self.values.len()];
        for metric in 0..self.width {
            let mut mean = Trailing::new(n);
            for row in 0..self.len() {
                if self.is_gap(row) {
                    mean.clear();
                }
                let at = row * self.width + metric;
                values[at] = self.values[at].map(|value| mean.push(value));
            }
        }
        let (in_vector, least) = (self.in_vector.clone(), self.least.clone());
        Self { values, times: self.times.clone(), in_vector, least, ..*self }
    }
}

/// The mean of the newest values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trailing {
    room: usize,
    values: VecDeque<f64>,
}

impl Trailing {
    /// Of `room` values.
    pub fn new(room: usize) -> Self {
        Self { room: room.max(1), values: VecDeque::new() }
    }

    /// The mean if `value` came next. Summed anew each time: a running sum would carry the rounding of an outlier
    /// through everything after it.
    pub fn with(&self, value: f64) -> f64 {
        let kept = self.values.len().min(self.room - 1);
        let sum: f64 = self.values.iter().skip(self.values.len() - kept).sum();
        (sum + value) / (kept + 1) as f64
    }

    /// Takes in a value and says the mean.
    pub fn push(&mut self, value: f64) -> f64 {
        let mean = self.with(value);
        if self.values.len() == self.room {
            self.values.pop_front();
        }
        self.values.push_back(value);
        mean
    }

    /// Values it is of at most.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Has the values before the newest be these.
    pub fn restore(&mut self, values: &[f64]) {
        let before = self.values.iter_mut().rev().skip(1);
        before.zip(values.iter().rev()).for_each(|(to, value)| *to = *value);
    }

    /// Has every value be another, by `map`.
    pub fn map(&mut self, map: impl Fn(f64) -> f64) {
        self.values.iter_mut().for_each(|value| *value = map(*value));
    }

    /// Takes all but the newest `keep` values for `usual` ones.
    pub fn settle(&mut self, usual: f64, keep: usize) {
        let old = self.values.len().saturating_sub(keep);
        self.values.iter_mut().take(old).for_each(|value| *value = usual);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training_set(times: &[i64], values: &[f64]) -> TrainingSet {
        TrainingSet::new(times.to_vec(), values.iter().map(|v| Some(*v)).collect(), vec![true], 4)
    }

    #[test]
    fn windows_do_not_reach_across_a_gap() {
        let times = [0, 1, 2, 3, 20, 21, 22];
        assert_eq!(training_set(&times, &[0.0; 7]).windows(3), [0, 1, 4]);
        assert_eq!(training_set(&times, &[0.0; 7]).windows(5), [0_usize; 0]);
    }

    #[test]
    fn a_trailing_mean_is_of_the_last_values_that_were_there() {
        let mut training_set = training_set(&[0, 1, 2, 3, 4, 20], &[1.0, 3.0, 0.0, 5.0, 7.0, 9.0]);
        training_set.values[2] = None;
        let smoothed: Vec<_> = (0..6).map(|row| training_set.smoothed(2).value(row, 0)).collect();
        assert_eq!(smoothed, [Some(1.0), Some(2.0), None, Some(4.0), Some(6.0), Some(9.0)]);
    }

    #[test]
    fn a_mean_that_settles_is_of_the_newest_values_and_usual_ones() {
        let mut mean = Trailing::new(4);
        [50.0, 60.0, 1.0, 2.0].into_iter().for_each(|value| _ = mean.push(value));
        mean.settle(3.0, 2);
        assert_eq!(mean.with(6.0), (3.0 + 1.0 + 2.0 + 6.0) / 4.0);
        mean.settle(0.0, 9);
        assert_eq!(mean.with(6.0), 3.0, "nothing is older than that");
    }

    #[test]
    fn a_constant_metric_has_a_scale_that_makes_a_twentieth_of_it_one() {
        let scale = Scale::of([40.0; 9].into_iter()).unwrap();
        assert_eq!(scale.clipped(42.0, 20.0), 1.0);
        assert_eq!(scale.clipped(1e9, 20.0), 20.0);
        assert_eq!(Scale::of(std::iter::empty()), None);
    }

    #[test]
    fn a_split_loses_no_row() {
        let (before, after) = training_set(&[0, 1, 2], &[5.0, 6.0, 7.0]).split(1);
        assert_eq!((before.len(), after.len(), after.value(0, 0)), (1, 2, Some(6.0)));
        let whole = before.join(after);
        assert_eq!((whole.len(), whole.value(2, 0), whole.newest().unwrap().millis()), (3, Some(7.0), 2));
    }
}
