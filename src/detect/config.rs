//! The section `detector`.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ensemble::Settings;
use super::isolation;
use super::lstm;
use super::priors::Priors;
use super::season::Period;
use crate::setting::{Ratio, Span};

/// How anomalies are told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DetectorSettings)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// An anomaly's score must exceed it.
    pub ensemble_threshold: Ratio,
    /// Budget per target that the calibration is fit to.
    pub false_alerts_per_day: f64,
    /// A level held this long is the new normal.
    pub adapt_after: Span,
    /// The isolation forest.
    pub isolation_forest: IsolationForest,
    /// The LSTM autoencoder.
    pub lstm_autoencoder: LstmAutoencoder,
    /// The rolling z-score.
    pub zscore: Zscore,
    /// Seasonal ESD.
    pub seasonal_esd: SeasonalEsd,
    /// Fitted models.
    pub models: Models,
    /// What is known of machines before anything is known of one: `builtin`, a file by `train priors`, or nothing.
    pub priors: String,
    /// What `priors` names, or the built-in ones where that was refused.
    #[serde(skip)]
    #[schema(ignore)]
    pub known: Arc<Priors>,
    /// Why it was refused.
    #[serde(skip)]
    #[schema(ignore)]
    pub refused: Option<String>,
}

/// The word for the priors that come with the program.
pub const BUILT_IN: &str = "builtin";

/// `detector.isolation_forest`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IsolationForest {
    /// Whether it votes.
    pub enabled: bool,
    /// Its weight.
    pub weight: Ratio,
    /// Trees for each metric.
    pub trees: usize,
    /// Rows each tree sees.
    pub sample_size: usize,
    /// Tail probability its confidence is scaled by; lower is quieter.
    pub contamination: f64,
}

/// `detector.lstm_autoencoder`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LstmAutoencoder {
    /// Whether it votes, once it has a model.
    pub enabled: bool,
    /// Its weight.
    pub weight: Ratio,
    /// Rows it looks at.
    pub sequence_length: usize,
}

/// `detector.zscore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Zscore {
    /// Whether it votes.
    pub enabled: bool,
    /// Its weight.
    pub weight: Ratio,
    /// Normal values it compares with.
    pub window: usize,
    /// Distance its confidence is scaled by, in sigmas; higher is quieter.
    pub threshold: f64,
}

/// `detector.seasonal_esd`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SeasonalEsd {
    /// Whether it votes.
    pub enabled: bool,
    /// Its weight.
    pub weight: Ratio,
    /// `auto`, or the periods to look for.
    pub period: Seasons,
    /// Percent of its window that may be outliers.
    pub max_anomalies: f64,
}

/// `auto` or a list of periods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged, expecting = "must be auto, or a list of durations such as [24h, 7d]")]
pub enum Seasons {
    /// Whatever the history shows.
    Auto(Auto),
    /// The first of these that the history shows.
    These(Vec<Span>),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// The word.
    Auto,
}

/// `detector.models`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// Directory of the model store.
    pub path: String,
    /// How often models are fitted anew.
    pub retrain_interval: Span,
    /// How much history they are fitted on.
    pub train_window: Span,
    /// Model sets kept.
    pub keep_versions: usize,
}

fn ratio(value: f64) -> Ratio {
    Ratio::new(value).unwrap_or_else(|| unreachable!("a default between 0 and 1"))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ensemble_threshold: ratio(0.6),
            false_alerts_per_day: 1.0,
            adapt_after: Span::seconds(6 * 3600),
            isolation_forest: IsolationForest::default(),
            lstm_autoencoder: LstmAutoencoder::default(),
            zscore: Zscore::default(),
            seasonal_esd: SeasonalEsd::default(),
            models: Models::default(),
            priors: BUILT_IN.to_owned(),
            known: Priors::built_in(),
            refused: None,
        }
    }
}

impl Default for IsolationForest {
    fn default() -> Self {
        Self { enabled: true, weight: ratio(0.3), trees: 100, sample_size: 256, contamination: 0.01 }
    }
}

impl Default for LstmAutoencoder {
    fn default() -> Self {
        Self { enabled: true, weight: ratio(0.3), sequence_length: 30 }
    }
}

impl Default for Zscore {
    fn default() -> Self {
        Self { enabled: true, weight: ratio(0.2), window: 100, threshold: 3.0 }
    }
}

impl Default for SeasonalEsd {
    fn default() -> Self {
        Self { enabled: true, weight: ratio(0.2), period: Seasons::Auto(Auto::Auto), max_anomalies: 10.0 }
    }
}

impl Default for Models {
    fn default() -> Self {
        let day = 86_400;
        Self {
            path: "models".to_owned(),
            retrain_interval: Span::seconds(day),
            train_window: Span::seconds(30 * day),
            keep_versions: 5,
        }
    }
}

fn rows(time: Duration, interval: Duration) -> u64 {
    (time.as_secs_f64() / interval.as_secs_f64().max(1e-3)).ceil() as u64
}

impl Config {
    /// Weights of the vote, 0 for what is switched off.
    pub fn weights(&self) -> super::vote::Weights {
        let weight = |enabled: bool, weight: Ratio| if enabled { weight.get() } else { 0.0 };
        [
            weight(self.isolation_forest.enabled, self.isolation_forest.weight),
            weight(self.lstm_autoencoder.enabled, self.lstm_autoencoder.weight),
            weight(self.zscore.enabled, self.zscore.weight),
            weight(self.seasonal_esd.enabled, self.seasonal_esd.weight),
        ]
    }

    /// What an ensemble checking every `interval` needs to know.
    pub fn settings(&self, interval: Duration, open_after: u32) -> Settings {
        let forest = &self.isolation_forest;
        let period = match &self.seasonal_esd.period {
            Seasons::Auto(_) => Period::Auto,
            Seasons::These(spans) => Period::OneOf(spans.iter().map(|span| span.0).collect()),
        };
        Settings {
            weights: self.weights(),
            threshold: self.ensemble_threshold.get(),
            zscore_window: self.zscore.window,
            zscore_threshold: self.zscore.threshold,
            isolation: isolation::Params { trees: forest.trees, sample_size: forest.sample_size, seed: 1 },
            contamination: forest.contamination,
            lstm: lstm::Recipe { steps: self.lstm_autoencoder.sequence_length, seed: 1 },
            period,
            max_anomalies: self.seasonal_esd.max_anomalies,
            adapt_after: self.adapt_after.0,
            false_alerts_per_day: self.false_alerts_per_day,
            interval,
            open_after: open_after as usize,
            retrain_every: rows(self.models.retrain_interval.0, interval),
            priors: Arc::clone(&self.known),
            remember: None,
        }
    }

    /// The file of priors, where one is named.
    pub fn priors_file(&mut self) -> Option<&mut String> {
        Some(&mut self.priors).filter(|priors| *priors != BUILT_IN && !priors.is_empty())
    }

    /// The same with nothing known of machines, and by which nothing is an anomaly, so that all that is seen is learned.
    #[must_use]
    pub fn unknowing(&self) -> Self {
        Self { known: Arc::default(), ensemble_threshold: ratio(1.0), ..self.clone() }
    }

    /// Takes up what `priors` names. A file is read by `read`; one that cannot be used is refused, and the built-in ones stay.
    pub fn take_up_priors(&mut self, read: impl FnOnce(&str) -> Result<String, String>) {
        (self.known, self.refused) = (Priors::built_in(), None);
        match self.priors.as_str() {
            BUILT_IN => {}
            "" => self.known = Arc::default(),
            file => match read(file).and_then(|text| Priors::parse(&text)) {
                Ok(priors) => self.known = Arc::new(priors),
                Err(problem) => {
                    self.refused = Some(format!(
                        "{file}: {problem}; name a file that `train priors` wrote, or builtin: the priors that come with the program are used"
                    ));
                }
            },
        }
    }

    /// What is wrong with the section: key below `detector`, problem with its remedy.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, key, problem: &str| {
            if !holds {
                problems.push((key, problem.to_owned()));
            }
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        must(
            self.weights().iter().sum::<f64>() > 0.0,
            "",
            "the weights of the enabled detectors sum to 0; enable one with a weight above 0",
        );
        must(positive(self.false_alerts_per_day), "false_alerts_per_day", "must be above 0, such as 1");
        must(!self.adapt_after.0.is_zero(), "adapt_after", "must be above 0, such as 6h");
        must(
            (1..=1000).contains(&self.isolation_forest.trees),
            "isolation_forest.trees",
            "must be 1 to 1000",
        );
        must(
            (2..=4096).contains(&self.isolation_forest.sample_size),
            "isolation_forest.sample_size",
            "must be 2 to 4096",
        );
        let contamination = self.isolation_forest.contamination;
        must(
            contamination > 0.0 && contamination <= 0.5,
            "isolation_forest.contamination",
            "must be above 0 and at most 0.5",
        );
        must(
            (2..=1000).contains(&self.lstm_autoencoder.sequence_length),
            "lstm_autoencoder.sequence_length",
            "must be 2 to 1000",
        );
        must((30..=100_000).contains(&self.zscore.window), "zscore.window", "must be 30 to 100000");
        must(positive(self.zscore.threshold), "zscore.threshold", "must be above 0, such as 3.0");
        let most = self.seasonal_esd.max_anomalies;
        must(most > 0.0 && most < 50.0, "seasonal_esd.max_anomalies", "is a percentage above 0 and below 50");
        if let Seasons::These(periods) = &self.seasonal_esd.period {
            let all = !periods.is_empty() && periods.iter().all(|p| !p.0.is_zero());
            must(all, "seasonal_esd.period", "must be auto, or a list of durations such as [24h, 168h]");
        }
        problems
    }
}
