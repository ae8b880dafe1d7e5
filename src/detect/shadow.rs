//! Whether new models are better than those in use, tried in the shadow of the running ones.
//!
//! The rows are residuals: the running ensemble has taken what is expected from them. Both are put before the same recent normal
//! rows, which neither was fitted on, once as they are and once with faults of known kind and size in them. The new ones are
//! taken only if they raise no more incidents on the first and catch no fewer of the second. What is not a model stays as it
//! is: it is known of more rows than a trial has.

use super::ensemble::{Ensemble, Lesson, Metric, Settings, Standing, Work};
use super::model_set::ModelSet;
use super::training_set::{Scale, TrainingSet};
use crate::series::Timestamp;

/// Models to be fitted anew and tried.
pub struct Retraining {
    /// How the ensemble judges.
    pub settings: Settings,
    /// Its metrics.
    pub metrics: Vec<Metric>,
    /// The models in use.
    pub current: ModelSet,
}

/// What came of it.
pub struct Retrained {
    /// The new models.
    pub set: ModelSet,
    /// How they did.
    pub new: Marks,
    /// How those in use did.
    pub current: Marks,
}

/// What a model set made of the trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Incidents on normal rows.
    pub incidents: usize,
    /// Faults caught, of [`FAULTS`].
    pub caught: usize,
}

impl Retrained {
    /// Whether the new models are to be taken: no worse in one regard and better in the other. Those in use were fitted on
    /// more, or on what is known to be normal.
    pub fn is_better(&self) -> bool {
        self.new != self.current
            && self.new.incidents <= self.current.incidents
            && self.new.caught >= self.current.caught
    }
}

/// Kinds of faults, and their sizes in spreads of the metric.
const KINDS: [Kind; 4] = [Kind::Step, Kind::Spike, Kind::Ramp, Kind::Break];
const SIZES: [f64; 3] = [5.0, 8.0, 12.0];
/// Faults of a trial.
pub const FAULTS: usize = KINDS.len() * SIZES.len();
/// Rows a fault lasts, and a spike; an incident that begins so many rows after its end is still its.
const LONG: usize = 12;
const SHORT: usize = 4;
const AFTER: usize = 6;
/// Shares of the rows that the new models are fitted on and calibrated on; the rest is the trial.
const STUDIED: f64 = 0.6;
const REHEARSED: f64 = 0.8;
/// Rows between faults at least.
const BETWEEN: usize = 40;
/// Rows looked at in all, and rows before the trial that baselines form on.
pub const ROWS: usize = 8192;
const LEAD: usize = 1500;
/// Rows worked on between pauses.
const SLICE: usize = 16;

/// What happens to a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is higher.
    Step,
    /// It is higher for a moment.
    Spike,
    /// It gets higher and higher.
    Ramp,
    /// It goes one way and the next metric the other.
    Break,
}

/// A fault at its place: from row `from` on, of a metric and in a break of a second one.
struct Fault {
    kind: Kind,
    size: f64,
    from: usize,
    metrics: [(usize, Scale); 2],
}

impl Fault {
    fn long(&self) -> usize {
        if self.kind == Kind::Spike { SHORT } else { LONG }
    }

    /// What it does to a row of the trial.
    fn strike(&self, row: usize, values: &mut [Option<f64>]) {
        let Some(since) = row.checked_sub(self.from).filter(|since| *since < self.long()) else { return };
        let share = if self.kind == Kind::Ramp { (since + 1) as f64 / LONG as f64 } else { 1.0 };
        let ways = if self.kind == Kind::Break { [0.5, -0.5] } else { [1.0, 0.0] };
        for ((metric, scale), way) in self.metrics.iter().zip(ways) {
            values[*metric] = values[*metric].map(|value| value + way * share * self.size * scale.spread());
        }
    }
}

impl Retraining {
    /// Fits, tries, and says how both did; `None` where the rows do not suffice. `pause` is called every few
    /// milliseconds.
    pub fn run(self, training_set: &TrainingSet, pause: &mut dyn FnMut()) -> Option<Retrained> {
        let (studied, rehearsed) = (
            (training_set.len() as f64 * STUDIED) as usize,
            (training_set.len() as f64 * REHEARSED) as usize,
        );
        let faults = faults(training_set, training_set.len() - rehearsed)?;
        let mut ensemble = self.ensemble(training_set);
        let mut work = Work::default();
        for row in 0..rehearsed {
            if row == studied {
                for task in ensemble.courses(&mut work) {
                    let model = task.run(pause);
                    ensemble.install(model);
                }
            }
            let lesson = if row < studied { Lesson::Study } else { Lesson::Rehearse };
            ensemble.teach(training_set.at(row), training_set.row(row), lesson, &mut work);
            if row % SLICE == 0 {
                pause();
            }
        }
        ensemble.graduate(&mut work);
        let set = self.current.with_models_of(ensemble.models());
        let new = self.marks(&set, training_set, rehearsed, &faults, pause)?;
        let current = self.marks(&self.current, training_set, rehearsed, &faults, pause)?;
        Some(Retrained { set, new, current })
    }

    fn ensemble(&self, training_set: &TrainingSet) -> Ensemble {
        let settings = Settings { remember: Some(training_set.len()), ..self.settings.clone() };
        Ensemble::of_residuals(settings, self.metrics.clone())
    }

    fn marks(
        &self,
        set: &ModelSet,
        training_set: &TrainingSet,
        from: usize,
        faults: &[Fault],
        pause: &mut dyn FnMut(),
    ) -> Option<Marks> {
        let incidents = self.incidents(set, training_set, from, &[], pause)?.len();
        let found = self.incidents(set, training_set, from, faults, pause)?;
        let catches = |fault: &&Fault| {
            let until = fault.from + fault.long() + AFTER;
            found.iter().any(|begin| (fault.from..until).contains(begin))
        };
        Some(Marks { incidents, caught: faults.iter().filter(catches).count() })
    }

    /// Rows of the trial at which incidents begin.
    fn incidents(
        &self,
        set: &ModelSet,
        training_set: &TrainingSet,
        from: usize,
        faults: &[Fault],
        pause: &mut dyn FnMut(),
    ) -> Option<Vec<usize>> {
        let mut ensemble = self.ensemble(training_set);
        let mut work = Work::default();
        for row in from.saturating_sub(LEAD)..from {
            ensemble.teach(training_set.at(row), training_set.row(row), Lesson::Study, &mut work);
            if row % SLICE == 0 {
                pause();
            }
        }
        drop(ensemble.courses(&mut work));
        ensemble.adopt(set, "").ok()?;
        let mut begins = Vec::new();
        let (mut over, mut values) = (0, Vec::new());
        for row in from..training_set.len() {
            values.clear();
            values.extend_from_slice(training_set.row(row));
            faults.iter().for_each(|fault| fault.strike(row - from, &mut values));
            let at: Timestamp = training_set.at(row);
            let verdict = ensemble.assess(at, &values, &mut work);
            // Whatever a person's knobs: those act after the models.
            over = if verdict.flagged.is_some() { over + 1 } else { 0 };
            if over == self.settings.open_after {
                begins.push(row - from);
            }
            let active: Vec<bool> = (0..values.len()).map(|metric| verdict.flagged == Some(metric)).collect();
            let firing = active.iter().map(|active| *active && over >= self.settings.open_after).collect();
            ensemble.learn(at, &values, &mut work, &verdict, &Standing { active, firing });
            if row % SLICE == 0 {
                pause();
            }
        }
        Some(begins)
    }
}

/// The fixed set of faults, spread evenly over the `rows` of the trial; `None` where there is no room for them.
fn faults(training_set: &TrainingSet, rows: usize) -> Option<Vec<Fault>> {
    let scales = training_set.scales();
    if scales.is_empty() || rows < FAULTS * BETWEEN {
        return None;
    }
    let fault = |nth: usize| Fault {
        kind: KINDS[nth % KINDS.len()],
        size: SIZES[nth / KINDS.len()],
        from: nth * rows / FAULTS + rows / FAULTS / 2,
        metrics: [scales[nth % scales.len()], scales[(nth + 1) % scales.len()]],
    };
    Some((0..FAULTS).map(fault).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::config::Config;
    use crate::detect::effect_filter::EffectFilter;
    use rand_core::Rng;
    use std::time::Duration;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn settings() -> Settings {
        Config::default().settings(INTERVAL, 3)
    }

    fn metrics() -> Vec<Metric> {
        let metric =
            |name: &str| Metric { name: name.to_owned(), effect_filter: EffectFilter::OPEN, in_vector: true };
        ["a", "b", "c"].map(metric).to_vec()
    }

    /// Noise around 0; `wild` times as wide.
    fn training_set(rows: usize, wild: f64) -> TrainingSet {
        let mut random = rand_pcg::Pcg64Mcg::new(11);
        let mut noise = || f64::from(random.next_u32()) / f64::from(u32::MAX) - 0.5;
        let values = (0..rows).flat_map(|_| [(); 3].map(|()| Some(wild * noise())));
        let times = (0..rows as i64).map(|row| row * 10_000).collect();
        TrainingSet::new(times, values.collect(), vec![true; 3], 40_000)
    }

    /// Models fitted on noise so much wider than the rows of the trial.
    fn fitted_on(wild: f64) -> ModelSet {
        let training_set = training_set(3000, wild);
        let mut ensemble = Ensemble::of_residuals(settings(), metrics());
        let mut work = Work::default();
        for row in 0..training_set.len() {
            if row == 2000 {
                ensemble.courses(&mut work).into_iter().for_each(|task| {
                    ensemble.install(task.run(&mut || ()));
                });
            }
            let lesson = if row < 2000 { Lesson::Study } else { Lesson::Rehearse };
            ensemble.teach(training_set.at(row), training_set.row(row), lesson, &mut work);
        }
        ensemble.graduate(&mut work);
        ensemble.models()
    }

    fn retrained(current: ModelSet) -> Retrained {
        let retraining = Retraining { settings: settings(), metrics: metrics(), current };
        retraining.run(&training_set(4000, 1.0), &mut || ()).unwrap()
    }

    #[test]
    fn models_that_fit_the_present_replace_those_that_are_deaf_to_it() {
        let outcome = retrained(fitted_on(40.0));
        assert!(outcome.is_better(), "{:?} {:?}", outcome.new, outcome.current);
        assert!(outcome.new.caught > outcome.current.caught, "{:?} {:?}", outcome.new, outcome.current);
        assert!(outcome.new.caught >= 9 && outcome.new.incidents <= 1, "{:?}", outcome.new);
    }

    #[test]
    fn a_trial_says_the_same_twice() {
        let [first, again] = [(); 2].map(|()| retrained(fitted_on(1.0)));
        assert_eq!((first.new, first.current), (again.new, again.current));
        assert_eq!(first.set.to_bytes().unwrap(), again.set.to_bytes().unwrap());
    }

    #[test]
    fn too_few_rows_make_no_trial() {
        let retraining = Retraining { settings: settings(), metrics: metrics(), current: fitted_on(1.0) };
        assert!(retraining.run(&training_set(500, 1.0), &mut || ()).is_none());
    }

    #[test]
    fn worse_models_are_not_better() {
        let set = fitted_on(1.0);
        let of = |new: (usize, usize), current: (usize, usize)| {
            let marks = |(incidents, caught)| Marks { incidents, caught };
            Retrained { set: set.clone(), new: marks(new), current: marks(current) }.is_better()
        };
        assert!(of((0, 9), (1, 9)) && of((1, 10), (1, 9)) && of((0, 10), (1, 9)));
        assert!(!of((2, 12), (1, 9)) && !of((0, 8), (1, 9)));
        assert!(!of((1, 9), (1, 9)), "what is no better gives way to nothing");
    }
}
