//! Times as people and programs write them.
//!
//! One parser for recordings, flags and alerts. A time of day without an offset is UTC; an offset that is there counts.

use super::text::LAST;
use crate::series::Timestamp;

/// A number up to this is seconds; each unit beyond it begins a thousand times later: years 1970 to 5138 in each.
const MOST_SECONDS: f64 = 1e11;
/// Digits of a number that are taken: nanoseconds of the year 5138 have 20.
const MOST_DIGITS: usize = 30;

/// A time: Unix seconds, milliseconds, microseconds or nanoseconds, told apart by their size, or RFC 3339 with the liberties
/// that databases and spreadsheets take. `None` for anything else.
pub fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let at = epoch(text).or_else(|| civil(text).map(|(at, _)| at));
    at.filter(|at| *at <= LAST)
}

/// A time of RFC 3339, which has an offset. `None` for anything else.
pub fn instant_of_rfc3339(text: &str) -> Option<Timestamp> {
    civil(text).filter(|(at, has_offset)| *has_offset && *at <= LAST).map(|(at, _)| at)
}

/// A number since the epoch, its unit told by its size.
fn epoch(text: &str) -> Option<Timestamp> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    let size = number.abs();
    let per_second = [1.0, 1e3, 1e6, 1e9].into_iter().find(|unit| size < MOST_SECONDS * unit)?;
    if per_second == 1.0 {
        return Some(Timestamp::from_seconds(number));
    }
    // A float has too few digits for nanoseconds, but more than enough once they are milliseconds.
    let whole: i128 = text.parse().ok().filter(|_| text.len() <= MOST_DIGITS).unwrap_or(number as i128);
    let per_milli = (per_second / 1e3) as i128;
    Some(Timestamp::from_millis(i64::try_from(whole.div_euclid(per_milli)).ok()?))
}

/// A date and a time of day, and whether an offset was there.
fn civil(text: &str) -> Option<(Timestamp, bool)> {
    let mut rest = Rest(text);
    let year = rest.digits(4)?;
    rest.one_of(&['-'])?;
    let month = rest.digits(2)?;
    rest.one_of(&['-'])?;
    let day = rest.digits(2)?;
    let days = days_since_epoch(year, month, day)?;
    if rest.0.is_empty() {
        return Some((Timestamp::from_millis(days * 86_400_000), false));
    }
    rest.one_of(&['T', 't', ' '])?;
    let millis = rest.time_of_day()?;
    let (offset, has_offset) = rest.offset()?;
    rest.0.is_empty().then(|| (Timestamp::from_millis(days * 86_400_000 + millis - offset), has_offset))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` where there is no such date.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if is_leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month - 1).ok().filter(|before| *before < 12)?;
    if !(1..=lengths[before]).contains(&day) {
        return None;
    }
    let past = year - 1;
    let years = if year == 0 { -366 } else { past * 365 + past / 4 - past / 100 + past / 400 };
    // From 0001-01-01 to 1970-01-01 there are 719 162 days.
    Some(years - 719_162 + lengths[..before].iter().sum::<i64>() + day - 1)
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// A number of so many digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
        self.0 = rest;
        Some(number)
    }

    fn one_of(&mut self, marks: &[char]) -> Option<char> {
        let first = self.0.chars().next().filter(|c| marks.contains(c))?;
        self.0 = &self.0[first.len_utf8()..];
        Some(first)
    }

    /// Hours and minutes, seconds and a fraction of them if there are; in milliseconds.
    fn time_of_day(&mut self) -> Option<i64> {
        let hours = self.digits(2).filter(|hours| *hours < 24)?;
        self.one_of(&[':'])?;
        let minutes = self.digits(2).filter(|minutes| *minutes < 60)?;
        let minutes = hours * 60 + minutes;
        if self.one_of(&[':']).is_none() {
            return Some(minutes * 60_000);
        }
        // The 60th second is a leap second, and the next minute's first to Unix.
        let seconds = self.digits(2).filter(|seconds| *seconds <= 60)?;
        let fraction = if self.one_of(&['.', ',']).is_some() { self.fraction()? } else { 0 };
        Some((minutes * 60 + seconds) * 1000 + fraction)
    }

    /// Digits after the point, in whole milliseconds.
    fn fraction(&mut self) -> Option<i64> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        if digits.is_empty() {
            return None;
        }
        self.0 = rest;
        format!("{digits:0<3}")[..3].parse().ok()
    }

    /// `Z`, `+02:00`, `+0200`, `+02`, ` UTC`, or nothing; in milliseconds, and whether there was one.
    fn offset(&mut self) -> Option<(i64, bool)> {
        if self.0.is_empty() {
            return Some((0, false));
        }
        self.0 = self.0.trim_start_matches(' ');
        if ["z", "utc", "gmt"].iter().any(|name| self.0.eq_ignore_ascii_case(name)) {
            self.0 = "";
            return Some((0, true));
        }
        // Some write the sign as a minus of its own.
        let sign = if self.one_of(&['+', '-', '\u{2212}'])? == '+' { 1 } else { -1 };
        let hours = self.digits(2).filter(|hours| *hours < 24)?;
        let has_colon = self.one_of(&[':']).is_some();
        let minutes = if has_colon || !self.0.is_empty() { self.digits(2)? } else { 0 };
        (minutes < 60).then_some((sign * (hours * 60 + minutes) * 60_000, true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: i64 = 1_714_521_600_123;

    #[test]
    fn a_time_is_the_same_however_it_is_written() {
        for text in [
            "1714521600.123",
            "1714521600123",
            "1714521600123456",
            "1714521600123456789",
            "2024-05-01T00:00:00.123Z",
            "2024-05-01t00:00:00.123z",
            "2024-05-01 00:00:00.123",
            "2024-05-01 00:00:00,123",
            "2024-05-01 00:00:00.123456+00",
            "2024-05-01 00:00:00.123 UTC",
            "2024-05-01T02:00:00.123+02:00",
            "2024-05-01T02:00:00.123+0200",
            "2024-05-01 02:00:00.123456789+02",
            "2024-04-30T18:30:00.1239-05:30",
            "2024-04-30T18:30:00.123\u{2212}05:30",
            " 2024-05-01T00:00:00.123Z ",
        ] {
            assert_eq!(instant(text).map(Timestamp::millis), Some(AT), "{text}");
        }
        for (text, millis) in [
            ("2024-05-01", 1_714_521_600_000),
            ("2024-05-01 00:01", 1_714_521_660_000),
            ("2024-02-29T23:59:60Z", 1_709_251_200_000),
            ("1970-01-01T00:00:00Z", 0),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
            ("9999-12-31T23:59:59.999Z", LAST.millis()),
            ("1.7e9", 1_700_000_000_000),
            ("10", 10_000),
        ] {
            assert_eq!(instant(text).map(Timestamp::millis), Some(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "NaN",
            "inf",
            "1e300",
            "9999-12-31T23:59:59-00:01",
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-05-01T24:00:00Z",
            "2024-05-01T00:60:00Z",
            "2024-05-01T00:00:00.Z",
            "2024-05-01T00:00:00+2",
            "2024-05-01T00:00:00+02:",
            "2024-05-01T00:00:00+02:60",
            "2024-05-01T00:00:00+02:00x",
            "2024-05-01T00:00:00 CEST",
            "01.05.2024 00:00",
            "2024/05/01",
            "２０２４-05-01T00:00:00Z",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
        for text in ["1714521600", "2024-05-01", "2024-05-01T00:00:00"] {
            assert_eq!(instant_of_rfc3339(text), None, "{text} has no offset");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_in_every_offset(millis in 0_i64..4_102_444_800_000, minutes in -1439_i64..1440) {
            let local = crate::setting::rfc3339(Timestamp::from_millis((millis + minutes * 60_000).max(0)));
            prop_assume!(millis + minutes * 60_000 >= 0);
            let sign = if minutes < 0 { '-' } else { '+' };
            let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
            let text = format!("{}{sign}{hours:02}:{minutes:02}", local.trim_end_matches('Z'));
            prop_assert_eq!(instant_of_rfc3339(&text).map(Timestamp::millis), Some(millis), "{}", text);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}") {
            let _ = instant(&text);
        }
    }
}
