//! The LSTM autoencoder voter: how badly the recent course of the vector is reconstructed.
//!
//! Sequence to sequence (Malhotra et al. 2016): an encoder reads the window, a decoder writes it again from the
//! encoder's last state alone; what is not like the normal past comes back wrong. Deviations: the decoder is fed the
//! code at each step instead of its own output, and the window comes back in order, which trains faster and scores
//! alike; the loss is quadratic up to 1 and linear beyond, so that a rough hour in the past does not rule the fit; the
//! scores are per metric, from the last rows of the window, so that a fault shows at once and by its name.
//!
//! Rows are scaled by their median and spread and cut at ±6. Raw scores are root mean squared errors in those units, 0
//! and up. Cost: with seven metrics, 24 units and 30 rows about 160 000 multiply-adds a row.

mod network;
mod training;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub use network::{Pass, Sizes};
pub use training::Training;

use super::surprisal::Raw;
use super::training_set::{Scale, TrainingSet};
use super::{Fit, Scorer};

/// Hidden units of each cell.
const HIDDEN: usize = 24;
/// Scaled values end here.
const CLIP: f32 = 6.0;
/// Rows at the end of the window whose errors make the score.
const LAST: usize = 3;
/// Share of a window's values that may be missing; they are taken for the value before.
const MOST_MISSING: f32 = 0.2;
/// Windows' worth of rows from which on there is an autoencoder.
pub const FEWEST_WINDOWS: usize = 10;
/// Windows' worth of rows that are fitted on at least; of all rows there are, some are held back to calibrate on.
const FEWEST_FITTED: usize = 6;

/// A fit: how long the windows are, and where the generator starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Rows of a window.
    pub steps: usize,
    /// Of the first weights and of the draws.
    pub seed: u64,
}

/// A fitted autoencoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoencoder {
    sizes: Sizes,
    parameters: Vec<f32>,
    /// Positions of the metrics it sees, with their scale.
    metrics: Vec<(usize, Scale)>,
}

/// Buffers for scoring.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    pass: Pass,
    window: Vec<f32>,
}

impl Recipe {
    /// Fits on the windows of `training_set`; calls `pause` between slices of a few milliseconds, so that whoever shares the
    /// processor gets it. `None` when the rows are too few.
    pub fn fit_in_slices(&self, training_set: &TrainingSet, pause: &mut dyn FnMut()) -> Option<Autoencoder> {
        let metrics = training_set.scales();
        if metrics.is_empty() || training_set.len() < FEWEST_FITTED * self.steps {
            return None;
        }
        let sizes = Sizes { width: metrics.len(), hidden: HIDDEN, steps: self.steps };
        let rows = training_set.scaled(&metrics, CLIP);
        let starts = training_set.windows(self.steps);
        let parameters = Training::new(sizes, self.seed).run(&rows, &starts, pause)?;
        Some(Autoencoder { sizes, parameters, metrics })
    }
}

impl Fit for Recipe {
    type TrainingSet = TrainingSet;
    type Model = Autoencoder;

    fn fit(&self, training_set: &TrainingSet) -> Option<Autoencoder> {
        self.fit_in_slices(training_set, &mut || ())
    }
}

impl Autoencoder {
    /// Rows of a window.
    pub fn steps(&self) -> usize {
        self.sizes.steps
    }

    /// What comes back of a window, `steps × width`, row by row and in spreads, as [`Scale`] gives them.
    pub fn reconstruct<'a>(&self, window: &[f32], buffers: &'a mut Buffers) -> &'a [f32] {
        network::reconstruct(self.sizes, &self.parameters, window, &mut buffers.pass);
        &buffers.pass.output
    }

    /// Fills `window` from rows, oldest first; false where too much of it is missing.
    fn read<'a>(&self, rows: impl Iterator<Item = &'a [Option<f64>]>, window: &mut Vec<f32>) -> bool {
        window.clear();
        let mut missing = 0;
        for row in rows {
            for (at, (metric, scale)) in self.metrics.iter().enumerate() {
                let before = window.len().checked_sub(self.metrics.len()).map_or(0.0, |at| window[at]);
                let value = row.get(*metric).copied().flatten();
                missing += usize::from(value.is_none());
                debug_assert_eq!(window.len() % self.metrics.len(), at);
                window.push(value.map_or(before, |value| scale.clipped(value, CLIP)));
            }
        }
        let whole = self.sizes.steps * self.sizes.width;
        window.len() == whole && missing as f32 <= MOST_MISSING * whole as f32
    }
}

/// The rows of a window, oldest first.
pub struct Course<'a> {
    /// Rows before the last.
    pub before: &'a VecDeque<Vec<Option<f64>>>,
    /// The row to be judged.
    pub last: &'a [Option<f64>],
}

impl<'a> Course<'a> {
    /// The newest `n` rows, or all of them if there are fewer.
    pub fn rows(&self, n: usize) -> impl Iterator<Item = &'a [Option<f64>]> {
        let skip = (self.before.len() + 1).saturating_sub(n);
        self.before.iter().skip(skip).map(Vec::as_slice).chain([self.last])
    }
}

impl Scorer for Autoencoder {
    type Row<'a> = Course<'a>;
    type Buffers = Buffers;

    /// The root mean squared error of each metric over the last rows, and of all of them
    /// as the vector's. Says nothing where the window is not full or too much of it is missing.
    fn score(&self, course: Course<'_>, buffers: &mut Buffers, raw: &mut Raw) {
        raw.clear(course.last.len());
        if !self.read(course.rows(self.sizes.steps), &mut buffers.window) {
            return;
        }
        network::reconstruct(self.sizes, &self.parameters, &buffers.window, &mut buffers.pass);
        self.compare(course.last, buffers, raw);
    }
}

impl Autoencoder {
    fn compare(&self, last: &[Option<f64>], buffers: &Buffers, raw: &mut Raw) {
        let width = self.sizes.width;
        let from = (self.sizes.steps - LAST.min(self.sizes.steps)) * width;
        let pairs =
            buffers.pass.output[from..].chunks_exact(width).zip(buffers.window[from..].chunks_exact(width));
        raw.shares.resize(last.len(), 0.0);
        for (output, row) in pairs {
            for (((metric, _), output), value) in self.metrics.iter().zip(output).zip(row) {
                raw.shares[*metric] += f64::from((output - value).powi(2));
            }
        }
        let rows = LAST.min(self.sizes.steps) as f64;
        let mut energy = 0.0;
        for (metric, _) in &self.metrics {
            energy += raw.shares[*metric] / rows;
            raw.metrics[*metric] = last[*metric].map(|_| (raw.shares[*metric] / rows).sqrt());
        }
        let total: f64 = raw.shares.iter().sum();
        raw.shares.iter_mut().for_each(|share| *share /= total.max(f64::MIN_POSITIVE));
        raw.vector = Some((energy / width as f64).sqrt());
    }
}
