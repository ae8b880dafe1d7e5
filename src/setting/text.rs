//! Numbers and times as people and programs read them.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::series::Timestamp;

/// Three significant digits and no exponent: for people.
pub fn short(value: f64) -> String {
    let size = value.abs();
    let decimals = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The last instant that RFC 3339 can write: the end of the year 9999.
pub const LAST: Timestamp = Timestamp::from_millis(253_402_300_799_999);

/// As RFC 3339, with milliseconds, in UTC. What lies outside the years 1970 to 9999 is written as their first or last
/// instant: the formatter panics at it.
pub fn rfc3339(at: Timestamp) -> String {
    let since = Duration::from_millis(at.clamp(Timestamp::default(), LAST).millis() as u64);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

/// As text in a page, or in a quoted attribute of one.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Whether the host of a URL is this machine itself: only by what it says, no name is looked up.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (97.123, "97.1"),
            (0.5, "0.5"),
            (1e9, "1000000000"),
            (0.0, "0"),
            (-3.456, "-3.46"),
            (100.0, "100"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn markup_is_told_as_text() {
        assert_eq!(escape("<b a='&'>\""), "&lt;b a=&#39;&amp;&#39;&gt;&quot;");
    }

    #[test]
    fn times_are_utc() {
        for (millis, expect) in [
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (i64::MIN, "1970-01-01T00:00:00.000Z"),
            (LAST.millis() + 1, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_millis(millis)), expect);
        }
    }
}
