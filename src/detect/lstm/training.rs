//! Fitting the network: Adam (Kingma & Ba 2015) on random windows, stopped early by windows it does not train on.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use super::network::{self, Back, Pass, Sizes};

/// Steps of the optimiser at most, and windows in each.
const STEPS: usize = 200;
const BATCH: usize = 32;
/// Times each window is seen at most: where there are few of them, more steps would learn them by heart.
const EPOCHS: usize = 40;
/// Learning rate at the beginning; it falls to a tenth.
const RATE: f32 = 4e-3;
/// Means of the gradient and of its square.
const BETA: (f32, f32) = (0.9, 0.999);
/// Steps between looks at the windows held back, and looks without progress that end the fit.
const LOOK: usize = 25;
const PATIENCE: usize = 6;
/// The last of the windows are held back: one in so many, and at most so many are looked at.
const HELD_BACK: usize = 7;
const MOST_HELD: usize = 128;
/// Error beyond which the loss is linear.
const ROUGH: f32 = 2.0;
/// Windows between pauses: about two milliseconds' work.
const SLICE: usize = 8;

/// One fit under way.
pub struct Training {
    sizes: Sizes,
    random: Pcg64Mcg,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    pass: Pass,
    back: Back,
    of_output: Vec<f32>,
}

impl Training {
    /// Draws the first weights.
    pub fn new(sizes: Sizes, seed: u64) -> Self {
        let mut random = Pcg64Mcg::new(u128::from(seed) << 1 | 1);
        let parameters = sizes.begin(|| normal(&mut random));
        let zeros = vec![0.0; parameters.len()];
        Self {
            sizes,
            random,
            gradient: zeros.clone(),
            mean: zeros.clone(),
            square: zeros,
            parameters,
            pass: Pass::default(),
            back: Back::default(),
            of_output: Vec::new(),
        }
    }

    /// Fits on the windows that begin at `starts` in `rows`; the parameters that did best on those held back. `None`
    /// when there are too few of them.
    pub fn run(mut self, rows: &[f32], starts: &[usize], pause: &mut dyn FnMut()) -> Option<Vec<f32>> {
        let held = (starts.len() / HELD_BACK).max(1);
        let (train, held) = starts.split_at(starts.len().checked_sub(held)?);
        if train.len() < BATCH / 2 {
            return None;
        }
        let stride = held.len().div_ceil(MOST_HELD);
        let held: Vec<usize> = held.iter().step_by(stride).copied().collect();
        let mut best = (self.loss(rows, &held, pause), self.parameters.clone());
        let mut without_progress = 0;
        let steps = (EPOCHS * train.len() / BATCH).clamp(LOOK, STEPS);
        for step in 1..=steps {
            self.step(step as f32 / steps as f32, step, rows, train, pause);
            if step % LOOK != 0 {
                continue;
            }
            let loss = self.loss(rows, &held, pause);
            if loss < best.0 {
                best = (loss, self.parameters.clone());
                without_progress = 0;
            } else {
                without_progress += 1;
            }
            if without_progress == PATIENCE {
                break;
            }
        }
        Some(best.1)
    }

    fn window<'a>(&self, rows: &'a [f32], start: usize) -> &'a [f32] {
        &rows[start * self.sizes.width..][..self.sizes.steps * self.sizes.width]
    }

    fn loss(&mut self, rows: &[f32], starts: &[usize], pause: &mut dyn FnMut()) -> f64 {
        let mut sum = 0.0;
        for (at, start) in starts.iter().enumerate() {
            let window = self.window(rows, *start);
            network::reconstruct(self.sizes, &self.parameters, window, &mut self.pass);
            let errors = self.pass.output.iter().zip(window).map(|(output, value)| output - value);
            sum += errors.map(|e| f64::from((e * e).min(ROUGH * e.abs()))).sum::<f64>();
            if at % SLICE == SLICE - 1 {
                pause();
            }
        }
        sum / starts.len() as f64
    }

    fn step(&mut self, done: f32, step: usize, rows: &[f32], starts: &[usize], pause: &mut dyn FnMut()) {
        self.gradient.fill(0.0);
        for at in 0..BATCH {
            let start = starts[below(&mut self.random, starts.len())];
            self.learn(self.window(rows, start));
            if at % SLICE == SLICE - 1 {
                pause();
            }
        }
        self.descend(done, step);
    }

    fn learn(&mut self, window: &[f32]) {
        network::reconstruct(self.sizes, &self.parameters, window, &mut self.pass);
        self.of_output.clear();
        let slope = |(output, value): (&f32, &f32)| {
            let error = output - value;
            if error.abs() <= ROUGH { 2.0 * error } else { ROUGH * error.signum() }
        };
        self.of_output.extend(self.pass.output.iter().zip(window).map(slope));
        let Self { sizes, parameters, pass, of_output, back, gradient, .. } = self;
        network::gradient(*sizes, parameters, window, pass, of_output, back, gradient);
    }

    fn descend(&mut self, done: f32, step: usize) {
        let rate = RATE * (1.0 - 0.9 * done);
        let corrected = |beta: f32| 1.0 - beta.powi(step as i32);
        let (of_mean, of_square) = (corrected(BETA.0), corrected(BETA.1));
        let share = ((BATCH * self.sizes.steps * self.sizes.width) as f32).recip();
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((parameter, gradient), (mean, square)) in
            self.parameters.iter_mut().zip(&self.gradient).zip(moments)
        {
            let gradient = gradient * share;
            *mean += (1.0 - BETA.0) * (gradient - *mean);
            *square += (1.0 - BETA.1) * (gradient * gradient - *square);
            *parameter -= rate * (*mean / of_mean) / ((*square / of_square).sqrt() + 1e-8);
        }
    }
}

fn below(random: &mut Pcg64Mcg, n: usize) -> usize {
    ((u64::from(random.next_u32()) * n as u64) >> 32) as usize
}

/// A normal number by the sum of twelve uniform ones (Irwin & Hall): good enough for first weights, and the same on
/// every machine, which a library's logarithm and cosine need not be.
fn normal(random: &mut Pcg64Mcg) -> f32 {
    let uniform = |random: &mut Pcg64Mcg| (random.next_u32() >> 8) as f32 / (1_u32 << 24) as f32;
    (0..12).map(|_| uniform(random)).sum::<f32>() - 6.0
}
