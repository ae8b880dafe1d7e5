//! What an ensemble learns from a row once it has judged it.

use super::super::component::Component;
use super::super::expectation::HOURS;
use super::super::learning_gate::Learning;
use super::super::timescale::{Timescale, look_back};
use super::super::verdict::Detector;
use super::super::vote::CANONICAL_WEIGHTS;
use super::fusion::narrowest;
use super::probation::Row;
use super::{Ensemble, Standing, Verdict, Work};
use crate::series::Timestamp;

/// Standard deviations that a change of clocks must explain of each value of the last hours, in the mean over metrics.
const BETTER: f64 = 0.25;
/// Scales from expected within which a metric is back where it was before a fault, and checks in a row after which it is.
const WITHIN: f64 = 3.0;
const BACK: u32 = 3;

impl Ensemble {
    /// Takes in the row that `work` and `verdict` are of; names the metrics whose level has proved to be the new normal.
    pub fn learn(
        &mut self,
        at: Timestamp,
        values: &[Option<f64>],
        work: &mut Work,
        verdict: &Verdict,
        standing: &Standing,
    ) -> Vec<usize> {
        let (mut adapted, mut settled) = (Vec::new(), Vec::new());
        work.learn.clear();
        let (fires, is_young) = (standing.firing.contains(&true), !self.alert_rate.is_trained());
        for (metric, watched) in self.watched.iter_mut().enumerate() {
            let Some(value) = values[metric] else {
                work.learn.push(true);
                // What should recur may have come unseen.
                watched.recurrence.gap();
                continue;
            };
            if let Some(drift) = &mut watched.drift {
                drift.take(value, self.settings.interval);
            }
            watched.baseline.compare(at, value);
            let band = verdict.metrics[metric].band.filter(|_| watched.metric.effect_filter.recurrences);
            if let Some(band) = band {
                let usual = (band.upper - band.lower) / 2.0;
                watched.recurrence.take(at, value, usual, watched.baseline.recurs(at));
            } else {
                watched.recurrence.gap();
            }
            watched.outside =
                if watched.is_outside(value, verdict.metrics[metric].band) { watched.outside + 1 } else { 0 };
            let expected = narrowest(&work.looks[0].expectations[metric], &CANONICAL_WEIGHTS);
            let is_within =
                expected.zip(work.residuals[metric]).is_some_and(|(e, r)| e.distance(r) <= WITHIN);
            // What a fault elsewhere does to a metric is part of it, however little; of what a training knows it hides nothing.
            let is_touched = is_young && fires && expected.is_some() && !is_within;
            let flagged = standing.active[metric] || verdict.flags(metric) || is_touched;
            let is_level = verdict.metrics[metric].is_level;
            let learning = watched.learning_gate.decide(at, flagged, is_level, self.settings.adapt_after);
            let learn = learning == Learning::Learn;
            work.learn.push(learn);
            let adapts = matches!(learning, Learning::Adapt { .. });
            watched.states.take(at, value, &watched.metric.effect_filter, learn);
            if !watched.learning_gate.is_holding() && !adapts {
                watched.baseline.release();
            }
            if learn {
                watched.baseline.learn(at, value, work.least[metric]);
            } else if learning == Learning::Withhold {
                watched.baseline.withhold(at, value);
            }
            watched.back = if !learn && is_within { watched.back + 1 } else { 0 };
            if watched.back == BACK {
                settled.push(metric);
                watched.learning_gate.end();
            }
            if adapts {
                adapted.push(metric);
            }
            if standing.firing.get(metric).is_some_and(|firing| *firing) {
                self.timescales.iter_mut().for_each(|timescale| timescale.forget_edge(metric));
            }
        }
        self.take_in(at, work);
        self.absorb(at, values, work, standing);
        for metric in settled {
            self.timescales.iter_mut().for_each(|timescale| timescale.settle(metric, BACK as usize));
        }
        adapted.iter().for_each(|metric| self.adapt(at, *metric));
        self.notice_clock_change();
        adapted
    }

    /// Where all that recurs fits better by an hour, clocks were changed: it is the same course, and nobody has to learn it anew.
    fn notice_clock_change(&mut self) {
        let (mut sums, mut n) = ([0.0; HOURS.len()], 0.0);
        for betters in self.watched.iter().filter_map(|watched| watched.baseline.betters()) {
            sums.iter_mut().zip(betters).for_each(|(sum, better)| *sum += better);
            n += 1.0;
        }
        let best = (0..HOURS.len()).max_by(|a, b| sums[*a].total_cmp(&sums[*b])).unwrap_or(1);
        if n > 0.0 && sums[best] > BETTER * n {
            self.watched.iter_mut().for_each(|watched| watched.baseline.change_clock(HOURS[best]));
        }
    }

    /// A metric's level is the new normal for everybody.
    fn adapt(&mut self, at: Timestamp, metric: usize) {
        let baseline = &mut self.watched[metric].baseline;
        let before = baseline.at(at);
        baseline.adapt(at);
        self.watched[metric].states.adapt();
        let baseline = &self.watched[metric].baseline;
        if let (Some(before), Some(now)) = (before, baseline.at(at)) {
            let map = |residual: f64| (before.value_of(residual) - now.value) / now.unit;
            self.timescales.iter_mut().for_each(|timescale| timescale.move_to(metric, map));
        }
        self.probation.adapt();
    }

    pub(super) fn take_in(&mut self, at: Timestamp, work: &Work) {
        // Of windows that a training has filled a few values are no part; while they are young they are most of it.
        let keeps_edge = !self.alert_rate.is_trained();
        let usual = &work.looks[0].expectations;
        for (timescale, look) in self.timescales.iter_mut().zip(&work.looks) {
            timescale.learn(at, &work.residuals, &work.least, look, usual, (&work.learn, keeps_edge));
        }
    }

    fn absorb(&mut self, at: Timestamp, values: &[Option<f64>], work: &Work, standing: &Standing) {
        self.history.learn_values(at, values[..self.width].iter().copied());
        if values[..self.width].iter().all(Option::is_none) {
            return;
        }
        self.course = work.course;
        self.history.learn_row(at, &work.residuals[..self.width]);
        if let Some(row) = self.probation.take(
            at,
            work,
            standing,
            self.is_ready(Detector::Zscore),
            self.alert_rate.is_trained(),
        ) {
            let is_young = !self.alert_rate.is_trained();
            absorb(&row, 1, is_young, &mut self.timescales);
            let look_backs = self.timescales.iter().filter(|_| is_young).map(Timescale::longest_look_back);
            let longest = look_backs.max().unwrap_or(0);
            let lasting = self.alert_rate.absorb(row.reach, row.is_normal(longest));
            self.probation.keep(row, lasting);
        }
        let allowed = self.settings.false_alerts_per_day;
        for record in self.probation.release(at, allowed) {
            for row in &record.rows {
                absorb(row, record.stride, true, &mut self.timescales);
            }
            self.alert_rate.release(record.peak);
        }
    }
}

/// Takes in the scores of a row that so many rows are like: where little is known, of each component only those that nothing of an
/// incident is left in.
pub(super) fn absorb(row: &Row, times: usize, is_young: bool, timescales: &mut [Timescale]) {
    for (timescale, raw) in timescales.iter_mut().zip(&row.raw) {
        for ((component, normal), raw) in Component::ALL.into_iter().zip(&mut timescale.normal).zip(raw) {
            let look_back = if is_young { look_back(&timescale.cut, component) } else { 0 };
            (0..times).for_each(|_| normal.absorb(raw, &row.calm, look_back));
        }
    }
}
