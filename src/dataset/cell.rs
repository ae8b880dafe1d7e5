//! What a cell of a recording says: a number, a time or a label.

use crate::series::Timestamp;
use crate::setting::instant;

/// Characters of a cell that an error shows.
const SHOWN: usize = 40;
/// Labels of what is normal, in whatever case; 0 is one too.
const NORMAL: [&str; 8] = ["false", "f", "no", "n", "normal", "ok", "nominal", "negative"];
/// Labels of what is not; 1 is one too.
const ANOMALOUS: [&str; 9] =
    ["true", "t", "yes", "y", "anomaly", "anomalous", "abnormal", "outlier", "positive"];

/// How the numbers of a file are written.
///
/// Where cells are not separated by commas, a comma in a number is its decimal point. What could be thousands as well, as
/// 1,234, is taken so unless the file has points in other numbers and no comma that can only be a decimal one.
#[derive(Debug, Default)]
pub(super) struct Decimals {
    /// Whether a comma may be in a number.
    has_commas: bool,
    /// Some number has a point.
    has_point: bool,
    /// Some number has a comma that does not part thousands.
    is_sure: bool,
    /// The first number whose comma might part thousands.
    doubtful: Option<String>,
    /// The number that is read, with its point.
    turned: String,
}

impl Decimals {
    /// Those of a file with this between its cells.
    pub(super) fn between(separator: u8) -> Self {
        Self { has_commas: separator != b',', ..Self::default() }
    }

    /// Refuses a file in which a comma may mean either.
    pub(super) fn clear(self) -> Result<(), String> {
        match self.doubtful {
            Some(problem) if self.has_point && !self.is_sure => Err(problem),
            _ => Ok(()),
        }
    }

    /// The number of `cell`, which is at `line` of `column`; `None` of an empty one.
    pub(super) fn number(&mut self, cell: &str, column: &str, line: u64) -> Result<Option<f64>, String> {
        if cell.is_empty() {
            return Ok(None);
        }
        let number = cell.parse::<f64>().ok();
        self.has_point |= self.has_commas && number.is_some() && cell.contains('.');
        match number.or_else(|| self.with_comma(cell, column, line)) {
            Some(number) if number.is_finite() => Ok(Some(number)),
            Some(_) => {
                Err(format!("column {column}: {cell} is no value; leave the cell empty where there is none"))
            }
            None if self.has_commas && cell.contains(',') => Err(format!(
                "column {column}: {:?} is not a number with its comma as the decimal point; write numbers without separators of thousands",
                shown(cell)
            )),
            None => Err(format!(
                "column {column}: {:?} is not a number; leave the cell empty where there is none, or the column out by --ignore-column {column}",
                shown(cell)
            )),
        }
    }

    fn with_comma(&mut self, cell: &str, column: &str, line: u64) -> Option<f64> {
        let number = self.turn(cell)?.parse().ok()?;
        if !may_be_thousands(cell) {
            self.is_sure = true;
        } else if self.doubtful.is_none() {
            self.doubtful = Some(format!(
                "line {line}: column {column}: {cell} may have a decimal comma or thousands, for other numbers have a decimal point; write all of them with one"
            ));
        }
        Some(number)
    }

    /// `cell` with a point for its comma, if it has just that.
    fn turn(&mut self, cell: &str) -> Option<&str> {
        let (whole, fraction) = cell.split_once(',').filter(|_| self.has_commas)?;
        if whole.contains('.') || fraction.contains(['.', ',']) {
            return None;
        }
        self.turned.clear();
        self.turned.extend([whole, ".", fraction]);
        Some(&self.turned)
    }

    /// Unix time or RFC 3339.
    pub(super) fn time(&mut self, cell: &str) -> Result<Timestamp, String> {
        let turned = || self.turn(cell).filter(|text| text.parse::<f64>().is_ok()).and_then(instant);
        let at = instant(cell).or_else(turned).ok_or_else(|| {
            format!(
                "{:?} is neither Unix seconds nor RFC 3339; name another column by --time-column",
                shown(cell)
            )
        })?;
        // Small numbers below zero are seconds of somebody's own count.
        let is_civil = cell.contains(':') || cell.parse::<f64>().is_err() && self.turn(cell).is_none();
        if is_civil && at.millis() < 0 { Err(format!("{cell} is before 1970")) } else { Ok(at) }
    }

    /// Whether a cell says that its row is anomalous. An empty one does not.
    pub(super) fn label(&mut self, cell: &str, column: &str) -> Result<bool, String> {
        let is_of = |words: &[&str]| words.iter().any(|word| cell.eq_ignore_ascii_case(word));
        if cell.is_empty() || is_of(&NORMAL) {
            return Ok(false);
        }
        if is_of(&ANOMALOUS) {
            return Ok(true);
        }
        let number = cell.parse::<f64>().ok().or_else(|| self.turn(cell)?.parse().ok());
        match number {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(format!(
                "column {column}: {:?} is no label; give 0, {} or nothing for what is normal, 1, {} for what is not",
                shown(cell),
                NORMAL.join(", "),
                ANOMALOUS.join(", ")
            )),
        }
    }
}

/// Whether the only comma of a number is where it would part thousands: 12,345 but not 0,345 or 12,3.
fn may_be_thousands(number: &str) -> bool {
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    number.trim_start_matches(['+', '-']).split_once(',').is_some_and(|(whole, fraction)| {
        (1..=3).contains(&whole.len())
            && !whole.starts_with('0')
            && are_digits(whole)
            && fraction.len() == 3
            && are_digits(fraction)
    })
}

/// How a cell begins.
fn shown(cell: &str) -> String {
    let end = cell.char_indices().nth(SHOWN).map_or(cell.len(), |(at, _)| at);
    if end < cell.len() { format!("{}…", &cell[..end]) } else { cell.to_owned() }
}
