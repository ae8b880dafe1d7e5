//! A recording replayed through the very engine of `run`, in virtual time and causally.
//!
//! Each column is a signal of one target, each row a scrape and a check. Fits run at once and take effect thirty checks
//! later, as they do in `run` when they come back in time; where some did not, its [`Schedule`] says when they did.

mod outcome;
mod recording;
pub mod report;
pub mod rerun;
mod schedule;
mod sweep;

use std::time::{Duration, Instant};

use outcome::Counted;
pub use outcome::{Figures, Outcome, Quality, Verdict};
use recording::Recorder;
pub use recording::{Cell, Extent, Fired, Frame, Level, Recording};
use schedule::Pending;
pub use schedule::Schedule;
pub use sweep::{Basis, Tried};

use crate::config::Config;
use crate::dataset::Dataset;
use crate::detect::ensemble::Lesson;
use crate::detect::fit_tasks::Task;
use crate::detect::model_set::ModelSet;
use crate::engine::{Engine, Event, Fit, Health, Setup, TargetSetup, Teaching};
use crate::series::{Batch, Labels, Origin, Sample, Timestamp};
use crate::signal::{Definition, Plan};
use crate::window::Limits;

/// How a recording is replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The detectors and incidents; the recording's columns take the place of its signals.
    pub config: Config,
    /// What matters about the columns of these names; of others both sides do, and every deviation.
    pub signals: Vec<Definition>,
    /// Time between checks.
    pub interval: Duration,
    /// The first rows, which are known to be normal and fit on.
    pub train_rows: usize,
    /// When the fits of the run that is replayed took effect; without, each as soon as any may.
    pub fits: Option<Schedule>,
}

/// Share of the training rows that models are fitted on; the rest calibrates them.
pub const STUDIED: f64 = 0.7;
/// Raw rows kept: nothing looks further back than a row.
const RAW: usize = 16;

impl Replay {
    /// Replays `data`. `progress` is told how many of how many rows are done.
    pub fn run(&self, data: &Dataset, progress: &mut dyn FnMut(usize, usize)) -> Outcome {
        let mut stage = Stage::new(self, data);
        self.go(&mut stage, progress)
    }

    /// The same, and keeps what a page shows.
    pub fn record(
        &self,
        data: &Dataset,
        progress: &mut dyn FnMut(usize, usize),
    ) -> (Outcome, Option<Recording>) {
        let mut stage = Stage::new(self, data);
        stage.recorder = Some(Recorder::new(data, Clock::default().tell_all(data), &setup(self, data)));
        let outcome = self.go(&mut stage, progress);
        let counted = Counted::new(data, self.trained(data), self.interval);
        (outcome, stage.recorder.map(|recorder| recorder.finish(&counted)))
    }

    fn trained(&self, data: &Dataset) -> usize {
        self.train_rows.min(data.len())
    }

    fn go(&self, stage: &mut Stage<'_>, progress: &mut dyn FnMut(usize, usize)) -> Outcome {
        let (data, train) = (stage.data, self.trained(stage.data));
        let began = Instant::now();
        stage.train(train, began, progress);
        let mut row = train;
        while row < data.len() {
            row = stage.judge(row);
            if row % 256 < 2 {
                progress(row, data.len());
            }
        }
        progress(data.len(), data.len());
        let seconds = began.elapsed();
        std::mem::take(&mut stage.outcome).figures(data, train, self.interval, seconds)
    }

    /// Goes through the first `rows` of `data` without a training, and gives what is known then.
    pub fn watch(&self, data: &Dataset, rows: usize) -> Option<ModelSet> {
        let mut stage = Stage::new(self, data);
        let mut row = 0;
        while row < rows.min(data.len()) {
            row = stage.judge(row);
        }
        stage.engine.models(0)
    }

    /// Learns from all of `data` and says nothing of it.
    pub fn learn(&self, data: &Dataset, progress: &mut dyn FnMut(usize, usize)) -> Option<ModelSet> {
        let mut stage = Stage::new(self, data);
        stage.train(data.len(), Instant::now(), progress);
        stage.engine.models(0)
    }
}

/// A replay under way.
struct Stage<'a> {
    data: &'a Dataset,
    engine: Engine,
    names: Vec<Labels>,
    clock: Clock,
    outcome: Outcome,
    pending: Pending<'a>,
    /// Where more than an outcome is asked for.
    recorder: Option<Recorder>,
}

/// Virtual time: that of the recording, but never backward.
#[derive(Default)]
struct Clock {
    ahead: Duration,
    last: Option<Timestamp>,
}

/// A recording that steps back is carried on by whole days, so that the time of day stays what it was.
const DAY: Duration = Duration::from_hours(24);

impl Clock {
    /// The time at which a row of the recording's time `at` is judged.
    fn tell(&mut self, at: Timestamp) -> Timestamp {
        while self.last.is_some_and(|last| at + self.ahead <= last) {
            self.ahead += DAY;
        }
        self.last = Some(at + self.ahead);
        at + self.ahead
    }

    /// That of every row; rows of one time are judged once.
    fn tell_all(mut self, data: &Dataset) -> Vec<Timestamp> {
        let mut told: Vec<Timestamp> = Vec::with_capacity(data.len());
        for (row, at) in data.times.iter().enumerate() {
            let repeats = row > 0 && data.times[row - 1] == *at;
            told.push(if repeats { told[row - 1] } else { self.tell(*at) });
        }
        told
    }
}

impl<'a> Stage<'a> {
    fn new(replay: &'a Replay, data: &'a Dataset) -> Self {
        let names = data.metrics.iter().map(|name| Labels::new([("__name__", name.as_str())]));
        Self {
            names: names.collect(),
            engine: Engine::new(setup(replay, data)),
            clock: Clock::default(),
            outcome: Outcome::new(data),
            pending: Pending::new(replay.fits.as_ref()),
            recorder: None,
            data,
        }
    }

    fn train(&mut self, rows: usize, began: Instant, progress: &mut dyn FnMut(usize, usize)) {
        let studied = (rows as f64 * STUDIED) as usize;
        let mut row = 0;
        while row < studied {
            row = self.teach(row, Lesson::Study);
            progress(row / 2, self.data.len());
        }
        for task in self.engine.courses(0) {
            let model = task.run(&mut || ());
            self.engine.step(Event::Teach(0, Teaching::Equip(model)));
        }
        self.outcome.fitting += began.elapsed();
        while row < rows {
            row = self.teach(row, Lesson::Rehearse);
            progress(row, self.data.len());
        }
        if rows > 0 {
            self.engine.step(Event::Teach(0, Teaching::Done));
        }
        self.outcome.untouched(rows);
        if let Some(recorder) = &mut self.recorder {
            recorder.untouched(rows);
        }
    }

    fn teach(&mut self, row: usize, lesson: Lesson) -> usize {
        let (at, next) = self.scrape(row);
        self.engine.step(Event::Teach(0, Teaching::Row(at, lesson)));
        if let Some(recorder) = &mut self.recorder {
            recorder.see(at, self.data.row(next - 1));
        }
        next
    }

    /// Judges the row, or the last of those of the same time; says which comes next.
    fn judge(&mut self, row: usize) -> usize {
        let (at, next) = self.scrape(row);
        let (asked, due) = self.pending.begin();
        asked.into_iter().for_each(|kind| drop(self.engine.step(Event::Ask(0, kind))));
        due.into_iter().for_each(|fit| drop(self.engine.step(Event::Install(fit))));
        let step = self.engine.step(Event::Tick(0, at));
        step.tasks.into_iter().for_each(|task| self.fit(task));
        if let Some(judgement) = self.engine.judgement(0) {
            let verdict = Verdict::of(&judgement);
            (row..next).for_each(|_| self.outcome.push(verdict.clone()));
            if let Some(recorder) = &mut self.recorder {
                recorder.judged((row, next), at, &judgement);
            }
        }
        next
    }

    fn fit(&mut self, Fit { target, asked, what }: Fit<Task>) {
        let Some(effective) = self.pending.effective(asked, what.kind()) else { return };
        let began = Instant::now();
        let what = what.run(&mut || ());
        self.outcome.fitting += began.elapsed();
        self.pending.keep(effective, Fit { target, asked, what });
    }

    /// Hands the last of the rows of one time to the engine, and says the time and which row comes next.
    fn scrape(&mut self, row: usize) -> (Timestamp, usize) {
        let written = self.data.times[row];
        let same = self.data.times[row..].iter().take_while(|at| **at == written).count();
        let last = row + same - 1;
        let at = self.clock.tell(written);
        let present = self.data.row(last).iter().zip(&self.names);
        let samples: Vec<Sample> = present
            .filter_map(|(value, labels)| Some(Sample { labels: labels.clone(), value: (*value)?, at: None }))
            .collect();
        let health = Health { exposed: samples.len(), ..Health::default() };
        let batch = Batch { at, origin: Origin::Scrape, samples };
        self.engine.step(Event::Batch(0, batch, Some(health)));
        (at, last + 1)
    }
}

fn setup(replay: &Replay, data: &Dataset) -> Setup {
    let config = &replay.config;
    let known = |name: &String| replay.signals.iter().find(|signal| signal.name == *name).cloned();
    let signal = |name: &String| (known(name).unwrap_or_else(|| Definition::plain(name)), Plan::column(name));
    let mut detection = config.detector.settings(replay.interval, config.incident.r#for);
    detection.remember = Some(replay.train_rows.max(2048));
    Setup {
        enabled: true,
        interval: replay.interval,
        signals: data.metrics.iter().map(signal).collect(),
        targets: vec![TargetSetup {
            labels: Labels::new([("instance", "backtest"), ("job", "backtest")]),
            url: crate::setting::Address::new(data.file.display().to_string()),
            node_scope: true,
        }],
        limits: Limits { samples: RAW, bytes: usize::MAX },
        detection,
        severities: config.severity.clone(),
        persistence: config.incident.persistence(),
    }
}
