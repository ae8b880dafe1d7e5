//! What a page may hold, as Prometheus bounds it: a page beyond a limit is refused whole.

use super::line::{Pairs, SampleLine};

/// Bounds of a target's pages; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Samples of a page, unwanted ones as well.
    pub samples: usize,
    /// Labels of a series, its name and those of the target counted.
    pub labels: usize,
    /// Bytes of a label's name.
    pub name_length: usize,
    /// Bytes of a label's value; the metric's name is one.
    pub value_length: usize,
    /// Labels that the target puts on each series.
    pub of_target: usize,
}

/// The limit that a page went beyond. Names are cut short.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Too many samples.
    #[error("sample_limit exceeded: the page has more than {0} samples")]
    Samples(usize),
    /// Too many labels.
    #[error("label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})")]
    Labels {
        /// Whose.
        metric: String,
        /// How many, those of the target counted.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A label's name is too long.
    #[error(
        "label_name_length_limit exceeded (metric: {metric}, label name: {label}, length: {length}, limit: {limit})"
    )]
    NameLength {
        /// Whose.
        metric: String,
        /// Which.
        label: String,
        /// Bytes it has.
        length: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// A label's value is too long.
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {label}, length: {length}, limit: {limit})"
    )]
    ValueLength {
        /// Whose.
        metric: String,
        /// Of which label.
        label: String,
        /// Bytes it has.
        length: usize,
        /// Bytes it may have.
        limit: usize,
    },
}

impl Limits {
    /// Whether a page may have `count` samples.
    pub(super) fn allow(&self, count: usize) -> Result<(), Exceeded> {
        if is_over(count, self.samples) { Err(Exceeded::Samples(self.samples)) } else { Ok(()) }
    }

    /// Checks the labels of a series that was not met before.
    pub(super) fn check(&self, sample: &SampleLine<'_>) -> Result<(), Exceeded> {
        self.check_label(sample.name, "__name__", sample.name)?;
        let mut pairs = Pairs { rest: sample.labels_and_bracket };
        let mut count = 1 + self.of_target;
        while let Ok(Some((name, value))) = pairs.next_pair() {
            self.check_label(sample.name, name, value)?;
            // A label without a value is none.
            count += usize::from(!value.is_empty());
        }
        if is_over(count, self.labels) {
            return Err(Exceeded::Labels { metric: short(sample.name), count, limit: self.labels });
        }
        Ok(())
    }

    fn check_label(&self, metric: &str, name: &str, value: &str) -> Result<(), Exceeded> {
        let (metric, label) = (|| short(metric), || short(name));
        if is_over(name.len(), self.name_length) {
            let (length, limit) = (name.len(), self.name_length);
            return Err(Exceeded::NameLength { metric: metric(), label: label(), length, limit });
        }
        if is_over(value.len(), self.value_length) && is_over(unescaped(value), self.value_length) {
            let (length, limit) = (unescaped(value), self.value_length);
            return Err(Exceeded::ValueLength { metric: metric(), label: label(), length, limit });
        }
        Ok(())
    }
}

fn is_over(count: usize, limit: usize) -> bool {
    limit > 0 && count > limit
}

/// Bytes of `value` once its escapes are resolved.
fn unescaped(value: &str) -> usize {
    let mut bytes = value.bytes().peekable();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            bytes.next_if(|next| matches!(next, b'\\' | b'"' | b'n'));
        }
        length += 1;
    }
    length
}

fn short(name: &str) -> String {
    name.chars().take(50).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Everything, Format, Reader};
    use super::*;

    #[test]
    fn a_page_at_a_limit_is_read_and_one_beyond_it_is_refused_with_the_limits_name() {
        let limits = Limits { samples: 3, labels: 4, name_length: 8, value_length: 5, of_target: 2 };
        for (page, told) in [
            ("up 1\nup{a=\"b\"} 1\nup{a=\"c\"} 1\n", ""),
            (
                "up 1\nup{a=\"b\"} 1\nup{a=\"c\"} 1\nx 1\n",
                "sample_limit exceeded: the page has more than 3 samples",
            ),
            ("up{a=\"1\",b=\"\"} 1\n", ""),
            ("up{a=\"1\",b=\"2\"} 1\n", "label_limit exceeded (metric: up, number of labels: 5, limit: 4)"),
            ("up{abcdefgh=\"1\"} 1\n", ""),
            (
                "up{abcdefghi=\"1\"} 1\n",
                "label_name_length_limit exceeded (metric: up, label name: abcdefghi, length: 9, limit: 8)",
            ),
            ("up{a=\"\\\\\\\"\\n45\"} 1\n", ""),
            (
                "up{a=\"\\\\\\\"\\n456\"} 1\n",
                "label_value_length_limit exceeded (metric: up, label name: a, length: 6, limit: 5)",
            ),
            (
                "uptime 1\n",
                "label_value_length_limit exceeded (metric: uptime, label name: __name__, length: 6, limit: 5)",
            ),
        ] {
            let mut reader = Reader::new(Arc::new(Everything)).within(limits);
            for round in 0..2 {
                let exceeded = reader.read(page.as_bytes(), Format::Text).exceeded;
                assert_eq!(exceeded.map(|e| e.to_string()).unwrap_or_default(), told, "{page} {round}");
            }
        }
    }

    #[test]
    fn no_limit_bounds_nothing() {
        let page = format!("up{{a=\"{}\"}} 1\n", "x".repeat(100_000)).repeat(3);
        let mut reader = Reader::new(Arc::new(Everything)).within(Limits::default());
        assert_eq!(reader.read(page.as_bytes(), Format::Text).exceeded, None);
    }
}
