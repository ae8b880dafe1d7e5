//! Fits that run elsewhere than the engine, and what they yield.

use std::sync::Arc;

use super::Fit;
use super::isolation::{Isolation, Recipe};
use super::memory::{Past, Tier};
use super::season::{Period, Season};
use crate::series::Timestamp;

/// A fit to be run elsewhere.
pub enum Task {
    /// Of the forest.
    Isolation(Past, Recipe),
    /// Of every metric's season.
    Seasons(Tier, Period),
}

/// What a fit has yielded.
pub enum Model {
    /// A forest; `None` where the rows did not suffice.
    Isolation(Option<Box<Isolation>>, Timestamp),
    /// One a metric.
    Seasons(Vec<Option<Arc<Season>>>),
}

impl Task {
    /// Runs the fit. Takes milliseconds; deterministic.
    pub fn run(self) -> Model {
        match self {
            Self::Isolation(past, recipe) => {
                let model = recipe.fit(&past.rows());
                Model::Isolation(model.map(Box::new), past.newest().unwrap_or_default())
            }
            Self::Seasons(tier, period) => {
                let season = |metric| tier.season(metric, &period).map(Arc::new);
                Model::Seasons((0..tier.width()).map(season).collect())
            }
        }
    }
}
