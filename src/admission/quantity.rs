//! Kubernetes' quantities: `100m`, `64Mi`, `0.5`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of CPU or memory, with the text it was written as.
#[derive(Clone, Debug)]
pub struct Quantity {
    text: String,
    amount: f64,
}

const UNITS: [(&str, f64); 12] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("", 1.0),
];

impl Quantity {
    /// In cores or bytes.
    pub fn amount(&self) -> f64 {
        self.amount
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no quantity such as 100m or 64Mi");
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let is_number = number.starts_with(|c: char| c.is_ascii_digit()) && number.len() <= 15;
        let number: f64 = number.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
        Ok(Self { text: text.to_owned(), amount: number * size })
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.amount == other.amount
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A whole number of cores is written without quotes.
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, amount) in [
            ("100m", 0.1),
            ("1", 1.0),
            ("0.5", 0.5),
            ("64Mi", 67_108_864.0),
            ("1k", 1000.0),
            ("2Gi", 2_147_483_648.0),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().amount(), amount, "{text}");
        }
        for text in ["", "m", "-1", "1 Gi", "1GiB", "1e3", ".5", "1.2.3", "nan", "1000000000000000000000"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
