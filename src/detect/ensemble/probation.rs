//! When the scores of a row are learned: a few checks later, once it is known whether an incident has begun with it; those of
//! an incident only if there turn out to be more of them than incidents can be.
//!
//! A tail that never sees what was flagged is cut off where the flags begin, and would be for good: a runner of jobs is in
//! an incident with every job. So what is withheld is bounded by the budget of false alerts. Incidents that ended by
//! themselves are kept with their scores, for half a day at least; where there are more of them than several times the budget,
//! they are how things are, and the smallest are learned first.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::component::Component;
use super::super::robust;
use super::super::surprisal::{Raw, Surprisal};
use super::super::timescale::EDGE;
use super::Work;
use super::fusion::reach;
use crate::series::Timestamp;

/// Rows of an incident whose scores are kept, evenly over it.
const ROWS: usize = 8;
/// Incidents that may be withheld: so many, and so many times what the budget allows for the time that was watched.
const FIRST: f64 = 2.0;
const TIMES: f64 = 3.0;
/// How long an incident is withheld in any case: one fault that comes again and again for some hours is a fault.
const LONGEST: Duration = Duration::from_hours(12);
/// Days that the allowance is of, at most.
const DAYS: f64 = 14.0;

/// Where the incidents of a target stand at a check, one a metric.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Whether one has begun and not ended.
    pub active: Vec<bool>,
    /// Whether it fires.
    pub firing: Vec<bool>,
}

/// Surprisal from which on a metric that looks odd beside an incident of another is taken for a part of it. Where only the metric
/// whose incident it was was withheld, what faults did to the others became their tails, which hid later faults: recall on
/// simulated hosts .873, and .937 with 2.5; core VUS-PR .428 and .419, recall .589 and .572, within chance. 1 to 2 cost precision
/// (.387 to .415 instead of .433).
const ODD: f64 = 2.5;

/// The scores of one row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) at: Timestamp,
    /// One a timescale.
    pub(super) raw: Vec<[Raw; Component::COUNT]>,
    /// Checks since the last one of each metric's incident; 0 within it.
    pub(super) calm: Vec<usize>,
    /// Which metrics some detector finds odd.
    pub(super) odd: Vec<bool>,
    pub(super) reach: f64,
}

impl Row {
    fn fill(&mut self, at: Timestamp, work: &Work, calm: &[usize]) {
        (self.at, self.reach) = (at, reach(work));
        self.calm.clear();
        self.calm.extend_from_slice(calm);
        self.odd.clear();
        self.odd.extend((0..calm.len()).map(|metric| is_odd(work, metric)));
        self.raw.resize_with(work.looks.len(), Default::default);
        for (own, look) in self.raw.iter_mut().zip(&work.looks) {
            own.iter_mut().zip(&look.raw).for_each(|(own, raw)| own.copy(raw));
        }
    }

    /// Whether nothing that looks back so far sees any incident.
    pub(super) fn is_normal(&self, look_back: usize) -> bool {
        self.calm.iter().all(|calm| *calm > look_back)
    }
}

fn is_odd(work: &Work, metric: usize) -> bool {
    let own = |surprisal: &Surprisal| surprisal.metrics.get(metric).copied().flatten();
    work.surprisals.iter().filter_map(own).any(|own| own >= ODD)
}

/// An incident, or what is left of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) peak: f64,
    /// One in so many of its rows.
    pub(super) rows: Vec<Row>,
    pub(super) stride: usize,
    passed: usize,
    /// Whether it ended because its level is the new normal.
    adapted: bool,
}

/// What is not learned yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Probation {
    /// The newest rows, as many as it takes to know whether an incident has begun.
    newest: VecDeque<Row>,
    room: usize,
    /// Checks since the last one of each metric's incident.
    calm: Vec<usize>,
    current: Option<Record>,
    /// Incidents that ended by themselves.
    withheld: Vec<Record>,
    /// Times that no model is fitted on.
    adapted: Vec<(Timestamp, Timestamp)>,
    first: Option<Timestamp>,
    /// For its buffers.
    #[serde(skip)]
    spare: Option<Row>,
}

impl Probation {
    /// Where `open_after` checks open an incident.
    pub(super) fn new(open_after: usize) -> Self {
        Self { room: open_after + EDGE, ..Self::default() }
    }

    /// Where another number of checks opens an incident.
    pub(super) fn resize(&mut self, open_after: usize) {
        self.room = open_after + EDGE;
    }

    fn rows(&mut self) -> impl Iterator<Item = &mut Row> {
        let records = self.withheld.iter_mut().chain(&mut self.current);
        self.newest.iter_mut().chain(records.flat_map(|record| &mut record.rows))
    }

    /// Forgets the scores of a metric in whose place another is.
    pub(super) fn forget(&mut self, metric: usize) {
        for raw in self.rows().flat_map(|row| row.raw.iter_mut().flatten()) {
            if let Some(score) = raw.metrics.get_mut(metric) {
                *score = None;
            }
        }
        if let Some(calm) = self.calm.get_mut(metric) {
            *calm = usize::MAX;
        }
    }

    /// Time of the oldest row of which it is not known yet whether an incident began with it.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.newest.front().map(|row| row.at)
    }

    /// Forgets the scores of components whose model is another from here on: it scores by other numbers.
    pub(super) fn forget_components(&mut self, components: &[Component]) {
        for row in self.rows() {
            for raw in &mut row.raw {
                components.iter().for_each(|component| raw[component.index()] = Raw::default());
            }
        }
    }

    /// Normal rows are gone through from `at` on.
    pub(super) fn begin(&mut self, at: Timestamp) {
        self.first.get_or_insert(at);
    }

    /// Takes in the row that `work` is of; gives back one whose time has come: before anybody can judge, the row itself.
    pub(super) fn take(
        &mut self,
        at: Timestamp,
        work: &Work,
        standing: &Standing,
        can_judge: bool,
        is_trained: bool,
    ) -> Option<Row> {
        self.first.get_or_insert(at);
        self.calm.resize(standing.firing.len(), usize::MAX);
        let fires = standing.firing.contains(&true);
        // What a fault elsewhere does to a metric is part of it; of what a training knows it hides no more.
        let touches = |firing: bool, is_odd: bool| firing || (fires && (is_odd || !is_trained));
        self.calm.iter_mut().for_each(|calm| *calm = calm.saturating_add(1));
        let mut row = self.spare.take().unwrap_or_default();
        row.fill(at, work, &self.calm);
        self.newest.push_back(row);
        if fires && self.current.is_none() {
            let since = self.newest.front().map_or(at, |row| row.at);
            self.current = Some(Record { since, until: at, stride: 1, ..Record::default() });
        }
        for row in self.newest.iter_mut().filter(|_| fires) {
            for ((calm, odd), firing) in row.calm.iter_mut().zip(&row.odd).zip(&standing.firing) {
                if touches(*firing, *odd) {
                    *calm = 0;
                }
            }
        }
        if let Some(row) = self.newest.back() {
            self.calm.clone_from(&row.calm);
        }
        let room = if can_judge { self.room } else { 0 };
        if self.newest.len() > room { self.newest.pop_front() } else { None }
    }

    /// Keeps a row of an incident, and how far it lasted.
    pub(super) fn keep(&mut self, row: Row, lasting: Option<f64>) {
        let (Some(record), false, Some(lasting)) = (&mut self.current, row.is_normal(0), lasting) else {
            self.spare = Some(row);
            return;
        };
        let mut row = row;
        record.until = row.at;
        record.peak = record.peak.max(lasting);
        record.passed += 1;
        if record.passed < record.stride {
            self.spare = Some(row);
            return;
        }
        record.passed = 0;
        if record.rows.len() == ROWS {
            robust::halve(&mut record.rows);
            record.stride *= 2;
        }
        row.calm.fill(usize::MAX);
        record.rows.push(row);
    }

    /// The level of the current incident is the new normal.
    pub(super) fn adapt(&mut self) {
        if let Some(record) = &mut self.current {
            record.adapted = true;
        }
    }

    /// Incidents that are learned after all, where `per_day` false alerts are allowed.
    pub(super) fn release(&mut self, at: Timestamp, per_day: f64) -> Vec<Record> {
        if self.newest.iter().all(|row| row.is_normal(0))
            && let Some(record) = self.current.take()
        {
            if record.adapted {
                self.adapted.push((record.since, record.until));
                if self.adapted.len() > 64 {
                    self.adapted.remove(0);
                }
            } else {
                self.withheld.push(record);
            }
        }
        let days = self.first.map_or(0.0, |first| at.since(first).as_secs_f64() / 86_400.0).min(DAYS);
        let allowed = (FIRST + TIMES * per_day * days) as usize;
        let mut released = Vec::new();
        while self.withheld.len() > allowed {
            let is_old = |nth: &usize| at.since(self.withheld[*nth].until) >= LONGEST;
            let smallest = (0..self.withheld.len())
                .filter(is_old)
                .min_by(|a, b| self.withheld[*a].peak.total_cmp(&self.withheld[*b].peak));
            let Some(smallest) = smallest else { break };
            released.push(self.withheld.swap_remove(smallest));
        }
        let oldest = at.millis() - (2.0 * DAYS * 86_400_000.0) as i64;
        self.withheld.retain(|record| record.until.millis() > oldest);
        released
    }

    /// Times of incidents that are over, which no model is fitted on.
    pub(super) fn ended(&self) -> Vec<(Timestamp, Timestamp)> {
        let ended = self.withheld.iter().map(|record| (record.since, record.until));
        ended.chain(self.adapted.iter().copied()).collect()
    }

    /// Since when there is an incident, if there is one.
    pub(super) fn current(&self) -> Option<Timestamp> {
        self.current.as_ref().map(|record| record.since)
    }

    /// Time went on without anybody looking.
    pub(super) fn gap(&mut self) {
        self.newest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::timescale::Look;

    const OPEN_AFTER: usize = 3;

    fn at(check: usize) -> Timestamp {
        Timestamp::from_millis(check as i64 * 10_000)
    }

    /// An incident of the first metric, or none.
    fn standing(fires: bool) -> Standing {
        Standing { active: vec![fires, false], firing: vec![fires, false] }
    }

    fn work() -> Work {
        Work { looks: vec![Look::default()], ..Work::default() }
    }

    /// Puts checks on probation, and gives the rows that are handed back; the first metric fires where `fires` says so.
    fn handed_back(probation: &mut Probation, checks: usize, fires: impl Fn(usize) -> bool) -> Vec<Row> {
        (0..checks)
            .filter_map(|check| probation.take(at(check), &work(), &standing(fires(check)), true, true))
            .collect()
    }

    /// Goes through incidents of these peaks, one after the other, and gives the peaks that are released.
    fn released(peaks: &[f64], per_day: f64) -> Vec<f64> {
        let mut probation = Probation::new(OPEN_AFTER);
        let mut released = Vec::new();
        for check in 0..50 * (peaks.len() + 1) {
            let peak = peaks.get(check / 50).copied();
            let fires = peak.is_some() && (20..30).contains(&(check % 50));
            if let Some(row) = probation.take(at(check), &work(), &standing(fires), true, true) {
                // How far a check lasts is told when its row is handed back.
                let peak = peaks.get(row.at.millis() as usize / 10_000 / 50).copied();
                probation.keep(row, peak.or(Some(0.0)));
            }
            let now = probation.release(at(check), per_day);
            assert!(now.is_empty(), "one fault that comes again and again for some hours is a fault");
        }
        let later = at(50 * (peaks.len() + 1)) + LONGEST;
        released.extend(probation.release(later, per_day).iter().map(|record| record.peak));
        released
    }

    #[test]
    fn a_row_is_handed_back_once_it_is_known_whether_an_incident_began_with_it() {
        let mut probation = Probation::new(OPEN_AFTER);
        let back = handed_back(&mut probation, 20, |_| false);
        let times: Vec<_> = back.iter().map(|row| row.at).collect();
        let delay = OPEN_AFTER + EDGE;
        assert_eq!(times, (0..20 - delay).map(at).collect::<Vec<_>>());
        assert!(back.iter().all(|row| row.is_normal(0)));
        assert!(probation.ended().is_empty() && probation.current().is_none());
    }

    #[test]
    fn of_a_firing_incident_its_checks_and_those_that_opened_it_are_withheld_and_so_is_its_edge() {
        let mut probation = Probation::new(OPEN_AFTER);
        // Fires with the third check in a row that is over the threshold: 8, 9 and 10.
        let back = handed_back(&mut probation, 40, |check| (10..15).contains(&check));
        let withheld: Vec<_> = back.iter().filter(|row| row.calm[0] == 0).map(|row| row.at).collect();
        assert_eq!(withheld, (10 - OPEN_AFTER - EDGE..15).map(at).collect::<Vec<_>>());
        assert!(back.iter().all(|row| row.calm[1] > 0), "the other metric had no incident");
    }

    #[test]
    fn what_an_incident_does_to_another_metric_is_withheld_after_a_training_too() {
        let mut probation = Probation::new(OPEN_AFTER);
        let mut withheld = Vec::new();
        for check in 0..40 {
            let mut work = work();
            // The other metric is odd all the while, the incident lasts for five checks.
            work.surprisals[0].metrics = vec![None, Some(ODD)];
            let row = probation.take(at(check), &work, &standing((10..15).contains(&check)), true, true);
            withheld.extend(row.filter(|row| row.calm[1] == 0).map(|row| row.at));
        }
        assert_eq!(withheld, (10 - OPEN_AFTER - EDGE..15).map(at).collect::<Vec<_>>());
    }

    #[test]
    fn no_model_is_fitted_on_an_incident_under_way_nor_on_one_that_ended() {
        let mut probation = Probation::new(OPEN_AFTER);
        let first = 10 - OPEN_AFTER - EDGE;
        for check in 0..60 {
            let fires = (10..15).contains(&check);
            if let Some(row) = probation.take(at(check), &work(), &standing(fires), true, true) {
                probation.keep(row, Some(1.0));
            }
            probation.release(at(check), 1.0);
            if fires {
                assert_eq!((probation.ended(), probation.current()), (Vec::new(), Some(at(first))));
            }
        }
        assert_eq!((probation.ended(), probation.current()), (vec![(at(first), at(14))], None));
    }

    #[test]
    fn as_many_incidents_as_are_allowed_are_withheld() {
        assert_eq!(released(&[5.0, 1.0], 0.0), [0.0; 0]);
    }

    #[test]
    fn of_more_incidents_than_allowed_the_smallest_are_released_first() {
        assert_eq!(released(&[5.0, 1.0, 3.0, 2.0], 0.0), [1.0, 2.0]);
    }

    #[test]
    fn an_incident_whose_level_became_the_new_normal_is_never_released() {
        let mut probation = Probation::new(OPEN_AFTER);
        for check in 0..1000 {
            let fires = (20..30).contains(&(check % 50));
            if let Some(row) = probation.take(at(check), &work(), &standing(fires), true, true) {
                probation.keep(row, Some(1.0));
            }
            if check % 50 == 29 {
                probation.adapt();
            }
            assert!(probation.release(at(check), 0.0).is_empty());
        }
    }

    #[test]
    fn of_a_long_incident_a_few_rows_are_kept_evenly_and_learned_as_often_as_there_were() {
        let mut probation = Probation::new(OPEN_AFTER);
        for check in 0..500 {
            let fires = (50..450).contains(&check);
            if let Some(row) = probation.take(at(check), &work(), &standing(fires), true, true) {
                probation.keep(row, Some(1.0));
            }
            probation.release(at(check), 0.0);
        }
        let record = &probation.withheld[0];
        assert!((ROWS / 2..=ROWS).contains(&record.rows.len()), "{}", record.rows.len());
        let stands_for = record.rows.len() * record.stride;
        assert!((300..=500).contains(&stands_for), "{stands_for}");
        assert!(record.rows.iter().all(|row| row.is_normal(0)), "once released they are learned");
    }
}
