//! Models that have come back, until the check at which they take effect, and the record of those that have.
//!
//! Which of them came back first changes nothing: they take effect in the order in which they were asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::detect::fit_tasks::{DELAY, Kind, Model};
use crate::series::{Labels, Timestamp};

/// A model that took effect: all that is needed to have it take effect at the same check again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The target's final labels.
    pub target: Labels,
    /// What was fitted.
    pub model: Kind,
    /// Regular check of the target at which it was asked for, counted from 1.
    pub asked: u64,
    /// Regular check from which on it was judged by.
    pub effective: u64,
    /// Time of that check.
    pub at: Timestamp,
}

/// Models of one target that do not have their effect yet, by when they were asked for.
#[derive(Default)]
pub(super) struct Held(BTreeMap<(u64, Kind), Model>);

impl Held {
    pub(super) fn put(&mut self, asked: u64, model: Model) {
        self.0.insert((asked, model.kind()), model);
    }

    /// What takes effect at a check, in the order in which it was asked for, one after the other.
    pub(super) fn next(&mut self, check: u64) -> Option<(u64, Model)> {
        let ((asked, _), model) =
            self.0.first_entry().filter(|first| first.key().0 + DELAY <= check)?.remove_entry();
        Some((asked, model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arrivals: &[(u64, Model)], check: u64) -> Vec<(u64, Kind)> {
        let mut held = Held::default();
        let copy = |model: &Model| match model {
            Model::Lstm(_) => Model::Lstm(None),
            _ => Model::Seasons(Vec::new()),
        };
        arrivals.iter().for_each(|(asked, model)| held.put(*asked, copy(model)));
        std::iter::from_fn(|| held.next(check)).map(|(asked, model)| (asked, model.kind())).collect()
    }

    #[test]
    fn models_take_effect_as_they_were_asked_for_whichever_came_back_first() {
        let (lstm, seasons) = (|| Model::Lstm(None), || Model::Seasons(Vec::new()));
        let expected = [(10, Kind::LstmAutoencoder), (10, Kind::Seasons), (12, Kind::LstmAutoencoder)];
        for arrivals in [
            vec![(10, lstm()), (10, seasons()), (12, lstm())],
            vec![(12, lstm()), (10, seasons()), (10, lstm())],
        ] {
            assert_eq!(taken(&arrivals, 10 + DELAY - 1), []);
            assert_eq!(taken(&arrivals, 10 + DELAY), expected[..2]);
            assert_eq!(taken(&arrivals, 12 + DELAY), expected);
        }
    }

    #[test]
    fn one_that_is_not_due_does_not_hold_up_what_came_late() {
        let arrivals = [(40, Model::Lstm(None)), (1, Model::Seasons(Vec::new()))];
        assert_eq!(taken(&arrivals, 69), [(1, Kind::Seasons)]);
    }
}
