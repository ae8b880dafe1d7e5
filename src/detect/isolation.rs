//! The isolation forest voter: how easily a row is told apart from the normal ones.
//!
//! Two halves. The first is an isolation forest (Liu, Ting & Zhou 2008) for each metric over its recent shape
//! ([`super::shape`]): path depth per metric is the attribution, so it is known which metric is meant. It deviates in
//! that a forest over all features at once dilutes a fault of one metric among those of the rest. The second sees the
//! vector as a whole, by nearest-neighbour hyperspheres (iNNE, Bandaragoda et al. 2018), and finds combinations that
//! no metric shows alone; it deviates in that the score is unbounded, so that far ranks above near.
//!
//! Raw scores are unitless and 0 and up. Cost of a row of seven metrics, 100 trees: about 6 000 node visits and
//! 22 000 multiply-adds.

mod forest;
mod spheres;

use rand_pcg::Pcg64Mcg;

pub use forest::Forest;
pub use spheres::Spheres;

use super::shape::{FEATURES, Shape};
use super::surprise::Raw;
use super::{Fit, Scorer};

/// Rows needed for a fit.
pub const FEWEST: usize = 30;

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

/// Normal rows: for each the shape of each metric, `None` where the metric had no value.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Metrics a row has.
    pub width: usize,
    /// Row-major.
    pub shapes: Vec<Option<Shape>>,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.shapes.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `row`.
    pub fn row(&self, row: usize) -> &[Option<Shape>] {
        &self.shapes[row * self.width..][..self.width]
    }

    fn column(&self, metric: usize) -> Vec<Shape> {
        self.shapes.iter().skip(metric).step_by(self.width.max(1)).filter_map(|shape| *shape).collect()
    }
}

/// A fitted voter.
#[derive(Clone, Debug)]
pub struct Isolation {
    /// One a metric; `None` for one that had too few values.
    forests: Vec<Option<Forest>>,
    spheres: Option<Spheres>,
}

/// A fit on which metrics form the vector, and how to grow.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Whether a metric is part of the vector.
    pub in_vector: Vec<bool>,
    /// How to grow.
    pub params: Params,
}

impl Fit for Recipe {
    type Past = Rows;
    type Model = Isolation;

    /// `None` when the rows are fewer than [`FEWEST`].
    fn fit(&self, rows: &Rows) -> Option<Isolation> {
        if rows.len() < FEWEST {
            return None;
        }
        let mut random = Pcg64Mcg::new(u128::from(self.params.seed) << 1 | 1);
        let forests = (0..rows.width).map(|metric| {
            let column = rows.column(metric);
            // A metric that began later than the rest, as rates do, is told apart by what there is of it.
            (column.len() >= FEWEST / 2).then(|| Forest::grow(&column, self.params, &mut random))
        });
        let forests = forests.collect();
        let spheres = Spheres::place(rows, &self.in_vector, &mut random);
        Some(Isolation { forests, spheres })
    }
}

impl Scorer for Isolation {
    type Row = [Option<Shape>];

    /// A metric's score is the isolation of its shape, 0–1; the vector's is its distance from the normal ones.
    fn score(&self, row: &[Option<Shape>], raw: &mut Raw) {
        let isolation =
            |(shape, forest): (&Option<Shape>, &Option<Forest>)| Some(forest.as_ref()?.isolation(&(*shape)?));
        raw.metrics.clear();
        raw.metrics.extend(row.iter().zip(&self.forests).map(isolation));
        raw.metrics.resize(row.len(), None);
        raw.shares.clear();
        raw.vector = self.spheres.as_ref().and_then(|spheres| spheres.distance(row, &mut raw.shares));
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
    fn shapes(random: &mut Pcg64Mcg) -> Vec<Option<Shape>> {
        let common = uniform(random) * 10.0;
        let shape = |value: f64| Some([value, value - 5.0, 2.9, 0.0, 5.0]);
        vec![shape(common), shape(common + uniform(random) * 0.1), shape(uniform(random))]
    }

    fn rows(n: usize) -> Rows {
        let mut random = Pcg64Mcg::new(42);
        Rows { width: 3, shapes: (0..n).flat_map(|_| shapes(&mut random)).collect() }
    }

    const PARAMS: Params = Params { trees: 50, sample_size: 128, seed: 1 };

    fn grow(rows: &Rows, width: usize) -> Option<Isolation> {
        Recipe { in_vector: vec![true; width], params: PARAMS }.fit(rows)
    }

    fn score(model: &Isolation, row: &[Option<Shape>]) -> Raw {
        let mut raw = Raw::default();
        model.score(row, &mut raw);
        raw
    }

    #[test]
    fn a_row_far_from_all_is_isolated_and_the_metric_that_is_far_is_named() {
        let model = grow(&rows(300), 3).unwrap();
        let normal = score(&model, rows(300).row(7));
        let mut row = rows(300).row(7).to_vec();
        row[2] = Some([50.0, 45.0, 2.9, 49.0, 5.0]);
        let odd = score(&model, &row);
        assert!(odd.vector.unwrap() > 2.0 * normal.vector.unwrap());
        assert!(odd.shares[2] > 0.9, "{:?}", odd.shares);
        assert!(odd.metrics[2] > normal.metrics[2]);
        assert_eq!(odd.metrics[0], normal.metrics[0]);
    }

    #[test]
    fn a_combination_never_seen_is_far_though_each_value_is_usual() {
        let model = grow(&rows(300), 3).unwrap();
        let shape = |value: f64| Some([value, value - 5.0, 2.9, 0.0, 5.0]);
        let usual = score(&model, &[shape(3.0), shape(3.05), shape(0.5)]).vector.unwrap();
        let unusual = score(&model, &[shape(1.0), shape(9.0), shape(0.5)]).vector.unwrap();
        assert!(unusual > 1.5 * usual, "{unusual} {usual}");
    }

    #[test]
    fn one_seed_grows_one_forest() {
        let row = rows(300).row(3).to_vec();
        let first = score(&grow(&rows(300), 3).unwrap(), &row);
        let again = score(&grow(&rows(300), 3).unwrap(), &row);
        assert_eq!(first.metrics, again.metrics);
        assert_eq!(first.vector, again.vector);
    }

    #[test]
    fn a_metric_without_a_value_has_no_say_and_takes_none_away() {
        let model = grow(&rows(300), 3).unwrap();
        let mut row = rows(300).row(3).to_vec();
        row[1] = None;
        let outcome = score(&model, &row);
        assert_eq!(outcome.metrics[1], None);
        assert!(outcome.vector.unwrap().is_finite());
    }

    #[test]
    fn twenty_nine_rows_are_too_few() {
        assert!(grow(&rows(29), 3).is_none());
        assert!(grow(&rows(30), 3).is_some());
    }

    #[test]
    fn constant_metrics_do_not_break_the_fit() {
        let shape = Some([0.0; FEATURES]);
        let model = grow(&Rows { width: 2, shapes: vec![shape; 200] }, 2).unwrap();
        let outcome = score(&model, &[shape, Some([1.0, 1.0, 0.0, 1.0, 0.0])]);
        assert!(outcome.vector.unwrap().is_finite());
        assert!(outcome.metrics.iter().flatten().all(|s| (0.0..=1.0).contains(s)));
    }
}
