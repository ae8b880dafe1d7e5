//! Nearest-neighbour hyperspheres over the vector of all metrics.

use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::Shape;
use super::forest::below;
use crate::detect::past::{Past, Scale};

/// Ensembles, and centres in each.
const ENSEMBLES: usize = 100;
const CENTRES: usize = 16;
/// Scaled values end here.
const CLIP: f32 = 20.0;

/// Spheres around normal rows, each as large as the distance to its nearest neighbour in its ensemble.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spheres {
    vector: Vector,
    /// `ENSEMBLES × CENTRES × dimensions`, row-major.
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
        if self.metrics.len() == 1 { 4 } else { 2 }
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
        for (row, centre) in self.rows.iter().zip(centres.chunks_exact_mut(dimensions)) {
            Vector::write(&vector.metrics[at].1, shapes[*row].as_ref(), &mut centre[at * per..][..per]);
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
    pub(super) fn draw(past: &Past, random: &mut Pcg64Mcg) -> Drawn {
        let vector = Vector { metrics: past.scales() };
        let rows: Vec<usize> = (0..ENSEMBLES * CENTRES).map(|_| below(random, past.len())).collect();
        let centres = vec![0.0; rows.len() * vector.dimensions()];
        Drawn { rows, spheres: Self { vector, centres, radii: Vec::new() } }
    }

    fn ensemble(&self, ensemble: usize) -> impl Iterator<Item = &[f32]> {
        let size = CENTRES * self.vector.dimensions();
        self.centres[ensemble * size..][..size].chunks_exact(self.vector.dimensions())
    }

    fn nearest_other(&self, ensemble: usize, centre: usize) -> f32 {
        let own = self.ensemble(ensemble).nth(centre).unwrap_or_default();
        let others = self.ensemble(ensemble).enumerate().filter(|(at, _)| *at != centre);
        // Rows drawn twice are no neighbours: a radius of zero would make everything else infinitely far.
        let distances = others.map(|(_, other)| squared(own, other)).filter(|d| *d > 1e-9);
        distances.min_by(f32::total_cmp).unwrap_or(1.0)
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
            let distances = self.ensemble(ensemble).map(|centre| squared(point, centre)).enumerate();
            let (nearest, distance) = distances.min_by(|a, b| a.1.total_cmp(&b.1))?;
            let radius = self.radii[ensemble * CENTRES + nearest];
            sum += f64::from(distance / radius).ln_1p();
            self.add_shares(point, ensemble, nearest, shares);
        }
        let total: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= total.max(f64::MIN_POSITIVE));
        Some(sum / ENSEMBLES as f64)
    }

    fn add_shares(&self, point: &[f32], ensemble: usize, nearest: usize, shares: &mut [f64]) {
        let per = self.vector.per_metric();
        let centre = self.ensemble(ensemble).nth(nearest).unwrap_or_default();
        let parts = point.chunks_exact(per).zip(centre.chunks_exact(per));
        for ((metric, _), (a, b)) in self.vector.metrics.iter().zip(parts) {
            shares[*metric] += f64::from(squared(a, b));
        }
    }
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
