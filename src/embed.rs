//! Detection inside another program, which measures by itself: a detector, an alert manager and the pipeline of the two.
//!
//! The program feeds a vector of metrics as often as it likes, with the time of each; every `check_interval` of the
//! configuration the newest one is judged, and what came between two checks is kept raw. The same vectors at the same
//! times give the same verdicts. `examples/embed.rs` has all of it.
//!
//! This module is what other programs build on: `tests/embed-api.txt` lists it, and an item leaves or changes only with a
//! new major version.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender as Outbox, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use crate::config::{Config, Problems};
pub use crate::detect::verdict::Severity;
pub use crate::incident::Incident;
pub use crate::notify::alert::Alert;
pub use crate::series::Timestamp;

use crate::app::telling::{Telling, identity};
use crate::config::Sources;
use crate::detect::ensemble::Lesson;
use crate::detect::fit_tasks::{Model, Task};
use crate::engine::snapshot::Snapshot;
use crate::engine::{Engine, Event, Fit, Health, Teaching};
use crate::notify::counters::Counters;
use crate::notify::level::{Identity, Level, Namer};
use crate::scrape::config::Target;
use crate::series::{Batch, Labels, METRIC_NAME, Origin, Sample};
use crate::supervisor::{self, Tasks};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is not sound.
    #[error(transparent)]
    Configuration(#[from] Problems),
    /// A vector has another number of values than the configuration has signals.
    #[error("a vector of {given} values for {expected} metrics: {metrics}")]
    Width {
        /// Values given.
        given: usize,
        /// Values expected.
        expected: usize,
        /// The metrics' names, in their order.
        metrics: String,
    },
    /// Too little to learn from.
    #[error("{given} rows to train on; give at least {FEWEST}, one each check_interval")]
    Few {
        /// Rows given.
        given: usize,
    },
}

/// Rows that a training needs.
const FEWEST: usize = 100;
/// Share of them that models are fitted on; the rest calibrates them.
const STUDIED: f64 = 0.7;

/// Reads and validates a configuration file. Its signals name the metrics of a vector, in their order; of each the
/// direction and the least deviation count, not the expression.
///
/// # Errors
/// All that is wrong with the file, one line a problem.
pub fn load(file: &Path) -> Result<Config, Error> {
    Ok(Sources { file: Some(file.to_owned()), ..Sources::default() }.load()?)
}

/// What was said of one vector.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its time.
    pub at: Timestamp,
    /// Weighted mean of the detectors' confidences in an anomaly, 0 to 1; `None` while none is ready.
    pub score: Option<f64>,
    /// Whether the score exceeds `detector.ensemble_threshold`.
    pub anomalous: bool,
    /// The metric the detectors mean.
    pub metric: Option<String>,
    /// One a metric, in their order.
    pub metrics: Vec<MetricVerdict>,
    /// The incidents that fire.
    pub firing: Vec<Incident>,
}

/// What was said of one metric.
#[derive(Clone, Debug)]
pub struct MetricVerdict {
    /// Its name.
    pub name: String,
    /// Its value, in its unit; `None` for no data.
    pub value: Option<f64>,
    /// The value expected, in the same unit, once that is known.
    pub expected: Option<f64>,
    /// As for the vector; `None` without a value or while no detector is ready.
    pub score: Option<f64>,
}

/// The detectors, with what they have learned.
pub struct Detector {
    engine: Engine,
    metrics: Vec<String>,
    series: Vec<Labels>,
    interval: Duration,
}

impl Detector {
    /// Detectors that know nothing yet.
    pub fn new(config: &Config) -> Self {
        let mut config = config.clone();
        for signal in &mut config.signals {
            // A matcher, for a name may be a word of PromQL's.
            signal.expr = format!("{{__name__=\"{}\"}}", signal.name);
        }
        let mut target = Target::new("embedded");
        target.labels.insert("instance".to_owned(), "embedded".to_owned());
        config.scrape.targets = vec![target];
        let metrics: Vec<String> = config.signals.iter().map(|signal| signal.name.clone()).collect();
        Self {
            series: metrics.iter().map(|name| Labels::new([(METRIC_NAME, name.as_str())])).collect(),
            engine: Engine::new(crate::app::setup(&config, "embedded", 0)),
            interval: config.check_interval.0,
            metrics,
        }
    }

    /// Names of the metrics of a vector, in their order.
    pub fn metrics(&self) -> &[String] {
        &self.metrics
    }

    /// Time between checks.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Learns from rows that are known to be normal, ascending, one each [`Detector::interval`]. Takes seconds; the
    /// detectors are ready after it.
    ///
    /// # Errors
    /// Fewer than 100 rows, or one of another width; then nothing is learned.
    pub fn train(&mut self, rows: &[(Timestamp, Vec<f64>)]) -> Result<(), Error> {
        if rows.len() < FEWEST {
            return Err(Error::Few { given: rows.len() });
        }
        rows.iter().try_for_each(|(_, values)| self.check(values))?;
        let studied = (rows.len() as f64 * STUDIED) as usize;
        for (nth, (at, values)) in rows.iter().enumerate() {
            if nth == studied {
                for task in self.engine.courses(0) {
                    self.engine.step(Event::Teach(0, Teaching::Equip(task.run(&mut || ()))));
                }
            }
            self.take(*at, values);
            let lesson = if nth < studied { Lesson::Study } else { Lesson::Rehearse };
            self.engine.step(Event::Teach(0, Teaching::Row(*at, lesson)));
        }
        self.engine.step(Event::Teach(0, Teaching::Done));
        Ok(())
    }

    fn check(&self, values: &[f64]) -> Result<(), Error> {
        let (given, expected) = (values.len(), self.metrics.len());
        if given == expected {
            return Ok(());
        }
        Err(Error::Width { given, expected, metrics: self.metrics.join(", ") })
    }

    fn take(&mut self, at: Timestamp, values: &[f64]) {
        let present = self.series.iter().zip(values).filter(|(_, value)| value.is_finite());
        let samples: Vec<Sample> = present
            .map(|(labels, value)| Sample { labels: labels.clone(), value: *value, at: None })
            .collect();
        let health = Health { exposed: samples.len(), ..Health::default() };
        self.engine.step(Event::Batch(0, Batch { origin: Origin::Scrape, at, samples }, Some(health)));
    }
}

/// Who tells of incidents: the configuration's Alertmanagers and native channels, and whoever asks.
pub struct AlertManager {
    show: watch::Sender<Arc<Snapshot>>,
    identity: Arc<Identity>,
    config: Config,
    senders: JoinSet<()>,
    stop: CancellationToken,
}

impl AlertManager {
    /// Tells nobody yet.
    pub fn new(config: &Config) -> Self {
        let identity = Arc::new(identity(config, ""));
        let (senders, stop) = (JoinSet::new(), CancellationToken::new());
        Self { show: watch::Sender::default(), identity, config: config.clone(), senders, stop }
    }

    /// Every alert that should be known at `now`, as Alertmanager takes them: those that fire, and those that have ended in
    /// the last 15 minutes.
    pub fn alerts(&self, now: Timestamp) -> Vec<Alert> {
        let snapshot = Arc::clone(&self.show.borrow());
        let level = Level::new(snapshot, &[], Arc::clone(&self.identity), &mut Namer::default(), now);
        let steps = level.cases.iter().flat_map(|case| case.steps.iter().map(move |step| (case, step)));
        steps.map(|(case, step)| level.alert(case, step)).collect()
    }

    /// Begins to tell whom the configuration names; within a tokio runtime where there is anybody.
    fn start(&mut self) {
        let alert = &self.config.alert;
        if alert.alertmanagers.is_empty() && !alert.has_channels() {
            return;
        }
        let (snapshots, stop) = (self.show.subscribe(), self.stop.clone());
        let (tasks, counters) = (Tasks::default(), Counters::default());
        Telling::default().start(&self.config, "", counters, snapshots, stop, (&tasks, &mut self.senders));
    }
}

/// From vectors to verdicts and alerts.
pub struct Pipeline {
    detector: Detector,
    alerts: AlertManager,
    started: bool,
    next_check: Option<Timestamp>,
    tasks: Outbox<Fit<Task>>,
    fitted: std::sync::Mutex<Receiver<Fit<Model>>>,
}

impl Pipeline {
    /// A pipeline that keeps what it is fed and judges nothing yet.
    pub fn new(detector: Detector, alerts: AlertManager) -> Self {
        let (tasks, inbox) = channel::<Fit<Task>>();
        let (back, fitted) = channel();
        // Fits take seconds: they run beside, and end with the pipeline.
        std::thread::spawn(move || {
            Tasks::default().keep_thread(supervisor::Task::Fit, |_| {
                for Fit { target, asked, what } in &inbox {
                    let what = what.run(&mut || ());
                    if back.send(Fit { target, asked, what }).is_err() {
                        return;
                    }
                }
            });
        });
        Self { detector, alerts, started: false, next_check: None, tasks, fitted: fitted.into() }
    }

    /// From here on vectors are judged and alerts leave. With Alertmanagers or native channels configured it has to be
    /// called within a tokio runtime.
    pub fn start(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            self.alerts.start();
        }
    }

    /// Takes in a vector, one value a metric in the order of [`Detector::metrics`]; a value that is not finite is no data.
    /// A verdict comes of the first vector of each check interval. Vectors come in the order of their times; one that is
    /// not newer than the last is dropped.
    ///
    /// # Errors
    /// Another number of values than there are metrics; then nothing changes.
    pub fn feed(&mut self, at: Timestamp, values: &[f64]) -> Result<Option<Verdict>, Error> {
        self.detector.check(values)?;
        self.detector.take(at, values);
        if !self.started || self.next_check.is_some_and(|next| at < next) {
            return Ok(None);
        }
        self.next_check = Some(at + self.detector.interval);
        while let Ok(fit) = self.fitted.get_mut().unwrap_or_else(PoisonError::into_inner).try_recv() {
            self.detector.engine.step(Event::Install(fit));
        }
        for task in self.detector.engine.step(Event::Tick(0, at)).tasks {
            // The thread ends with this pipeline only.
            let _ = self.tasks.send(task);
        }
        let snapshot = Arc::new(self.detector.engine.snapshot());
        self.alerts.show.send_replace(Arc::clone(&snapshot));
        Ok(Some(verdict(at, &snapshot)))
    }

    /// The raw values of a metric that are kept, `buffer_size` at most, oldest first.
    pub fn raw(&self, metric: &str) -> Vec<(Timestamp, f64)> {
        let series = self.detector.series.iter().find(|labels| labels.name() == metric);
        series.map(|labels| self.detector.engine.raw(0, labels)).unwrap_or_default()
    }

    /// The alert manager.
    pub fn alert_manager(&self) -> &AlertManager {
        &self.alerts
    }

    /// Tells what is left to tell, and ends.
    pub async fn stop(mut self) {
        self.alerts.stop.cancel();
        while self.alerts.senders.join_next().await.is_some() {}
    }
}

fn verdict(at: Timestamp, snapshot: &Snapshot) -> Verdict {
    let target = snapshot.targets.first();
    let metric = |metric: &crate::engine::snapshot::MetricSnapshot| MetricVerdict {
        name: metric.name().to_owned(),
        value: metric.value,
        expected: metric.band.map(|band| band.expected),
        score: metric.assessment.map(|assessment| assessment.score),
    };
    let score = target.and_then(|target| target.assessment).map(|assessment| assessment.score);
    let consensus = target.and_then(|target| target.consensus.as_ref()?.get("metric_name"));
    Verdict {
        at,
        score,
        anomalous: score.is_some_and(|score| score > snapshot.threshold),
        metric: consensus.map(str::to_owned),
        metrics: target.map(|target| target.metrics.iter().map(metric).collect()).unwrap_or_default(),
        firing: snapshot.incidents.iter().filter(|incident| incident.ended_at.is_none()).cloned().collect(),
    }
}
