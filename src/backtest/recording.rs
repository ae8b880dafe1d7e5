//! What a replay is asked to keep for a page: for every metric as much as a chart shows, however long the recording.
//!
//! A chart has so many columns of pixels; of the rows that fall into one, the extremes are kept. A thousand metrics have
//! fewer columns each than ten, so that the page stays a few megabytes.

use super::outcome::Counted;
use super::sweep::{Sweep, Tried};
use crate::dataset::Dataset;
use crate::detect::verdict::Severity;
use crate::engine::{Judgement, Setup};
use crate::series::Timestamp;

/// Columns of a chart: as many as a screen shows, fewer where there are many metrics.
const COLUMNS: usize = 800;
const FEWEST_COLUMNS: usize = 40;
/// Columns of all charts together; one takes some fifty bytes of the page.
const ALL_COLUMNS: usize = 60_000;

/// The least and the greatest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

impl Extent {
    /// Both of these together.
    pub fn with(own: Option<Self>, low: f64, high: f64) -> Option<Self> {
        let own = own.unwrap_or(Self { low, high });
        Some(Self { low: own.low.min(low), high: own.high.max(high) })
    }
}

/// The highest and the mean of some numbers between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The highest.
    pub highest: f64,
    sum: f64,
    count: u32,
}

impl Level {
    /// Takes one more into `own`.
    pub fn take(own: &mut Option<Self>, value: f64) {
        let level = own.get_or_insert(Self { highest: value, sum: 0.0, count: 0 });
        level.highest = level.highest.max(value);
        (level.sum, level.count) = (level.sum + value, level.count + 1);
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.sum / f64::from(self.count)
    }
}

/// What a metric did within one column of its chart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Its values.
    pub value: Option<Extent>,
    /// Where it was expected.
    pub band: Option<Extent>,
    /// Its score.
    pub score: Option<Level>,
}

/// From time to columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Time of each row as it was judged: that of the recording, but never backward.
    pub times: Vec<Timestamp>,
    /// Columns of each chart.
    pub columns: usize,
}

impl Frame {
    pub(super) fn new(times: Vec<Timestamp>, metrics: usize) -> Self {
        let columns = (ALL_COLUMNS / metrics.max(1)).clamp(FEWEST_COLUMNS, COLUMNS);
        Self { times, columns }
    }

    /// Where an instant is, from 0 to the number of columns.
    pub fn x(&self, at: Timestamp) -> f64 {
        let (Some(first), Some(last)) = (self.times.first(), self.times.last()) else { return 0.0 };
        let whole = last.since(*first).as_secs_f64().max(1e-3);
        (at.since(*first).as_secs_f64() / whole).min(1.0) * self.columns as f64
    }

    /// The column an instant is in.
    pub fn column(&self, at: Timestamp) -> usize {
        (self.x(at) as usize).min(self.columns - 1)
    }
}

/// Rows, from the first to the last, in which an incident of a metric fires at warning or above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fired {
    /// Position of the metric.
    pub metric: usize,
    /// The first row.
    pub begin: usize,
    /// The last row.
    pub end: usize,
    /// The worst it came to.
    pub severity: Severity,
}

/// What was kept of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// From time to columns.
    pub frame: Frame,
    /// One a metric, each one a column.
    pub metrics: Vec<Vec<Cell>>,
    /// Incidents by metric, in the order of their beginnings.
    pub fired: Vec<Fired>,
    /// By threshold, ascending.
    pub sweep: Vec<Tried>,
}

/// Keeps what is asked for while a replay is under way.
pub(super) struct Recorder {
    frame: Frame,
    metrics: Vec<Vec<Cell>>,
    fired: Vec<Fired>,
    /// Position among `fired` of what still fires, one a metric.
    open: Vec<Option<usize>>,
    sweep: Sweep,
}

impl Recorder {
    pub(super) fn new(data: &Dataset, times: Vec<Timestamp>, setup: &Setup) -> Self {
        let width = data.metrics.len();
        let frame = Frame::new(times, width);
        Self {
            metrics: vec![vec![Cell::default(); frame.columns]; width],
            frame,
            fired: Vec::new(),
            open: vec![None; width],
            sweep: Sweep::new(setup),
        }
    }

    /// Values that are learned from and not judged.
    pub(super) fn see(&mut self, at: Timestamp, values: &[Option<f64>]) {
        let column = self.frame.column(at);
        for (cells, value) in self.metrics.iter_mut().zip(values) {
            if let Some(value) = value {
                cells[column].value = Extent::with(cells[column].value, *value, *value);
            }
        }
    }

    /// What was said of `rows`.
    pub(super) fn judged(&mut self, rows: (usize, usize), at: Timestamp, judgement: &Judgement<'_>) {
        self.see(at, judgement.values);
        let column = self.frame.column(at);
        for (cells, verdict) in self.metrics.iter_mut().zip(&judgement.verdict.metrics) {
            let cell = &mut cells[column];
            if let Some(band) = verdict.band {
                cell.band = Extent::with(cell.band, band.lower, band.upper);
            }
            if let Some(assessment) = verdict.assessment {
                Level::take(&mut cell.score, assessment.score);
            }
        }
        self.sweep.step(rows.1, at, judgement);
        self.note_fired(rows);
    }

    fn note_fired(&mut self, (begin, next): (usize, usize)) {
        for (metric, firing) in self.sweep.firing().enumerate() {
            let Some(severity) = firing.filter(|severity| *severity >= Severity::Warning) else {
                self.open[metric] = None;
                continue;
            };
            let at = *self.open[metric].get_or_insert(self.fired.len());
            if at == self.fired.len() {
                self.fired.push(Fired { metric, begin, end: begin, severity });
            }
            (self.fired[at].end, self.fired[at].severity) = (next - 1, severity);
        }
    }

    /// Rows that were learned from.
    pub(super) fn untouched(&mut self, rows: usize) {
        self.sweep.untouched(rows);
    }

    pub(super) fn finish(self, counted: &Counted) -> Recording {
        Recording {
            sweep: self.sweep.tally(counted),
            frame: self.frame,
            metrics: self.metrics,
            fired: self.fired,
        }
    }
}
