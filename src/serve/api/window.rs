//! `window`: the recent course of one metric, as JSON or as an Arrow IPC stream.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{Asked, Failure, Success, bad, error, missing, success};
use crate::detect::verdict::Detector;
use crate::engine::snapshot::Snapshot;
use crate::series::Labels;
use crate::serve::Shared;
use crate::serve::course::Point;

/// The registered media type of Arrow's stream format.
const ARROW: &str = "application/vnd.apache.arrow.stream";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Of {
    /// A signal, or a signal with its labels, as `disk_busy{device="sda"}`.
    metric_name: String,
    /// The label `instance` of a target, where there are several.
    target: Option<String>,
}

/// One column a list, one check a row; null is no data.
#[derive(Serialize, ToSchema)]
pub(super) struct Columns {
    /// Unix seconds.
    time: Vec<f64>,
    value: Vec<Option<f64>>,
    expected: Vec<Option<f64>>,
    lower: Vec<Option<f64>>,
    upper: Vec<Option<f64>>,
    score: Vec<Option<f64>>,
    isolation_forest: Vec<Option<f64>>,
    lstm_autoencoder: Vec<Option<f64>>,
    zscore: Vec<Option<f64>>,
    seasonal_esd: Vec<Option<f64>>,
    firing: Vec<bool>,
}

/// The recent course of one metric: value, band, score and each detector's confidence.
#[utoipa::path(get, path = "/api/v1/monitoring/anomaly/window", params(Of), responses(
    (status = 200, content(
        (Success<Columns> = "application/json"),
        (Vec<u8> = "application/vnd.apache.arrow.stream"),
    )),
    (status = 400, body = Failure), (status = 401, body = Failure), (status = 404, body = Failure)
))]
pub(super) async fn window(
    State(shared): State<Shared>,
    Asked(of): Asked<Of>,
    headers: HeaderMap,
) -> Response {
    let snapshot = shared.snapshot.borrow().clone();
    let found = find(&snapshot, &of);
    let (target, metric) = match found.as_slice() {
        [one] => one,
        [] => return missing("no such target, or no signal of that name; see status"),
        _ => return bad("that is several series; say which by target= or by the signal's labels"),
    };
    let points: Vec<Point> = shared.courses.read(target, metric, |points| points.copied().collect());
    if !wants_arrow(&headers) {
        return success(columns(&points));
    }
    match stream(&points) {
        Ok(body) => ([(header::CONTENT_TYPE, ARROW)], body).into_response(),
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, "internal", problem.to_string()),
    }
}

fn wants_arrow(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == ARROW)
}

fn find(snapshot: &Snapshot, of: &Of) -> Vec<(Labels, Labels)> {
    let is_target =
        |labels: &Labels| of.target.as_deref().is_none_or(|target| labels.get("instance") == Some(target));
    let targets = snapshot.targets.iter().filter(|target| is_target(&target.labels));
    let metrics = targets.flat_map(|t| t.metrics.iter().map(|m| (t.labels.clone(), m.labels.clone())));
    let named: Vec<_> = metrics.filter(|(_, metric)| metric.get("metric_name") == Some(base(of))).collect();
    let exact = named.iter().filter(|(_, metric)| full_name(metric) == of.metric_name);
    let exact: Vec<_> = exact.cloned().collect();
    if exact.is_empty() && !of.metric_name.contains('{') { named } else { exact }
}

fn base(of: &Of) -> &str {
    of.metric_name.split('{').next().unwrap_or_default()
}

fn full_name(metric: &Labels) -> String {
    let rest = metric.without(|name| name == "metric_name");
    let name = metric.get("metric_name").unwrap_or_default();
    if rest.is_empty() { name.to_owned() } else { format!("{name}{rest}") }
}

fn columns(points: &[Point]) -> Columns {
    let of = |read: fn(&Point) -> Option<f64>| points.iter().map(read).collect();
    let by = |detector: Detector| points.iter().map(|p| p.confidences[detector.index()]).collect();
    Columns {
        time: points.iter().map(|point| point.at.seconds()).collect(),
        value: of(|p| p.value),
        expected: of(|p| Some(p.band?.expected)),
        lower: of(|p| Some(p.band?.lower)),
        upper: of(|p| Some(p.band?.upper)),
        score: of(|p| p.score),
        isolation_forest: by(Detector::IsolationForest),
        lstm_autoencoder: by(Detector::LstmAutoencoder),
        zscore: by(Detector::Zscore),
        seasonal_esd: by(Detector::SeasonalEsd),
        firing: points.iter().map(|point| point.firing).collect(),
    }
}

/// The same as one record batch in a stream.
fn stream(points: &[Point]) -> Result<Vec<u8>, ArrowError> {
    let columns = columns(points);
    let times = points.iter().map(|point| point.at.millis());
    let times = TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC");
    let mut fields = vec![Field::new("time", times.data_type().clone(), false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times)];
    let numbers = [
        ("value", columns.value),
        ("expected", columns.expected),
        ("lower", columns.lower),
        ("upper", columns.upper),
        ("score", columns.score),
        ("isolation_forest", columns.isolation_forest),
        ("lstm_autoencoder", columns.lstm_autoencoder),
        ("zscore", columns.zscore),
        ("seasonal_esd", columns.seasonal_esd),
    ];
    for (name, values) in numbers {
        fields.push(Field::new(name, DataType::Float64, true));
        arrays.push(Arc::new(Float64Array::from(values)));
    }
    fields.push(Field::new("firing", DataType::Boolean, false));
    arrays.push(Arc::new(BooleanArray::from(columns.firing)));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Timestamp;

    #[test]
    fn the_stream_reads_back_as_the_points_it_was_written_of() {
        let point = |at, value| Point {
            at: Timestamp::from_millis(at),
            value,
            band: None,
            score: Some(0.5),
            confidences: [None, None, Some(0.25), None],
            firing: false,
        };
        let body = stream(&[point(1000, Some(7.0)), point(2000, None)]).unwrap();
        let mut reader = arrow::ipc::reader::StreamReader::try_new(body.as_slice(), None).unwrap();
        let batch = reader.next().unwrap().unwrap();
        let values = batch.column_by_name("value").unwrap();
        let values = values.as_any().downcast_ref::<Float64Array>().unwrap();
        assert_eq!(values.iter().collect::<Vec<_>>(), [Some(7.0), None]);
        assert_eq!(batch.num_columns(), 11);
        assert!(reader.next().is_none());
        assert!(stream(&[]).is_ok(), "nothing is a stream as well");
    }
}
