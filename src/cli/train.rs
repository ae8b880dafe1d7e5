//! `train`: from confirmed-normal data to a version in the model store.

use std::time::Duration;

use super::backtest::{configuration, unread, write};
use super::progress::Progress;
use super::{Failed, Subject, Train, output, runtime};
use crate::config::Config;
use crate::dataset::{Columns, Dataset, listed};
use crate::history::Prometheus;
use crate::model_store::Store;
use crate::series::Timestamp;
use crate::setting::{Address, Redirects, http_client};
use crate::train;

/// One request to Prometheus may take so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// Trains and keeps what came of it.
pub(super) fn train(args: &Train) -> Result<(), Failed> {
    let config = configuration(args.config_file.as_deref())?;
    if args.subject == Subject::Priors {
        return priors(args, &config);
    }
    let failed = |error: train::Error| Failed::Running(error.to_string());
    let signals: Vec<String> = config.signals.iter().map(|signal| signal.name.clone()).collect();
    let data = match &args.prometheus_url {
        Some(url) => runtime()?.block_on(remembered(url, args, &config))?,
        None => read(args)?.arranged(&signals),
    };
    if args.config_file.is_some() && data.metrics != signals {
        return Err(Failed::Running(others(&data, &signals)));
    }
    let subject = match args.subject {
        Subject::IsolationForest => train::Subject::IsolationForest,
        Subject::LstmAutoencoder => train::Subject::LstmAutoencoder,
        Subject::All | Subject::Priors => train::Subject::All,
    };
    let keep = config.detector.models.keep_versions;
    let mut progress = Progress::new("train");
    let trained = train::train(&data, subject, config, &mut |done, of| progress.tell(done, of));
    drop(progress);
    let (_, metadata, bytes) = trained.map_err(failed)?;
    let version = Store::open(&args.output, keep)
        .add(&metadata, &bytes)
        .map_err(|error| Failed::Running(error.to_string()))?;
    output::say(format_args!(
        "version {version}: {} on {} rows of {} signals, {} bytes, in {}",
        metadata.detectors.join(", "),
        metadata.rows,
        metadata.features.len(),
        bytes.len(),
        args.output.display()
    ))
}

/// What is typical of the machines whose recordings are given, as a file.
fn priors(args: &Train, config: &Config) -> Result<(), Failed> {
    if args.data.is_empty() {
        return Err(Failed::Asked("train priors needs the recordings of machines; give --data".to_owned()));
    }
    let columns = columns(args);
    let read = |file: &std::path::PathBuf| Dataset::read(file, &columns).map_err(|bad| unread(&bad));
    let machines = args.data.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut progress = Progress::new("train priors");
    let text = train::priors(&machines, config, &mut |done, of| progress.tell(done, of));
    drop(progress);
    let text = text.map_err(|error| Failed::Running(error.to_string()))?;
    write(&args.output, &text)?;
    output::say(format_args!(
        "priors of {} machines, {} bytes, in {}; name it in detector.priors",
        machines.len(),
        text.len(),
        args.output.display()
    ))
}

fn columns(args: &Train) -> Columns {
    Columns {
        time: args.time_column.clone(),
        label: None,
        ignore: args.ignore_column.clone(),
        refuse_labels: true,
    }
}

fn read(args: &Train) -> Result<Dataset, Failed> {
    let columns = columns(args);
    let read = |file| Dataset::read(file, &columns).map_err(|bad| unread(&bad));
    let mut files = args.data.iter();
    let Some(first) = files.next() else { return Err(Failed::Asked("give --data".to_owned())) };
    let mut data = read(first)?;
    for file in files {
        data = data.followed_by(read(file)?).map_err(|bad| unread(&bad))?;
    }
    data.telling().map_err(|bad| unread(&bad))?;
    Ok(data)
}

/// What is wrong with columns that are not those of the configuration.
fn others(data: &Dataset, signals: &[String]) -> String {
    let without = |some: &[String], others: &[String]| {
        let rest: Vec<&String> = some.iter().filter(|name| !others.contains(name)).collect();
        if rest.is_empty() { "none".to_owned() } else { listed(&rest) }
    };
    format!(
        "{}: line 1: has not the columns that the configuration has signals of (missing: {}; too many: {}); record what is configured, and leave the rest out by --ignore-column",
        data.file.display(),
        without(signals, &data.metrics),
        without(&data.metrics, signals)
    )
}

async fn remembered(url: &Address, args: &Train, config: &Config) -> Result<Dataset, Failed> {
    let running = |error: String| Failed::Running(error);
    let (client, _) =
        http_client(PATIENCE, Redirects::SameHost).map_err(|error| running(error.to_string()))?;
    let prometheus = Prometheus::new(client, url).map_err(|error| Failed::Asked(error.to_string()))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let to = Timestamp::from_seconds(now.as_secs() as f64);
    let step = config.check_interval.0;
    let mut progress = Progress::new("ask Prometheus");
    let mut tell = |done: usize, of: usize| progress.tell(done, of);
    let data = train::recall(&prometheus, config, &args.matches, (to - args.range.0, to), step, &mut tell)
        .await
        .map_err(|error| running(error.to_string()))?;
    if data.is_empty() {
        return Err(running(format!("{url}: has none of the configured signals in the last {}", args.range)));
    }
    let signals: Vec<String> = config.signals.iter().map(|signal| signal.name.clone()).collect();
    let data = data.with_columns(&signals);
    // Nobody can leave a signal out of what an exporter has no series for.
    for (name, problem) in data.dull() {
        output::note(format_args!("{name}: {problem}; it is left to what comes later"));
    }
    Ok(data)
}
