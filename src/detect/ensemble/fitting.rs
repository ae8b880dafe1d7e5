//! When models are fitted anew, on what, and how they are taken up.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::component::Component;
use super::super::fit_tasks::{self, DELAY, Fitted, Kind, Model, Rows, Task};
use super::super::isolation::Isolation;
use super::super::model_set::ModelSet;
use super::super::season::Season;
use super::super::shadow::{self, Retraining};
use super::super::surprisal::Normal;
use super::super::timescale::Timescale;
use super::super::verdict::Detector;
use super::super::{isolation, lstm};
use super::readiness::FEWEST_SCORES;
use super::{Ensemble, Settings, Watched};
use crate::series::Timestamp;

/// Rows at which the forest is first asked for: the fewest that a fit needs, and those that are held back from it. It
/// takes effect thirty checks later, and with what came meanwhile there are the scores that it needs to vote at once.
pub(super) const FIRST_FIT: u64 = 30;
/// Rows from which on the forest is to vote.
pub(super) const FOREST_ROWS: u64 = FIRST_FIT + DELAY;
const _: () =
    assert!((FIRST_FIT as f64 * fit_tasks::FIT) as usize >= isolation::FEWEST, "the first fit would fail");
/// Rows from which on models are not fitted anew each time the rows have doubled, but retrained at leisure and tried
/// before they are taken.
const REFIT: u64 = 4096;
/// Rows between two retrainings at least: each is fitted and tried on others than the one before.
const APART: u64 = shadow::ROWS as u64;
/// Version of models that were retrained and are not kept in a store yet.
const RETRAINED: &str = "retrained";
/// Tier rows at which seasons are first looked for: four hours.
const FIRST_SEASON: u64 = 48;
/// Tier rows after which they are looked for anew at the latest: a day.
const SEASON_AGAIN: u64 = 288;

/// Rows from which on the autoencoder is to vote.
pub(super) fn lstm_rows(settings: &Settings) -> u64 {
    (lstm::FEWEST_WINDOWS * settings.lstm.steps) as u64
}

/// Rows at which the autoencoder is first asked for, so that it takes effect when it is to vote. Of fewer than nine
/// windows' worth too little would be left to fit on beside what is held back.
fn first_lstm(settings: &Settings) -> u64 {
    (lstm_rows(settings) - DELAY.min(settings.lstm.steps as u64)).max(1)
}

/// Whether a forest would know enough scores; what comes of a training is calibrated already.
fn can_vote(fitted: &Fitted<Isolation>) -> bool {
    fitted.held_out.first().is_none_or(|scores| scores.is_empty() || scores.len() >= FEWEST_SCORES)
}

/// Rows, or rows of the tier, at which each fit is next asked for.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Due {
    pub(super) isolation: u64,
    pub(super) lstm: u64,
    pub(super) seasons: u64,
    retraining: u64,
    /// Fits that have been asked for and have not come back, by [`Kind`].
    under_way: [bool; 4],
}

impl Due {
    pub(super) fn first(settings: &Settings) -> Self {
        Self {
            isolation: FIRST_FIT,
            lstm: first_lstm(settings),
            seasons: FIRST_SEASON,
            retraining: settings.retrain_every.max(APART),
            under_way: [false; 4],
        }
    }

    /// Everything was fitted just now.
    pub(super) fn rest(&mut self, rows: u64, tier_rows: u64, retrain_every: u64) {
        *self = Self {
            isolation: u64::MAX,
            lstm: u64::MAX,
            seasons: tier_rows + SEASON_AGAIN,
            retraining: rows + retrain_every.max(APART),
            under_way: self.under_way,
        };
    }

    /// Asks again for what was under way when the process ended: it never comes back.
    pub(super) fn ask_for_lost_fits(&mut self) {
        let lost = std::mem::take(&mut self.under_way);
        Kind::ALL.into_iter().filter(|kind| lost[*kind as usize]).for_each(|kind| self.ask(kind));
    }

    /// Has a fit be asked for at the next check.
    fn ask(&mut self, kind: Kind) {
        *match kind {
            Kind::IsolationForest => &mut self.isolation,
            Kind::LstmAutoencoder => &mut self.lstm,
            Kind::Seasons => &mut self.seasons,
            Kind::Retraining => &mut self.retraining,
        } = 0;
    }
}

impl Ensemble {
    /// Has a fit be asked for at the next check, as that of a restored ensemble is which was lost with the process.
    pub fn ask(&mut self, kind: Kind) {
        self.due.ask(kind);
    }

    /// A fit that should be run now, if one is due.
    pub fn due(&mut self) -> Option<Task> {
        let (rows, tier_rows) = (self.history.rows(), self.history.tier_rows());
        if self.is_on(Detector::IsolationForest) && rows >= self.due.isolation {
            self.due.under_way[Kind::IsolationForest as usize] = true;
            self.due.isolation = if rows < REFIT { 2 * rows } else { u64::MAX };
            return Some(self.isolation_task(true));
        }
        if self.is_on(Detector::LstmAutoencoder) && rows >= self.due.lstm {
            self.due.under_way[Kind::LstmAutoencoder as usize] = true;
            self.due.lstm = if rows < REFIT { 4 * rows } else { u64::MAX };
            return Some(self.lstm_task(true));
        }
        if rows >= self.due.retraining {
            self.due.under_way[Kind::Retraining as usize] = true;
            self.due.retraining = rows + self.settings.retrain_every.max(APART);
            return Some(self.retraining());
        }
        if self.is_on(Detector::SeasonalEsd) && tier_rows >= self.due.seasons {
            self.due.under_way[Kind::Seasons as usize] = true;
            self.due.seasons = tier_rows + tier_rows.min(SEASON_AGAIN);
            return Some(Task::Seasons(self.history.freeze_tiers(), self.settings.period.clone()));
        }
        None
    }

    /// What a fit is run on: all but the incidents. Where it is the first of its kind and one incident that has not ended is
    /// most of what there is, nobody knows what is normal: a model of that too is better than none.
    fn rows(&mut self, hold_out: bool, is_first: bool) -> Rows {
        let table = self.history.freeze();
        let mut excluded = self.probation.ended();
        if let Some(since) = self.probation.current() {
            let before = table.times().partition_point(|at| *at < since.millis());
            let is_most = table.times().len() > 2 * before;
            if !(is_first && is_most && !self.alert_rate.is_trained()) {
                excluded.push((since, Timestamp::from_millis(i64::MAX)));
            }
        }
        Rows {
            table,
            in_vector: self.watched[..self.width].iter().map(|w| w.metric.in_vector).collect(),
            excluded,
            least: self.watched[..self.width].iter().map(Watched::least_spread).collect(),
            interval: self.settings.interval,
            smoothings: self.timescales.iter().map(|timescale| timescale.cut.smoothing).collect(),
            hold_out,
        }
    }

    pub(super) fn isolation_task(&mut self, hold_out: bool) -> Task {
        let is_first = self.timescales[0].isolation.is_none();
        Task::Isolation(self.rows(hold_out, is_first), self.settings.isolation)
    }

    pub(super) fn lstm_task(&mut self, hold_out: bool) -> Task {
        let is_first = self.timescales[0].lstm.is_none();
        Task::Lstm(self.rows(hold_out, is_first), self.settings.lstm)
    }

    fn retraining(&mut self) -> Task {
        let metrics = self.watched[..self.width].iter().map(|watched| watched.metric.clone()).collect();
        let retraining = Retraining { settings: self.settings.clone(), metrics, current: self.models() };
        Task::Retrain(self.rows(false, false), Box::new(retraining))
    }

    /// Takes up what a fit has yielded.
    pub fn install(&mut self, model: Model) {
        self.due.under_way[model.kind() as usize] = false;
        match model {
            Model::Isolation(mut fitted, scales) => {
                if fitted.is_none() {
                    self.due.isolation = self.due.isolation.min(self.again(FIRST_FIT));
                }
                let rows = self.rows(true, self.timescales[0].isolation.is_none());
                for (timescale, fitted) in fitted.iter_mut().flatten().enumerate() {
                    let since =
                        rows.scores_between(fitted.at, self.probation.since(), timescale, &fitted.model);
                    // What was held back from nothing calibrates nothing: the models of a training do it otherwise.
                    for (held, since) in
                        fitted.held_out.iter_mut().zip(since).filter(|(held, _)| !held.is_empty())
                    {
                        held.extend(since);
                    }
                }
                if !fitted.iter().flatten().all(can_vote) {
                    // The one there is may vote; and where there is none, the next fit is a first one again.
                    self.due.isolation = self.due.isolation.min(self.again(FIRST_FIT));
                    return;
                }
                for timescale in &mut self.timescales {
                    scales
                        .iter()
                        .enumerate()
                        .for_each(|(at, (scale, _))| timescale.set_spread(at, scale.spread()));
                }
                for (watched, (_, drift)) in self.watched.iter_mut().zip(scales) {
                    watched.drift = drift;
                }
                self.install_at(&[Component::Isolation, Component::Windows], fitted, |timescale, model| {
                    timescale.isolation = Some(Arc::new(model));
                });
            }
            Model::Retrained(Some(retrained)) if retrained.is_better() => {
                // The metrics are those it was made for, unless they changed meanwhile: then it is of no use.
                let _ = self.take_up(&retrained.set, RETRAINED);
            }
            Model::Retrained(_) => {}
            Model::Lstm(None) => self.due.lstm = self.due.lstm.min(self.again(first_lstm(&self.settings))),
            Model::Lstm(fitted) => self.install_at(&[Component::Lstm], fitted, |timescale, model| {
                timescale.lstm = Some(Arc::new(model));
            }),
            Model::Seasons(seasons) => self.reseason(seasons),
        }
    }

    /// Rows at which a fit is asked for again for which those there were did not suffice, as with gaps or an incident in
    /// them: with a quarter more they may.
    fn again(&self, first: u64) -> u64 {
        let rows = self.history.rows();
        (rows + rows / 4).max(first)
    }

    /// A new model scores by other numbers than the one before: it is calibrated on the rows held back from its fit.
    fn install_at<M>(
        &mut self,
        components: &[Component],
        fitted: Option<Vec<Fitted<M>>>,
        put: impl Fn(&mut Timescale, M),
    ) {
        self.probation.forget_components(components);
        for (timescale, Fitted { model, at, held_out }) in
            self.timescales.iter_mut().zip(fitted.into_iter().flatten())
        {
            put(timescale, model);
            for (component, held_out) in
                components.iter().zip(held_out).filter(|(_, held_out)| !held_out.is_empty())
            {
                let prior = &self.settings.priors.at(timescale.cut.smoothing > 1)[component.index()];
                let mut normal = Normal::new(self.watched.len(), self.settings.interval, prior);
                normal.absorb_all(held_out.iter());
                timescale.normal[component.index()] = normal;
            }
            for component in components {
                self.trained_at[component.detector().index()] = Some(at);
            }
        }
    }

    /// Everything that was learned, to be kept.
    pub fn models(&self) -> ModelSet {
        let at = self.trained_at.iter().flatten().max().copied().unwrap_or_default();
        ModelSet {
            metrics: self.names(),
            interval: self.settings.interval,
            since: self.history.oldest().unwrap_or(at),
            at,
            rows: self.history.rows(),
            timescales: self.timescales.iter().map(|timescale| timescale.set(self.width)).collect(),
            seasons: self.watched[..self.width].iter().map(|watched| watched.baseline.season()).collect(),
            alert_rate: self.alert_rate.clone(),
            drifts: self.watched[..self.width].iter().map(|watched| watched.drift.clone()).collect(),
        }
    }

    /// All that could be was fitted just now. What could not, for want of rows or because nobody has trained it, is
    /// fitted as in an ensemble that begins.
    pub(super) fn rest(&mut self) {
        self.due.rest(self.history.rows(), self.history.tier_rows(), self.settings.retrain_every);
        let first = Due::first(&self.settings);
        if self.timescales[0].isolation.is_none() {
            self.due.isolation = first.isolation;
        }
        if self.timescales[0].lstm.is_none() {
            self.due.lstm = first.lstm;
        }
    }

    fn reseason(&mut self, seasons: Vec<Option<Arc<Season>>>) {
        let at = self.history.newest().unwrap_or_default();
        for (watched, season) in self.watched.iter_mut().zip(seasons) {
            watched.baseline.reseason(season, at);
        }
    }

    fn names(&self) -> Vec<String> {
        self.watched[..self.width].iter().map(|watched| watched.metric.name.clone()).collect()
    }

    /// Takes up what was learned elsewhere, once; or says why it cannot be, and then nothing changes.
    pub fn adopt(&mut self, set: &ModelSet, version: &str) -> Result<(), String> {
        let stored = Some((version.to_owned(), set.at));
        if self.stored == stored {
            // What has been learned since then stays.
            return Ok(());
        }
        self.take_up(set, version)?;
        self.alert_rate.adopt(&set.alert_rate);
        self.reseason(set.seasons.clone());
        self.stored = stored;
        Ok(())
    }

    /// Takes up models and calibrations; seasons and the budget stay.
    fn take_up(&mut self, set: &ModelSet, version: &str) -> Result<(), String> {
        let names: Vec<String> = self.names();
        if let Some(misfit) = set.misfit(&names, self.settings.interval) {
            return Err(misfit);
        }
        let smoothings = |at: usize| set.timescales.get(at).map(|timescale| timescale.smoothing);
        let fits =
            (0..self.timescales.len()).all(|at| smoothings(at) == Some(self.timescales[at].cut.smoothing));
        if !fits || set.seasons.len() != self.width || set.timescales.len() != self.timescales.len() {
            return Err("it was made for another number of metrics or timescales; train anew".to_owned());
        }
        let priors = Arc::clone(&self.settings.priors);
        self.probation.forget_components(&Component::ALL);
        self.timescales
            .iter_mut()
            .zip(&set.timescales)
            .for_each(|(timescale, set)| timescale.adopt(set, &priors));
        for (watched, drift) in self.watched.iter_mut().zip(&set.drifts) {
            watched.drift.clone_from(drift);
        }
        for detector in set.detectors() {
            self.trained_at[detector.index()] = Some(set.at);
        }
        self.version = Some(version.to_owned());
        self.rest();
        Ok(())
    }
}
