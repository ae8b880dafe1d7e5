//! The normal past that models are fitted on: every row of late, fewer of what was before, five-minute means of what
//! was long ago. What was flagged never enters.

use std::time::Duration;

use super::isolation::Rows;
use super::season::{self, Period, Season};
use super::shape::{FEATURES, Shape};
use crate::series::Timestamp;
use crate::window::{Frozen, Table};

/// Rows kept as they came.
const LATE: usize = 512;
/// Rows kept of the time before, one in [`THIN`].
const BEFORE: usize = 512;
const THIN: u64 = 32;
/// The tier for seasons: 14 days of five minutes.
const TIER_STEP: Duration = Duration::from_mins(5);
const TIER_ROWS: usize = 14 * 288;

/// The normal past of one target.
pub struct Memory {
    width: usize,
    late: Table,
    before: Table,
    rows: u64,
    tier: Table,
    tier_rows: u64,
    bucket: Bucket,
}

/// The five minutes under way.
struct Bucket {
    start: Timestamp,
    sums: Vec<(f64, u32)>,
}

impl Memory {
    /// An empty memory of `width` metrics.
    pub fn new(width: usize) -> Self {
        let table = |rows: usize, columns: usize| {
            let mut table = Table::new(rows);
            (0..columns).for_each(|_| {
                table.add_column();
            });
            table
        };
        Self {
            width,
            late: table(LATE, width * FEATURES),
            before: table(BEFORE, width * FEATURES),
            rows: 0,
            tier: table(TIER_ROWS, width),
            tier_rows: 0,
            bucket: Bucket { start: Timestamp::from_millis(i64::MIN), sums: vec![(0.0, 0); width] },
        }
    }

    /// Takes in the shapes of a row of which nothing was flagged.
    pub fn learn_row(&mut self, at: Timestamp, shapes: &[Option<Shape>]) {
        push(&mut self.late, at, shapes);
        if self.rows.is_multiple_of(THIN) {
            push(&mut self.before, at, shapes);
        }
        self.rows += 1;
    }

    /// Takes in the values of a row, `None` where there was none or it was flagged.
    pub fn learn_values(&mut self, at: Timestamp, values: impl Iterator<Item = Option<f64>>) {
        let step = TIER_STEP.as_millis() as i64;
        let start = Timestamp::from_millis(at.millis().div_euclid(step) * step);
        if start > self.bucket.start {
            self.close_bucket();
            self.bucket.start = start;
        }
        for (sum, value) in self.bucket.sums.iter_mut().zip(values) {
            if let Some(value) = value {
                *sum = (sum.0 + value, sum.1 + 1);
            }
        }
    }

    fn close_bucket(&mut self) {
        let has_any = self.bucket.sums.iter().any(|(_, n)| *n > 0);
        let started = has_any && self.tier.begin_row(self.bucket.start);
        self.tier_rows += u64::from(started);
        for (column, sum) in self.bucket.sums.iter_mut().enumerate() {
            if started && sum.1 > 0 {
                self.tier.set(column, sum.0 / f64::from(sum.1));
            }
            *sum = (0.0, 0);
        }
    }

    /// Normal rows seen so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Five-minute means taken so far.
    pub fn tier_rows(&self) -> u64 {
        self.tier_rows
    }

    /// Shares the rows, without a copy, for a fit elsewhere.
    pub fn freeze(&mut self) -> Past {
        Past { width: self.width, late: self.late.freeze(), before: self.before.freeze() }
    }

    /// Shares the tier, without a copy.
    pub fn freeze_tier(&mut self) -> Tier {
        Tier { values: self.tier.freeze() }
    }

    /// Bytes of the buffers.
    pub fn bytes(&self) -> usize {
        self.late.bytes() + self.before.bytes() + self.tier.bytes()
    }
}

fn push(table: &mut Table, at: Timestamp, shapes: &[Option<Shape>]) {
    if !table.begin_row(at) {
        return;
    }
    for (metric, shape) in shapes.iter().enumerate() {
        if let Some(shape) = shape {
            shape.iter().enumerate().for_each(|(feature, x)| table.set(metric * FEATURES + feature, *x));
        }
    }
}

/// Rows of the past, shared.
#[derive(Clone)]
pub struct Past {
    width: usize,
    late: Frozen,
    before: Frozen,
}

impl Past {
    /// The rows to fit on: those of late, and of the time before only what is older.
    pub fn rows(&self) -> Rows {
        let oldest_late = self.late.times().first().copied().unwrap_or(i64::MAX);
        let older = self.before.times().partition_point(|at| *at < oldest_late);
        let mut shapes = Vec::with_capacity((older + self.late.len()) * self.width);
        (0..older).for_each(|row| self.append(&self.before, row, &mut shapes));
        (0..self.late.len()).for_each(|row| self.append(&self.late, row, &mut shapes));
        Rows { width: self.width, shapes }
    }

    /// Rows of late that came after `since`, with their times.
    pub fn after(&self, since: Timestamp) -> Rows {
        let first = self.late.times().partition_point(|at| *at <= since.millis());
        let mut shapes = Vec::new();
        (first..self.late.len()).for_each(|row| self.append(&self.late, row, &mut shapes));
        Rows { width: self.width, shapes }
    }

    /// Time of the newest row.
    pub fn newest(&self) -> Option<Timestamp> {
        self.late.times().last().copied().map(Timestamp::from_millis)
    }

    fn append(&self, table: &Frozen, row: usize, shapes: &mut Vec<Option<Shape>>) {
        for metric in 0..self.width {
            let feature = |f: usize| table.column(metric * FEATURES + f).value(row);
            let present = table.get(metric * FEATURES, row).is_some();
            shapes.push(present.then(|| std::array::from_fn(feature)));
        }
    }
}

/// The five-minute means, shared.
#[derive(Clone)]
pub struct Tier {
    values: Frozen,
}

impl Tier {
    /// The season of one metric, if it has one.
    pub fn season(&self, metric: usize, period: &Period) -> Option<Season> {
        let times = self.values.times();
        let (first, last) = (*times.first()?, *times.last()?);
        let step = TIER_STEP.as_millis() as i64;
        let mut values = vec![None; ((last - first) / step + 1) as usize];
        for (row, at) in times.iter().enumerate() {
            values[((at - first) / step) as usize] = self.values.get(metric, row);
        }
        season::fit(&values, Timestamp::from_millis(first), TIER_STEP, period)
    }

    /// Metrics of a row.
    pub fn width(&self) -> usize {
        self.values.width()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_fit_sees_all_of_late_and_a_thin_sample_of_before_each_row_once() {
        let mut memory = Memory::new(1);
        for i in 0..10_000 {
            memory.learn_row(at(i), &[Some([i as f64; FEATURES])]);
        }
        let rows = memory.freeze().rows();
        let seen: Vec<f64> = (0..rows.len()).filter_map(|r| Some(rows.row(r)[0]?[0])).collect();
        assert!(seen.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(seen.len(), LATE + (10_000 - LATE).div_ceil(THIN as usize));
        assert_eq!(seen.first(), Some(&0.0));
        assert_eq!(memory.freeze().after(at(9_990)).len(), 9);
    }

    #[test]
    fn a_metric_without_a_shape_stays_without_one() {
        let mut memory = Memory::new(2);
        memory.learn_row(at(0), &[None, Some([1.0; FEATURES])]);
        assert_eq!(memory.freeze().rows().row(0), [None, Some([1.0; FEATURES])]);
    }

    #[test]
    fn the_tier_holds_means_of_what_was_there_and_nulls_where_nothing_was() {
        let mut memory = Memory::new(2);
        for i in 0..90 {
            let value = (i % 30 < 15).then_some(i as f64);
            memory.learn_values(at(i * 10), [value, None].into_iter());
        }
        let tier = memory.freeze_tier();
        assert_eq!(tier.values.times(), [0, 300_000]);
        assert_eq!(tier.values.get(0, 1), Some(37.0));
        assert_eq!(tier.values.get(1, 1), None);
    }

    #[test]
    fn a_day_is_found_in_the_tier() {
        let mut memory = Memory::new(1);
        for i in 0..3 * 1440 {
            let phase = i as f64 / 1440.0 * std::f64::consts::TAU;
            memory.learn_values(at(i * 60), [Some(50.0 + 20.0 * phase.sin())].into_iter());
        }
        let season = memory.freeze_tier().season(0, &Period::Auto).unwrap();
        let minutes = season.period().as_secs() / 60;
        assert!((1425..=1455).contains(&minutes), "{minutes}");
    }
}
