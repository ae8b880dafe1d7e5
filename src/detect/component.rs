//! What the detectors are made of: each looks by one or more components, at one or two timescales.
//!
//! A detector's surprisal is the weighted mean of its components'. Each component is calibrated by itself.

use serde::{Deserialize, Serialize};

use super::verdict::Detector;

/// One way of looking at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Component {
    /// Isolation forest and hyperspheres.
    Isolation,
    /// Distance of the recent course from typical ones.
    Windows,
    /// LSTM autoencoder.
    Lstm,
    /// z-score over a fifth of the window.
    ZShort,
    /// z-score over the window.
    Z,
    /// z-score over ten windows.
    ZLong,
    /// z-score of the step from three values ago.
    ZStep,
    /// Seasonal ESD.
    Esd,
}

impl Component {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::Isolation,
        Self::Windows,
        Self::Lstm,
        Self::ZShort,
        Self::Z,
        Self::ZLong,
        Self::ZStep,
        Self::Esd,
    ];
    /// Number of components.
    pub(super) const COUNT: usize = Self::ALL.len();

    /// Position in [`Component::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// Whose component it is.
    pub(super) const fn detector(self) -> Detector {
        match self {
            Self::Isolation | Self::Windows => Detector::IsolationForest,
            Self::Lstm => Detector::LstmAutoencoder,
            Self::ZShort | Self::Z | Self::ZLong | Self::ZStep => Detector::Zscore,
            Self::Esd => Detector::SeasonalEsd,
        }
    }

    /// Whether it scores by a fitted model.
    pub(super) const fn is_fitted(self) -> bool {
        matches!(self, Self::Isolation | Self::Windows | Self::Lstm)
    }

    /// For people who ask why.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Isolation => "isolation forest and hyperspheres",
            Self::Windows => "distance of the recent course from typical ones",
            Self::Lstm => "reconstruction error of the recent course",
            Self::ZShort => "z-score over a fifth of the window",
            Self::Z => "z-score over the window",
            Self::ZLong => "z-score over ten windows",
            Self::ZStep => "z-score of the step from three values ago",
            Self::Esd => "seasonal residual",
        }
    }

    /// Weight within its detector: on the values as they come, and on their trailing mean.
    pub(super) const fn weights(self) -> (f64, f64) {
        match self {
            Self::Isolation => (0.4, 0.26),
            Self::Windows => (0.17, 0.17),
            Self::Lstm | Self::Esd => (0.5, 0.5),
            Self::ZShort | Self::Z => (0.133, 0.0),
            Self::ZLong => (0.133, 0.35),
            Self::ZStep => (0.25, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_every_detector_weigh_something() {
        for detector in Detector::ALL {
            let components = Component::ALL.into_iter().filter(|component| component.detector() == detector);
            let weight: f64 = components.map(|component| component.weights().0 + component.weights().1).sum();
            assert!((0.9..=1.1).contains(&weight), "{detector:?}: {weight}");
        }
    }
}
