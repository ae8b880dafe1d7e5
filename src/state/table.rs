//! Tables as streams of Arrow IPC: a column of times, then one for each series.

use std::collections::HashMap;
use std::io::Cursor;
use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::array::{Array, Float64Array, RecordBatch, TimestampMillisecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::series::{Labels, Origin};
use crate::window::{Frozen, FrozenTable};

/// Where a schema says whose times they are, and a field whose values.
const ORIGIN: &str = "origin";
const LABELS: &str = "labels";

/// Rows of a batch.
const ROWS: usize = 256;

type Outcome<T> = Result<T, ArrowError>;

fn json<T: serde::Serialize>(value: &T) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| ArrowError::ExternalError(Box::new(error)))
}

/// Columns that are called by `names`.
pub(super) fn write(rows: &Frozen, names: &[String], out: &mut Vec<u8>) -> Outcome<()> {
    let name = |column: usize| names.get(column).cloned().unwrap_or_else(|| column.to_string());
    let fields = (0..rows.width()).map(|column| Field::new(name(column), DataType::Float64, true));
    stream(rows, fields.collect(), HashMap::new(), out)
}

/// Columns that bear the labels of their series.
pub(super) fn write_series(table: &FrozenTable, out: &mut Vec<u8>) -> Outcome<()> {
    let field = |labels: &Labels| {
        let metadata = HashMap::from([(LABELS.to_owned(), json(labels)?)]);
        Ok(Field::new(labels.to_string(), DataType::Float64, true).with_metadata(metadata))
    };
    let fields: Outcome<Vec<Field>> = table.series.iter().map(field).collect();
    let metadata = HashMap::from([(ORIGIN.to_owned(), json(&table.origin)?)]);
    stream(&table.rows, fields?, metadata, out)
}

fn stream(
    rows: &Frozen,
    series: Vec<Field>,
    metadata: HashMap<String, String>,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    let time = Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false);
    let fields: Vec<Field> = std::iter::once(time).chain(series).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let times = TimestampMillisecondArray::new(rows.times().to_vec().into(), None).with_timezone("UTC");
    let columns = rows.columns().iter().map(|column| Arc::clone(column) as Arc<dyn Array>);
    let columns = std::iter::once(Arc::new(times) as Arc<dyn Array>).chain(columns).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let mut writer = StreamWriter::try_new(out, &schema)?;
    // A batch is encoded whole in memory before it is written.
    for first in (0..batch.num_rows()).step_by(ROWS) {
        writer.write(&batch.slice(first, ROWS.min(batch.num_rows() - first)))?;
    }
    writer.finish()
}

/// The rows of a stream that [`write`] wrote.
pub(super) fn read(bytes: &[u8]) -> Result<Frozen, String> {
    let batch = batch(bytes)?;
    frozen(&batch).ok_or_else(|| "a table has other columns than it should".to_owned())
}

/// The table that [`write_series`] wrote.
pub(super) fn read_series(bytes: &[u8]) -> Result<FrozenTable, String> {
    let batch = batch(bytes)?;
    let table = || {
        let schema = batch.schema();
        let origin: Option<Origin> = serde_json::from_str(schema.metadata().get(ORIGIN)?).ok()?;
        let labels = |field: &Arc<Field>| serde_json::from_str(field.metadata().get(LABELS)?).ok();
        let series: Option<Vec<Labels>> = schema.fields().iter().skip(1).map(labels).collect();
        Some(FrozenTable { origin, series: series?, rows: frozen(&batch)? })
    };
    table().ok_or_else(|| "a table of series has other columns than it should".to_owned())
}

/// The reader panics on some bytes that are not a stream.
fn batch(bytes: &[u8]) -> Result<RecordBatch, String> {
    let read = || {
        let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
        let schema = reader.schema();
        concat_batches(&schema, &reader.collect::<Outcome<Vec<_>>>()?)
    };
    match catch_unwind(read) {
        Ok(batch) => batch.map_err(|error| error.to_string()),
        Err(_) => Err("a table is no stream of Arrow IPC".to_owned()),
    }
}

fn frozen(batch: &RecordBatch) -> Option<Frozen> {
    let times = batch.columns().first()?.as_any().downcast_ref::<TimestampMillisecondArray>()?;
    let column = |column: &Arc<dyn Array>| {
        column.as_any().downcast_ref::<Float64Array>().map(|column| Arc::new(column.clone()))
    };
    let columns: Option<Vec<_>> = batch.columns()[1..].iter().map(column).collect();
    Frozen::new(times.values().clone(), columns?)
}
