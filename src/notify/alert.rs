//! An alert, as Alertmanager takes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::detect::verdict::Severity;
use crate::engine::snapshot::{MetricSnapshot, TargetSnapshot};
use crate::incident::Incident;
use crate::series::{Labels, Timestamp};
use crate::setting::{instant_of_rfc3339, rfc3339, short};

/// What every alert is called.
pub const NAME: &str = "DwcpAnomaly";

/// One alert of `POST /api/v2/alerts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// What identifies it; never a changing number.
    pub labels: Labels,
    /// What it says.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub starts_at: Timestamp,
    /// When it ended, or in the future while it fires.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub ends_at: Timestamp,
    /// Opens the metric in the sidecar's page.
    #[serde(rename = "generatorURL")]
    pub generator_url: String,
    /// Whether it has ended.
    #[serde(skip)]
    pub resolved: bool,
}

impl Alert {
    /// What it says under `name`, or nothing.
    pub fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The severity its label names; one that we do not know is a warning.
    pub fn severity(&self) -> Severity {
        let named = self.labels.get("severity").unwrap_or_default();
        Severity::ALL.into_iter().find(|severity| severity.name() == named).unwrap_or(Severity::Warning)
    }
}

/// The number Prometheus and Alertmanager know a label set by: FNV-1a over names and values. The same everywhere and always.
pub fn fingerprint(labels: &Labels) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes =
        labels.iter().flat_map(|(name, value)| name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]));
    bytes.fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// What is said of an incident at one of its severities, but for its labels and its end.
pub(super) fn annotations(
    incident: &Incident,
    target: Option<&TargetSnapshot>,
    external_url: &str,
) -> BTreeMap<String, String> {
    let name = incident.metric_name();
    let metric =
        target.and_then(|target| target.metrics.iter().find(|metric| metric.labels == incident.metric));
    let unit = metric.map(|metric| metric.unit.as_str()).unwrap_or_default();
    let with_unit =
        |number: &str| if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") };
    let instance = incident.target.get("instance").unwrap_or_default();
    let (value, expected) = (short(incident.value), incident.expected.map(short).unwrap_or_default());
    let sigma = short(incident.worst.deviation_sigma);
    let mut said = with_unit(&value);
    if !expected.is_empty() {
        said = format!("{said}, expected {}", with_unit(&expected));
    }
    if let Some(state) = incident.explanation.as_ref().and_then(|explanation| explanation.state.as_ref()) {
        said = format!("{said}, {state}");
    }
    let votes: Vec<String> =
        incident.votes().map(|(detector, c)| format!("{}={}", detector.name(), short(c))).collect();
    let (models, also) = (votes.join(", "), incident.also.join(", "));
    let mut description =
        format!("{name} on {instance} is {sigma} sigma from what is normal: {said}. Detectors: {models}.");
    if !also.is_empty() {
        description = format!("{description} Also anomalous: {also}.");
    }
    let runbook = metric.and_then(|metric| metric.runbook_url.clone());
    let told = [
        ("summary", format!("{name} on {instance} is anomalous: {said}")),
        ("description", description),
        ("value", value),
        ("expected", expected),
        ("band", metric.map(band).unwrap_or_default()),
        ("unit", unit.to_owned()),
        ("score", short(incident.worst.score)),
        ("confidence", short(incident.worst.confidence)),
        ("deviation_sigma", sigma),
        ("models", models),
        ("also", also),
        ("reason", incident.reason.name().to_owned()),
        ("runbook_url", runbook.unwrap_or_else(|| format!("{external_url}/runbook/{}", encode(name)))),
    ];
    let told = told.into_iter().filter(|(_, text)| !text.is_empty());
    told.map(|(name, text)| (name.to_owned(), text)).collect()
}

/// Where a metric is expected to be.
fn band(metric: &MetricSnapshot) -> String {
    metric.band.map(|band| format!("{} to {}", short(band.lower), short(band.upper))).unwrap_or_default()
}

/// Opens the incident's metric in the sidecar's page.
pub(super) fn generator_url(incident: &Incident, external_url: &str) -> String {
    let instance = incident.target.get("instance").unwrap_or_default();
    format!("{external_url}/?metric={}&instance={}", encode(incident.metric_name()), encode(instance))
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // A string takes everything.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn write_time<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    time(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no time of RFC 3339")))
}

/// A time of RFC 3339, with any offset. Times before 1970 are Go's zero time, if anything.
pub fn time(text: &str) -> Option<Timestamp> {
    instant_of_rfc3339(text).map(|at| at.max(Timestamp::default()))
}

/// The wall clock.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::LAST;

    #[test]
    fn a_label_set_has_the_fingerprint_that_alertmanager_gives_it() {
        // As recorded from Alertmanager 0.25.
        for (labels, expect) in [
            (vec![("alertname", "G1"), ("instance", "a"), ("severity", "critical")], "5f8cc22eae545e66"),
            (vec![("alertname", "Flaky"), ("instance", "a")], "73d76cb7d7f75443"),
        ] {
            assert_eq!(format!("{:016x}", fingerprint(&Labels::new(labels))), expect);
        }
    }

    #[test]
    fn times_are_read_with_any_offset() {
        let millis = |text| time(text).map(Timestamp::millis);
        assert_eq!(millis("2023-11-14T22:13:20.123Z"), Some(1_700_000_000_123));
        assert_eq!(millis("2023-11-15T00:13:20.123+02:00"), Some(1_700_000_000_123));
        assert_eq!(millis("2023-11-14T21:43:20.123-00:30"), Some(1_700_000_000_123));
        assert_eq!(millis("0001-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(millis("0001-01-01T00:00:00+00:00"), Some(0));
        assert_eq!(millis("9999-12-31T23:59:59.999Z"), Some(LAST.millis()));
        assert_eq!(millis("9999-12-31T23:59:59.999+01:00"), Some(LAST.millis() - 3_600_000));
    }

    #[test]
    fn no_text_for_a_time_panics_and_what_is_read_can_be_written() {
        for text in [
            "",
            "yesterday",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T23:59:59.999-00:01",
            "2023-11-14T22:13:20+99:00",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20+00:60",
            "2023-11-14T22:13:20+9999999999999999999:00",
            "2023-11-14T22:13:20+18446744073709551615:18446744073709551615",
            "2023-11-14T22:13:20++1:00",
            "2023-11-14T22:13:20+1",
            "2023-11-14T22:13:20-",
            "ääääääääääääääää+01:00",
            "99999-01-01T00:00:00Z",
            "2023-02-30T00:00:00+01:00",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_time_that_is_read_is_written_and_read_back(
            year in 0..10_100_u32, month in 0..14_u32, day in 0..33_u32, hour in 0..25_u32, rest in ".{0,8}",
            sign in "[-+Z]", hours in 0..30_u32, minutes in 0..70_u32,
        ) {
            let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:59:59");
            for text in [format!("{date}{sign}{hours:02}:{minutes:02}"), format!("{date}Z"), format!("{date}{rest}")] {
                if let Some(at) = time(&text) {
                    proptest::prop_assert_eq!(time(&rfc3339(at)), Some(at.max(Timestamp::default())));
                }
            }
        }
    }
}
