//! Recorded metrics: CSV files, plain or gzipped, as `train` and `backtest` read them.
//!
//! A header row, one time column, and metrics. An empty cell is no data. Everything else that is not a number is an
//! error that names file, line and column; so are, for a strict reader, times that repeat or step back.
//!
//! Cells are separated by what a first line such as `sep=;` names. Without one it is the comma; or, if the header would be a
//! single column then, the tab or else the semicolon that the header has. Where it is not the comma, a comma in a number is
//! its decimal point.

mod cell;
mod header;
mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::series::Timestamp;

use cell::Decimals;
pub use header::{Columns, listed};
use header::{Role, metrics_of, roles};
use source::{Bounds, Bytes, Exceeded, NoSource, Source, source, unpacked};

/// Rows of metrics in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// Where it was read from.
    pub file: PathBuf,
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// Time of each row.
    pub times: Vec<Timestamp>,
    /// Time of each row as the file has it.
    pub written: Vec<String>,
    /// Line of each row in its file; empty of rows that are in none.
    lines: Vec<u64>,
    /// Files that were read after the first, with the row that each begins at.
    later: Vec<(usize, PathBuf)>,
    /// Row-major, one a metric.
    values: Vec<Option<f64>>,
    /// Whether a row is labelled; empty without a label column.
    pub labels: Vec<bool>,
    /// Rows that are not to be scored, where a column to be ignored says so: one that holds but 0 and 1.
    pub ignored: Vec<bool>,
}

/// What is wrong with a file; names it, the place, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct Bad {
    file: PathBuf,
    problem: String,
}

impl Bad {
    /// Whether not the file is at fault but a flag, which names a column that is not there.
    pub fn is_of_a_flag(&self) -> bool {
        self.problem.starts_with("--")
    }
}

/// A column to be ignored: what it holds is nobody's business, unless it marks rows.
#[derive(Clone, Debug, Default)]
struct Marks {
    rows: Vec<bool>,
    /// Values beside 0 and 1: it is something else.
    has_others: bool,
}

impl Marks {
    fn take(&mut self, cell: &str) {
        let value = if cell.is_empty() { Some(0.0) } else { cell.parse::<f64>().ok() };
        self.has_others |= value.is_none_or(|value| value != 0.0 && value != 1.0);
        self.rows.push(value == Some(1.0));
    }
}

/// A file as its rows are read.
struct Reading<'a> {
    header: &'a csv::StringRecord,
    roles: Vec<Role>,
    marks: Vec<Marks>,
    decimals: Decimals,
}

impl Dataset {
    /// Reads a file.
    pub fn read(file: &Path, columns: &Columns) -> Result<Self, Bad> {
        let bad = |error: std::io::Error| Bad { file: file.to_owned(), problem: unread(&error) };
        let bytes = unpacked(std::fs::File::open(file).map_err(bad)?).map_err(bad)?;
        Self::take(bytes, file, columns, Bounds::USUAL)
    }

    /// Parses the content of `file`.
    pub fn parse(bytes: &[u8], file: &Path, columns: &Columns) -> Result<Self, Bad> {
        Self::take(Box::new(bytes), file, columns, Bounds::USUAL)
    }

    fn take(bytes: Bytes<'_>, file: &Path, columns: &Columns, bounds: Bounds) -> Result<Self, Bad> {
        let mut data = Self { file: file.to_owned(), ..Self::default() };
        data.fill(bytes, columns, bounds).map_err(|problem| Bad { file: file.to_owned(), problem })?;
        Ok(data)
    }

    fn fill(&mut self, bytes: Bytes<'_>, columns: &Columns, bounds: Bounds) -> Result<(), String> {
        let Source { bytes, separator, skipped } = source(bytes, bounds).map_err(|none| match none {
            NoSource::Unread(error) => unread(&error),
            NoSource::Refused(problem) => problem,
        })?;
        let mut reader =
            csv::ReaderBuilder::new().delimiter(separator).trim(csv::Trim::All).from_reader(bytes);
        let none = csv::StringRecord::new();
        let header = reader.headers().map_err(|error| describe(&error, &none, skipped))?.clone();
        let roles = roles(&header, columns, bounds.columns)?;
        self.metrics = metrics_of(&header, &roles);
        let ignored = roles.iter().filter(|role| **role == Role::Ignore).count();
        let mut reading = Reading {
            header: &header,
            roles,
            marks: vec![Marks::default(); ignored],
            decimals: Decimals::between(separator),
        };
        let mut record = csv::StringRecord::new();
        reader.get_mut().end_row();
        while reader.read_record(&mut record).map_err(|error| describe(&error, &header, skipped))? {
            reader.get_mut().end_row();
            let line = record.position().map_or(0, csv::Position::line) + skipped;
            self.lines.push(line);
            if held(self.lines.len(), self.metrics.len()) > bounds.held {
                return Err(format!("line {line}: {}", too_many(self.metrics.len(), bounds.held)));
            }
            self.add(&record, &mut reading, line).map_err(|problem| format!("line {line}: {problem}"))?;
        }
        let marks = reading.marks;
        reading.decimals.clear()?;
        let is_marked = |row: usize| marks.iter().any(|marks| !marks.has_others && marks.rows[row]);
        self.ignored = (0..self.times.len()).map(is_marked).collect();
        if self.times.is_empty() {
            return Err("has no rows below its header; give it rows of numbers".to_owned());
        }
        Ok(())
    }

    fn add(
        &mut self,
        record: &csv::StringRecord,
        reading: &mut Reading<'_>,
        line: u64,
    ) -> Result<(), String> {
        let Reading { header, roles, marks, decimals } = reading;
        let mut marks = marks.iter_mut();
        for ((cell, name), role) in record.iter().zip(*header).zip(roles) {
            match role {
                Role::Time => {
                    let at = decimals.time(cell).map_err(|problem| format!("column {name}: {problem}"))?;
                    self.times.push(at);
                    self.written.push(cell.to_owned());
                }
                Role::Label => self.labels.push(decimals.label(cell, name)?),
                Role::Ignore => marks.next().into_iter().for_each(|marks| marks.take(cell)),
                Role::Metric => self.values.push(decimals.number(cell, name, line)?),
            }
        }
        Ok(())
    }

    /// Puts columns of points side by side; a row for each time that any of them has.
    pub fn of_columns(source: &Path, columns: Vec<(String, Vec<(Timestamp, f64)>)>) -> Self {
        let mut times: Vec<Timestamp> =
            columns.iter().flat_map(|(_, points)| points.iter().map(|p| p.0)).collect();
        times.sort_unstable();
        times.dedup();
        let mut values = vec![None; times.len() * columns.len()];
        for (at, (_, points)) in columns.iter().enumerate() {
            let mut row = 0;
            for (time, value) in points {
                while times[row] < *time {
                    row += 1;
                }
                values[row * columns.len() + at] = Some(*value);
            }
        }
        Self {
            file: source.to_owned(),
            written: times.iter().map(|at| at.seconds().to_string()).collect(),
            ignored: vec![false; times.len()],
            metrics: columns.into_iter().map(|(name, _)| name).collect(),
            labels: Vec::new(),
            lines: Vec::new(),
            later: Vec::new(),
            times,
            values,
        }
    }

    /// These rows and those of another file after them; both must have the same columns.
    pub fn followed_by(mut self, mut other: Self) -> Result<Self, Bad> {
        if self.metrics != other.metrics {
            let problem = format!(
                "has the columns {} where {} has {}; give files of the same columns",
                listed(&other.metrics),
                self.file.display(),
                listed(&self.metrics)
            );
            return Err(Bad { file: other.file, problem });
        }
        let most = Bounds::USUAL.held;
        if held(self.len() + other.len(), self.metrics.len()) > most {
            let problem = format!("with the files before it: {}", too_many(self.metrics.len(), most));
            return Err(Bad { file: other.file, problem });
        }
        self.later.push((self.len(), other.file));
        self.lines.append(&mut other.lines);
        self.times.append(&mut other.times);
        self.written.append(&mut other.written);
        self.values.append(&mut other.values);
        self.labels.append(&mut other.labels);
        self.ignored.append(&mut other.ignored);
        Ok(self)
    }

    /// The same with its columns in the order of `names`, where it has just those.
    #[must_use]
    pub fn arranged(self, names: &[String]) -> Self {
        let has_just_those =
            names.len() == self.metrics.len() && names.iter().all(|name| self.metrics.contains(name));
        if has_just_those { self.with_columns(names) } else { self }
    }

    /// The same with the columns `names`; one that it has not got is no data in every row.
    #[must_use]
    pub fn with_columns(self, names: &[String]) -> Self {
        let places: Vec<Option<usize>> =
            names.iter().map(|name| self.metrics.iter().position(|metric| metric == name)).collect();
        let cells = (0..self.len()).flat_map(|row| places.iter().map(move |place| (row, *place)));
        let values = cells.map(|(row, place)| self.row(row)[place?]).collect();
        Self { values, metrics: names.to_vec(), ..self }
    }

    /// What the rows amount to: the same for the same names, times and values.
    pub fn fingerprint(&self) -> String {
        let mut hash = crc32fast::Hasher::new();
        self.metrics.iter().for_each(|name| hash.update(name.as_bytes()));
        self.times.iter().for_each(|at| hash.update(&at.millis().to_le_bytes()));
        for value in &self.values {
            hash.update(&value.map_or([0xff; 8], f64::to_le_bytes));
        }
        format!("crc32:{:08x}", hash.finalize())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The values of one row.
    pub fn row(&self, row: usize) -> &[Option<f64>] {
        &self.values[row * self.metrics.len()..][..self.metrics.len()]
    }

    /// The median step between rows; `None` of fewer than two.
    pub fn interval(&self) -> Option<Duration> {
        let mut steps: Vec<i64> = self.times.windows(2).map(|w| w[1].millis() - w[0].millis()).collect();
        steps.retain(|step| *step > 0);
        steps.sort_unstable();
        let middle = steps.get(steps.len() / 2)?;
        Some(Duration::from_millis(*middle as u64))
    }

    /// Rows whose time repeats that of the row before, and rows whose time steps back; by position.
    pub fn disorder(&self) -> (Vec<usize>, Vec<usize>) {
        let rows = |is: fn(Timestamp, Timestamp) -> bool| {
            (1..self.len()).filter(|row| is(self.times[row - 1], self.times[*row])).collect()
        };
        (rows(|before, now| before == now), rows(|before, now| before > now))
    }

    /// Refuses times that repeat or step back.
    pub fn strict(&self) -> Result<(), Bad> {
        let (repeated, backward) = self.disorder();
        let first = |rows: &[usize], what: &str| {
            let row = *rows.first()?;
            let problem = format!(
                "line {}: the time {} {what} the row before ({} such rows); sort the rows, and the files, and keep one row for each time",
                self.lines.get(row).copied().unwrap_or_default(),
                self.written[row],
                rows.len()
            );
            Some(Bad { file: self.file_of(row).to_owned(), problem })
        };
        let bad = first(&backward, "is earlier than that of").or_else(|| first(&repeated, "repeats that of"));
        bad.map_or(Ok(()), Err)
    }

    /// The file that a row was read from.
    fn file_of(&self, row: usize) -> &Path {
        let later = self.later.iter().rev().find(|(begin, _)| *begin <= row);
        later.map_or(&self.file, |(_, file)| file)
    }

    /// Refuses what nothing can be learned from: too few rows, or no column that ever changes.
    pub fn learnable(&self, fewest: usize) -> Result<(), Bad> {
        let bad = |problem: String| Err(Bad { file: self.file.clone(), problem });
        if self.len() < fewest {
            return bad(format!(
                "has {} rows; at least {fewest} are needed to learn from: give a longer recording, or several files",
                self.len()
            ));
        }
        if self.dull().count() == self.metrics.len() {
            return bad(
                "no column ever changes, so nothing can be learned; record something that does".to_owned()
            );
        }
        Ok(())
    }

    /// Refuses columns that are constant or never there: who hands them in does not know.
    pub fn telling(&self) -> Result<(), Bad> {
        let remedy = |(name, problem): (&str, String)| Bad {
            file: self.file.clone(),
            problem: format!(
                "column {name}: {problem}, so nothing can be learned; leave it out by --ignore-column {name}"
            ),
        };
        self.dull().next().map_or(Ok(()), |dull| Err(remedy(dull)))
    }

    /// Columns that nothing can be learned from, and why.
    pub fn dull(&self) -> impl Iterator<Item = (&str, String)> {
        self.metrics.iter().enumerate().filter_map(|(metric, name)| {
            let mut values = (0..self.len()).filter_map(|row| self.row(row)[metric]);
            let Some(first) = values.next() else {
                return Some((name.as_str(), "has no value in any row".to_owned()));
            };
            let is_constant = values.all(|value| value == first);
            is_constant.then(|| (name.as_str(), format!("is {first} in every row")))
        })
    }
}

/// Bytes of memory that so many rows take: sixteen a value, and what a row has besides (its time, its text, its line).
const fn held(rows: usize, metrics: usize) -> usize {
    rows.saturating_mul(metrics.saturating_mul(16).saturating_add(96))
}

/// What is wrong where rows are more than may be held.
fn too_many(metrics: usize, most: usize) -> String {
    format!(
        "more than {} rows of {metrics} columns do not fit into the {most} bytes that a recording may take; give fewer rows, or fewer columns by --ignore-column",
        most / held(1, metrics)
    )
}

/// What a reader of rows complains of; lines are counted after the `skipped` ones.
fn describe(error: &csv::Error, header: &csv::StringRecord, skipped: u64) -> String {
    let line = error.position().map_or(1, csv::Position::line) + skipped;
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!(
                "line {line}: has {len} cells where the header has {expected_len}; give every row one cell a column, and a first line such as sep=; where the header does not show what is between them"
            )
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            let place = header.get(err.field()).map_or_else(String::new, |name| format!("column {name}: "));
            format!("line {line}: {place}is not UTF-8 text; save the file as UTF-8")
        }
        csv::ErrorKind::Io(error) => unread(error),
        _ => error.to_string(),
    }
}

/// Why bytes cannot be had.
fn unread(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Exceeded>()) {
        Some(exceeded) => exceeded.to_string(),
        None if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) => {
            format!("cannot be unpacked: {error}; it is cut short or damaged, so copy or pack it anew")
        }
        None => format!("cannot be read: {error}; give a CSV or CSV.gz file that this process may read"),
    }
}
