//! The words everything else is said in: instants, label sets, samples.
//!
//! Times are Unix milliseconds, as in Prometheus. Values are `f64`; "no value" is never a number here, it is
//! an absent sample.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";

/// An instant in Unix milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The instant `seconds` after the epoch, to the nearest millisecond.
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1e3).round() as i64)
    }

    /// Unix milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Unix seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e3
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// A sorted label set, cheap to clone, with its hash computed once.
///
/// The metric name is the label [`METRIC_NAME`]. A label with an empty value is the same as no label, so none is kept.
#[derive(Clone)]
pub struct Labels(Arc<LabelSet>);

struct LabelSet {
    hash: u64,
    pairs: Box<[(Box<str>, Box<str>)]>,
}

impl Labels {
    /// The set of `pairs`; of two pairs with one name the later wins.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(Box<str>, Box<str>)> =
            pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, first| later.0 == first.0);
        pairs.retain(|(_, value)| !value.is_empty());
        let mut hasher = DefaultHasher::new();
        pairs.hash(&mut hasher);
        Self(Arc::new(LabelSet { hash: hasher.finish(), pairs: pairs.into_boxed_slice() }))
    }

    /// The set without any label.
    pub fn empty() -> Self {
        Self::new(std::iter::empty::<(&str, &str)>())
    }

    /// The value of `name`, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.pairs.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(&self.0.pairs[at].1)
    }

    /// The metric name, empty when the set has none.
    pub fn name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// Pairs in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Number of labels, the metric name counted.
    pub fn len(&self) -> usize {
        self.0.pairs.len()
    }

    /// Whether the set has no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.pairs.is_empty()
    }

    /// This set with `pairs` put over it.
    #[must_use]
    pub fn with<'a>(&'a self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(self.iter().chain(pairs))
    }

    /// This set as Prometheus keeps a series of `target`: the target's labels are on it, and a label of its own that bears
    /// one of their names is `exported_…`.
    #[must_use]
    pub fn of_target(&self, target: &Self) -> Self {
        let name_of = |name: &str| {
            let mut free = name.to_owned();
            while target.get(&free).is_some() || (free != name && self.get(&free).is_some()) {
                free.insert_str(0, "exported_");
            }
            free
        };
        let own = self.iter().map(|(name, value)| (name_of(name), value));
        Self::new(own.chain(target.iter().map(|(name, value)| (name.to_owned(), value))))
    }

    /// This set without the labels that `drop` names.
    #[must_use]
    pub fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        Self::new(self.iter().filter(|(name, _)| !drop(name)))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.pairs == other.0.pairs)
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.pairs.cmp(&other.0.pairs)
    }
}

impl fmt::Display for Labels {
    /// As PromQL writes a series: `name{label="value"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let mut labels = self.iter().filter(|(name, _)| *name != METRIC_NAME).peekable();
        if labels.peek().is_none() {
            return if self.name().is_empty() { f.write_str("{}") } else { Ok(()) };
        }
        f.write_str("{")?;
        for (at, (name, value)) in labels.enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Self::new(pairs))
    }
}

/// One value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series, metric name included.
    pub labels: Labels,
    /// The value as exposed; NaN and the infinities are values too.
    pub value: f64,
    /// The exposition's own timestamp, where it gave one; otherwise the sample is of the time of its batch.
    pub at: Option<Timestamp>,
}

/// Where a batch comes from: series of one origin share their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// One whole scrape of a target: a series it lacks has disappeared.
    Scrape,
    /// One round of the probes, at its own pace.
    Probe,
}

/// What one scrape or probe round yielded.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Who took it.
    pub origin: Origin,
    /// The time the samples are of: when the scrape began.
    pub at: Timestamp,
    /// The wanted samples, in the order exposed.
    pub samples: Vec<Sample>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets_are_equal_whatever_the_order_they_were_given_in() {
        let a = Labels::new([("b", "2"), (METRIC_NAME, "m"), ("a", "1")]);
        let b = Labels::new([("a", "1"), ("b", "2"), (METRIC_NAME, "m")]);
        assert_eq!(a, b);
        assert_eq!(a.to_string(), r#"m{a="1", b="2"}"#);
        assert_eq!(a.get("b"), Some("2"));
        assert_eq!(a.get("c"), None);
    }

    #[test]
    fn an_empty_value_is_no_label_and_the_later_of_two_wins() {
        assert!(Labels::new([("a", "")]).is_empty());
        assert_eq!(Labels::new([("a", "1"), ("a", "2")]), Labels::new([("a", "2")]));
        assert_eq!(Labels::new([("a", "1")]).with([("a", "")]), Labels::empty());
    }

    #[test]
    fn a_series_of_a_target_bears_its_labels_beside_what_it_exposes() {
        let target = Labels::new([("job", "node"), ("instance", "web:1")]);
        let exposed =
            Labels::new([("__name__", "m"), ("job", "x"), ("exported_job", "y"), ("device", "sda")]);
        let expect = [
            ("__name__", "m"),
            ("device", "sda"),
            ("exported_exported_job", "x"),
            ("exported_job", "y"),
            ("instance", "web:1"),
            ("job", "node"),
        ];
        assert_eq!(exposed.of_target(&target), Labels::new(expect));
        assert_eq!(exposed.of_target(&Labels::empty()), exposed);
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        let t = Timestamp::from_millis(i64::MAX);
        assert_eq!(t + Duration::from_secs(1), t);
        assert_eq!(Timestamp::from_millis(5).since(Timestamp::from_millis(9)), Duration::ZERO);
    }
}
