//! Values as Prometheus shows them.

use serde_json::{Value as Json, json};

use super::eval::Value;
use crate::series::Timestamp;

impl Value {
    /// The `data` of Prometheus' `/api/v1/query`.
    pub fn to_json(&self, at: Timestamp) -> Json {
        let point = |at: i64, value: f64| json!([at as f64 / 1e3, number(value)]);
        match self {
            Self::Scalar(value) => json!({"resultType": "scalar", "result": point(at.millis(), *value)}),
            Self::Text(text) => json!({"resultType": "string", "result": [at.seconds(), text]}),
            Self::Vector(vector) => {
                let series =
                    vector.iter().map(|(l, v)| json!({"metric": l, "value": point(at.millis(), *v)}));
                json!({"resultType": "vector", "result": series.collect::<Vec<_>>()})
            }
            Self::Matrix(matrix) => {
                let values =
                    |samples: &[(i64, f64)]| samples.iter().map(|(t, v)| point(*t, *v)).collect::<Vec<_>>();
                let series =
                    matrix.iter().map(|(l, samples)| json!({"metric": l, "values": values(samples)}));
                json!({"resultType": "matrix", "result": series.collect::<Vec<_>>()})
            }
        }
    }

    /// One line a series, as promtool prints an instant query.
    pub fn to_text(&self, at: Timestamp) -> String {
        let line = |labels: &dyn std::fmt::Display, value: f64, at: i64| {
            format!("{labels} => {} @[{}]\n", number(value), at as f64 / 1e3)
        };
        match self {
            Self::Scalar(value) => line(&"scalar:", *value, at.millis()),
            Self::Text(text) => format!("string: {text:?}\n"),
            Self::Vector(vector) => vector.iter().map(|(labels, v)| line(labels, *v, at.millis())).collect(),
            Self::Matrix(matrix) => {
                let of = |(labels, samples): &(_, Vec<(i64, f64)>)| {
                    samples.iter().map(|(t, v)| line(labels, *v, *t)).collect::<String>()
                };
                matrix.iter().map(of).collect()
            }
        }
    }
}

/// A float as Prometheus' API writes it: shortest form that reads back, never an exponent.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}
