//! What the range API answers, in JSON.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::series::{Labels, Timestamp};

/// An answer of Prometheus.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// What was asked for, and what it warns of.
    Rows(Vec<Row>, Vec<String>),
    /// Why not.
    Error { kind: String, text: String },
}

/// The values of one series in one answer.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) labels: Labels,
    pub(super) points: Vec<(Timestamp, f64)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    data: Option<Data>,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: Labels,
    /// Missing where a series has histograms alone.
    #[serde(default)]
    values: Vec<(f64, Value)>,
}

/// A number written as text; `None` if it is not finite.
struct Value(Option<f64>);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AsText)
    }
}

struct AsText;

impl de::Visitor<'_> for AsText {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        let value: f64 = text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
        Ok(Value(value.is_finite().then_some(value)))
    }
}

/// Reads an answer; says what is wrong with one that is none of Prometheus'.
pub(super) fn read(body: &[u8]) -> Result<Answer, String> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match (envelope.status.as_str(), envelope.data) {
        ("success", Some(data)) => {
            Ok(Answer::Rows(data.result.into_iter().map(row).collect(), envelope.warnings))
        }
        ("error", _) => Ok(Answer::Error { kind: envelope.error_type, text: envelope.error }),
        (status, _) => Err(format!("status {status:?} without data")),
    }
}

fn row(series: Series) -> Row {
    let point = |(at, Value(value)): (f64, Value)| Some((Timestamp::from_seconds(at), value?));
    Row { labels: series.metric, points: series.values.into_iter().filter_map(point).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_reads_without_the_values_that_are_not_finite() {
        let body = r#"{"status":"success","warnings":["partial"],"data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"up","job":"n"},"values":[[1700000000,"1"],[1700000000.123,"-2.5e-3"],[1700000001,"NaN"],[1700000002,"+Inf"],[1700000003,"-Inf"],[1700000004,"0"]]},
            {"metric":{},"histograms":[[1700000000,{"count":"1"}]]}]}}"#;
        let at = Timestamp::from_millis;
        let rows = vec![
            Row {
                labels: Labels::new([("__name__", "up"), ("job", "n")]),
                points: vec![
                    (at(1_700_000_000_000), 1.0),
                    (at(1_700_000_000_123), -0.0025),
                    (at(1_700_000_004_000), 0.0),
                ],
            },
            Row { labels: Labels::empty(), points: Vec::new() },
        ];
        assert_eq!(read(body.as_bytes()), Ok(Answer::Rows(rows, vec!["partial".to_owned()])));
    }

    #[test]
    fn an_error_reads_as_one_and_anything_else_as_nothing_of_prometheus() {
        let (kind, text) = ("bad_data".to_owned(), "what?".to_owned());
        let body = r#"{"status":"error","errorType":"bad_data","error":"what?"}"#;
        assert_eq!(read(body.as_bytes()), Ok(Answer::Error { kind, text }));
        for (body, reason) in [
            ("", "EOF while parsing"),
            ("<html>", "expected value"),
            ("{}", "missing field `status`"),
            (r#"{"status":"success"}"#, "status \"success\" without data"),
            (r#"{"status":"half","data":{"result":[]}}"#, "status \"half\" without data"),
            (
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#,
                "invalid type: integer `1`",
            ),
            (
                r#"{"status":"success","data":{"result":[{"metric":{},"values":[[1,"one"]]}]}}"#,
                "invalid value: string \"one\"",
            ),
            (
                r#"{"status":"success","data":{"result":[{"metric":{},"values":[[1,2]]}]}}"#,
                "invalid type: integer `2`",
            ),
        ] {
            let why = read(body.as_bytes()).unwrap_err();
            assert!(why.starts_with(reason), "{body}: {why}");
        }
    }
}
