//! Values as people write them in configuration: durations, sizes, ratios, secrets.
//!
//! Each type parses itself, says in its error what would be right, and prints back the way it was written.

mod access;
mod address;
mod answer;
mod http_client;
mod instant;
pub mod locate;
pub mod pattern;
mod place;
mod text;

pub use access::{Access, BasicAuth, Files, Tls};
pub use address::Address;
pub use answer::{hide, told};
pub use http_client::{Redirects, http_client, probing_client, redirected};
pub use instant::{instant, instant_of_rfc3339};
pub use place::resolve;
pub use text::{LAST, escape, is_loopback, rfc3339, short};

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that is not a value of the wanted kind; says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct NotA {
    text: String,
    wanted: &'static str,
}

fn not_a(text: &str, wanted: &'static str) -> NotA {
    NotA { text: text.to_owned(), wanted }
}

/// A length of time in Prometheus' notation: `10s`, `1h30m`, `7d`; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, pattern = r"^(\d{1,4}d)?(\d{1,4}h)?(\d{1,4}m)?(\d{1,4}s)?(\d{1,4}ms)?$", min_length = 2)]
pub struct Span(pub Duration);

const SPAN_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The span in seconds.
    pub fn as_seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for Span {
    type Err = NotA;

    /// Units must come in falling order and once each, as Prometheus asks.
    fn from_str(text: &str) -> Result<Self, NotA> {
        let wrong = || not_a(text, "a duration such as 10s, 5m or 1h30m");
        if text == "0" {
            return Ok(Self::default());
        }
        let (mut rest, mut millis, mut units) = (text, 0_u64, SPAN_UNITS.as_slice());
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let unit_end =
                rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
            let unit = &rest[digits..unit_end];
            let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(wrong)?;
            let part = count.checked_mul(units[at].1).ok_or_else(wrong)?;
            millis = millis.checked_add(part).ok_or_else(wrong)?;
            (units, rest) = (&units[at + 1..], &rest[unit_end..]);
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(Duration::from_millis(millis))) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis() as u64;
        if millis == 0 {
            return f.write_str("0s");
        }
        // Days are the largest unit people think of a window in, so 14d stays 14d.
        for (unit, size) in &SPAN_UNITS[2..] {
            if millis < *size {
                continue;
            }
            write!(f, "{}{unit}", millis / size)?;
            millis %= size;
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// A number of bytes: `16MiB`, `64KiB`, `512B`; units are powers of 1024, as in Prometheus, written `MB` or `MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, &str, u64); 4] =
    [("GiB", "GB", 1 << 30), ("MiB", "MB", 1 << 20), ("KiB", "KB", 1 << 10), ("B", "B", 1)];

impl FromStr for ByteSize {
    type Err = NotA;

    fn from_str(text: &str) -> Result<Self, NotA> {
        let wrong = || not_a(text, "a size such as 16MiB or 512KiB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let count: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let unit = &text[digits..];
        let (_, _, size) = SIZE_UNITS.iter().find(|(i, d, _)| unit == *i || unit == *d).ok_or_else(wrong)?;
        count.checked_mul(*size).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |size: &&(&str, &str, u64)| self.0 >= size.2 && self.0.is_multiple_of(size.2);
        let (unit, _, size) = SIZE_UNITS.iter().find(fits).unwrap_or(&SIZE_UNITS[3]);
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// A number between 0 and 1, both included; NaN is none.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Ratio(f64);

impl utoipa::PartialSchema for Ratio {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let number = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::Number);
        number.minimum(Some(0.0)).maximum(Some(1.0)).into()
    }
}

impl utoipa::ToSchema for Ratio {}

impl Ratio {
    /// `value` if it is a ratio.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::new(value).ok_or_else(|| de::Error::custom(format!("{value} is not between 0 and 1")))
    }
}

/// A text that is never shown: not by `Debug`, not by the API, not in logs.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from view.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<secret>")
    }
}

fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = NotA>,
    D: Deserializer<'de>,
{
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_prometheus_reads_them() {
        let millis = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        for (text, expect) in [
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("7d", 604_800_000),
            ("0", 0),
            ("1w2d", 777_600_000),
        ] {
            assert_eq!(millis(text).unwrap(), expect, "{text}");
        }
        for text in
            ["", "10", "s", "-1s", "1.5s", "1m1h", "1s1s", "99999999999999999999s", "1y9999999999999w", "1 s"]
        {
            assert!(millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_print_back_as_they_were_written() {
        for text in ["10s", "1h30m", "250ms", "7d", "14d", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["16MiB", "1GiB", "1500B", "512KiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_ratio_is_never_nan_nor_out_of_bounds() {
        assert!(Ratio::new(f64::NAN).is_none());
        assert!(Ratio::new(1.1).is_none());
        assert!(Ratio::new(-0.0).is_some());
    }

    #[test]
    fn a_secret_shows_itself_to_nobody_but_its_user() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "<secret>");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"<secret>\"");
        assert_eq!(secret.reveal(), "hunter2");
    }
}
