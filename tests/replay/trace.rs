//! Short labelled traces made from a seed: three signals that idle, and faults in them.
//!
//! They are made by arithmetic alone, without functions of a mathematical library, so that they are the same everywhere.

use std::fmt::Write as _;
use std::path::Path;

use dwcp_anomaly::dataset::{Columns, Dataset};
use dwcp_anomaly::series::{Batch, Labels, Origin, Sample, Timestamp};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

/// The signals: one with a daily shape, one that wanders, one that is mostly low and sometimes not.
pub const SIGNALS: [&str; 3] = ["busy", "held", "queue"];
const EPOCH: i64 = 1_700_000_000;

/// What happens to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is higher.
    Step,
    /// It gets higher from row to row.
    Ramp,
    /// It is not there.
    Vanish,
}

/// A fault of a signal from one row up to another, and how high it goes.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub signal: usize,
    pub from: usize,
    pub until: usize,
    pub height: f64,
}

/// How a trace is made and replayed.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub seed: u64,
    /// Seconds between rows.
    pub interval: u64,
    pub rows: usize,
    /// Rows at the beginning that are taught.
    pub taught: usize,
    pub faults: &'static [Fault],
    /// A row before which nothing was recorded for so many rows.
    pub restart: Option<(usize, u64)>,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub at: Timestamp,
    pub values: [Option<f64>; SIGNALS.len()],
    pub label: bool,
}

impl Scenario {
    /// The rows of its trace.
    pub fn trace(&self) -> Vec<Row> {
        let mut random = Pcg64Mcg::new(u128::from(self.seed) << 1 | 1);
        let mut unit = || f64::from(random.next_u32()) / f64::from(u32::MAX);
        let mut wander = 0.0;
        let mut missed = 0;
        let mut rows = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            missed += self.restart.filter(|(before, _)| *before == row).map_or(0, |(_, missed)| missed);
            let second = (row as u64 + missed) * self.interval;
            wander = 0.8 * wander + 0.5 * (unit() - 0.5);
            let burst = if unit() < 0.05 { 3.0 * unit() } else { 0.0 };
            let idle = [30.0 + shape(second) + unit(), 50.0 + wander + unit(), 0.5 + unit() + burst];
            let happening = self.faults.iter().filter(|fault| (fault.from..fault.until).contains(&row));
            let mut values = idle.map(Some);
            happening.clone().for_each(|fault| fault.strike(row, &mut values));
            let at = Timestamp::from_millis((EPOCH + second as i64) * 1000);
            rows.push(Row { at, values, label: happening.count() > 0 });
        }
        rows
    }

    /// The trace as a recording.
    pub fn dataset(&self) -> Dataset {
        let mut text = format!("timestamp,{},label\n", SIGNALS.join(","));
        for row in self.trace() {
            let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
            let cells: Vec<String> = row.values.into_iter().map(cell).collect();
            let _ = writeln!(text, "{},{},{}", row.at.seconds(), cells.join(","), u8::from(row.label));
        }
        let columns = Columns { label: Some("label".to_owned()), ..Columns::default() };
        Dataset::parse(text.as_bytes(), Path::new(self.name), &columns).unwrap()
    }
}

impl Fault {
    fn strike(&self, row: usize, values: &mut [Option<f64>]) {
        let share = (row - self.from + 1) as f64 / (self.until - self.from) as f64;
        let value = &mut values[self.signal];
        *value = match self.kind {
            Kind::Step => value.map(|value| value + self.height),
            Kind::Ramp => value.map(|value| value + share * self.height),
            Kind::Vanish => None,
        };
    }
}

/// Up by a little and down again within four hours.
fn shape(second: u64) -> f64 {
    let part = (second % 14_400) as f64 / 14_400.0;
    0.5 * if part < 0.5 { part } else { 1.0 - part }
}

impl Row {
    /// What a scrape at that time shows.
    pub fn batch(&self) -> Batch {
        let present = SIGNALS.iter().zip(self.values);
        let sample = |(name, value): (&&str, Option<f64>)| {
            Some(Sample { labels: Labels::new([("__name__", *name)]), value: value?, at: None })
        };
        Batch {
            origin: Origin::Scrape,
            at: self.at,
            samples: present.filter_map(|s| sample((s.0, s.1))).collect(),
        }
    }
}
