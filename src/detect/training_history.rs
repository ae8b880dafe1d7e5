//! The training history of a target: residuals of late, which models are fitted on, and what its metrics were over steps of five minutes
//! for two weeks and over hours for ten, which seasons are found in. What was flagged is in it; who fits a model says which
//! times are left out.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::season::{self, History, Period, Season};
use crate::series::Timestamp;
use crate::window::{Frozen, Table};

/// Bytes that rows of late may take.
const ROW_BYTES: usize = 2 << 20;
/// Rows of late at least and at most, whatever they take.
const ROWS: (usize, usize) = (2048, 32_768);
/// The tiers for seasons: step and rows.
const FINE: (Duration, usize) = (Duration::from_mins(5), 14 * 288);
const COARSE: (Duration, usize) = (Duration::from_hours(1), 70 * 24);

/// The training history of one target.
pub struct TrainingHistory {
    rows: Table,
    seen: u64,
    fine: Tier,
    coarse: Tier,
}

/// Mean, lowest and highest value of each metric over steps of wall time.
struct Tier {
    step: i64,
    /// The means of all metrics, then, where there are three parts, their lowest and their highest values.
    table: Table,
    components: usize,
    seen: u64,
    /// Of the step under way.
    start: Timestamp,
    sums: Vec<Sum>,
}

/// What a metric was over a step.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Sum {
    total: f64,
    low: f64,
    high: f64,
    n: u32,
}

impl Sum {
    fn take(&mut self, value: f64) {
        (self.low, self.high) =
            if self.n == 0 { (value, value) } else { (self.low.min(value), self.high.max(value)) };
        self.total += value;
        self.n += 1;
    }

    fn close(self) -> Option<[f64; 3]> {
        (self.n > 0).then(|| [self.total / f64::from(self.n), self.low, self.high])
    }
}

/// What a memory knows beside its rows and means.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Counts {
    seen: u64,
    tiers: [UnderWay; 2],
}

/// The step of a tier that is under way.
#[derive(Clone, Serialize, Deserialize)]
struct UnderWay {
    seen: u64,
    start: Timestamp,
    sums: Vec<Sum>,
}

impl TrainingHistory {
    /// An empty memory of `width` metrics; with room for `rows`, or for as many as a few megabytes hold.
    pub fn new(width: usize, rows: Option<usize>) -> Self {
        let by_bytes = ROW_BYTES / (8 * width.max(1));
        let rows = rows.unwrap_or_else(|| by_bytes.clamp(ROWS.0, ROWS.1));
        Self {
            rows: table(rows, width),
            seen: 0,
            fine: Tier::new(FINE, width, 3),
            coarse: Tier::new(COARSE, width, 1),
        }
    }

    /// Takes in the residuals of a row.
    pub fn learn_row(&mut self, at: Timestamp, values: &[Option<f64>]) {
        if !self.rows.begin_row(at) {
            return;
        }
        for (metric, value) in values.iter().enumerate() {
            if let Some(value) = value {
                self.rows.set(metric, *value);
            }
        }
        self.seen += 1;
    }

    /// Takes in the values of a row, `None` where there was none.
    pub fn learn_values(&mut self, at: Timestamp, values: impl Iterator<Item = Option<f64>> + Clone) {
        self.fine.take(at, values.clone());
        self.coarse.take(at, values);
    }

    /// Normal rows seen so far.
    pub fn rows(&self) -> u64 {
        self.seen
    }

    /// Time of the oldest row held.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.rows.first()
    }

    /// Time of the newest row held.
    pub fn newest(&self) -> Option<Timestamp> {
        self.rows.last()
    }

    /// Five-minute means taken so far.
    pub fn tier_rows(&self) -> u64 {
        self.fine.seen
    }

    /// Shares the rows, without a copy, for a fit elsewhere.
    pub fn freeze(&mut self) -> Frozen {
        self.rows.freeze()
    }

    /// Shares the tiers, without a copy.
    pub fn freeze_tiers(&mut self) -> Tiers {
        Tiers { fine: self.fine.table.freeze(), coarse: self.coarse.table.freeze() }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { seen: self.seen, tiers: [&self.fine, &self.coarse].map(Tier::under_way) }
    }

    /// Goes on where another memory was.
    pub(super) fn go_on(&mut self, counts: Counts, rows: &Frozen, tiers: &Tiers) {
        self.seen = counts.seen;
        self.rows.refill(rows);
        let [fine, coarse] = counts.tiers;
        self.fine.go_on(fine, &tiers.fine);
        self.coarse.go_on(coarse, &tiers.coarse);
    }

    /// Gives up the means; none are taken any more.
    pub(super) fn shed_tiers(&mut self) {
        for tier in [&mut self.fine, &mut self.coarse] {
            (tier.table, tier.sums) = (Table::new(1), Vec::new());
        }
    }

    /// Wall time has stepped back: forgets what would lie after `at`.
    pub(super) fn forget_after(&mut self, at: Timestamp) {
        self.rows.forget_after(at);
        for tier in [&mut self.fine, &mut self.coarse] {
            tier.table.forget_after(at);
            tier.start = tier.start.min(at);
        }
    }

    /// Bytes of the buffers.
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.fine.table.bytes() + self.coarse.table.bytes()
    }
}

fn table(rows: usize, columns: usize) -> Table {
    let mut table = Table::new(rows);
    (0..columns).for_each(|_| {
        table.add_column();
    });
    table
}

impl Tier {
    fn new((step, rows): (Duration, usize), width: usize, components: usize) -> Self {
        Self {
            step: step.as_millis() as i64,
            table: table(rows, components * width),
            components,
            seen: 0,
            start: Timestamp::from_millis(i64::MIN),
            sums: vec![Sum::default(); width],
        }
    }

    fn under_way(&self) -> UnderWay {
        UnderWay { seen: self.seen, start: self.start, sums: self.sums.clone() }
    }

    fn go_on(&mut self, UnderWay { seen, start, sums }: UnderWay, means: &Frozen) {
        self.table.refill(means);
        self.seen = seen;
        // Of other metrics, the step under way is left out.
        if sums.len() == self.sums.len() {
            (self.start, self.sums) = (start, sums);
        }
    }

    fn take(&mut self, at: Timestamp, values: impl Iterator<Item = Option<f64>>) {
        let start = Timestamp::from_millis(at.millis().div_euclid(self.step) * self.step);
        if start > self.start {
            self.close();
            self.start = start;
        }
        for (sum, value) in self.sums.iter_mut().zip(values) {
            if let Some(value) = value {
                sum.take(value);
            }
        }
    }

    fn close(&mut self) {
        let has_any = self.sums.iter().any(|sum| sum.n > 0);
        let started = has_any && self.table.begin_row(self.start);
        self.seen += u64::from(started);
        let width = self.sums.len();
        for (metric, sum) in self.sums.iter_mut().enumerate() {
            if let Some(values) = std::mem::take(sum).close().filter(|_| started) {
                values
                    .iter()
                    .take(self.components)
                    .enumerate()
                    .for_each(|(at, value)| self.table.set(at * width + metric, *value));
            }
        }
    }
}

/// Everything remembered, shared.
#[derive(Clone)]
pub struct Remembered {
    /// Normal rows of late, one column a metric.
    pub rows: Frozen,
    /// Five-minute and hourly means.
    pub tiers: Tiers,
}

impl Remembered {
    /// Of other metrics: each is one of these, or has no past.
    #[must_use]
    pub fn arranged(&self, metrics: &[Option<usize>]) -> Self {
        let width = self.tiers.width();
        let arranged = |tier: &Frozen| {
            let components = 0..tier.width() / width.max(1);
            let columns: Vec<Option<usize>> = components
                .flat_map(|component| metrics.iter().map(move |metric| Some((*metric)? + component * width)))
                .collect();
            tier.arranged(&columns)
        };
        let tiers = self.tiers.tables().map(arranged);
        Self { rows: self.rows.arranged(metrics), tiers: Tiers::new(tiers) }
    }
}

/// The tiers, shared.
#[derive(Clone)]
pub struct Tiers {
    fine: Frozen,
    coarse: Frozen,
}

impl Tiers {
    /// Of five-minute and hourly means.
    pub fn new([fine, coarse]: [Frozen; 2]) -> Self {
        Self { fine, coarse }
    }

    /// The five-minute and the hourly means.
    pub fn tables(&self) -> [&Frozen; 2] {
        [&self.fine, &self.coarse]
    }

    /// What recurs in one metric, if anything does.
    pub fn season(&self, metric: usize, period: &Period) -> Option<Arc<Season>> {
        let fine = history(&self.fine, FINE.0, metric, self.width())?;
        let is_dense = fine.is_dense();
        let short = if is_dense { season::fit(&fine, period, Duration::ZERO) } else { None };
        // What the five minutes of two weeks cannot show, the hours of ten weeks may.
        let shown = if is_dense { FINE.0 * (FINE.1 / 2) as u32 } else { Duration::ZERO };
        let mut coarse = history(&self.coarse, COARSE.0, metric, self.width())?;
        if let Some(short) = &short {
            coarse.less(short);
        }
        let long = if coarse.is_dense() { season::fit(&coarse, period, shown) } else { None };
        match (short, long) {
            (Some(short), Some(long)) => Some(Arc::new(short.beside(long))),
            (short, long) => short.or(long).map(Arc::new),
        }
    }

    /// Metrics of a row.
    pub fn width(&self) -> usize {
        self.coarse.width()
    }
}

/// The steps of a tier on an even axis.
fn history(tier: &Frozen, step: Duration, metric: usize, width: usize) -> Option<History> {
    let times = tier.times();
    let (first, last) = (*times.first()?, *times.last()?);
    let millis = step.as_millis() as i64;
    let mut steps = vec![None; ((last - first) / millis + 1) as usize];
    for (row, at) in times.iter().enumerate() {
        let component = |component: usize| {
            let column = component * width + metric;
            if column < tier.width() { tier.get(column, row) } else { None }
        };
        steps[((at - first) / millis) as usize] =
            component(0).map(|mean| [mean, component(1).unwrap_or(mean), component(2).unwrap_or(mean)]);
    }
    Some(History { origin: first, step, steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_newest_rows_are_kept() {
        let mut history = TrainingHistory::new(1, Some(100));
        (0..1000).for_each(|i| history.learn_row(at(i), &[Some(i as f64)]));
        let rows = history.freeze();
        assert_eq!((rows.len(), rows.get(0, 0), rows.get(0, 99)), (100, Some(900.0), Some(999.0)));
        assert_eq!(history.rows(), 1000);
    }

    #[test]
    fn a_memory_takes_a_few_megabytes_whatever_its_width() {
        for width in [1, 7, 38] {
            let history = TrainingHistory::new(width, None);
            assert!(history.bytes() <= 8 << 20, "{width}: {}", history.bytes());
        }
    }

    #[test]
    fn the_tier_holds_means_of_what_was_there_and_nulls_where_nothing_was() {
        let mut history = TrainingHistory::new(2, None);
        for i in 0..90 {
            let value = (i % 30 < 15).then_some(i as f64);
            history.learn_values(at(i * 10), [value, None].into_iter());
        }
        let tier = history.freeze_tiers().fine;
        assert_eq!(tier.times(), [0, 300_000]);
        assert_eq!(tier.get(0, 1), Some(37.0));
        assert_eq!(tier.get(1, 1), None);
    }

    fn wave(at: i64, period: i64) -> f64 {
        (at as f64 / period as f64 * std::f64::consts::TAU).sin()
    }

    const DAY: i64 = 86_400;

    #[test]
    fn a_day_is_found_in_the_tier() {
        let mut history = TrainingHistory::new(1, None);
        for minute in 0..3 * 1440 {
            let seconds = minute * 60;
            history.learn_values(at(seconds), [Some(50.0 + 20.0 * wave(seconds, DAY))].into_iter());
        }
        let season = history.freeze_tiers().season(0, &Period::Auto).unwrap();
        let minutes = season.period().as_secs() / 60;
        assert!((1425..=1455).contains(&minutes), "{minutes}");
    }

    #[test]
    fn a_week_is_found_beside_the_day() {
        let value = |seconds: i64| 50.0 + 20.0 * wave(seconds, DAY) + 15.0 * wave(seconds, 7 * DAY);
        let mut history = TrainingHistory::new(1, None);
        for step in 0..21 * 288 {
            history.learn_values(at(step * 300), [Some(value(step * 300))].into_iter());
        }
        let periods = Period::OneOf([24, 168].map(Duration::from_hours).to_vec());
        let season = history.freeze_tiers().season(0, &periods).unwrap();
        for hour in 0..168 {
            let seconds = hour * 3600;
            let off = season.at(at(seconds)).center - (value(seconds) - 50.0);
            assert!(off.abs() < 2.0, "at hour {hour}: {off}");
        }
    }
}
