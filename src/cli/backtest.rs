//! `backtest`: from a recording to scores.

use std::path::Path;

use super::progress::Progress;
use super::{Backtest, Failed, output};
use crate::backtest::rerun::is_affordable;
use crate::backtest::{Replay, Schedule, report};
use crate::config::{Config, Sources};
use crate::dataset::{Bad, Columns, Dataset};

/// Replays a recording and writes what was said of each row.
pub(super) fn backtest(args: &Backtest) -> Result<(), Failed> {
    let config = configuration(args.config_file.as_deref())?;
    outputs(args)?;
    let columns = Columns {
        time: args.time_column.clone(),
        label: args.label_column.clone(),
        ignore: args.ignore_column.clone(),
        refuse_labels: false,
    };
    let data = Dataset::read(&args.data, &columns).map_err(|bad| unread(&bad))?;
    if args.strict {
        data.strict().map_err(|bad| Failed::Running(bad.to_string()))?;
    }
    if args.train_rows > data.len() {
        return Err(Failed::Asked(format!(
            "--train-rows: {} is more than the {} rows of {}",
            args.train_rows,
            data.len(),
            args.data.display()
        )));
    }
    let interval =
        args.interval.map(|span| span.0).or_else(|| data.interval()).unwrap_or(config.check_interval.0);
    let fits = args.fits.as_deref().map(|file| schedule(file, args.fits_target.as_deref())).transpose()?;
    let mut progress = Progress::new("backtest");
    // What nobody has configured is not asked of a recording, whatever its columns are called.
    let signals = if args.config_file.is_some() { config.signals.clone() } else { Vec::new() };
    let replay = Replay { config, signals, interval, train_rows: args.train_rows, fits };
    let mut tell = |done, of| progress.tell(done, of);
    let (outcome, mut recording) = match args.report {
        Some(_) => replay.record(&data, &mut tell),
        None => (replay.run(&data, &mut tell), None),
    };
    drop(progress);
    write(&args.output, &outcome.csv(&data))?;
    if let (Some(file), Some(recording)) = (&args.report, &mut recording) {
        if args.replay_thresholds || is_affordable(&data) {
            let mut progress = Progress::new("thresholds");
            replay.rerun(&data, recording, &mut |done, of| progress.tell(done, of));
        }
        write(file, &report::page(&replay, &data, &outcome, recording))?;
    }
    let figures =
        serde_json::to_string(&outcome.figures).map_err(|error| Failed::Running(error.to_string()))?;
    output::say(figures)
}

/// When the fits of a `run` took effect.
fn schedule(file: &Path, instance: Option<&str>) -> Result<Schedule, Failed> {
    let refused = |problem: String| Failed::Asked(format!("--fits: {}: {problem}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| {
        refused(format!("cannot be read: {error}; give the fits.jsonl of a run's storage.path"))
    })?;
    Schedule::parse(&text, instance).map_err(refused)
}

/// Why a recording is not taken.
pub(super) fn unread(bad: &Bad) -> Failed {
    if bad.is_of_a_flag() { Failed::Asked(bad.to_string()) } else { Failed::Running(bad.to_string()) }
}

/// What is written is another file than what is read, in a directory that is there.
fn outputs(args: &Backtest) -> Result<(), Failed> {
    let place = |file: &Path| std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let written = [("--output", Some(&args.output)), ("--report", args.report.as_ref())];
    for (flag, file) in written {
        let Some(file) = file else { continue };
        let read = [
            Some(&args.data),
            args.config_file.as_ref(),
            args.fits.as_ref(),
            args.report.as_ref().filter(|_| flag == "--output"),
        ];
        if read.into_iter().flatten().any(|other| place(other) == place(file)) {
            return Err(Failed::Asked(format!(
                "{flag}: {} is given for something else as well, and would be lost; name another file",
                file.display()
            )));
        }
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        if file.is_dir() || directory.is_some_and(|directory| !directory.is_dir()) {
            return Err(Failed::Asked(format!("{flag}: {} cannot be written to", file.display())));
        }
    }
    if args.interval.is_some_and(|interval| interval.0.is_zero()) {
        return Err(Failed::Asked("--interval: must be above 0, such as 10s".to_owned()));
    }
    Ok(())
}

/// The configuration of a file, or the defaults; of the environment in either case.
pub(super) fn configuration(file: Option<&Path>) -> Result<Config, Failed> {
    let sources = Sources {
        file: file.map(Path::to_owned),
        environment: std::env::vars().collect(),
        quick_start: false,
    };
    let config = sources.load().map_err(|problems| Failed::Asked(problems.to_string()))?;
    match &config.detector.refused {
        Some(refused) => Err(Failed::Asked(format!("detector.priors: {refused}"))),
        None => Ok(config),
    }
}

pub(super) fn write(file: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(file, text)
        .map_err(|error| Failed::Running(format!("{}: cannot be written: {error}", file.display())))
}
