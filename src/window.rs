//! What a target has shown lately, in Arrow buffers.
//!
//! A [`Window`] holds the raw series that signals select; a [`Table`] is one set of columns with one time axis and
//! carries both the raw series of one origin and the history of a target's signals. Nothing outside sees an Arrow
//! type but those who persist or ship the buffers.

mod table;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub use table::{ColumnView, Frozen, Table};

use crate::series::{Batch, Labels, Origin, Sample, Timestamp};

/// Bounds of one target's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Samples kept per series.
    pub samples: usize,
    /// Bytes of buffers over all series; a series that would pass it is refused and counted.
    pub bytes: usize,
}

/// The raw series of one target, each up to [`Limits::samples`] long.
///
/// Series scraped together share one time axis, so a scrape in which a series is missing leaves a null there: that
/// null is Prometheus' staleness marker. Series that bring their own timestamps have an axis each and, as in
/// Prometheus, no such marker.
pub struct Window {
    limits: Limits,
    tables: Vec<(Axis, Table)>,
    index: HashMap<Labels, SeriesRef>,
    generation: u64,
    refused: u64,
    late: u64,
    /// Samples stamped too far ahead.
    ahead: u64,
    /// Of the newest batch: one series of each name that found no room.
    turned_away: Vec<Labels>,
    /// The same of those stamped too far ahead.
    stamped_ahead: Vec<Labels>,
    /// Name of the largest family, once the window has been full.
    crowded: Option<String>,
    /// Series of each name, and the generation that it was counted at.
    families: (u64, HashMap<Box<str>, usize>),
    /// Bytes of the buffers, and the generation that they were counted at.
    counted: (u64, usize),
    /// Series that may still be given up for others of this batch.
    ways: usize,
}

/// Series given up for others in one batch: each is looked for among all, so that more would make the batch's work grow with
/// the square of the series. The others come with the next batches.
const MOST_WAYS: usize = 256;

/// Some of a window's series at one moment, with the time axis that they share; without a copy.
#[derive(Clone)]
pub struct FrozenTable {
    /// Whose times the rows are; `None` where the series brings its own.
    pub origin: Option<Origin>,
    /// One a column.
    pub series: Vec<Labels>,
    /// The samples.
    pub rows: Frozen,
}

/// Whose times a table's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Shared(Origin),
    Own,
}

/// A series that brings its own timestamps has no mark of its end; one so old is not looked at any more.
const OWN_IS_DEAD_AFTER: Duration = Duration::from_mins(5);
/// Names of series without room that are remembered.
const MOST_NAMED: usize = 64;
/// A sample's own timestamp lies at most so far ahead of its batch, as in Prometheus.
const FURTHEST_AHEAD: Duration = Duration::from_mins(10);

/// Where a series lies in its window. Valid as long as [`Window::generation`] stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesRef {
    table: usize,
    column: usize,
}

impl Window {
    /// An empty window.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            tables: Vec::new(),
            index: HashMap::new(),
            generation: 0,
            refused: 0,
            late: 0,
            ahead: 0,
            turned_away: Vec::new(),
            stamped_ahead: Vec::new(),
            crowded: None,
            families: (u64::MAX, HashMap::new()),
            counted: (u64::MAX, 0),
            ways: MOST_WAYS,
        }
    }

    /// A window that holds what another held, as far as `limits` allow.
    pub fn thaw(limits: Limits, tables: &[FrozenTable]) -> Self {
        let mut window = Self::new(limits);
        for FrozenTable { origin, series, rows } in tables {
            let room = limits.bytes.saturating_sub(window.bytes()) / Table::bytes_per_column(limits.samples);
            // The time axis is a column too.
            let fitting = room.saturating_sub(1).min(series.len());
            if fitting == 0 {
                continue;
            }
            window.tables.push((origin.map_or(Axis::Own, Axis::Shared), Table::new(limits.samples)));
            let table = window.tables.len() - 1;
            for labels in &series[..fitting] {
                window.add(labels, table);
            }
            window.tables[table].1.refill(rows);
        }
        window
    }

    /// Shares everything held, without a copy; what is pushed while a share lives copies each buffer once.
    pub fn freeze(&mut self) -> Vec<FrozenTable> {
        let mut names: Vec<Vec<Option<Labels>>> = vec![Vec::new(); self.tables.len()];
        for (labels, SeriesRef { table, column }) in &self.index {
            let columns = &mut names[*table];
            columns.resize(columns.len().max(column + 1), None);
            columns[*column] = Some(labels.clone());
        }
        let freeze = |((axis, table), names): (&mut (Axis, Table), Vec<Option<Labels>>)| {
            let name = |column: usize| names.get(column).cloned().flatten().unwrap_or_else(Labels::empty);
            FrozenTable {
                origin: if let Axis::Shared(origin) = axis { Some(*origin) } else { None },
                series: table.held().map(name).collect(),
                rows: table.freeze(),
            }
        };
        self.tables.iter_mut().zip(names).map(freeze).collect()
    }

    /// Takes in one batch. Samples at or before the newest of their axis are dropped and counted as late; those stamped
    /// more than ten minutes ahead of the batch are refused and counted, since what is newer would be late for as long.
    pub fn push(&mut self, batch: &Batch) {
        self.ways = MOST_WAYS;
        self.turned_away.clear();
        self.stamped_ahead.clear();
        let mut dead = None;
        self.push_shared(batch, &mut dead);
        for sample in &batch.samples {
            match sample.at {
                Some(at) if at.since(batch.at) > FURTHEST_AHEAD => {
                    self.ahead += 1;
                    remember(&mut self.stamped_ahead, &sample.labels);
                }
                Some(at) => self.push_own(sample, at, (batch.at, &mut dead)),
                None => {}
            }
        }
    }

    fn push_shared(&mut self, batch: &Batch, dead: &mut Option<Vec<Labels>>) {
        let table = self.table_of(Axis::Shared(batch.origin));
        if !self.tables[table].1.begin_row(batch.at) {
            self.late += batch.samples.len() as u64;
            return;
        }
        // New series come last: then those that the batch lacks are known, and give up their place first.
        let mut new = Vec::new();
        for sample in batch.samples.iter().filter(|s| s.at.is_none()) {
            match self.index.get(&sample.labels) {
                Some(series) if series.table == table => {
                    self.tables[table].1.set(series.column, sample.value);
                }
                Some(_) => self.refuse(&sample.labels),
                None => new.push(sample),
            }
        }
        for sample in new {
            match self.find_or_add(&sample.labels, table, (batch.at, dead)) {
                Some(series) => self.tables[series.table].1.set(series.column, sample.value),
                None => self.refuse(&sample.labels),
            }
        }
        self.forget_silent(table);
    }

    fn push_own(&mut self, sample: &Sample, at: Timestamp, dead: (Timestamp, &mut Option<Vec<Labels>>)) {
        let known = self.index.get(&sample.labels).copied();
        let series = known.or_else(|| self.add_own(&sample.labels, dead));
        // A series given without times before keeps its axis: one series cannot have two.
        let Some(series) = series.filter(|series| self.tables[series.table].0 == Axis::Own) else {
            self.refuse(&sample.labels);
            return;
        };
        let table = &mut self.tables[series.table].1;
        if table.begin_row(at) {
            table.set(series.column, sample.value);
        } else if table.last() != Some(at) {
            // An exporter repeats a stamped sample until it has a newer one: that is no loss.
            self.late += 1;
        }
    }

    fn refuse(&mut self, labels: &Labels) {
        self.refused += 1;
        remember(&mut self.turned_away, labels);
    }

    fn table_of(&mut self, axis: Axis) -> usize {
        let known = self.tables.iter().position(|(a, _)| *a == axis && axis != Axis::Own);
        known.unwrap_or_else(|| {
            self.tables.push((axis, Table::new(self.limits.samples)));
            // A time axis takes room as a series does.
            self.generation += 1;
            self.tables.len() - 1
        })
    }

    fn find_or_add(
        &mut self,
        labels: &Labels,
        table: usize,
        (now, dead): (Timestamp, &mut Option<Vec<Labels>>),
    ) -> Option<SeriesRef> {
        if let Some(found) = self.index.get(labels) {
            return (found.table == table).then_some(*found);
        }
        let has_room = self.has_room(0) || self.bury(0, now, dead) || self.make_way(labels);
        has_room.then(|| self.add(labels, table))
    }

    fn add_own(
        &mut self,
        labels: &Labels,
        (now, dead): (Timestamp, &mut Option<Vec<Labels>>),
    ) -> Option<SeriesRef> {
        let axis = Table::bytes_per_column(self.limits.samples);
        if !self.has_room(axis) && !self.bury(axis, now, dead) {
            return None;
        }
        let table = self.table_of(Axis::Own);
        Some(self.add(labels, table))
    }

    /// Gives up series that are no longer exposed, those not seen for longest first, until there is room. `dead` is what
    /// is left of them, looked for once a batch.
    fn bury(&mut self, beside: usize, now: Timestamp, dead: &mut Option<Vec<Labels>>) -> bool {
        let dead = dead.get_or_insert_with(|| self.dead(now));
        while !self.has_room(beside) {
            let Some(labels) = dead.pop() else { return false };
            if let Some(series) = self.index.remove(&labels) {
                self.tables[series.table].1.drop_column(series.column);
                self.generation += 1;
            }
        }
        true
    }

    /// The series that are no longer exposed; the one not seen for longest is the last.
    fn dead(&self, now: Timestamp) -> Vec<Labels> {
        let last = |series: &SeriesRef| self.tables[series.table].1.column(series.column).last_present();
        let silent = self.index.iter().filter(|(_, series)| self.is_dead(series, now));
        let mut silent: Vec<_> = silent.map(|(labels, series)| (last(series), labels)).collect();
        silent.sort_by(|a, b| b.cmp(a));
        silent.into_iter().map(|(_, labels)| labels.clone()).collect()
    }

    fn is_dead(&self, series: &SeriesRef, now: Timestamp) -> bool {
        let (axis, table) = &self.tables[series.table];
        let last = table.column(series.column).last_present();
        match axis {
            Axis::Shared(_) => last < table.last(),
            Axis::Own => last.is_none_or(|last| now.since(last) > OWN_IS_DEAD_AFTER),
        }
    }

    fn add(&mut self, labels: &Labels, table: usize) -> SeriesRef {
        let column = self.tables[table].1.add_column();
        let series = SeriesRef { table, column };
        self.index.insert(labels.clone(), series);
        self.generation += 1;
        series
    }

    /// Series of each name; counted anew only when the set of series has changed.
    fn families(&mut self) -> &HashMap<Box<str>, usize> {
        if self.families.0 != self.generation {
            let mut sizes = HashMap::new();
            for labels in self.index.keys() {
                match sizes.get_mut(labels.name()) {
                    Some(size) => *size += 1,
                    None => drop(sizes.insert(Box::from(labels.name()), 1)),
                }
            }
            self.families = (self.generation, sizes);
        }
        &self.families.1
    }

    /// A full window gives up a series of its largest family for one of a family less than half as large: many series of one
    /// name do not keep out the few of another.
    fn make_way(&mut self, labels: &Labels) -> bool {
        if self.ways == 0 || self.crowded.as_deref() == Some(labels.name()) {
            return false;
        }
        let sizes = self.families();
        let own = sizes.get(labels.name()).copied().unwrap_or_default();
        let Some((name, most)) = sizes.iter().max_by_key(|(name, size)| (**size, *name)) else {
            return false;
        };
        if 2 * own + 2 > *most {
            return false;
        }
        let name = name.to_string();
        self.ways -= 1;
        let Some(victim) = self.index.keys().filter(|labels| labels.name() == name).max().cloned() else {
            return false;
        };
        if let Some(series) = self.index.remove(&victim) {
            self.tables[series.table].1.drop_column(series.column);
            self.generation += 1;
        }
        self.crowded = Some(name);
        self.has_room(0)
    }

    /// Takes no more than `bytes` from here on. Series that have been silent for longest go first, then those of the
    /// families with the most, so that what is rare stays.
    pub fn shrink(&mut self, bytes: usize) {
        self.limits.bytes = bytes;
        self.families();
        let sizes = &self.families.1;
        let now = self.newest_of(Origin::Scrape).unwrap_or_default();
        let rank = |(labels, series): (&Labels, &SeriesRef)| {
            let last = self.tables[series.table].1.column(series.column).last_present();
            let lives = !self.is_dead(series, now);
            let size = sizes.get(labels.name()).copied().unwrap_or_default();
            ((lives, last.filter(|_| !lives)), std::cmp::Reverse(size), labels.clone())
        };
        let mut order: Vec<_> = self.index.iter().map(|entry| (rank(entry), *entry.1)).collect();
        order.sort_by(|a, b| a.0.cmp(&b.0));
        let each = Table::bytes_per_column(self.limits.samples);
        let too_many = self.bytes().saturating_sub(bytes).div_ceil(each);
        for ((_, _, labels), series) in order.into_iter().take(too_many) {
            self.index.remove(&labels);
            self.tables[series.table].1.drop_column(series.column);
        }
        self.generation += 1;
    }

    /// Asked for every series that is not held, so the bytes are counted once a set of series.
    fn has_room(&mut self, beside: usize) -> bool {
        if self.counted.0 != self.generation {
            self.counted = (self.generation, self.bytes());
        }
        self.counted.1 + beside + Table::bytes_per_column(self.limits.samples) <= self.limits.bytes
    }

    /// Frees the columns that hold nothing any more, once in a while: when the table has just been compacted.
    fn forget_silent(&mut self, table: usize) {
        let silent = self.tables[table].1.take_silent_columns();
        if silent.is_empty() {
            return;
        }
        let silent: HashSet<usize> = silent.into_iter().collect();
        self.index.retain(|_, series| series.table != table || !silent.contains(&series.column));
        self.generation += 1;
    }

    /// The bounds it keeps.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Series held now.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no series is held.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of the buffers.
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(|(_, table)| table.bytes()).sum()
    }

    /// Samples refused because the window was full.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Samples dropped because they were not newer than what is held.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Samples refused because the exporter stamped them more than ten minutes ahead.
    pub fn ahead(&self) -> u64 {
        self.ahead
    }

    /// The time of the newest batch of one origin; what exporters stamp by themselves has no say in it.
    pub fn newest_of(&self, origin: Origin) -> Option<Timestamp> {
        let shared = self.tables.iter().find(|(axis, _)| *axis == Axis::Shared(origin));
        shared.and_then(|(_, table)| table.last())
    }

    /// Forgets all samples; what was counted stays.
    pub fn restart(&mut self) {
        let fresh = Self::new(self.limits);
        // Selections made before hold no longer.
        let generation = self.generation + 1;
        let (refused, late, ahead) = (self.refused, self.late, self.ahead);
        *self = Self { generation, refused, late, ahead, ..fresh };
    }

    /// A number that changes whenever the set of series does; selections made at one generation hold during it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The time of the newest row of any origin.
    pub fn newest(&self) -> Option<Timestamp> {
        self.tables.iter().filter_map(|(_, table)| table.last()).max()
    }

    /// A view for reading; borrows, copies nothing.
    pub fn view(&self) -> WindowView<'_> {
        WindowView { window: self }
    }
}

/// Remembers one series of each name, as far as there is room.
fn remember(known: &mut Vec<Labels>, labels: &Labels) {
    if known.len() < MOST_NAMED && !known.iter().any(|known| known.name() == labels.name()) {
        known.push(labels.clone());
    }
}

/// A borrowed, read-only window.
#[derive(Clone, Copy)]
pub struct WindowView<'a> {
    window: &'a Window,
}

impl<'a> WindowView<'a> {
    /// See [`Window::generation`].
    pub fn generation(&self) -> u64 {
        self.window.generation
    }

    /// The series whose labels `wanted` accepts, in the order of their labels.
    pub fn select(&self, wanted: impl Fn(&Labels) -> bool) -> Vec<(Labels, SeriesRef)> {
        self.choose(|labels| wanted(labels).then(|| labels.clone()))
    }

    /// The series that `choose` has labels for, in the order of these.
    pub fn choose(&self, choose: impl Fn(&Labels) -> Option<Labels>) -> Vec<(Labels, SeriesRef)> {
        let chosen = self.window.index.iter().filter_map(|(labels, series)| Some((choose(labels)?, *series)));
        let mut chosen: Vec<_> = chosen.collect();
        chosen.sort_by(|a, b| a.0.cmp(&b.0));
        chosen
    }

    /// One series of each name that the newest batch brought and that found no room.
    pub fn turned_away(&self) -> &'a [Labels] {
        &self.window.turned_away
    }

    /// One series of each name that the newest batch brought stamped too far ahead.
    pub fn stamped_ahead(&self) -> &'a [Labels] {
        &self.window.stamped_ahead
    }

    /// The samples of one series, as borrowed slices.
    pub fn series(&self, series: SeriesRef) -> ColumnView<'a> {
        self.window.tables[series.table].1.column(series.column)
    }
}

#[cfg(test)]
mod tests;
