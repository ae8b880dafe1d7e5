//! A target at one timescale: the residuals as they come, or their trailing mean, and what each component makes of them.
//!
//! Short faults show in the residuals themselves, faint and lasting ones in the mean of five minutes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Scorer;
use super::component::Component;
use super::isolation::{self, Isolation, windows};
use super::lstm::{self, Autoencoder, Course};
use super::model_set::TimescaleSet;
use super::priors::Priors;
use super::seasonal_esd::SeasonalEsd;
use super::shape::{self, Recent, Shape};
use super::surprisal::{Normal, Raw, Surprisal};
use super::training_set::Trailing;
use super::trend::Trend;
use super::zscore::{Expectation, Rolling};
use crate::series::Timestamp;

/// Spans of the z-score's further components, as multiples of its window.
const SHORT: f64 = 0.2;
const LONG: f64 = 10.0;
const STEP: f64 = 3.6;
/// A step is from so many values ago.
const STEP_BACK: usize = 3;
/// Least scale of a residual, of a metric's spread; and of a step.
const FLOOR: f64 = 0.1;
const STEP_FLOOR: f64 = 0.01;
/// Scales from expected beyond which a value is far out, and those within which it is not.
const FAR_OUT: f64 = 6.0;
const NOT_FAR: f64 = 3.0;
/// Values in a row that may be a spike, at most: an incident opens at the third. And the time they may last: where checks are
/// further apart, one value is a fault of a minute or more.
const MOST_ALONE: usize = 2;
const LONGEST_ALONE: Duration = Duration::from_secs(30);
/// Scales from expected beyond which a value on the side that matters to nobody is taken for one no further out.
const EXCLUDED: f64 = 2.0;

/// Checks before an incident opens that are its edge: it grows from check to check where signals are means of some time.
pub(super) const EDGE: usize = 4;

/// What a timescale needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cut {
    /// Values the trailing mean is of; 1 for the values as they come.
    pub(super) smoothing: usize,
    /// Values in the z-score's window.
    pub(super) window: usize,
    /// Percent of the ESD window that may be outliers.
    pub(super) max_anomalies: f64,
    /// Rows of the LSTM's window.
    pub(super) steps: usize,
    /// Values in a row that are far out and yet the new level.
    pub(super) hold: u32,
    /// Time between checks.
    pub(super) interval: Duration,
}

/// Values before the newest that a component's score is of.
pub(super) fn look_back(cut: &Cut, component: Component) -> usize {
    let values = match component {
        Component::Isolation => shape::BACK,
        Component::Windows => windows::MOST_ROWS,
        Component::Lstm => cut.steps,
        Component::ZStep => STEP_BACK,
        Component::ZShort | Component::Z | Component::ZLong | Component::Esd => 0,
    };
    values + cut.smoothing - 1
}

/// A target at one timescale. Its models are kept apart, because they seldom change.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Timescale {
    pub(super) cut: Cut,
    pub(super) weights: [f64; Component::COUNT],
    tracks: Vec<Track>,
    course: VecDeque<Vec<Option<f64>>>,
    #[serde(skip)]
    pub(super) isolation: Option<Arc<Isolation>>,
    #[serde(skip)]
    pub(super) lstm: Option<Arc<Autoencoder>>,
    pub(super) normal: [Normal; Component::COUNT],
}

/// What is known about one metric at this timescale.
#[derive(Clone, Serialize, Deserialize)]
struct Track {
    mean: Trailing,
    recent: Recent,
    short: Trend,
    z: Rolling,
    long: Trend,
    step: Trend,
    esd: SeasonalEsd,
    /// Root mean square distance of normal values; 0 before a fit has told.
    spread: f64,
    /// Values and steps that are learned if no incident begins with them, oldest first.
    edge: VecDeque<(f64, Option<f64>)>,
    /// Values in a row that are far out, and the first of them, which nothing that looks back holds yet.
    out: usize,
    spikes: Vec<f64>,
}

/// What a row looks like at one timescale; buffers are reused.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    values: Vec<Option<f64>>,
    shapes: Vec<Option<Shape>>,
    /// By the z-score's window, and by seasonal ESD.
    pub(super) expectations: Vec<[Option<Expectation>; 2]>,
    /// Distance from expected in residual scales, in the same order.
    pub(super) deviations: Vec<[Option<f64>; 2]>,
    pub(super) raw: [Raw; Component::COUNT],
    pub(super) surprisals: [Surprisal; Component::COUNT],
    trees: isolation::Buffers,
    network: lstm::Buffers,
}

impl Timescale {
    pub(super) fn new(cut: Cut, weights: [f64; Component::COUNT], width: usize, priors: &Priors) -> Self {
        let priors = priors.at(cut.smoothing > 1);
        Self {
            cut,
            weights,
            tracks: (0..width).map(|_| Track::new(&cut)).collect(),
            course: VecDeque::with_capacity(cut.steps),
            isolation: None,
            lstm: None,
            normal: std::array::from_fn(|component| Normal::new(width, cut.interval, &priors[component])),
        }
    }

    /// Takes up a further metric, at the end.
    pub(super) fn add(&mut self, priors: &Priors) {
        self.tracks.push(Track::new(&self.cut));
        let priors = priors.at(self.cut.smoothing > 1);
        self.normal.iter_mut().zip(priors).for_each(|(normal, prior)| normal.add(prior));
    }

    /// Forgets everything about one metric.
    pub(super) fn forget(&mut self, metric: usize, priors: &Priors) {
        self.tracks[metric] = Track::new(&self.cut);
        let priors = priors.at(self.cut.smoothing > 1);
        self.normal.iter_mut().zip(priors).for_each(|(normal, prior)| normal.forget(metric, prior));
    }

    /// Takes over what `before` knows of the metrics that `stays` names, each with its place there and here: what fitted
    /// models say is of other metrics now, and left behind.
    pub(super) fn inherit(&mut self, before: &mut Self, stays: &[(usize, usize)]) {
        for (was, is) in stays {
            std::mem::swap(&mut self.tracks[*is], &mut before.tracks[*was]);
        }
        for component in Component::ALL {
            if !component.is_fitted() {
                let at = component.index();
                self.normal[at].inherit(&mut before.normal[at], stays);
            }
        }
        let cut = std::mem::replace(&mut self.cut, before.cut);
        self.recut(cut);
    }

    /// Goes on by other windows, with what the old ones hold of it.
    pub(super) fn recut(&mut self, cut: Cut) {
        let window = cut.window as f64;
        for track in &mut self.tracks {
            track.z.resize(cut.window);
            for (trend, times) in
                [(&mut track.short, SHORT), (&mut track.long, LONG), (&mut track.step, STEP)]
            {
                trend.respan(window * times);
            }
            track.esd.allow(cut.max_anomalies);
        }
        self.cut = cut;
    }

    /// Raw scores and expectations of a row; `width` metrics of it, from the first on, are those that were there from
    /// the beginning, which fitted models know. `least` are the smallest spreads that matter, one a metric.
    pub(super) fn look(&self, values: &[Option<f64>], least: &[f64], width: usize, look: &mut Look) {
        look.values.clear();
        look.values.extend(self.tracks.iter().zip(values).map(|(track, v)| v.map(|v| track.mean.with(v))));
        look.shapes.clear();
        look.expectations.clear();
        look.deviations.clear();
        look.raw.iter_mut().for_each(|raw| raw.clear(values.len()));
        for (metric, (track, value)) in self.tracks.iter().zip(&look.values).enumerate() {
            look.shapes.push(value.and_then(|value| track.recent.shape_with(value)));
            look.expectations.push(track.expectations());
            let Some(value) = *value else {
                look.deviations.push([None; 2]);
                continue;
            };
            let levels = track.levels();
            look.deviations.push(deviations(&levels, value));
            for (component, distance) in track.distances(&levels, value, least[metric]) {
                look.raw[component.index()].metrics[metric] = distance;
            }
        }
        if let Some(isolation) = &self.isolation {
            let raw = &mut look.raw[Component::Isolation.index()];
            isolation.score(&look.shapes[..width], &mut look.trees, raw);
            raw.metrics.resize(values.len(), None);
        }
        let course = Course { before: &self.course, last: &look.values };
        if let Some(windows) = self.isolation.as_ref().and_then(|isolation| isolation.windows.as_ref()) {
            windows.score(&course, &mut look.trees, &mut look.raw[Component::Windows.index()]);
        }
        if let Some(lstm) = &self.lstm {
            lstm.score(course, &mut look.network, &mut look.raw[Component::Lstm.index()]);
        }
    }

    /// The surprisals of the raw scores.
    pub(super) fn surprisal(&self, filtered: &[bool], look: &mut Look) {
        for ((normal, raw), surprisal) in self.normal.iter().zip(&look.raw).zip(&mut look.surprisals) {
            normal.surprisal(raw, filtered, surprisal);
        }
    }

    /// Takes in the row that `look` is of: its course always, as a baseline only the metrics to `learn`. `usual` is where
    /// values as they come are expected, by which a spike is told.
    pub(super) fn learn(
        &mut self,
        at: Timestamp,
        values: &[Option<f64>],
        least: &[f64],
        look: &Look,
        usual: &[[Option<Expectation>; 2]],
        (learn, keeps_edge): (&[bool], bool),
    ) {
        let mut row = if self.course.len() + 1 >= self.cut.steps.max(windows::MOST_ROWS) {
            self.course.pop_front().unwrap_or_default()
        } else {
            Vec::new()
        };
        row.clone_from(&look.values);
        let alone = alone(self.cut.interval);
        for (metric, track) in self.tracks.iter_mut().enumerate() {
            let (Some(value), Some(smooth)) = (values[metric], look.values[metric]) else { continue };
            if learn[metric] {
                track.learn(smooth, least[metric], keeps_edge);
            }
            let kept = track.despike(value, usual[metric][0], alone);
            let mean = track.mean.push(kept);
            track.recent.push(at, mean);
            row[metric] = Some(mean);
            if track.out == alone + 1 && alone > 0 {
                // It lasts: what was taken for a spike was its beginning.
                let course = self.course.iter_mut().rev().filter_map(|row| row.get_mut(metric)?.as_mut());
                track.restore(course);
            }
        }
        self.course.push_back(row);
    }

    /// A metric is expected elsewhere from here on: what is looked back on is told anew, by `map`.
    pub(super) fn move_to(&mut self, metric: usize, map: impl Fn(f64) -> f64 + Copy) {
        let track = &mut self.tracks[metric];
        track.mean.map(map);
        track.recent.map(map);
        track.edge.clear();
        for value in self.course.iter_mut().filter_map(|row| row.get_mut(metric)?.as_mut()) {
            *value = map(*value);
        }
    }

    /// A metric's fault is over since `checks` checks: what is left of it in the trailing mean is not news. The mean stays
    /// one of as many values, since one of few strays further than what the calibration knows.
    pub(super) fn settle(&mut self, metric: usize, checks: usize) {
        let track = &mut self.tracks[metric];
        if let Some(usual) = track.z.expectation() {
            track.mean.settle(usual.expected, checks);
        }
    }

    /// An incident of a metric has begun: what came just before is its edge.
    pub(super) fn forget_edge(&mut self, metric: usize) {
        self.tracks[metric].edge.clear();
    }

    /// What was before a gap in time is no course to go on with.
    pub(super) fn gap(&mut self) {
        self.course.clear();
        for track in &mut self.tracks {
            track.recent.clear();
            track.mean.clear();
        }
    }

    pub(super) fn set_spread(&mut self, metric: usize, spread: f64) {
        self.tracks[metric].spread = spread;
    }

    /// What was learned, to be kept.
    pub(super) fn set(&self, width: usize) -> TimescaleSet {
        TimescaleSet {
            smoothing: self.cut.smoothing,
            isolation: self.isolation.clone(),
            lstm: self.lstm.clone(),
            normal: self.normal.to_vec(),
            spreads: self.tracks[..width].iter().map(|track| track.spread).collect(),
        }
    }

    /// Takes up what was learned elsewhere; series that came later keep what they know.
    pub(super) fn adopt(&mut self, set: &TimescaleSet, priors: &Priors) {
        self.isolation.clone_from(&set.isolation);
        self.lstm.clone_from(&set.lstm);
        let priors = priors.at(self.cut.smoothing > 1);
        for ((own, learned), prior) in self.normal.iter_mut().zip(&set.normal).zip(priors) {
            own.adopt(learned, prior);
        }
        for (track, spread) in self.tracks.iter_mut().zip(&set.spreads) {
            track.spread = *spread;
        }
    }

    /// Leans on `priors` from here on.
    pub(super) fn lean_on(&mut self, priors: &Priors) {
        let priors = priors.at(self.cut.smoothing > 1);
        self.normal.iter_mut().zip(priors).for_each(|(normal, prior)| normal.lean_on(prior));
    }

    /// Values before the newest that any component's score is of.
    pub(super) fn longest_look_back(&self) -> usize {
        Component::ALL.into_iter().map(|component| look_back(&self.cut, component)).max().unwrap_or(0)
    }

    /// Whether the autoencoder's window is full.
    pub(super) fn has_course(&self) -> bool {
        self.course.len() + 1 >= self.cut.steps
    }

    /// The least residual that is not below all that are usual, and the greatest that is not above them.
    pub(super) fn usual(&self, metric: usize) -> Option<(f64, f64)> {
        let Expectation { expected, scale } = self.tracks[metric].z.expectation()?;
        Some((expected - EXCLUDED * scale, expected + EXCLUDED * scale))
    }

    /// Values or rows that a component compares a metric with, or looks at: at most so many, fewer while they gather.
    pub(super) fn window_of(&self, component: Component, metric: usize) -> usize {
        let track = &self.tracks[metric];
        match component {
            Component::Isolation => 1,
            Component::Windows => self.course.len().min(windows::MOST_ROWS) + 1,
            Component::Lstm => self.cut.steps,
            Component::ZShort => track.z.len().min((self.cut.window as f64 * SHORT) as usize),
            Component::Z => track.z.len(),
            Component::ZLong => (self.cut.window as f64 * LONG) as usize,
            Component::ZStep => (self.cut.window as f64 * STEP) as usize,
            Component::Esd => track.esd.len(),
        }
    }

    /// Values a metric's baseline rests on, of the metric that has most.
    pub(super) fn values(&self) -> usize {
        self.tracks.iter().map(|track| track.z.len()).max().unwrap_or(0)
    }
}

/// Values in a row that may be a spike, with checks so far apart.
fn alone(interval: Duration) -> usize {
    let checks = LONGEST_ALONE.as_secs_f64() / interval.as_secs_f64().max(1e-3);
    (checks as usize).min(MOST_ALONE)
}

/// What each level expects.
type Levels = [(Component, Option<Expectation>); 4];

/// The furthest `value` is from where the z-score and seasonal ESD expect it, in residual scales as they are.
fn deviations(levels: &Levels, value: f64) -> [Option<f64>; 2] {
    let [short, z, long, esd] = levels.map(|(_, e)| Some(e?.distance(value)));
    [[short, z, long].into_iter().flatten().reduce(f64::max), esd]
}

impl Track {
    fn new(cut: &Cut) -> Self {
        let window = cut.window as f64;
        Self {
            mean: Trailing::new(cut.smoothing),
            recent: Recent::default(),
            short: Trend::new(window * SHORT, cut.hold),
            z: Rolling::new(cut.window),
            long: Trend::new(window * LONG, cut.hold),
            step: Trend::new(window * STEP, cut.hold),
            esd: SeasonalEsd::new(cut.max_anomalies, cut.interval),
            spread: 0.0,
            edge: VecDeque::with_capacity(EDGE + 1),
            out: 0,
            spikes: Vec::new(),
        }
    }

    /// What of `value` is looked back on: all of it, or, where it is far out and no more than `alone` before it were, no
    /// more than is usual. One or two values far out are no course, and news for as long as they last only.
    fn despike(&mut self, value: f64, usual: Option<Expectation>, alone: usize) -> f64 {
        let Some(usual) = usual.filter(|usual| usual.distance(value) > FAR_OUT) else {
            self.out = 0;
            return value;
        };
        self.out += 1;
        if self.out > alone {
            return value;
        }
        if self.out == 1 {
            self.spikes.clear();
        }
        self.spikes.push(value);
        let reach = NOT_FAR * usual.scale;
        value.clamp(usual.expected - reach, usual.expected + reach)
    }

    /// Puts the spikes back where they were: before the newest value of what looks back, and at the end of its course.
    fn restore<'a>(&mut self, course: impl Iterator<Item = &'a mut f64>) {
        if self.mean.room() > 1 {
            self.mean.restore(&self.spikes);
            return;
        }
        self.recent.restore(&self.spikes);
        course.zip(self.spikes.iter().rev()).for_each(|(to, spike)| *to = *spike);
    }

    fn expectations(&self) -> [Option<Expectation>; 2] {
        let floor = self.floor(0.0);
        [self.z.expectation(), self.esd.expectation()].map(|e| e.map(|e| e.floored(floor)))
    }

    /// Least scale of a residual, where a spread of less than `least` matters to nobody. Without that the raw scores of a
    /// signal that hardly moves would reach their cap in normal data, at jumps of no account, and nothing be beyond them.
    fn floor(&self, least: f64) -> f64 {
        FLOOR * self.spread.max(least)
    }

    /// The same for a step.
    fn step_floor(&self, least: f64) -> f64 {
        STEP_FLOOR * self.spread.max(least)
    }

    /// What each level expects of the next value, whatever matters.
    fn levels(&self) -> Levels {
        let (floor, [z, esd]) = (self.floor(0.0), self.expectations());
        [
            (Component::ZShort, self.short.expectation(floor)),
            (Component::Z, z),
            (Component::ZLong, self.long.expectation(floor)),
            (Component::Esd, esd),
        ]
    }

    /// How far `value` is from what each component expects, in its scales.
    fn distances(&self, levels: &Levels, value: f64, least: f64) -> [(Component, Option<f64>); 5] {
        let floor = self.floor(least);
        let [short, z, long, esd] =
            levels.map(|(component, e)| (component, e.map(|e| e.floored(floor).distance(value))));
        let step = self.recent.back(STEP_BACK).map(|before| (value - before) / STEP_BACK as f64);
        let expected = self.step.expectation(self.step_floor(least));
        [short, z, long, (Component::ZStep, step.and_then(|step| Some(expected?.distance(step)))), esd]
    }

    fn learn(&mut self, value: f64, least: f64, keeps_edge: bool) {
        let step = self.recent.back(STEP_BACK).map(|before| (value - before) / STEP_BACK as f64);
        self.edge.push_back((value, step));
        if self.edge.len() <= EDGE && keeps_edge && !self.z.is_young() {
            return;
        }
        let Some((value, step)) = self.edge.pop_front() else { return };
        let (floor, step_floor) = (self.floor(least), self.step_floor(least));
        if let Some(step) = step {
            self.step.learn(step, step_floor);
        }
        self.short.learn(value, floor);
        self.long.learn(value, floor);
        self.z.learn(value);
        self.esd.learn(value);
    }
}
