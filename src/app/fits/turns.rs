//! Whose fit is next: targets take turns, and within a target the oldest request comes first.
//!
//! There are two lanes. The quick one is always served first: it holds fits of a fraction of a second, of which a target
//! asks for few, so that it is empty most of the time. So a quick fit waits for one slow fit at most, that which is
//! under way, and a slow one for those quick ones that are there.
//!
//! Of each kind a target has one fit waiting at most and one running: what waits is never more than four for each target.

use std::collections::VecDeque;
use std::time::Instant;

use crate::detect::fit_tasks::Kind;
use crate::series::Labels;

/// A fit whose turn it is.
#[derive(Debug)]
pub(super) struct Turn<W> {
    pub(super) target: Labels,
    pub(super) kind: Kind,
    pub(super) what: W,
    /// When the target first asked for one of this kind that it has not got.
    pub(super) since: Instant,
}

/// What waits and what runs.
#[derive(Debug)]
pub(super) struct Turns<W> {
    quick: Lane<W>,
    slow: Lane<W>,
    running: Vec<(Labels, Kind)>,
    is_closed: bool,
}

impl<W> Default for Turns<W> {
    fn default() -> Self {
        Self { quick: Lane::default(), slow: Lane::default(), running: Vec::new(), is_closed: false }
    }
}

impl<W> Turns<W> {
    pub(super) fn ask(&mut self, target: Labels, kind: Kind, what: W, since: Instant) {
        let lane = if kind.is_long() { &mut self.slow } else { &mut self.quick };
        lane.put(Turn { target, kind, what, since });
    }

    /// The fit to run now, which is running until it is [`Self::done`].
    pub(super) fn next(&mut self) -> Option<Turn<W>> {
        let is_free =
            |target: &Labels, kind: Kind| !self.running.iter().any(|(t, k)| t == target && *k == kind);
        let turn = self.quick.take(is_free).or_else(|| self.slow.take(is_free))?;
        self.running.push((turn.target.clone(), turn.kind));
        Some(turn)
    }

    pub(super) fn done(&mut self, target: &Labels, kind: Kind) {
        self.running.retain(|(t, k)| !(t == target && *k == kind));
    }

    pub(super) fn keep_only(&mut self, is_watched: impl Fn(&Labels) -> bool) {
        for lane in [&mut self.quick, &mut self.slow] {
            lane.0.retain(|waiting| waiting.front().is_some_and(|first| is_watched(&first.target)));
        }
    }

    /// From here on nothing is run.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// What waits of each target, oldest first; the targets in the order of their turns. None is empty.
#[derive(Debug)]
struct Lane<W>(VecDeque<VecDeque<Turn<W>>>);

impl<W> Default for Lane<W> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<W> Lane<W> {
    fn put(&mut self, turn: Turn<W>) {
        let Some(waiting) = self.0.iter_mut().find(|waiting| waiting[0].target == turn.target) else {
            self.0.push_back(VecDeque::from([turn]));
            return;
        };
        match waiting.iter_mut().find(|other| other.kind == turn.kind) {
            // It has waited as long as the one it replaces.
            Some(other) => other.what = turn.what,
            None => waiting.push_back(turn),
        }
    }

    fn take(&mut self, is_free: impl Fn(&Labels, Kind) -> bool) -> Option<Turn<W>> {
        let free =
            |waiting: &VecDeque<Turn<W>>| waiting.iter().position(|turn| is_free(&turn.target, turn.kind));
        let (at, nth) = self.0.iter().enumerate().find_map(|(at, waiting)| Some((at, free(waiting)?)))?;
        let mut waiting = self.0.remove(at)?;
        let turn = waiting.remove(nth);
        if !waiting.is_empty() {
            self.0.push_back(waiting);
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Labels {
        Labels::new([("instance", name)])
    }

    /// Target and kind of a fit.
    type Asked<'a> = (&'a str, Kind);

    fn turns(asked: &[Asked<'_>]) -> Turns<usize> {
        let mut turns = Turns::default();
        let now = Instant::now();
        asked.iter().enumerate().for_each(|(nth, (name, kind))| turns.ask(target(name), *kind, nth, now));
        turns
    }

    /// Which of those asked for are run, one after the other.
    fn order(turns: &mut Turns<usize>) -> Vec<usize> {
        let one = || {
            let turn = turns.next()?;
            turns.done(&turn.target, turn.kind);
            Some(turn.what)
        };
        std::iter::from_fn(one).collect()
    }

    use Kind::{IsolationForest as Forest, LstmAutoencoder as Lstm, Retraining, Seasons};

    #[test]
    fn targets_take_turns_and_the_oldest_of_a_target_comes_first() {
        let cases: [(&[Asked<'_>], &[usize]); 4] = [
            (&[("a", Lstm), ("a", Retraining), ("b", Lstm), ("c", Lstm)], &[0, 2, 3, 1]),
            (&[("a", Seasons), ("a", Forest), ("b", Forest)], &[0, 2, 1]),
            (&[("a", Lstm), ("b", Retraining), ("c", Seasons), ("b", Forest)], &[2, 3, 0, 1]),
            (&[], &[]),
        ];
        for (asked, expected) in cases {
            assert_eq!(order(&mut turns(asked)), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_quick_fit_waits_for_one_slow_one_at_most() {
        let mut turns = turns(&[("a", Lstm), ("b", Lstm), ("c", Retraining)]);
        let slow = turns.next().unwrap();
        for name in ["x", "y"] {
            turns.ask(target(name), Forest, 9, Instant::now());
        }
        turns.done(&slow.target, slow.kind);
        assert_eq!(order(&mut turns), [9, 9, 1, 2]);
    }

    #[test]
    fn a_request_replaces_the_one_that_waits_and_has_waited_as_long() {
        let mut turns = turns(&[("a", Lstm), ("b", Lstm)]);
        let later = Instant::now() + std::time::Duration::from_mins(1);
        turns.ask(target("a"), Lstm, 7, later);
        let first = turns.next().unwrap();
        assert!(first.what == 7 && first.since < later, "{first:?}");
        assert_eq!(order(&mut turns), [1]);
    }

    #[test]
    fn of_one_target_and_kind_one_runs_at_a_time_and_the_others_go_on() {
        let mut turns = turns(&[("a", Forest), ("b", Forest)]);
        let running = turns.next().unwrap();
        turns.ask(target("a"), Forest, 5, Instant::now());
        assert_eq!(order(&mut turns), [1]);
        turns.done(&running.target, running.kind);
        assert_eq!(order(&mut turns), [5]);
    }

    #[test]
    fn what_waits_is_bounded_by_the_targets_that_are_watched() {
        let mut turns = turns(&[]);
        for round in 0..100 {
            for name in ["a", "b"] {
                Kind::ALL.into_iter().for_each(|kind| turns.ask(target(name), kind, round, Instant::now()));
            }
        }
        turns.keep_only(|labels| labels.get("instance") == Some("b"));
        assert_eq!(order(&mut turns), [99; 4]);
    }
}
