//! What is known of machines in general before anything is known of one: the tails of each component's scores.
//!
//! Empirical Bayes (Robbins 1956): the tails are fitted to what machines typically score, and give way to a machine's own
//! scores as these come (see [`super::calibrate::Calibration`]). Those that come with the program are of the recordings that
//! the file names; `train priors` makes a site's own.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::calibrate::{Calibration, Tail};
use super::component::Component;
use super::model_set::ModelSet;
use super::robust;

/// Of the file's layout.
const VERSION: u32 = 1;
/// Levels at which quantiles are compared, and the scores it takes to tell them.
const LEVELS: usize = 400;
const FEWEST: usize = 100;

/// What one component's scores look like on normal data of many machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComponentPrior {
    /// Of a metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Arc<Tail>>,
    /// Of the most surprised metrics together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<Arc<Tail>>,
    /// Of the row as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Arc<Tail>>,
}

/// The same of every component, on values as they come and on their trailing means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Priors {
    components: [[ComponentPrior; Component::COUNT]; 2],
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    /// Where the scores come from.
    provenance: Vec<String>,
    values: BTreeMap<Component, ComponentPrior>,
    means: BTreeMap<Component, ComponentPrior>,
}

impl Priors {
    /// Those that come with the program.
    pub fn built_in() -> Arc<Self> {
        static BUILT_IN: LazyLock<Arc<Priors>> =
            LazyLock::new(|| Arc::new(Priors::parse(include_str!("priors.json")).unwrap_or_default()));
        Arc::clone(&BUILT_IN)
    }

    /// Reads a file of priors; says what is wrong with one that cannot be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        let version = |value: serde_json::Value| value.get("version").and_then(serde_json::Value::as_u64);
        let found = serde_json::from_str(text).map_err(|error| format!("cannot be read: {error}"))?;
        match version(found) {
            Some(found) if found == u64::from(VERSION) => {}
            Some(found) => {
                return Err(format!("is of version {found}, not {VERSION}; run train priors anew"));
            }
            None => return Err("has no version; run train priors anew".to_owned()),
        }
        let File { values, means, .. } =
            serde_json::from_str(text).map_err(|error| format!("cannot be read: {error}"))?;
        let mut priors = Self::default();
        for (at, of) in [values, means].into_iter().enumerate() {
            for (component, prior) in of {
                if !prior.tails().all(|tail| tail.is_sound()) {
                    return Err(format!("holds no tail of {}; run train priors anew", component.name()));
                }
                priors.components[at][component.index()] = prior;
            }
        }
        Ok(priors)
    }

    /// The file that [`Priors::parse`] reads, with a line for each machine they come from.
    pub fn write(&self, provenance: Vec<String>) -> String {
        let of = |at: usize| Component::ALL.into_iter().zip(self.components[at].clone());
        let known = |at: usize| of(at).filter(|(_, prior)| prior.tails().next().is_some()).collect();
        let file = File { version: VERSION, provenance, values: known(0), means: known(1) };
        serde_json::to_string(&file).unwrap_or_default()
    }

    /// Of the components on values as they come, or on their trailing means.
    pub(super) fn at(&self, is_smoothed: bool) -> &[ComponentPrior; Component::COUNT] {
        &self.components[usize::from(is_smoothed)]
    }
}

impl ComponentPrior {
    fn tails(&self) -> impl Iterator<Item = &Arc<Tail>> {
        [&self.metric, &self.together, &self.vector].into_iter().flatten()
    }
}

/// Typical quantiles of what many machines score: at each level the median over machines, of a machine the median over its
/// metrics. A mean over all would be that of the most restless.
#[derive(Debug, Default)]
pub struct Pool {
    /// Of values and of means; of each component; of a metric, of several together, of the row.
    quantiles: [[[Vec<Quantiles>; 3]; Component::COUNT]; 2],
}

/// Scores at evenly spaced levels, ascending.
type Quantiles = Vec<f64>;

impl Pool {
    /// Takes in what a machine's normal rows scored.
    pub fn add(&mut self, machine: &ModelSet) {
        for timescale in &machine.timescales {
            let of = &mut self.quantiles[usize::from(timescale.smoothing > 1)];
            for (normal, [metric, together, vector]) in timescale.normal.iter().zip(of) {
                let (metrics, of_target, of_row) = normal.calibrations();
                let of_metrics: Vec<Quantiles> = metrics.iter().filter_map(quantiles).collect();
                metric.extend(typical(&of_metrics));
                together.extend(quantiles(of_target));
                vector.extend(quantiles(of_row));
            }
        }
    }

    /// The tails of all that was taken in; a component that no machine has scored with has none.
    pub fn fit(&self) -> Priors {
        let mut priors = Priors::default();
        for (of, quantiles) in priors.components.iter_mut().zip(&self.quantiles) {
            for (prior, kinds) in of.iter_mut().zip(quantiles) {
                let fit = |of: &Vec<Quantiles>| Some(Arc::new(Tail::fit(&typical(of)?)?.rounded()));
                let [metric, together, vector] = kinds.each_ref().map(fit);
                *prior = ComponentPrior { metric, together, vector };
            }
        }
        priors
    }
}

/// `None` of too few scores.
fn quantiles(calibration: &Calibration) -> Option<Quantiles> {
    let mut scores: Vec<f64> = calibration.scores().iter().map(|score| f64::from(*score)).collect();
    if scores.len() < FEWEST {
        return None;
    }
    robust::sort(&mut scores);
    (0..LEVELS).map(|level| robust::quantile(&scores, (level as f64 + 0.5) / LEVELS as f64)).collect()
}

/// The median at each level; `None` of nothing.
fn typical(of: &[Quantiles]) -> Option<Quantiles> {
    let median = |level: usize| {
        let mut scores: Vec<f64> = of.iter().map(|quantiles| quantiles[level]).collect();
        robust::sort(&mut scores);
        robust::median(&scores)
    };
    (0..LEVELS).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT_IN: &str = include_str!("priors.json");

    #[test]
    fn the_built_in_ones_are_sound_and_name_where_they_come_from() {
        let priors = Priors::parse(BUILT_IN).unwrap();
        assert_eq!(priors, *Priors::built_in());
        let values = priors.at(false);
        assert!(Component::ALL.into_iter().all(|component| values[component.index()].metric.is_some()));
        let file: File = serde_json::from_str(BUILT_IN).unwrap();
        assert!(file.provenance.len() > 50, "{}", file.provenance.len());
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let priors = Priors::built_in();
        assert_eq!(Priors::parse(&priors.write(vec!["somewhere".to_owned()])).unwrap(), *priors);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_refused_with_the_reason() {
        let changed = |from: &str, to: &str| {
            assert!(BUILT_IN.contains(from), "{from}");
            BUILT_IN.replacen(from, to, 1)
        };
        for (text, reason) in [
            (String::new(), "cannot be read"),
            (BUILT_IN[..BUILT_IN.len() / 2].to_owned(), "cannot be read"),
            ("{}".to_owned(), "has no version"),
            (changed("\"version\":1", "\"version\":2"), "is of version 2, not 1"),
            (changed("\"version\":1", "\"version\":0"), "is of version 0, not 1"),
            (
                changed("\"isolation\":", "\"crystal_ball\":"),
                "cannot be read: unknown variant `crystal_ball`",
            ),
            (changed("\"provenance\":", "\"source\":"), "cannot be read: unknown field `source`"),
            (changed("\"scale\":", "\"scale\":-"), "holds no tail of"),
            (changed("\"shape\":", "\"shape\":1"), "holds no tail of"),
        ] {
            let refused = Priors::parse(&text).unwrap_err();
            assert!(refused.starts_with(reason), "{refused}");
        }
    }
}
