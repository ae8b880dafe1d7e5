//! Nearest-neighbour hyperspheres over the vector of all metrics.

use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::Shape;
use super::forest::below;
use crate::detect::training_set::{Scale, TrainingSet};

/// Ensembles, and centres in each.
const ENSEMBLES: usize = 100;
const CENTRES: usize = 16;
/// Scaled values end here.
const CLIP: f32 = 20.0;
/// Coordinates of a metric that stands alone.
const MOST_PER_METRIC: usize = 4;

/// Spheres around normal rows, each as large as the distance to its nearest neighbour in its ensemble.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spheres {
    vector: Vector,
    /// `ENSEMBLES × dimensions × CENTRES`, row-major: the processor holds the centres of an ensemble side by side.
    centres: Vec<f32>,
    /// Squared, one a centre.
    radii: Vec<f32>,
}

/// Which metrics form the vector, and how they are scaled.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Vector {
    metrics: Vec<(usize, Scale)>,
}

impl Vector {
    /// Coordinates of a metric: its value and the mean it comes from. A single metric has no others to be odd
    /// beside, so it gets its distance from that mean and its spread as well.
    fn per_metric(&self) -> usize {
        if self.metrics.len() == 1 { MOST_PER_METRIC } else { 2 }
    }

    fn dimensions(&self) -> usize {
        self.metrics.len() * self.per_metric()
    }

    /// Writes the coordinates of one metric; one without a shape is where it is expected.
    fn write(scale: &Scale, shape: Option<&Shape>, to: &mut [f32]) {
        to.fill(0.0);
        let Some([value, distance, spread, _, mean]) = shape else { return };
        (to[0], to[1]) = (scale.clipped(*value, CLIP), scale.clipped(*mean, CLIP));
        if let [_, _, from_mean, strays] = to {
            *from_mean = scale.clipped_distance(*distance, CLIP);
            *strays = scale.clipped_distance(*spread, CLIP);
        }
    }
}

/// Centres that were drawn and are being read off the rows, metric by metric, so that the shapes of one metric at a
/// time need be held.
pub(super) struct Drawn {
    rows: Vec<usize>,
    spheres: Spheres,
}

impl Drawn {
    /// Reads one metric's coordinates of every centre.
    pub(super) fn read(&mut self, metric: usize, shapes: &[Option<Shape>]) {
        let Spheres { vector, centres, .. } = &mut self.spheres;
        let Some(at) = vector.metrics.iter().position(|(m, _)| *m == metric) else { return };
        let (dimensions, per) = (vector.dimensions(), vector.per_metric());
        let mut own = [0.0; MOST_PER_METRIC];
        for (place, row) in self.rows.iter().enumerate() {
            Vector::write(&vector.metrics[at].1, shapes[*row].as_ref(), &mut own[..per]);
            let ensemble = &mut centres[place / CENTRES * dimensions * CENTRES..];
            let lanes = ensemble[at * per * CENTRES..].iter_mut().skip(place % CENTRES).step_by(CENTRES);
            lanes.zip(&own[..per]).for_each(|(to, own)| *to = *own);
        }
    }

    /// Measures the spheres; `None` where no metric could form a vector.
    pub(super) fn place(mut self) -> Option<Spheres> {
        if self.spheres.vector.metrics.is_empty() {
            return None;
        }
        for ensemble in 0..ENSEMBLES {
            for centre in 0..CENTRES {
                let radius = self.spheres.nearest_other(ensemble, centre);
                self.spheres.radii.push(radius);
            }
        }
        Some(self.spheres)
    }
}

impl Spheres {
    /// Draws the rows whose shapes are the centres.
    pub(super) fn draw(training_set: &TrainingSet, random: &mut Pcg64Mcg) -> Drawn {
        let vector = Vector { metrics: training_set.scales() };
        let rows: Vec<usize> = (0..ENSEMBLES * CENTRES).map(|_| below(random, training_set.len())).collect();
        let centres = vec![0.0; rows.len() * vector.dimensions()];
        Drawn { rows, spheres: Self { vector, centres, radii: Vec::new() } }
    }

    /// The coordinates of an ensemble's centres, dimension by dimension.
    fn ensemble(&self, ensemble: usize) -> &[[f32; CENTRES]] {
        let dimensions = self.vector.dimensions();
        &self.centres.as_chunks().0[ensemble * dimensions..][..dimensions]
    }

    fn nearest_other(&self, ensemble: usize, centre: usize) -> f32 {
        let coordinates = self.ensemble(ensemble);
        let mut distances = [0.0; CENTRES];
        coordinates.iter().for_each(|lanes| add_squared(&mut distances, lanes[centre], lanes));
        let others =
            distances.iter().enumerate().filter(|(at, _)| *at != centre).map(|(_, distance)| *distance);
        // Rows drawn twice are no neighbours: a radius of zero would make everything else infinitely far.
        others.filter(|distance| *distance > 1e-9).min_by(f32::total_cmp).unwrap_or(1.0)
    }

    /// Mean over the ensembles of ln(1 + distance² ÷ radius²) to the nearest centre, and in `shares` each metric's part of
    /// those distances; `None` where no metric has a shape. `point` is a buffer.
    pub(super) fn distance(
        &self,
        row: &[Option<Shape>],
        point: &mut Vec<f32>,
        shares: &mut Vec<f64>,
    ) -> Option<f64> {
        let shape = |metric: usize| row.get(metric).and_then(Option::as_ref);
        if self.vector.metrics.iter().all(|(metric, _)| shape(*metric).is_none()) {
            return None;
        }
        let per = self.vector.per_metric();
        point.clear();
        point.resize(self.vector.dimensions(), 0.0);
        for ((metric, scale), to) in self.vector.metrics.iter().zip(point.chunks_exact_mut(per)) {
            Vector::write(scale, shape(*metric), to);
        }
        shares.clear();
        shares.resize(row.len(), 0.0);
        let mut sum = 0.0;
        for ensemble in 0..ENSEMBLES {
            let coordinates = self.ensemble(ensemble);
            let mut distances = [0.0; CENTRES];
            point.iter().zip(coordinates).for_each(|(own, lanes)| add_squared(&mut distances, *own, lanes));
            let (nearest, distance) = distances.into_iter().enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?;
            let radius = self.radii[ensemble * CENTRES + nearest];
            sum += f64::from(distance / radius).ln_1p();
            self.add_shares(point, coordinates, nearest, shares);
        }
        let total: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= total.max(f64::MIN_POSITIVE));
        Some(sum / ENSEMBLES as f64)
    }

    /// Adds each metric's part of the squared distance from `point` to a centre.
    fn add_shares(&self, point: &[f32], coordinates: &[[f32; CENTRES]], nearest: usize, shares: &mut [f64]) {
        let per = self.vector.per_metric();
        let components = point.chunks_exact(per).zip(coordinates.chunks_exact(per));
        for ((metric, _), (own, lanes)) in self.vector.metrics.iter().zip(components) {
            let off = |(own, lanes): (&f32, &[f32; CENTRES])| (own - lanes[nearest]).powi(2);
            shares[*metric] += f64::from(own.iter().zip(lanes).map(off).sum::<f32>());
        }
    }
}

/// Adds to each centre's squared distance what one coordinate makes of it.
fn add_squared(distances: &mut [f32; CENTRES], own: f32, lanes: &[f32; CENTRES]) {
    distances.iter_mut().zip(lanes).for_each(|(distance, lane)| *distance += (own - lane) * (own - lane));
}
