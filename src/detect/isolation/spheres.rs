//! Nearest-neighbour hyperspheres over the vector of all metrics.

use rand_pcg::Pcg64Mcg;

use super::forest::below;
use super::{Rows, Shape};
use crate::detect::robust;

/// Ensembles, and centres in each.
const ENSEMBLES: usize = 100;
const CENTRES: usize = 16;
/// Scaled values end here.
const CLIP: f32 = 20.0;
/// A vector has the metric's value and the mean it comes from.
const PER_METRIC: usize = 2;

/// Spheres around normal rows, each as large as the distance to its nearest neighbour in its ensemble.
#[derive(Clone, Debug)]
pub struct Spheres {
    /// Position of each coordinate pair's metric in the row, with its location and scale.
    metrics: Vec<(usize, f64, f64)>,
    /// `ENSEMBLES × CENTRES × dimensions`, row-major.
    centres: Vec<f32>,
    /// Squared, one a centre.
    radii: Vec<f32>,
}

impl Spheres {
    /// Places centres on `rows`; `None` where fewer than two metrics could form a vector.
    pub(super) fn place(rows: &Rows, in_vector: &[bool], random: &mut Pcg64Mcg) -> Option<Self> {
        let members = (0..rows.width).filter(|m| in_vector.get(*m).copied().unwrap_or(false));
        let metrics: Vec<_> =
            members.filter_map(|m| scale(&rows.column(m)).map(|(at, by)| (m, at, by))).collect();
        if metrics.len() < 2 {
            return None;
        }
        let mut spheres = Self { metrics, centres: Vec::new(), radii: Vec::new() };
        let mut vector = Vec::new();
        for _ in 0..ENSEMBLES * CENTRES {
            spheres.vector(rows.row(below(random, rows.len())), &mut vector);
            spheres.centres.extend_from_slice(&vector);
        }
        for ensemble in 0..ENSEMBLES {
            for centre in 0..CENTRES {
                let radius = spheres.nearest_other(ensemble, centre);
                spheres.radii.push(radius);
            }
        }
        Some(spheres)
    }

    fn dimensions(&self) -> usize {
        self.metrics.len() * PER_METRIC
    }

    fn ensemble(&self, ensemble: usize) -> impl Iterator<Item = &[f32]> {
        let size = CENTRES * self.dimensions();
        self.centres[ensemble * size..][..size].chunks_exact(self.dimensions())
    }

    fn nearest_other(&self, ensemble: usize, centre: usize) -> f32 {
        let own = self.ensemble(ensemble).nth(centre).unwrap_or_default();
        let others = self.ensemble(ensemble).enumerate().filter(|(at, _)| *at != centre);
        // Rows drawn twice are no neighbours: a radius of zero would make everything else infinitely far.
        let distances = others.map(|(_, other)| squared(own, other)).filter(|d| *d > 1e-9);
        distances.min_by(f32::total_cmp).unwrap_or(1.0)
    }

    /// The scaled coordinates of a row; a metric without a value is where it is expected.
    fn vector(&self, row: &[Option<Shape>], vector: &mut Vec<f32>) {
        vector.clear();
        for (metric, at, by) in &self.metrics {
            let scaled = |x: f64| (((x - at) / by) as f32).clamp(-CLIP, CLIP);
            let shape = row.get(*metric).copied().flatten();
            vector.extend(shape.map_or([0.0; PER_METRIC], |s| [scaled(s[0]), scaled(s[4])]));
        }
    }

    /// Mean over the ensembles of ln(1 + distance² ÷ radius²) to the nearest centre, and in `shares` each metric's
    /// part of those distances.
    pub(super) fn distance(&self, row: &[Option<Shape>], shares: &mut Vec<f64>) -> Option<f64> {
        let mut vector = Vec::with_capacity(self.dimensions());
        self.vector(row, &mut vector);
        shares.clear();
        shares.resize(row.len(), 0.0);
        let mut sum = 0.0;
        for ensemble in 0..ENSEMBLES {
            let distances = self.ensemble(ensemble).map(|centre| squared(&vector, centre)).enumerate();
            let (nearest, distance) = distances.min_by(|a, b| a.1.total_cmp(&b.1))?;
            let radius = self.radii[ensemble * CENTRES + nearest];
            sum += f64::from(distance / radius).ln_1p();
            self.add_shares(&vector, ensemble, nearest, shares);
        }
        let total: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= total.max(f64::MIN_POSITIVE));
        Some(sum / ENSEMBLES as f64)
    }

    fn add_shares(&self, vector: &[f32], ensemble: usize, nearest: usize, shares: &mut [f64]) {
        let centre = self.ensemble(ensemble).nth(nearest).unwrap_or_default();
        let parts = vector.chunks_exact(PER_METRIC).zip(centre.chunks_exact(PER_METRIC));
        for ((metric, _, _), (a, b)) in self.metrics.iter().zip(parts) {
            shares[*metric] += f64::from(squared(a, b));
        }
    }
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Location and scale of a metric's values; the floors keep constant and nearly constant ones harmless.
fn scale(column: &[Shape]) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = column.iter().map(|shape| shape[0]).collect();
    robust::sort(&mut values);
    let center = robust::median(&values)?;
    let range = values[values.len() - 1] - values[0];
    if range < 1e-12 {
        return Some((center, (0.05 * center.abs()).max(0.05)));
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let deviation =
        (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64).sqrt();
    let floor = (0.01 * range).max(1e-3 * center.abs().max(range)).max(1e-6);
    Some((center, deviation.max(floor)))
}
