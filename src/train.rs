//! From confirmed-normal data to a model set: the training that `backtest` does on its first rows, kept. What matters about a
//! column is what the configuration says of the signal of its name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::backtest::{Replay, STUDIED};
use crate::config::Config;
use crate::dataset::{Bad, Dataset};
use crate::detect::lstm::FEWEST_WINDOWS;
use crate::detect::model_set::ModelSet;
use crate::detect::priors::Pool;
use crate::detect::verdict::Detector;
use crate::history::Prometheus;
use crate::model_store::Metadata;
use crate::series::Timestamp;
use crate::signal::{Macros, narrowed};

/// Rows that a training needs at least: enough to fit the forest on and to calibrate it.
const FEWEST: usize = 100;
/// Where every training's randomness begins.
pub const SEED: u64 = 1;

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The isolation forest only.
    IsolationForest,
    /// The LSTM autoencoder only.
    LstmAutoencoder,
    /// Every detector.
    All,
}

/// Why a training came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data will not do.
    #[error(transparent)]
    Data(#[from] Bad),
    /// Prometheus did not give it.
    #[error(transparent)]
    History(#[from] crate::history::Error),
    /// A signal cannot be asked for.
    #[error("signal {0}: {1}")]
    Signal(String, String),
    /// Nothing came of it.
    #[error("{}: {problem}", data.display())]
    Nothing {
        /// What was learned from.
        data: PathBuf,
        /// Why, and the remedy.
        problem: String,
    },
}

/// Learns from `data`; the models, what they say of themselves, and the bytes to keep.
pub fn train(
    data: &Dataset,
    subject: Subject,
    mut config: Config,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(ModelSet, Metadata, Vec<u8>), Error> {
    data.strict()?;
    data.learnable(FEWEST)?;
    let nothing = |problem: &str| Error::Nothing { data: data.file.clone(), problem: problem.to_owned() };
    let interval = data.interval().ok_or_else(|| nothing("has no step between its rows"))?;
    config.detector.isolation_forest.enabled &= subject != Subject::LstmAutoencoder;
    config.detector.lstm_autoencoder.enabled &= subject != Subject::IsolationForest;
    let windows = FEWEST_WINDOWS * config.detector.lstm_autoencoder.sequence_length;
    let enough = ((windows as f64 / STUDIED).ceil() as usize).max(FEWEST);
    // What is known is of what `run` will judge: by the same sides and from the same deviation on.
    let signals = config.signals.clone();
    let replay = Replay { config, signals, interval, train_rows: data.len(), fits: None };
    let set = replay.learn(data, progress).ok_or_else(|| nothing("nothing was learned"))?;
    let detectors = set.detectors();
    for (asked, detector) in [
        (Subject::IsolationForest, Detector::IsolationForest),
        (Subject::LstmAutoencoder, Detector::LstmAutoencoder),
    ] {
        let is_asked = subject == asked || subject == Subject::All;
        let is_sound = detector != Detector::LstmAutoencoder || data.len() >= enough;
        if is_asked && !(is_sound && detectors.contains(&detector)) {
            return Err(nothing(&format!(
                "{} could not be fitted on {} rows; give it at least {enough}, without gaps",
                detector.name(),
                data.len()
            )));
        }
    }
    let bytes = set.to_bytes().map_err(|error| nothing(&error))?;
    let metadata = metadata(data, &set, interval);
    Ok((set, metadata, bytes))
}

fn metadata(data: &Dataset, set: &ModelSet, interval: Duration) -> Metadata {
    Metadata {
        features: data.metrics.clone(),
        rows: data.len() as u64,
        first: data.times.first().copied().unwrap_or_default(),
        last: data.times.last().copied().unwrap_or_default(),
        fingerprint: data.fingerprint(),
        seed: SEED,
        detectors: set.detectors().into_iter().map(|detector| detector.name().to_owned()).collect(),
        interval_ms: interval.as_millis() as u64,
    }
}

/// Rows of a machine that its priors are of: what is known of it after so many is worth more than what is known of others.
pub const PRIOR_ROWS: usize = 3000;

/// What the detectors typically score on `machines` that nothing was known of, as the text of a file of priors. Each is gone
/// through as `run` goes through a host it has not seen, from nothing on. `progress` is told how many of how many are done.
pub fn priors(
    machines: &[Dataset],
    config: &Config,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<String, Error> {
    let mut pool = Pool::default();
    let mut provenance = Vec::new();
    for (nth, data) in machines.iter().enumerate() {
        progress(nth, machines.len());
        data.strict()?;
        data.learnable(FEWEST)?;
        let nothing = |problem: &str| Error::Nothing { data: data.file.clone(), problem: problem.to_owned() };
        let interval = data.interval().ok_or_else(|| nothing("has no step between its rows"))?;
        let config = Config { detector: config.detector.unknowing(), ..config.clone() };
        let signals = config.signals.clone();
        let replay = Replay { config, signals, interval, train_rows: 0, fits: None };
        pool.add(&replay.watch(data, PRIOR_ROWS).ok_or_else(|| nothing("nothing was learned"))?);
        let name = data.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        provenance.push(format!(
            "{name}: {} rows of {} metrics each {} s, {}",
            data.len().min(PRIOR_ROWS),
            data.metrics.len(),
            interval.as_secs_f64(),
            data.fingerprint()
        ));
    }
    progress(machines.len(), machines.len());
    Ok(pool.fit().write(provenance))
}

/// The configured signals of one target as Prometheus remembers them: one column a signal that has data, one row each
/// `check_interval`. `labels` say which target's series are meant; none, whatever there is.
pub async fn recall(
    prometheus: &Prometheus,
    config: &Config,
    labels: &[(String, String)],
    (from, to): (Timestamp, Timestamp),
    step: Duration,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Dataset, Error> {
    let macros = Macros { rate_interval: config.check_interval.0 * 4 };
    let mut columns = Vec::new();
    for (at, signal) in config.signals.iter().enumerate() {
        let wrong = |problem: String| Error::Signal(signal.name.clone(), problem);
        let expr = narrowed(&signal.expr, &macros, labels).map_err(|error| wrong(error.to_string()))?;
        let mut told = |done: usize, of: usize| progress(at * of + done, config.signals.len() * of);
        let series = prometheus.range(&expr, from, to, step, &mut told).await?;
        match series.as_slice() {
            [] => {}
            [one] => columns.push((signal.name.clone(), one.points.clone())),
            several if labels.is_empty() => {
                return Err(wrong(format!(
                    "gives {} series; say whose by --prometheus.match instance=HOST:PORT",
                    several.len()
                )));
            }
            // A signal of several series is judged series by series, and none is part of the vector.
            _ => {}
        }
    }
    Ok(Dataset::of_columns(Path::new("prometheus"), columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::priors::Priors;
    use crate::signal::{Definition, Direction};

    /// What is learned of a load that is still but for dips, by a configuration with these signals.
    fn learned(signals: &[Definition]) -> Vec<u8> {
        let value = |row: usize| if row % 40 < 4 { 5.0 } else { 50.0 + (row * 37 % 11) as f64 };
        let points = (0..600).map(|row| (Timestamp::from_seconds(row as f64 * 10.0), value(row))).collect();
        let data = Dataset::of_columns(Path::new("dips"), vec![("load".to_owned(), points)]);
        let config = Config { signals: signals.to_vec(), ..Config::default() };
        train(&data, Subject::IsolationForest, config, &mut |_, _| ()).unwrap().2
    }

    #[test]
    fn a_training_knows_which_side_of_a_signal_matters_from_which_deviation_on_and_what_is_possible() {
        let plain = learned(&[]);
        let load =
            |direction, min_deviation| Definition { direction, min_deviation, ..Definition::plain("load") };
        assert_eq!(learned(&[load(Direction::Both, 0.0)]), plain, "which says no more than nothing does");
        assert_ne!(learned(&[load(Direction::Up, 0.0)]), plain);
        assert_ne!(learned(&[load(Direction::Both, 40.0)]), plain);
        let impossible = Definition { min: Some(10.0), ..Definition::plain("load") };
        assert_ne!(learned(&[impossible]), plain, "values that are no data");
        let other = Definition { direction: Direction::Up, ..Definition::plain("other") };
        assert_eq!(learned(&[other]), plain, "what is said of another signal");
    }

    /// A machine whose signal strays so much around 50.
    fn machine(seed: u128, stray: f64) -> Dataset {
        use rand_core::Rng;
        let mut random = rand_pcg::Pcg64Mcg::new(seed);
        let mut value = || 50.0 + stray * (f64::from(random.next_u32()) / f64::from(u32::MAX) - 0.5);
        let points = (0..900).map(|row| (Timestamp::from_seconds(f64::from(row) * 10.0), value())).collect();
        Dataset::of_columns(Path::new("/somewhere/machine.csv"), vec![("load".to_owned(), points)])
    }

    #[test]
    fn priors_are_of_what_machines_score_by_themselves_and_name_where_they_come_from() {
        let machines = [machine(1, 1.0), machine(2, 10.0)];
        let text = priors(&machines, &Config::default(), &mut |_, _| ()).unwrap();
        let parsed = Priors::parse(&text).unwrap();
        assert_ne!(parsed, Priors::default());
        assert_ne!(parsed, *Priors::built_in());
        assert!(text.contains("machine.csv: 900 rows of 1 metrics each 10 s, crc32:"), "{text}");
        assert!(!text.contains("/somewhere"), "paths are nobody's business");
        let mut leaning = Config::default();
        leaning.detector.take_up_priors(|_| Ok(text.clone()));
        assert_eq!(priors(&machines, &leaning, &mut |_, _| ()).unwrap(), text, "whatever was known before");
    }

    #[test]
    fn a_machine_that_stands_still_has_no_priors() {
        let error = priors(&[machine(1, 1.0), machine(2, 0.0)], &Config::default(), &mut |_, _| ());
        assert!(error.is_err(), "{error:?}");
    }
}
