//! A target at one pace: the values as they come, or their trailing mean, and what each part makes of them.
//!
//! Short faults show in the values themselves, faint and lasting ones in the mean of five minutes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Scorer;
use super::isolation::{self, Isolation, windows};
use super::lstm::{self, Autoencoder, Course};
use super::model_set::PaceSet;
use super::part::Part;
use super::past::Trailing;
use super::season::Season;
use super::seasonal_esd::SeasonalEsd;
use super::shape::{self, Recent, Shape};
use super::stray;
use super::surprise::{Normal, Raw, Surprise};
use super::trend::Trend;
use super::zscore::{Expectation, Rolling};
use crate::series::Timestamp;

/// Spans of the z-score's further parts, as multiples of its window.
const SHORT: f64 = 0.2;
const LONG: f64 = 10.0;
const STEP: f64 = 3.6;
/// A step is from so many values ago.
const STEP_BACK: usize = 3;
/// Least scale of a residual, of a metric's spread; and of a step.
const FLOOR: f64 = 0.1;
const STEP_FLOOR: f64 = 0.01;

/// What a pace needs to know.
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

/// A target at one pace. Its models are kept apart, because they seldom change.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Pace {
    pub(super) cut: Cut,
    pub(super) weights: [f64; Part::COUNT],
    tracks: Vec<Track>,
    course: VecDeque<Vec<Option<f64>>>,
    #[serde(skip)]
    pub(super) isolation: Option<Arc<Isolation>>,
    #[serde(skip)]
    pub(super) lstm: Option<Arc<Autoencoder>>,
    #[serde(with = "super::surprise::exactly")]
    pub(super) normal: [Normal; Part::COUNT],
}

/// What is known about one metric at this pace.
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
    /// Rows since the last that was of a fault, or away from its band ever since; [`u32::MAX`] before the first fault.
    since_fault: u32,
    /// Whether values of a fault are in the mean.
    is_stained: bool,
}

/// What a row looks like at one pace; buffers are reused.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    values: Vec<Option<f64>>,
    newest: Vec<Vec<Option<f64>>>,
    shapes: Vec<Option<Shape>>,
    /// By the z-score's window, and by seasonal ESD.
    pub(super) expectations: Vec<[Option<Expectation>; 2]>,
    /// Distance from expected in residual scales, in the same order.
    pub(super) deviations: Vec<[Option<f64>; 2]>,
    pub(super) raw: [Raw; Part::COUNT],
    pub(super) surprises: [Surprise; Part::COUNT],
    /// Whether a part sees nothing of a fault, one a metric.
    clear: Vec<bool>,
    trees: isolation::Buffers,
    network: lstm::Buffers,
}

impl Pace {
    pub(super) fn new(cut: Cut, weights: [f64; Part::COUNT], width: usize) -> Self {
        Self {
            cut,
            weights,
            tracks: (0..width).map(|_| Track::new(&cut)).collect(),
            course: VecDeque::with_capacity(cut.steps),
            isolation: None,
            lstm: None,
            normal: std::array::from_fn(|_| Normal::new(width, cut.interval)),
        }
    }

    /// Takes up a further metric, at the end.
    pub(super) fn add(&mut self) {
        self.tracks.push(Track::new(&self.cut));
        self.normal.iter_mut().for_each(Normal::add);
    }

    /// Forgets everything about one metric.
    pub(super) fn forget(&mut self, metric: usize) {
        self.tracks[metric] = Track::new(&self.cut);
        self.normal.iter_mut().for_each(|normal| normal.forget(metric));
    }

    /// Takes over what `before` knows of the metrics that `stays` names, each with its place there and here: what fitted
    /// models say is of other metrics now, and left behind.
    pub(super) fn inherit(&mut self, before: &mut Self, stays: &[(usize, usize)], least: &[f64]) {
        for (was, is) in stays {
            std::mem::swap(&mut self.tracks[*is], &mut before.tracks[*was]);
        }
        for part in Part::ALL {
            if !matches!(part, Part::Isolation | Part::Windows | Part::Lstm) {
                let at = part.index();
                self.normal[at].inherit(&mut before.normal[at], stays);
            }
        }
        let cut = std::mem::replace(&mut self.cut, before.cut);
        self.recut(cut, least);
    }

    /// Goes on by other windows; what the old ones held is read into them.
    pub(super) fn recut(&mut self, cut: Cut, least: &[f64]) {
        let before = std::mem::replace(&mut self.cut, cut);
        if before.window == cut.window && before.max_anomalies == cut.max_anomalies {
            return;
        }
        for (track, least) in self.tracks.iter_mut().zip(least) {
            let recent = std::mem::take(&mut track.recent);
            let (spread, since_fault) = (track.spread, track.since_fault);
            *track = Track { recent, spread, since_fault, ..Track::new(&cut) };
            track.adapt(Timestamp::from_millis(i64::MIN), *least);
        }
    }

    /// Raw scores and expectations of a row; `width` metrics of it, from the first on, are those that were there from
    /// the beginning, which fitted models know. `least` are the smallest spreads that matter, one a metric.
    pub(super) fn look(
        &self,
        at: Timestamp,
        values: &[Option<f64>],
        least: &[f64],
        width: usize,
        look: &mut Look,
    ) {
        look.values.clear();
        look.values.extend(self.tracks.iter().zip(values).map(|(track, v)| v.map(|v| track.mean.with(v))));
        look.shapes.clear();
        look.expectations.clear();
        look.deviations.clear();
        look.raw.iter_mut().for_each(|raw| raw.clear(values.len()));
        for (metric, (track, value)) in self.tracks.iter().zip(&look.values).enumerate() {
            look.shapes.push(value.and_then(|value| track.recent.shape_with(value)));
            look.expectations.push(track.expectations(at));
            let Some(value) = *value else {
                look.deviations.push([None; 2]);
                continue;
            };
            let levels = track.levels(at);
            look.deviations.push(deviations(&levels, value));
            for (part, distance) in track.distances(&levels, value, least[metric]) {
                look.raw[part.index()].metrics[metric] = distance;
            }
        }
        if let Some(isolation) = &self.isolation {
            let raw = &mut look.raw[Part::Isolation.index()];
            isolation.score(&look.shapes[..width], &mut look.trees, raw);
            raw.metrics.resize(values.len(), None);
        }
        self.newest(&look.values, &mut look.newest);
        let course = Course { before: &self.course, newest: &look.newest, last: &look.values };
        if let Some(windows) = self.isolation.as_ref().and_then(|isolation| isolation.windows.as_ref()) {
            windows.score(&course, &mut look.trees, &mut look.raw[Part::Windows.index()]);
        }
        if let Some(lstm) = &self.lstm {
            lstm.score(course, &mut look.network, &mut look.raw[Part::Lstm.index()]);
        }
    }

    /// The newest rows of the course as `values` look back on them, where some of theirs stand alone; otherwise none.
    fn newest(&self, values: &[Option<f64>], rows: &mut Vec<Vec<Option<f64>>>) {
        let alone = |at: usize| values[at].map(|value| self.tracks[at].recent.alone_before(value));
        let has_some = |at: usize| alone(at).is_some_and(|alone| !alone.is_none());
        if !(0..values.len()).any(has_some) {
            rows.clear();
            return;
        }
        let n = self.course.len().min(stray::MOST);
        rows.resize_with(n, Vec::new);
        for (row, known) in rows.iter_mut().zip(self.course.iter().skip(self.course.len() - n)) {
            row.clone_from(known);
        }
        for at in 0..values.len() {
            let cells = rows.iter_mut().rev().filter_map(|row| row.get_mut(at)?.as_mut());
            alone(at).unwrap_or_default().replace(cells);
        }
    }

    /// What the raw scores surprise by.
    pub(super) fn surprise(&self, gated: &[bool], look: &mut Look) {
        for ((normal, raw), surprise) in self.normal.iter().zip(&look.raw).zip(&mut look.surprises) {
            normal.surprise(raw, gated, surprise);
        }
    }

    /// Takes in the row that `look` is of: its course always, as a baseline only the metrics to `learn`; those with a
    /// `fault` are remembered as such until they are no longer `away` from their band. What a fault leaves behind may
    /// matter to nobody, as memory that is given back slowly, and yet score as no normal value does.
    pub(super) fn learn(
        &mut self,
        at: Timestamp,
        values: &[Option<f64>],
        least: &[f64],
        look: &Look,
        (learn, fault, away): (&[bool], &[bool], &[bool]),
    ) {
        let most = stray::alone(self.cut.interval);
        for (metric, track) in self.tracks.iter_mut().enumerate() {
            let lingers = track.since_fault == 0 && away[metric];
            track.since_fault =
                if fault[metric] || lingers { 0 } else { track.since_fault.saturating_add(1) };
            track.is_stained |= fault[metric];
            let (Some(value), Some(smooth)) = (values[metric], look.values[metric]) else { continue };
            if learn[metric] {
                track.learn(at, smooth, least[metric]);
            }
            track.mean.push(value, most);
            let before = self.course.iter_mut().rev().filter_map(|row| row.get_mut(metric)?.as_mut());
            track.recent.push(at, smooth, most).replace(before);
        }
        let mut row = if self.course.len() + 1 >= self.cut.steps.max(windows::MOST_ROWS) {
            self.course.pop_front().unwrap_or_default()
        } else {
            Vec::new()
        };
        row.clone_from(&look.values);
        self.course.push_back(row);
    }

    /// Whether what is normal comes of a training: what fits of its own have left is of fitted models alone.
    pub(super) fn is_taught(&self) -> bool {
        self.normal[Part::Z.index()].is_taught()
    }

    /// Faults of `metrics` have begun, and nobody has taught what is normal.
    pub(super) fn take_back(&mut self, metrics: &[usize]) {
        if !self.is_taught() {
            self.normal.iter_mut().for_each(|normal| normal.take_back(metrics));
        }
    }

    /// Takes in what the row that `look` is of scored: of metrics to `learn`, and, unless taught, knowing which scores still
    /// look back on a fault.
    pub(super) fn absorb(&mut self, look: &mut Look, learn: &[bool]) {
        let taught = self.is_taught();
        for part in Part::ALL {
            let back = self.looks_back(part);
            look.clear.clear();
            let is_clear = |track: &Track| taught || track.is_clear(back, self.cut.smoothing);
            look.clear.extend(self.tracks.iter().map(is_clear));
            if part.is_of_all() {
                let all = look.clear.iter().all(|clear| *clear);
                look.clear.fill(all);
            }
            self.normal[part.index()].absorb(&look.raw[part.index()], learn, &look.clear);
        }
    }

    /// Values before the one looked at that a part compares it with as they came, flagged or not.
    fn looks_back(&self, part: Part) -> usize {
        let windows = || self.isolation.as_ref().and_then(|isolation| isolation.windows.as_ref());
        match part {
            Part::Isolation => shape::BACK,
            Part::Windows => windows().map_or(0, |windows| windows.rows() - 1),
            Part::Lstm => self.cut.steps.saturating_sub(1),
            Part::ZStep => STEP_BACK,
            Part::ZShort | Part::Z | Part::ZLong | Part::Esd => 0,
        }
    }

    /// A level held since then is the new normal of a metric.
    pub(super) fn adapt(&mut self, metric: usize, since: Timestamp, least: f64) {
        self.tracks[metric].adapt(since, least);
    }

    /// A metric's fault is over since `checks` checks: what is left of it in the trailing mean is not news. The mean stays
    /// one of as many values, since one of few strays further than what the calibration knows.
    pub(super) fn settle(&mut self, metric: usize, checks: usize) {
        let track = &mut self.tracks[metric];
        if let Some(usual) = track.z.expectation() {
            track.mean.settle(usual.expected, checks);
            track.is_stained = false;
        }
    }

    /// What was before a gap in time is no course to go on with.
    pub(super) fn gap(&mut self) {
        self.course.clear();
        for track in &mut self.tracks {
            track.recent.clear();
            track.mean.clear();
            (track.since_fault, track.is_stained) = (u32::MAX, false);
        }
    }

    pub(super) fn reseason(&mut self, metric: usize, season: Option<Arc<Season>>) {
        self.tracks[metric].esd.reseason(season);
    }

    pub(super) fn set_spread(&mut self, metric: usize, spread: f64) {
        self.tracks[metric].spread = spread;
    }

    /// What was learned, to be kept.
    pub(super) fn set(&self, width: usize) -> PaceSet {
        PaceSet {
            smoothing: self.cut.smoothing,
            isolation: self.isolation.clone(),
            lstm: self.lstm.clone(),
            normal: self.normal.to_vec(),
            spreads: self.tracks[..width].iter().map(|track| track.spread).collect(),
        }
    }

    /// Takes up what was learned elsewhere; series that came later keep what they know.
    pub(super) fn adopt(&mut self, set: &PaceSet) {
        self.isolation.clone_from(&set.isolation);
        self.lstm.clone_from(&set.lstm);
        for (own, learned) in self.normal.iter_mut().zip(&set.normal) {
            own.adopt(learned);
        }
        for (track, spread) in self.tracks.iter_mut().zip(&set.spreads) {
            track.spread = *spread;
        }
    }

    /// Whether the autoencoder's window is full.
    pub(super) fn has_course(&self) -> bool {
        self.course.len() + 1 >= self.cut.steps
    }

    /// Season of a metric.
    pub(super) fn season(&self, metric: usize) -> Option<Arc<Season>> {
        self.tracks[metric].esd.season()
    }

    /// Values or rows that a part compares a metric with, or looks at: at most so many, fewer while they gather.
    pub(super) fn window_of(&self, part: Part, metric: usize) -> usize {
        let track = &self.tracks[metric];
        match part {
            Part::Isolation => 1,
            Part::Windows => self.course.len().min(windows::MOST_ROWS) + 1,
            Part::Lstm => self.cut.steps,
            Part::ZShort => track.z.len().min((self.cut.window as f64 * SHORT) as usize),
            Part::Z => track.z.len(),
            Part::ZLong => (self.cut.window as f64 * LONG) as usize,
            Part::ZStep => (self.cut.window as f64 * STEP) as usize,
            Part::Esd => track.esd.len(),
        }
    }

    /// Values a metric's baseline rests on, of the metric that has most.
    pub(super) fn values(&self) -> usize {
        self.tracks.iter().map(|track| track.z.len()).max().unwrap_or(0)
    }
}

/// What each level expects.
type Levels = [(Part, Option<Expectation>); 4];

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
            esd: SeasonalEsd::new(cut.max_anomalies, cut.interval, cut.hold),
            spread: 0.0,
            since_fault: u32::MAX,
            is_stained: false,
        }
    }

    /// Whether neither the values that are looked `back` on nor the mean of `smoothing` is of a fault.
    fn is_clear(&self, back: usize, smoothing: usize) -> bool {
        let stained = if self.is_stained { smoothing } else { 0 };
        self.since_fault as usize > back + stained
    }

    fn expectations(&self, at: Timestamp) -> [Option<Expectation>; 2] {
        let floor = self.floor(0.0);
        [self.z.expectation(), self.esd.expectation(at)].map(|e| e.map(|e| e.floored(floor)))
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
    fn levels(&self, at: Timestamp) -> Levels {
        let (floor, [z, esd]) = (self.floor(0.0), self.expectations(at));
        [
            (Part::ZShort, self.short.expectation(floor)),
            (Part::Z, z),
            (Part::ZLong, self.long.expectation(floor)),
            (Part::Esd, esd),
        ]
    }

    /// How far `value` is from what each part expects, in its scales.
    fn distances(&self, levels: &Levels, value: f64, least: f64) -> [(Part, Option<f64>); 5] {
        let floor = self.floor(least);
        let [short, z, long, esd] =
            levels.map(|(part, e)| (part, e.map(|e| e.floored(floor).distance(value))));
        let step = self.recent.back(STEP_BACK).map(|before| (value - before) / STEP_BACK as f64);
        let expected = self.step.expectation(self.step_floor(least));
        [short, z, long, (Part::ZStep, step.and_then(|step| Some(expected?.distance(step)))), esd]
    }

    fn learn(&mut self, at: Timestamp, value: f64, least: f64) {
        let (floor, step_floor) = (self.floor(least), self.step_floor(least));
        if let Some(before) = self.recent.back(STEP_BACK) {
            self.step.learn((value - before) / STEP_BACK as f64, step_floor);
        }
        self.short.learn(value, floor);
        self.long.learn(value, floor);
        self.z.learn(value);
        self.esd.learn(at, value, floor);
    }

    fn adapt(&mut self, since: Timestamp, least: f64) {
        let floor = self.floor(least);
        self.short.clear();
        self.long.clear();
        for (_, value) in self.recent.since(since) {
            self.short.learn(value, floor);
            self.long.learn(value, floor);
        }
        self.z.adapt(self.recent.since(since).map(|(_, value)| value));
        self.esd.adapt(self.recent.since(since), floor);
    }
}
