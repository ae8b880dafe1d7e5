//! Parts of a date, in UTC, of a value that counts seconds from the Unix epoch.
//!
//! Reckoned as Go's `time` does it, whose answers Prometheus gives: unsigned seconds from a year so early that every
//! instant lies after it, which also says what comes of values that are no instants.

const DAY: u64 = 86_400;
/// Start of the count: a year that, like 2001, begins on a Monday and a cycle of four hundred years.
const FIRST_YEAR: i64 = -292_277_022_399;
/// Seconds from there to 1970.
const TO_EPOCH: i64 = 9_223_372_028_715_321_600;
/// Of seconds, for 64 signed bits: 2⁶³.
const TOO_FAR: f64 = 9_223_372_036_854_775_808.0;
/// Days in four hundred years.
const CYCLE: u64 = 146_097;

/// The function of that name.
pub(super) fn named(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |v| (count(v) % 3600 / 60) as f64,
        "hour" => |v| (count(v) % DAY / 3600) as f64,
        // Go counts from Sunday.
        "day_of_week" => |v| ((count(v) / DAY + 1) % 7) as f64,
        "day_of_month" => |v| date(v).day as f64,
        "day_of_year" => |v| date(v).day_of_year as f64,
        "days_in_month" => |v| month_length(&date(v)) as f64,
        "month" => |v| date(v).month as f64,
        "year" => |v| date(v).year as f64,
        _ => return None,
    })
}

struct Date {
    year: i64,
    month: u64,
    day: u64,
    day_of_year: u64,
}

/// Seconds since the first year. What no 64-bit integer holds becomes the least of them, as on the processors
/// Prometheus is asked on.
fn count(value: f64) -> u64 {
    let holds = (-TOO_FAR..TOO_FAR).contains(&value);
    let seconds = if holds { value as i64 } else { i64::MIN };
    seconds.wrapping_add(TO_EPOCH) as u64
}

fn date(value: f64) -> Date {
    let days = count(value) / DAY;
    let (cycles, days) = (days / CYCLE, days % CYCLE);
    // The last day of a cycle, and of a leap year, is the one that the plain division would give to the next.
    let centuries = (days / 36_524).min(3);
    let days = days - centuries * 36_524;
    let (fours, days) = (days / 1461, days % 1461);
    let ones = (days / 365).min(3);
    let mut left = days - ones * 365;
    let year = (cycles * 400 + centuries * 100 + fours * 4 + ones) as i64 + FIRST_YEAR;
    let day_of_year = left + 1;
    let mut month = 1;
    while left >= days_of(year, month) {
        left -= days_of(year, month);
        month += 1;
    }
    Date { year, month, day: left + 1, day_of_year }
}

fn month_length(date: &Date) -> u64 {
    days_of(date.year, date.month)
}

fn days_of(year: i64, month: u64) -> u64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: f64) -> [f64; 8] {
        ["year", "month", "day_of_month", "day_of_week", "hour", "minute", "day_of_year", "days_in_month"]
            .map(|name| named(name).unwrap()(value))
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (at, expect) in [
            (0.0, [1970.0, 1.0, 1.0, 4.0, 0.0, 0.0, 1.0, 31.0]),
            (951_782_399.9, [2000.0, 2.0, 28.0, 1.0, 23.0, 59.0, 59.0, 29.0]),
            (978_220_800.0, [2000.0, 12.0, 31.0, 0.0, 0.0, 0.0, 366.0, 31.0]),
            (1_709_210_096.0, [2024.0, 2.0, 29.0, 4.0, 12.0, 34.0, 60.0, 29.0]),
            (-1.0, [1969.0, 12.0, 31.0, 3.0, 23.0, 59.0, 365.0, 31.0]),
            (-2_203_891_200.0, [1900.0, 3.0, 1.0, 4.0, 0.0, 0.0, 60.0, 31.0]),
        ] {
            assert_eq!(parts(at), expect, "at {at}");
        }
    }
}
