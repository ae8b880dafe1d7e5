//! Columns of `f64` with one time axis, in Arrow buffers that are filled in place.
//!
//! Buffers have a little more room than rows are kept; when it is used up the kept rows move to the front, so a row
//! costs amortised O(columns present) and every view is one contiguous slice. A row's absent values are null by
//! default, so they cost nothing to write. [`Table::freeze`] shares the buffers without a copy; a row pushed while a
//! frozen copy lives copies each buffer once and leaves the frozen one as it was.

use std::sync::Arc;

use arrow::array::{Array, Float64Array};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::util::bit_util;

use crate::series::Timestamp;

/// Rows are moved in multiples of this, so that validity bitmaps move by whole bytes.
const STRIDE: usize = 8;

/// Rows of nullable `f64` columns over one time axis; the newest `capacity` are kept.
pub struct Table {
    capacity: usize,
    /// Rows the buffers hold room for.
    room: usize,
    /// Physical position of the oldest kept row.
    start: usize,
    /// Physical position after the newest row.
    end: usize,
    times: Storage,
    columns: Vec<Option<Column>>,
    /// Places of columns that were dropped.
    free: Vec<usize>,
    compacted: bool,
}

struct Column {
    values: Storage,
    valid: Storage,
}

/// A buffer that is either ours to write or shared with a frozen copy.
enum Storage {
    Owned(MutableBuffer),
    Shared(Buffer),
}

impl Storage {
    fn zeroed(bytes: usize) -> Self {
        Self::Owned(MutableBuffer::from_len_zeroed(bytes))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(buffer) => buffer.as_slice(),
            Self::Shared(buffer) => buffer.as_slice(),
        }
    }

    fn typed<T: arrow::datatypes::ArrowNativeType>(&self) -> &[T] {
        match self {
            Self::Owned(buffer) => buffer.typed_data(),
            Self::Shared(buffer) => buffer.typed_data(),
        }
    }

    /// The buffer for writing; copied first if a frozen copy still reads it.
    fn write(&mut self) -> &mut MutableBuffer {
        if let Self::Shared(buffer) = self {
            let shared = std::mem::replace(buffer, MutableBuffer::new(0).into());
            let owned = shared.into_mutable().unwrap_or_else(|shared| {
                let mut copy = MutableBuffer::with_capacity(shared.len());
                copy.extend_from_slice(shared.as_slice());
                copy
            });
            *self = Self::Owned(owned);
        }
        match self {
            Self::Owned(buffer) => buffer,
            Self::Shared(_) => unreachable!("turned into an owned buffer just above"),
        }
    }

    fn share(&mut self) -> Buffer {
        if let Self::Owned(buffer) = self {
            let owned = std::mem::replace(buffer, MutableBuffer::new(0));
            *self = Self::Shared(owned.into());
        }
        match self {
            Self::Shared(buffer) => buffer.clone(),
            Self::Owned(_) => unreachable!("turned into a shared buffer just above"),
        }
    }
}

impl Table {
    /// An empty table that keeps `capacity` rows.
    pub fn new(capacity: usize) -> Self {
        let room = Self::room(capacity);
        Self {
            capacity: capacity.max(1),
            room,
            start: 0,
            end: 0,
            times: Storage::zeroed(room * size_of::<i64>()),
            columns: Vec::new(),
            free: Vec::new(),
            compacted: false,
        }
    }

    /// A quarter more than is kept, so that rows move once in capacity / 4 pushes.
    fn room(capacity: usize) -> usize {
        (capacity.max(1) + (capacity / 4).max(STRIDE)).next_multiple_of(STRIDE) + STRIDE
    }

    /// Bytes that one more column, or the time axis, takes.
    pub fn bytes_per_column(capacity: usize) -> usize {
        let room = Self::room(capacity);
        room * size_of::<f64>() + room / 8
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        // Asked for every series that there is no room for, so it counts nothing.
        let columns = self.columns.len() - self.free.len();
        (columns + 1) * Self::bytes_per_column(self.capacity)
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Time of the newest row.
    pub fn last(&self) -> Option<Timestamp> {
        let newest = self.times().last()?;
        Some(Timestamp::from_millis(*newest))
    }

    /// Time of the oldest row.
    pub fn first(&self) -> Option<Timestamp> {
        let oldest = self.times().first()?;
        Some(Timestamp::from_millis(*oldest))
    }

    fn times(&self) -> &[i64] {
        &self.times.typed::<i64>()[self.start..self.end]
    }

    /// Adds a column that is null in every row so far and says which it is.
    pub fn add_column(&mut self) -> usize {
        let column = Column {
            values: Storage::zeroed(self.room * size_of::<f64>()),
            valid: Storage::zeroed(self.room / 8),
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.columns.push(None);
            self.columns.len() - 1
        });
        self.columns[at] = Some(column);
        at
    }

    /// Appends a row of nulls at `at`; refuses one that is not newer than the last.
    pub fn begin_row(&mut self, at: Timestamp) -> bool {
        if self.last().is_some_and(|last| at <= last) {
            return false;
        }
        if self.end == self.room {
            self.compact();
        }
        self.times.write().typed_data_mut::<i64>()[self.end] = at.millis();
        self.end += 1;
        if self.len() > self.capacity {
            self.start += 1;
        }
        true
    }

    /// Takes in the rows of `frozen` that are newer than ours, column by column; further columns of it are left out.
    pub fn refill(&mut self, frozen: &Frozen) {
        let first = frozen.len().saturating_sub(self.capacity);
        for row in first..frozen.len() {
            if !self.begin_row(Timestamp::from_millis(frozen.times()[row])) {
                continue;
            }
            for column in 0..frozen.width().min(self.columns.len()) {
                if let Some(value) = frozen.get(column, row) {
                    self.set(column, value);
                }
            }
        }
    }

    /// Drops the rows after `at`.
    pub fn forget_after(&mut self, at: Timestamp) {
        let kept = self.start + self.times().partition_point(|time| *time <= at.millis());
        for column in self.columns.iter_mut().flatten() {
            // A row begins as nulls.
            let valid = column.valid.write();
            (kept..self.end).for_each(|row| bit_util::unset_bit(valid, row));
        }
        self.end = kept;
    }

    /// Sets a value in the newest row.
    pub fn set(&mut self, column: usize, value: f64) {
        let row = self.end - 1;
        if let Some(column) = &mut self.columns[column] {
            column.values.write().typed_data_mut::<f64>()[row] = value;
            bit_util::set_bit(column.valid.write(), row);
        }
    }

    /// Moves the kept rows to the front; up to `STRIDE - 1` older ones move along, unseen.
    fn compact(&mut self) {
        let from = self.start / STRIDE * STRIDE;
        let rows = from..self.end;
        self.times.write().typed_data_mut::<i64>().copy_within(rows.clone(), 0);
        for column in self.columns.iter_mut().flatten() {
            column.values.write().typed_data_mut::<f64>().copy_within(rows.clone(), 0);
            let valid = column.valid.write();
            valid.copy_within(from / 8.., 0);
            let kept = (self.room - from) / 8;
            valid[kept..].fill(0);
        }
        self.start -= from;
        self.end -= from;
        self.compacted = true;
    }

    /// Drops the columns that hold no value any more, if rows have moved since the last call, and names them.
    pub(super) fn take_silent_columns(&mut self) -> Vec<usize> {
        if !std::mem::take(&mut self.compacted) {
            return Vec::new();
        }
        let is_silent = |at: &usize| self.columns[*at].is_some() && !self.column(*at).has_any();
        let silent: Vec<usize> = (0..self.columns.len()).filter(is_silent).collect();
        silent.iter().for_each(|at| self.drop_column(*at));
        silent
    }

    /// Gives up a column.
    pub(super) fn drop_column(&mut self, column: usize) {
        if self.columns[column].take().is_some() {
            self.free.push(column);
        }
    }

    /// Which columns are held, in the order in which [`Table::freeze`] has them.
    pub(super) fn held(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|at| self.columns[*at].is_some())
    }

    /// The rows of one column; empty for a column that was dropped.
    pub fn column(&self, column: usize) -> ColumnView<'_> {
        match self.columns.get(column) {
            Some(Some(column)) => ColumnView {
                times: self.times(),
                values: &column.values.typed::<f64>()[self.start..self.end],
                valid: column.valid.bytes(),
                offset: self.start,
            },
            _ => ColumnView { times: &[], values: &[], valid: &[], offset: 0 },
        }
    }

    /// Shares every buffer as it is now, without a copy.
    pub fn freeze(&mut self) -> Frozen {
        let (start, len) = (self.start, self.len());
        let times = ScalarBuffer::new(self.times.share(), start, len);
        let columns = self.columns.iter_mut().flatten();
        let arrays = columns.map(|column| {
            let values = ScalarBuffer::new(column.values.share(), start, len);
            let valid = BooleanBuffer::new(column.valid.share(), start, len);
            Arc::new(Float64Array::new(values, Some(NullBuffer::new(valid))))
        });
        Frozen { columns: arrays.collect(), times }
    }
}

/// One column for reading: times, values and which of them are there, oldest first.
#[derive(Clone, Copy)]
pub struct ColumnView<'a> {
    times: &'a [i64],
    values: &'a [f64],
    valid: &'a [u8],
    offset: usize,
}

impl<'a> ColumnView<'a> {
    /// Rows in view.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Time of row `row`.
    pub fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_millis(self.times[row])
    }

    /// Unix milliseconds of every row, ascending.
    pub fn times(&self) -> &'a [i64] {
        self.times
    }

    /// Value of row `row`; `None` where the series was absent.
    pub fn get(&self, row: usize) -> Option<f64> {
        let value = *self.values.get(row)?;
        bit_util::get_bit(self.valid, self.offset + row).then_some(value)
    }

    /// Position after the last row at or before `at`.
    pub fn rows_until(&self, at: Timestamp) -> usize {
        let newest_first = self.times.iter().rev().take(8).position(|t| *t <= at.millis());
        match newest_first {
            Some(back) => self.times.len() - back,
            None => self.times.partition_point(|t| *t <= at.millis()),
        }
    }

    /// Values present among `rows`, with their times in Unix milliseconds.
    pub fn present(self, rows: std::ops::Range<usize>) -> impl DoubleEndedIterator<Item = (i64, f64)> + 'a {
        rows.filter_map(move |row| Some((self.times[row], self.get(row)?)))
    }

    /// Time of the last value that is there.
    pub fn last_present(self) -> Option<Timestamp> {
        self.present(0..self.len()).next_back().map(|(at, _)| Timestamp::from_millis(at))
    }

    fn has_any(&self) -> bool {
        (0..self.len()).any(|row| bit_util::get_bit(self.valid, self.offset + row))
    }
}

/// A table's rows at one moment, shared with the table until it writes again. Cheap to clone and to send.
#[derive(Clone)]
pub struct Frozen {
    times: ScalarBuffer<i64>,
    columns: Vec<Arc<Float64Array>>,
}

impl Frozen {
    /// Rows at `times`, Unix milliseconds, of nullable columns; `None` unless these are as long and the times ascend.
    pub fn new(times: ScalarBuffer<i64>, columns: Vec<Arc<Float64Array>>) -> Option<Self> {
        let ascends = times.windows(2).all(|two| two[0] < two[1]);
        let is_even = columns.iter().all(|column| column.len() == times.len());
        (ascends && is_even).then_some(Self { times, columns })
    }

    /// The same rows with other columns: each is one of ours, or null in every row.
    #[must_use]
    pub fn arranged(&self, columns: &[Option<usize>]) -> Self {
        let column = |from: &Option<usize>| match from.and_then(|from| self.columns.get(from)) {
            Some(column) => Arc::clone(column),
            None => Arc::new(Float64Array::new_null(self.len())),
        };
        Self { times: self.times.clone(), columns: columns.iter().map(column).collect() }
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Columns held.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Unix milliseconds of every row, ascending.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// All columns with their nulls.
    pub fn columns(&self) -> &[Arc<Float64Array>] {
        &self.columns
    }

    /// One column with its nulls.
    pub fn column(&self, column: usize) -> &Float64Array {
        &self.columns[column]
    }

    /// Value of one row of a column; `None` where it is null.
    pub fn get(&self, column: usize, row: usize) -> Option<f64> {
        let column = &self.columns[column];
        column.is_valid(row).then(|| column.value(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(table: &mut Table, at: i64, values: &[Option<f64>]) {
        assert!(table.begin_row(Timestamp::from_millis(at)));
        for (column, value) in values.iter().enumerate() {
            if let Some(value) = value {
                table.set(column, *value);
            }
        }
    }

    fn expected(at: i64) -> [Option<f64>; 2] {
        [Some(at as f64), (at % 3 != 0).then_some(-at as f64)]
    }

    #[test]
    fn rows_survive_every_compaction_with_their_nulls() {
        for capacity in [1, 7, 8, 9, 64, 100] {
            let mut table = Table::new(capacity);
            table.add_column();
            table.add_column();
            for at in 0..700_i64 {
                push(&mut table, at, &expected(at));
                let newest = table.len().min(capacity);
                for back in 0..newest {
                    let row = table.len() - 1 - back;
                    let then = at - back as i64;
                    for column in 0..2 {
                        assert_eq!(
                            table.column(column).get(row),
                            expected(then)[column],
                            "capacity {capacity}"
                        );
                    }
                }
            }
            assert_eq!(table.len(), capacity);
        }
    }

    #[test]
    fn a_frozen_copy_stays_as_it_was_while_the_table_goes_on() {
        let mut table = Table::new(8);
        table.add_column();
        table.add_column();
        for at in 0..20 {
            push(&mut table, at, &expected(at));
        }
        let frozen = table.freeze();
        let before: Vec<Option<f64>> = frozen.column(1).iter().collect();
        for at in 20..60 {
            push(&mut table, at, &expected(at));
        }
        assert_eq!(frozen.column(1).iter().collect::<Vec<_>>(), before);
        assert_eq!(frozen.times(), (12..20).collect::<Vec<i64>>());
    }

    #[test]
    fn freezing_shares_the_buffer_instead_of_copying_it() {
        let mut table = Table::new(8);
        table.add_column();
        push(&mut table, 1, &[Some(1.0)]);
        let (a, b) = (table.freeze(), table.freeze());
        assert_eq!(a.column(0).values().as_ptr(), b.column(0).values().as_ptr());
    }

    #[test]
    fn rows_until_counts_the_rows_at_or_before_an_instant() {
        let mut table = Table::new(100);
        table.add_column();
        for at in 0..50 {
            push(&mut table, at * 10, &[Some(0.0)]);
        }
        for (at, rows) in [(-1, 0), (0, 1), (9, 1), (10, 2), (490, 50), (9999, 50), (485, 49)] {
            assert_eq!(table.column(0).rows_until(Timestamp::from_millis(at)), rows, "at {at}");
        }
    }
}
