//! Recorded metrics: CSV files, plain or gzipped, as `train` and `backtest` read them.
//!
//! A header row, one time column, and metrics. An empty cell is no data. Everything else that is not a number is an
//! error that names file, line and column; so are, for a strict reader, times that repeat or step back.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::series::Timestamp;

/// Bytes a file may have once unpacked.
const MOST_BYTES: u64 = 2 << 30;
/// Columns that are labels by their very name: whoever left one in trains on the answer.
const LABELS: [&str; 5] = ["label", "labels", "anomaly", "is_anomaly", "y_true"];

/// What to make of a file's columns.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The time column; `timestamp`, or else the first, by default.
    pub time: Option<String>,
    /// Kept apart and never shown to a detector.
    pub label: Option<String>,
    /// Left out.
    pub ignore: Vec<String>,
    /// Whether a column that is named like a label is an error.
    pub refuse_labels: bool,
}

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
    /// Row-major, one a metric.
    values: Vec<Option<f64>>,
    /// Whether a row is labelled; empty without a label column.
    pub labels: Vec<bool>,
    /// Rows that are not to be scored, where a column to be ignored says so by a number other than 0.
    pub ignored: Vec<bool>,
}

/// What is wrong with a file; names it, the place, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct Bad {
    file: PathBuf,
    problem: String,
}

impl Dataset {
    /// Reads a file.
    pub fn read(file: &Path, columns: &Columns) -> Result<Self, Bad> {
        let bad = |problem: String| Bad { file: file.to_owned(), problem };
        let bytes = std::fs::read(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let bytes = unpack(bytes).map_err(|error| bad(format!("cannot be unpacked: {error}")))?;
        Self::parse(&bytes, file, columns)
    }

    /// Parses the content of `file`.
    pub fn parse(bytes: &[u8], file: &Path, columns: &Columns) -> Result<Self, Bad> {
        let bad = |problem: String| Bad { file: file.to_owned(), problem };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let header = reader.headers().map_err(|error| bad(describe(&error)))?.clone();
        let roles = roles(&header, columns).map_err(bad)?;
        let metrics = metrics_of(&header, &roles);
        let mut data = Self { file: file.to_owned(), metrics, ..Self::default() };
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| bad(describe(&error)))? {
            let line = record.position().map_or(0, csv::Position::line);
            data.take(&record, &header, &roles).map_err(|problem| bad(format!("line {line}: {problem}")))?;
        }
        if data.times.is_empty() {
            return Err(bad("has no rows below its header".to_owned()));
        }
        Ok(data)
    }

    fn take(
        &mut self,
        record: &csv::StringRecord,
        header: &csv::StringRecord,
        roles: &[Role],
    ) -> Result<(), String> {
        let mut ignored = false;
        for ((cell, name), role) in record.iter().zip(header).zip(roles) {
            match role {
                Role::Time => {
                    self.times.push(instant(cell).map_err(|problem| format!("column {name}: {problem}"))?);
                    self.written.push(cell.to_owned());
                }
                Role::Label => self.labels.push(number(cell, name)?.unwrap_or(0.0) != 0.0),
                // What it holds is nobody's business, unless it is a mark.
                Role::Ignore => ignored |= cell.parse::<f64>().is_ok_and(|mark| mark != 0.0),
                Role::Metric => self.values.push(number(cell, name)?),
            }
        }
        self.ignored.push(ignored);
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
            times,
            values,
        }
    }

    /// These rows and those of another file after them; both must have the same columns.
    pub fn followed_by(mut self, mut other: Self) -> Result<Self, Bad> {
        if self.metrics != other.metrics {
            let problem = format!(
                "has the columns {} where {} has {}; give files of the same columns",
                other.metrics.join(", "),
                self.file.display(),
                self.metrics.join(", ")
            );
            return Err(Bad { file: other.file, problem });
        }
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
        let places: Option<Vec<usize>> =
            names.iter().map(|name| self.metrics.iter().position(|metric| metric == name)).collect();
        let Some(places) = places.filter(|places| places.len() == self.metrics.len()) else { return self };
        let rows = 0..self.len();
        let values =
            rows.flat_map(|row| places.iter().map(move |at| (row, *at))).map(|(row, at)| self.row(row)[at]);
        Self { values: values.collect(), metrics: names.to_vec(), ..self }
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
            Some(format!(
                "line {}: the time {} {what} the row before ({} such rows); sort the rows and keep one for each time",
                row + 2,
                self.written[row],
                rows.len()
            ))
        };
        match first(&backward, "is earlier than that of").or_else(|| first(&repeated, "repeats that of")) {
            Some(problem) => Err(Bad { file: self.file.clone(), problem }),
            None => Ok(()),
        }
    }

    /// Refuses what nothing can be learned from: too few rows, and columns that are constant or never there.
    pub fn learnable(&self, fewest: usize) -> Result<(), Bad> {
        let bad = |problem: String| Err(Bad { file: self.file.clone(), problem });
        if self.len() < fewest {
            return bad(format!("has {} rows; at least {fewest} are needed to learn from", self.len()));
        }
        for (metric, name) in self.metrics.iter().enumerate() {
            let mut values = (0..self.len()).filter_map(|row| self.row(row)[metric]);
            let Some(first) = values.next() else {
                return bad(format!(
                    "column {name}: has no value in any row; leave it out by --ignore-column {name}"
                ));
            };
            if values.all(|value| value == first) {
                return bad(format!(
                    "column {name}: is {first} in every row, so nothing can be learned; leave it out by --ignore-column {name}"
                ));
            }
        }
        Ok(())
    }
}

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Time,
    Label,
    Ignore,
    Metric,
}

fn roles(header: &csv::StringRecord, columns: &Columns) -> Result<Vec<Role>, String> {
    if header.iter().any(|name| name.parse::<f64>().is_ok()) {
        return Err("line 1: has numbers where names should be; give it a header row".to_owned());
    }
    for (at, name) in header.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("line 1: column {} has no name", at + 1));
        }
        if header.iter().take(at).any(|before| before == name) {
            return Err(format!("line 1: two columns are called {name}; rename one"));
        }
    }
    let has = |name: &String| header.iter().any(|column| column == name);
    let named = [("--time-column", &columns.time), ("--label-column", &columns.label)];
    let named = named.into_iter().filter_map(|(flag, name)| Some((flag, name.as_ref()?)));
    for (flag, name) in named.chain(columns.ignore.iter().map(|name| ("--ignore-column", name))) {
        if !has(name) {
            let all: Vec<&str> = header.iter().collect();
            return Err(format!("{flag}: no column is called {name}; there are: {}", all.join(", ")));
        }
    }
    let time = columns.time.clone().unwrap_or_else(|| {
        let usual = header.iter().find(|name| *name == "timestamp");
        usual.or_else(|| header.get(0)).unwrap_or_default().to_owned()
    });
    let role = |name: &str| {
        if name == time {
            Role::Time
        } else if columns.label.as_deref() == Some(name) {
            Role::Label
        } else if columns.ignore.iter().any(|ignored| ignored == name) {
            Role::Ignore
        } else {
            Role::Metric
        }
    };
    let roles: Vec<Role> = header.iter().map(role).collect();
    let left_in = |(name, role): (&str, &Role)| *role == Role::Metric && LABELS.contains(&name);
    if columns.refuse_labels
        && let Some((name, _)) = header.iter().zip(&roles).find(|(name, role)| left_in((name, role)))
    {
        return Err(format!(
            "column {name} looks like labels, which must not be learned; leave it out by --ignore-column {name}"
        ));
    }
    if !roles.contains(&Role::Metric) {
        return Err("has no metric beside its time column".to_owned());
    }
    Ok(roles)
}

fn metrics_of(header: &csv::StringRecord, roles: &[Role]) -> Vec<String> {
    let metrics = header.iter().zip(roles).filter(|(_, role)| **role == Role::Metric);
    metrics.map(|(name, _)| name.to_owned()).collect()
}

fn number(cell: &str, column: &str) -> Result<Option<f64>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    match cell.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        Ok(_) => {
            Err(format!("column {column}: {cell} is no value; leave the cell empty where there is none"))
        }
        Err(_) => Err(format!("column {column}: {cell:?} is not a number")),
    }
}

/// Unix seconds or RFC 3339.
fn instant(cell: &str) -> Result<Timestamp, String> {
    if let Some(seconds) = cell.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        if seconds.abs() > 1e11 {
            return Err(format!("{cell} is too large for Unix seconds; is it in milliseconds?"));
        }
        return Ok(Timestamp::from_seconds(seconds));
    }
    let at = humantime::parse_rfc3339_weak(cell)
        .map_err(|_| format!("{cell:?} is neither Unix seconds nor RFC 3339"))?;
    let since = at.duration_since(std::time::UNIX_EPOCH).map_err(|_| format!("{cell} is before 1970"))?;
    Ok(Timestamp::from_millis(since.as_millis() as i64))
}

fn unpack(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(MOST_BYTES);
    reader.read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: has {len} cells where the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: is not UTF-8 text")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, columns: &Columns) -> Result<Dataset, String> {
        Dataset::parse(text.as_bytes(), Path::new("d.csv"), columns).map_err(|bad| bad.to_string())
    }

    #[test]
    fn rows_are_read_with_gaps_as_no_data() {
        let data =
            parse("timestamp,a,b\n10,1,\n20,,2.5\n2024-01-01T00:00:00Z,3,4\n", &Columns::default()).unwrap();
        assert_eq!(data.metrics, ["a", "b"]);
        assert_eq!([data.row(0), data.row(1)], [[Some(1.0), None], [None, Some(2.5)]]);
        assert_eq!(data.times[2], Timestamp::from_millis(1_704_067_200_000));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_remedy() {
        let strict = Columns { refuse_labels: true, ..Columns::default() };
        for (text, part) in [
            ("1,2\n3,4\n", "header row"),
            ("t,a\n", "has no rows"),
            ("t\n1\n", "no metric"),
            ("t,a\n1,2\n3\n", "line 3: has 1 cells where the header has 2"),
            ("t,a\n1,x\n", "line 2: column a: \"x\" is not a number"),
            ("t,a\n1,NaN\n", "line 2: column a: NaN is no value"),
            ("t,a\n1,inf\n", "column a: inf is no value"),
            ("t,a\nyesterday,1\n", "neither Unix seconds nor RFC 3339"),
            ("t,a\n1700000000000,1\n", "milliseconds"),
            ("t,a,a\n1,2,3\n", "two columns are called a"),
            ("t,a,label\n1,2,0\n", "looks like labels"),
        ] {
            let error = parse(text, &strict).unwrap_err();
            assert!(error.starts_with("d.csv: ") && error.contains(part), "{text:?}: {error}");
        }
        let missing = Columns { label: Some("y".to_owned()), ..Columns::default() };
        assert!(
            parse("t,a\n1,2\n", &missing).unwrap_err().contains("no column is called y; there are: t, a")
        );
    }

    #[test]
    fn disorder_is_found_and_refused_where_it_matters() {
        let data = parse("t,a\n10,1\n20,2\n20,3\n15,4\n25,5\n", &Columns::default()).unwrap();
        assert_eq!(data.disorder(), (vec![2], vec![3]));
        assert!(data.strict().unwrap_err().to_string().contains("line 5: the time 15 is earlier"));
        assert_eq!(data.interval(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn what_nothing_can_be_learned_from_is_refused() {
        for (text, part) in [
            ("t,a\n1,1\n2,2\n", "has 2 rows; at least 3"),
            ("t,a,b\n1,1,5\n2,2,5\n3,3,5\n", "column b: is 5 in every row"),
            ("t,a,b\n1,1,\n2,2,\n3,3,\n", "column b: has no value"),
        ] {
            let error = parse(text, &Columns::default()).unwrap().learnable(3).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_gzipped_file_reads_like_a_plain_one() {
        use std::io::Write;
        let directory = tempfile::tempdir().unwrap();
        let text = "t,a\n1,2\n3,4\n";
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(text.as_bytes()).unwrap();
        let file = directory.path().join("d.csv.gz");
        std::fs::write(&file, packer.finish().unwrap()).unwrap();
        let packed = Dataset::read(&file, &Columns::default()).unwrap();
        assert_eq!(packed.times, parse(text, &Columns::default()).unwrap().times);
    }
}
