//! What is given up, one thing at a time, when memory runs short: first what is missed least.

use super::Setup;

/// What was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shed {
    /// The five-minute and hourly means: seasons that are known stay, new ones are not found.
    CoarseTiers,
    /// The LSTM autoencoder.
    Lstm,
    /// Three quarters of the isolation forest's trees, from the next fit on, which is asked for at once.
    ForestSize,
    /// The raw series that have been silent for longest, and of the rest those of the largest families, until the window
    /// takes half of what it may.
    Series,
}

/// Fewest trees that are still a forest.
const TREES: usize = 20;

impl Shed {
    /// As in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CoarseTiers => "coarse tiers",
            Self::Lstm => "LSTM autoencoder",
            Self::ForestSize => "forest size",
            Self::Series => "least recent series",
        }
    }

    /// What comes after `last`; series again and again.
    pub(super) fn after(last: Option<Self>) -> Self {
        match last {
            None => Self::CoarseTiers,
            Some(Self::CoarseTiers) => Self::Lstm,
            Some(Self::Lstm) => Self::ForestSize,
            Some(Self::ForestSize | Self::Series) => Self::Series,
        }
    }

    /// Makes a configuration as frugal as what has been given up so far.
    pub(super) fn apply(last: Option<Self>, setup: &mut Setup) {
        let lstm = crate::detect::verdict::Detector::LstmAutoencoder.index();
        if last >= Some(Self::Lstm) {
            setup.detection.weights[lstm] = 0.0;
        }
        if last >= Some(Self::ForestSize) {
            let trees = &mut setup.detection.isolation.trees;
            *trees = (*trees / 4).max(TREES.min(*trees));
        }
    }
}
