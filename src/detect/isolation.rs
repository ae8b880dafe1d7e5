//! The isolation forest voter: how easily a row is told apart from the normal ones.
//!
//! Two halves and a third look. The first is an isolation forest (Liu, Ting & Zhou 2008) for each metric over its recent shape
//! ([`super::shape`]): path depth per metric is the attribution, so it is known which metric is meant. It deviates in
//! that a forest over all features at once dilutes a fault of one metric among those of the rest, and in that samples
//! are drawn with replacement, which costs no shuffle. The second sees the
//! vector as a whole, by nearest-neighbour hyperspheres (iNNE, Bandaragoda et al. 2018), and finds combinations that
//! no metric shows alone; it deviates in that the score is unbounded, so that far ranks above near. Beside them stands
//! the course of all metrics, told apart from the typical ones ([`windows`]).
//!
//! Raw scores are unitless and 0 and up. Cost of a row of seven metrics, 100 trees: about 6 000 node visits and
//! 22 000 multiply-adds.

mod forest;
mod spheres;
pub mod windows;

use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

pub use forest::{Forest, Grown};
pub use spheres::Spheres;
use windows::Windows;

use super::shape::{FEATURES, Shape};
use super::surprisal::Raw;
use super::training_set::TrainingSet;
use super::{Fit, Scorer};

/// Rows needed for a fit: of the thirty that the first one is asked for at, to vote at sixty, nine are held back.
pub const FEWEST: usize = 20;

/// How to grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Trees for each metric.
    pub trees: usize,
    /// Rows each tree sees.
    pub sample_size: usize,
    /// Where the generator starts.
    pub seed: u64,
}

/// A fitted voter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Isolation {
    /// One a metric; `None` for one that had too few values.
    forests: Vec<Option<Forest>>,
    spheres: Option<Spheres>,
    /// `None` where there were too few rows on end.
    pub(super) windows: Option<Windows>,
}

impl Fit for Params {
    type TrainingSet = TrainingSet;
    type Model = Isolation;

    /// `None` when the rows are fewer than [`FEWEST`].
    fn fit(&self, training_set: &TrainingSet) -> Option<Isolation> {
        if training_set.len() < FEWEST {
            return None;
        }
        let mut random = Pcg64Mcg::new(u128::from(self.seed) << 1 | 1);
        let mut spheres = Spheres::draw(training_set, &mut random);
        let forest = |metric: usize| {
            let shapes = training_set.shapes(metric);
            spheres.read(metric, &shapes);
            let shapes: Vec<Shape> = shapes.into_iter().flatten().collect();
            // A metric that began later than the rest, as rates do, is told apart by what there is of it.
            (shapes.len() >= FEWEST / 2).then(|| Forest::grow(&shapes, *self, &mut random))
        };
        let forests = (0..training_set.width()).map(forest).collect();
        let windows = Windows::fit(training_set, &mut random);
        Some(Isolation { forests, spheres: spheres.place(), windows })
    }
}

/// Buffers for scoring.
pub type Buffers = Vec<f32>;

impl Scorer for Isolation {
    type Row<'a> = &'a [Option<Shape>];
    type Buffers = Buffers;

    /// A metric's score is the isolation of its shape, 0–1; the vector's is its distance from the normal ones.
    fn score(&self, row: &[Option<Shape>], vector: &mut Buffers, raw: &mut Raw) {
        let isolation =
            |(shape, forest): (&Option<Shape>, &Option<Forest>)| Some(forest.as_ref()?.isolation(&(*shape)?));
        raw.clear(0);
        raw.metrics.extend(row.iter().zip(&self.forests).map(isolation));
        raw.metrics.resize(row.len(), None);
        raw.vector = self.spheres.as_ref().and_then(|spheres| spheres.distance(row, vector, &mut raw.shares));
    }
}

/// A feature of a row, by position.
type Feature = usize;

const _: () = assert!(FEATURES <= u8::MAX as usize, "a node keeps its feature in a byte");

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    fn uniform(random: &mut Pcg64Mcg) -> f64 {
        f64::from(random.next_u32()) / f64::from(u32::MAX)
    }

    /// Two metrics that move together and a third on its own.
    fn training_set(n: usize) -> TrainingSet {
        let mut random = Pcg64Mcg::new(42);
        let row = |_| {
            let common = uniform(&mut random) * 10.0;
            [common, common + uniform(&mut random) * 0.1, uniform(&mut random)]
        };
        let values = (0..n).flat_map(row).map(Some).collect();
        TrainingSet::new((0..n as i64).collect(), values, vec![true; 3], 1)
    }

    fn shape(value: f64) -> Shape {
        [value, value - 5.0, 2.9, 0.0, 5.0]
    }

    fn usual() -> Vec<Option<Shape>> {
        (0..3).map(|metric| training_set(300).shapes(metric)[150]).collect()
    }

    const PARAMS: Params = Params { trees: 50, sample_size: 128, seed: 1 };

    fn score(model: &Isolation, row: &[Option<Shape>]) -> Raw {
        let mut raw = Raw::default();
        model.score(row, &mut Vec::new(), &mut raw);
        raw
    }

    #[test]
    fn a_row_far_from_all_is_isolated_and_the_metric_that_is_far_is_named() {
        let model = PARAMS.fit(&training_set(300)).unwrap();
        let normal = score(&model, &usual());
        let mut row = usual();
        row[2] = Some([50.0, 45.0, 2.9, 49.0, 5.0]);
        let odd = score(&model, &row);
        assert!(odd.vector.unwrap() > 2.0 * normal.vector.unwrap());
        assert!(odd.shares[2] > 0.9, "{:?}", odd.shares);
        assert!(odd.metrics[2] > normal.metrics[2]);
        assert_eq!(odd.metrics[0], normal.metrics[0]);
    }

    #[test]
    fn of_a_row_without_any_shape_nothing_is_said() {
        let model = PARAMS.fit(&training_set(300)).unwrap();
        let raw = score(&model, &[None; 3]);
        assert_eq!((raw.vector, raw.metrics), (None, vec![None; 3]));
    }

    #[test]
    fn a_combination_never_seen_is_far_though_each_value_is_usual() {
        let model = PARAMS.fit(&training_set(300)).unwrap();
        let third = Some([0.5, 0.0, 0.3, 0.0, 0.5]);
        let usual = score(&model, &[Some(shape(3.0)), Some(shape(3.05)), third]).vector.unwrap();
        let unusual = score(&model, &[Some(shape(1.0)), Some(shape(9.0)), third]).vector.unwrap();
        assert!(unusual > 1.5 * usual, "{unusual} {usual}");
    }

    #[test]
    fn one_seed_grows_one_forest() {
        let [first, again] = [(); 2].map(|()| score(&PARAMS.fit(&training_set(300)).unwrap(), &usual()));
        assert_eq!(first.metrics, again.metrics);
        assert_eq!(first.vector, again.vector);
    }

    #[test]
    fn a_metric_without_a_value_has_no_say_and_takes_none_away() {
        let mut row = usual();
        row[1] = None;
        let outcome = score(&PARAMS.fit(&training_set(300)).unwrap(), &row);
        assert_eq!(outcome.metrics[1], None);
        assert!(outcome.vector.unwrap().is_finite());
    }

    #[test]
    fn one_row_less_than_is_needed_is_too_few() {
        assert!(PARAMS.fit(&training_set(FEWEST - 1)).is_none());
        assert!(PARAMS.fit(&training_set(FEWEST)).is_some());
    }

    #[test]
    fn constant_metrics_do_not_break_the_fit() {
        let still = TrainingSet::new((0..200).collect(), vec![Some(0.0); 400], vec![true; 2], 1);
        let model = PARAMS.fit(&still).unwrap();
        let outcome = score(&model, &[Some([0.0; FEATURES]), Some([1.0, 1.0, 0.0, 1.0, 0.0])]);
        assert!(outcome.vector.unwrap().is_finite());
        assert!(outcome.metrics.iter().flatten().all(|s| (0.0..=1.0).contains(s)));
    }

    #[test]
    fn a_single_metric_is_told_apart_by_its_course() {
        let wave = (0..300).map(|i| Some((f64::from(i) * 0.3).sin())).collect();
        let model = PARAMS.fit(&TrainingSet::new((0..300).collect(), wave, vec![true], 1)).unwrap();
        let vector = |shape| score(&model, &[Some(shape)]).vector.unwrap();
        assert!(vector([0.5, 3.0, 0.7, 2.0, -2.5]) > vector([0.5, 0.4, 0.7, 0.25, 0.1]));
    }
}
