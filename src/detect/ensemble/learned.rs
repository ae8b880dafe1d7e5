//! What an ensemble knows, to be kept over a restart: handed out quickly, written elsewhere, gone on from exactly.
//!
//! Rows and means are handed out as the tables they are, so that they outlive a change of what is learned from them.
//! The rest is bytes of postcard under a number of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::alert_rate::AlertRateThreshold;
use super::super::drift::Drift;
use super::super::expectation::Baseline;
use super::super::isolation::Isolation;
use super::super::learning_gate::LearningGate;
use super::super::lstm::Autoencoder;
use super::super::rare_state::RareStates;
use super::super::recurrence::Recurrence;
use super::super::timescale::Timescale;
use super::super::training_history::{Counts, Remembered};
use super::super::verdict::PerDetector;
use super::probation::Probation;
use super::{Due, Ensemble, cut};
use crate::series::Timestamp;

/// Raised whenever the bytes are laid out otherwise or mean something else: they would be misread.
const FORMAT: u32 = 9;

/// What an ensemble knows, but for its rows.
#[derive(Clone)]
pub struct Learned {
    state: State,
    models: Models,
}

/// What moves with every check.
#[derive(Clone, Serialize, Deserialize)]
struct State {
    watched: Vec<Watched>,
    timescales: Vec<Timescale>,
    alert_rate: AlertRateThreshold,
    due: Due,
    trained_at: PerDetector<Timestamp>,
    version: Option<String>,
    stored: Option<(String, Timestamp)>,
    course: f64,
    probation: Probation,
    history: Counts,
}

#[derive(Clone, Serialize, Deserialize)]
struct Watched {
    name: String,
    in_vector: bool,
    baseline: Baseline,
    learning_gate: LearningGate,
    back: u32,
    states: RareStates,
    recurrence: Recurrence,
    outside: u32,
    drift: Option<(Drift, [f64; 10])>,
}

/// What moves only with a fit. One a timescale.
#[derive(Clone, Default)]
pub struct Models(Vec<Pair>);

type Pair = (Option<Arc<Isolation>>, Option<Arc<Autoencoder>>);

impl Models {
    /// Whether these are the very same models, not only equal ones.
    pub fn are(&self, others: &Self) -> bool {
        fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (a, b) => a.is_none() && b.is_none(),
            }
        }
        let pairs = self.0.iter().zip(&others.0);
        self.0.len() == others.0.len()
            && pairs
                .into_iter()
                .all(|(a, b)| same(a.0.as_ref(), b.0.as_ref()) && same(a.1.as_ref(), b.1.as_ref()))
    }

    /// As bytes; the same for the same.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(&(FORMAT, &self.0)).map_err(|error| error.to_string())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        Ok(Self(numbered(bytes)?))
    }
}

impl Learned {
    /// What was written: `state` and `models` as they were given out.
    ///
    /// # Errors
    /// Where the bytes are those of another version of the program.
    pub fn from_bytes(state: &[u8], models: &[u8]) -> Result<Self, String> {
        Ok(Self { state: numbered(state)?, models: Models::from_bytes(models)? })
    }

    /// All but the models, as bytes.
    pub fn state(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(&(FORMAT, &self.state)).map_err(|error| error.to_string())
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.models
    }
}

/// The number comes first, so that it can be read whatever follows.
fn numbered<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let wrong = |error: postcard::Error| format!("what was learned cannot be read: {error}");
    let (format, rest) = postcard::take_from_bytes::<u32>(bytes).map_err(wrong)?;
    if format != FORMAT {
        return Err(format!("what was learned has format {format}, and this program reads {FORMAT}"));
    }
    postcard::from_bytes(rest).map_err(wrong)
}

impl Ensemble {
    /// The normal past, shared.
    pub fn remembered(&mut self) -> Remembered {
        Remembered { rows: self.history.freeze(), tiers: self.history.freeze_tiers() }
    }

    /// What it knows beside that; shares models, copies the rest.
    pub fn learned(&self) -> Learned {
        let keep = |watched: &super::Watched| Watched {
            name: watched.metric.name.clone(),
            in_vector: watched.metric.in_vector,
            baseline: watched.baseline.clone(),
            learning_gate: watched.learning_gate.clone(),
            back: watched.back,
            states: watched.states.clone(),
            recurrence: watched.recurrence,
            outside: watched.outside,
            drift: watched.drift.clone().map(|drift| (drift.now(), drift)).map(|(now, drift)| (drift, now)),
        };
        let state = State {
            watched: self.watched.iter().map(keep).collect(),
            timescales: self.timescales.clone(),
            alert_rate: self.alert_rate.clone(),
            due: self.due.clone(),
            trained_at: self.trained_at,
            version: self.version.clone(),
            stored: self.stored.clone(),
            course: self.course,
            probation: self.probation.clone(),
            history: self.history.counts(),
        };
        let models = self
            .timescales
            .iter()
            .map(|timescale| (timescale.isolation.clone(), timescale.lstm.clone()))
            .collect();
        Learned { state, models: Models(models) }
    }

    /// Goes on where another ensemble of the same metrics was; or says why it cannot, and then nothing changes.
    pub fn go_on(&mut self, learned: Learned, training_set: &Remembered) -> Result<(), String> {
        let Learned { state, models } = learned;
        self.fits(&state)?;
        for (own, kept) in self.watched.iter_mut().zip(state.watched) {
            (own.metric.name, own.metric.in_vector) = (kept.name, kept.in_vector);
            (own.learning_gate, own.baseline) = (kept.learning_gate, kept.baseline);
            (own.back, own.outside, own.states) = (kept.back, kept.outside, kept.states);
            own.recurrence = kept.recurrence;
            own.drift = kept.drift.map(|(mut drift, now)| {
                drift.go_on(now);
                drift
            });
        }
        for (at, (own, kept)) in self.timescales.iter_mut().zip(state.timescales).enumerate() {
            let weights = std::mem::replace(own, kept).weights;
            own.weights = weights;
            (own.isolation, own.lstm) = models.0.get(at).cloned().unwrap_or_default();
            own.recut(cut(&self.settings, own.cut.smoothing));
            own.lean_on(&self.settings.priors);
        }
        self.alert_rate = state.alert_rate;
        self.alert_rate.ask_if_changed(self.settings.false_alerts_per_day);
        (self.trained_at, self.version, self.stored) = (state.trained_at, state.version, state.stored);
        (self.course, self.probation) = (state.course, state.probation);
        self.history.go_on(state.history, &training_set.rows, &training_set.tiers);
        self.due = state.due;
        self.due.ask_for_lost_fits();
        Ok(())
    }

    /// Takes over what `before` knows of the metrics that `stays` names, each with its place there and here.
    pub fn inherit(&mut self, before: &mut Self, stays: &[(usize, usize)]) {
        if self.settings.interval != before.settings.interval {
            return;
        }
        for (was, is) in stays {
            self.watched[*is].learning_gate = before.watched[*was].learning_gate.clone();
            self.watched[*is].baseline = before.watched[*was].baseline.clone();
            self.watched[*is].drift = before.watched[*was].drift.take();
            self.watched[*is].states = before.watched[*was].states.clone();
            self.watched[*is].recurrence = before.watched[*was].recurrence;
            self.watched[*is].outside = before.watched[*was].outside;
        }
        for (own, before) in self.timescales.iter_mut().zip(&mut before.timescales) {
            own.inherit(before, stays);
            own.lean_on(&self.settings.priors);
        }
        let from = |is: usize| stays.iter().find(|(was, own)| *own == is && *was < before.width);
        let columns: Vec<Option<usize>> = (0..self.width).map(|is| from(is).map(|(was, _)| *was)).collect();
        let training_set = before.remembered().arranged(&columns);
        self.history.go_on(before.history.counts(), &training_set.rows, &training_set.tiers);
        self.alert_rate = before.alert_rate.clone();
        self.alert_rate.ask_if_changed(self.settings.false_alerts_per_day);
        (self.course, self.due.seasons) = (before.course, before.due.seasons);
    }

    fn fits(&self, state: &State) -> Result<(), String> {
        let (known, own) = (state.watched.len(), self.watched.len());
        if known != own {
            return Err(format!("what was learned is of {known} metrics, not {own}"));
        }
        let smoothings = state.timescales.iter().map(|timescale| timescale.cut.smoothing);
        if !smoothings.eq(self.timescales.iter().map(|timescale| timescale.cut.smoothing)) {
            return Err("what was learned is of another check_interval".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::ensemble::{Metric, Settings, Standing, Work};

    fn metric(name: &str) -> Metric {
        Metric {
            name: name.to_owned(),
            effect_filter: crate::detect::effect_filter::EffectFilter::OPEN,
            in_vector: true,
        }
    }

    /// Of `n` metrics without an incident.
    fn calm(n: usize) -> Standing {
        Standing { active: vec![false; n], firing: vec![false; n] }
    }

    fn settings() -> Settings {
        crate::detect::config::Config::default().settings(std::time::Duration::from_secs(10), 3)
    }

    fn ensemble() -> Ensemble {
        Ensemble::new(settings(), vec![metric("a"), metric("b")])
    }

    /// Shows an ensemble the rows `from..to`, running each fit at once, and says what it makes of each.
    fn watch(ensemble: &mut Ensemble, from: i64, to: i64) -> Vec<String> {
        let mut work = Work::default();
        let mut said = Vec::new();
        for row in from..to {
            let at = Timestamp::from_millis(row * 10_000);
            let wave = |step: f64| (row as f64 * step).sin() + (row * 7919 % 101) as f64 / 100.0;
            let fault = if (700..720).contains(&row) { 9.0 } else { 0.0 };
            let values = [Some(wave(0.1) + fault), (row % 17 != 0).then(|| wave(0.03))];
            let verdict = ensemble.assess(at, &values, &mut work);
            said.push(format!("{verdict:?}"));
            ensemble.learn(at, &values, &mut work, &verdict, &calm(2));
            while let Some(task) = ensemble.due() {
                ensemble.install(task.run(&mut || ()));
            }
        }
        said
    }

    fn through_bytes(learned: &Learned) -> Learned {
        Learned::from_bytes(&learned.state().unwrap(), &learned.models().to_bytes().unwrap()).unwrap()
    }

    #[test]
    fn a_panel_that_was_kept_goes_on_byte_for_byte_as_the_one_that_was_not_interrupted() {
        for interrupted in [5, 40, 333, 705, 760] {
            let mut one = ensemble();
            watch(&mut one, 0, interrupted);
            let mut other = ensemble();
            other.go_on(through_bytes(&one.learned()), &one.remembered()).unwrap();
            assert_eq!(
                watch(&mut one, interrupted, 900),
                watch(&mut other, interrupted, 900),
                "{interrupted}"
            );
        }
    }

    #[test]
    fn what_was_learned_of_other_metrics_or_by_another_program_changes_nothing() {
        let mut one = ensemble();
        watch(&mut one, 0, 50);
        let mut other = Ensemble::new(settings(), vec![metric("a")]);
        let refused = other.go_on(one.learned(), &one.remembered()).unwrap_err();
        assert_eq!(refused, "what was learned is of 2 metrics, not 1");
        assert_eq!(other.history.rows(), 0);
        let learned = one.learned();
        let mut state = learned.state().unwrap();
        state[0] += 1;
        let models = learned.models().to_bytes().unwrap();
        let read = Learned::from_bytes(&state, &models);
        let complaint = format!("has format {}, and this program reads {FORMAT}", FORMAT + 1);
        assert!(read.err().unwrap().ends_with(&complaint));
    }

    #[test]
    fn the_layout_of_the_bytes_does_not_change_without_their_number() {
        let bytes = ensemble().learned().state().unwrap();
        let found = (FORMAT, bytes.len());
        assert_eq!(found, (9, 2803), "raise FORMAT and expect this");
    }

    #[test]
    fn checks_outside_the_band_are_counted_until_one_is_within_and_go_on_with_other_signals() {
        let mut one = ensemble();
        watch(&mut one, 0, 700);
        assert_eq!(one.outside(0), 0);
        watch(&mut one, 700, 720);
        assert_eq!((one.outside(0), one.outside(1)), (20, 0), "the fault is of the first metric");
        let mut other = Ensemble::new(settings(), vec![metric("b"), metric("a")]);
        other.inherit(&mut one, &[(0, 1)]);
        assert_eq!((other.outside(0), other.outside(1)), (0, 20));
        watch(&mut one, 720, 721);
        assert_eq!(one.outside(0), 0);
    }

    #[test]
    fn models_are_the_same_until_a_fit_has_come() {
        let mut ensemble = ensemble();
        let changed: Vec<i64> = (0..130)
            .filter(|row| {
                let before = ensemble.learned().models().clone();
                watch(&mut ensemble, *row, row + 1);
                !before.are(ensemble.learned().models())
            })
            .collect();
        // From fits of fewer rows, which come at once here, too few are held back for a forest that could vote.
        assert_eq!(changed, [109]);
    }
}
