//! Learning from rows that are known to be normal, before anything is judged.
//!
//! The first part of them is studied: baselines form and models are fitted on it. The rest is rehearsed: it is scored
//! by what was learned, and everything is calibrated on those scores, which no model has seen.

use std::collections::VecDeque;

use super::super::fits::Task;
use super::super::part::Part;
use super::super::surprise::Raw;
use super::super::verdict::Detector;
use super::{COURSE, Panel, Work, reach, strength};
use crate::series::Timestamp;

/// What is done with a row that is known to be normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Baselines learn it, models will be fitted on it.
    Study,
    /// It is scored, for the calibration, and then learned.
    Rehearse,
}

/// Rehearsed rows held at most; of those before, the scores are calibrated on but not their evidence.
const MOST_REHEARSED: usize = 8192;

/// Scores of the rows rehearsed so far.
#[derive(Default)]
pub(super) struct Rehearsal {
    rows: VecDeque<Row>,
}

struct Row {
    /// One a pace.
    raw: Vec<[Raw; Part::COUNT]>,
    gated: Vec<bool>,
}

impl Panel {
    /// Goes through a row of `values` that is known to be normal.
    pub fn teach(&mut self, at: Timestamp, values: &[Option<f64>], lesson: Lesson, work: &mut Work) {
        self.look(at, values, work);
        if lesson == Lesson::Rehearse {
            self.rehearse(work);
        }
        work.learn.clear();
        work.learn.resize(values.len(), true);
        work.fault.clear();
        work.fault.resize(values.len(), false);
        self.take_in(at, values, work);
        let known = &values[..self.width];
        self.memory.learn_values(at, known.iter().copied());
        if known.iter().any(Option::is_some) {
            self.memory.learn_row(at, known);
        }
    }

    fn rehearse(&mut self, work: &Work) {
        if self.rehearsal.rows.len() == MOST_REHEARSED
            && let Some(oldest) = self.rehearsal.rows.pop_front()
        {
            for (pace, raw) in self.paces.iter_mut().zip(&oldest.raw) {
                for (normal, raw) in pace.normal.iter_mut().zip(raw) {
                    let all = vec![true; raw.metrics.len()];
                    normal.absorb(raw, &all, &all);
                }
            }
        }
        let raw = work.looks.iter().map(|look| look.raw.clone()).collect();
        self.rehearsal.rows.push_back(Row { raw, gated: work.gated.clone() });
    }

    /// The fits to be run on what was studied; they are installed before the rehearsal begins.
    pub fn courses(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        if self.is_on(Detector::SeasonalEsd) {
            tasks.push(Task::Seasons(self.memory.freeze_tiers(), self.settings.period.clone()));
        }
        if self.is_on(Detector::IsolationForest) {
            tasks.push(self.isolation_task(false));
        }
        if self.is_on(Detector::LstmAutoencoder) {
            tasks.push(self.lstm_task(false));
        }
        tasks
    }

    /// The same without what takes seconds.
    pub fn quick_courses(&mut self) -> Vec<Task> {
        let mut tasks = self.courses();
        tasks.retain(|task| !matches!(task, Task::Lstm(..)));
        tasks
    }

    /// Has the fits that take seconds asked for at once.
    pub fn hurry(&mut self) {
        self.due.lstm = 0;
    }

    /// Takes means of a time long ago into the memory that seasons are found in.
    pub fn remember(&mut self, at: Timestamp, values: &[Option<f64>]) {
        self.memory.learn_values(at, values[..self.width].iter().copied());
    }

    /// Calibrates on the rehearsal. From here on everything is judged.
    pub fn graduate(&mut self, work: &mut Work) {
        let rows = std::mem::take(&mut self.rehearsal.rows);
        for (at, pace) in self.paces.iter_mut().enumerate() {
            for part in Part::ALL {
                pace.normal[part.index()].absorb_all(rows.iter().map(|row| &row.raw[at][part.index()]));
            }
        }
        for row in rows {
            work.looks.iter_mut().zip(row.raw).for_each(|(look, raw)| look.raw = raw);
            work.gated = row.gated;
            self.surprise(work);
            self.budget.rehearse(reach(work));
            self.course += COURSE * (strength(work) - self.course);
        }
        self.budget.settle();
        self.due.rest(self.memory.rows(), self.memory.tier_rows(), self.settings.retrain_every);
    }
}
