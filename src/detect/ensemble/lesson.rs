//! Learning from rows that are known to be normal, before anything is judged.
//!
//! The first part of them is studied: baselines form and models are fitted on it. The rest is rehearsed: it is scored
//! by what was learned, and everything is calibrated on those scores, which no model has seen.

use std::collections::VecDeque;

use super::super::component::Component;
use super::super::fit_tasks::Task;
use super::super::verdict::Detector;
use super::probation::Row;
use super::{COURSE, Ensemble, Work, reach, strength};
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

/// What a training has gone through so far.
#[derive(Default)]
pub(super) struct Rehearsal {
    studied: Vec<(Timestamp, Vec<Option<f64>>)>,
    rows: VecDeque<Row>,
}

impl Ensemble {
    /// Goes through a row of `values` that is known to be normal.
    pub fn teach(&mut self, at: Timestamp, values: &[Option<f64>], lesson: Lesson, work: &mut Work) {
        self.history.learn_values(at, values[..self.width].iter().copied());
        self.probation.begin(at);
        if lesson == Lesson::Study {
            self.rehearsal.studied.push((at, values.to_vec()));
            return;
        }
        self.look(at, values, work);
        self.rehearse(at, work);
        self.study(at, values, work);
    }

    fn study(&mut self, at: Timestamp, values: &[Option<f64>], work: &mut Work) {
        work.learn.clear();
        work.learn.resize(values.len(), true);
        for ((watched, value), least) in self.watched.iter_mut().zip(values).zip(&work.least) {
            if let Some(value) = value {
                watched.baseline.learn(at, *value, *least);
                watched.states.take(at, *value, &watched.metric.effect_filter, true);
            }
        }
        self.take_in(at, work);
        if values[..self.width].iter().any(Option::is_some) {
            self.history.learn_row(at, &work.residuals[..self.width]);
        }
    }

    fn rehearse(&mut self, at: Timestamp, work: &Work) {
        if self.rehearsal.rows.len() == MOST_REHEARSED
            && let Some(oldest) = self.rehearsal.rows.pop_front()
        {
            super::learning::absorb(&oldest, 1, false, &mut self.timescales);
        }
        let raw = work.looks.iter().map(|look| look.raw.clone()).collect();
        let calm = vec![usize::MAX; work.residuals.len()];
        self.rehearsal.rows.push_back(Row { at, raw, calm, ..Row::default() });
    }

    /// Goes through what was studied, now that all of it is there: what recurs in it is known from the first row on. Gives
    /// the fits to be run on it; they are installed before the rehearsal begins.
    pub fn courses(&mut self, work: &mut Work) -> Vec<Task> {
        self.find_seasons();
        let mut last = None;
        for (at, values) in std::mem::take(&mut self.rehearsal.studied) {
            let gap = self.settings.interval * super::super::fit_tasks::GAP;
            if last.replace(at).is_some_and(|last: Timestamp| at.since(last) > gap) {
                self.gap();
            }
            self.look(at, &values, work);
            self.study(at, &values, work);
        }
        let mut tasks = Vec::new();
        if self.is_on(Detector::IsolationForest) {
            tasks.push(self.isolation_task(false));
        }
        if self.is_on(Detector::LstmAutoencoder) {
            tasks.push(self.lstm_task(false));
        }
        tasks
    }

    fn find_seasons(&mut self) {
        let tiers = self.history.freeze_tiers();
        let first = self.rehearsal.studied.first().map(|(at, _)| *at).unwrap_or_default();
        for (metric, watched) in self.watched[..self.width].iter_mut().enumerate() {
            watched.baseline.reseason(tiers.season(metric, &self.settings.period), first);
        }
    }

    /// The same without what takes seconds.
    pub fn quick_courses(&mut self, work: &mut Work) -> Vec<Task> {
        let mut tasks = self.courses(work);
        tasks.retain(|task| !matches!(task, Task::Lstm(..)));
        tasks
    }

    /// Has the fits that take seconds asked for at once.
    pub fn hurry(&mut self) {
        self.due.lstm = 0;
    }

    /// Takes means of a time long ago into the memory that seasons are found in.
    pub fn remember(&mut self, at: Timestamp, values: &[Option<f64>]) {
        self.history.learn_values(at, values[..self.width].iter().copied());
    }

    /// Calibrates on the rehearsal. From here on everything is judged.
    pub fn graduate(&mut self, work: &mut Work) {
        let rows = std::mem::take(&mut self.rehearsal.rows);
        self.rehearsal.studied = Vec::new();
        for (at, timescale) in self.timescales.iter_mut().enumerate() {
            for component in Component::ALL {
                timescale.normal[component.index()]
                    .absorb_all(rows.iter().map(|row| &row.raw[at][component.index()]));
            }
        }
        for row in rows {
            work.looks.resize_with(self.timescales.len(), Default::default);
            work.looks.iter_mut().zip(row.raw).for_each(|(look, raw)| look.raw = raw);
            work.filtered.clear();
            work.states.clear();
            work.filtered.resize(row.calm.len(), false);
            self.surprisal(work);
            self.alert_rate.rehearse(reach(work));
            self.course += COURSE * (strength(work) - self.course);
        }
        self.alert_rate.settle();
        self.rest();
    }
}
