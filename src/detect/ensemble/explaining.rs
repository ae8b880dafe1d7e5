//! What a verdict rested on.

use super::super::component::Component;
use super::super::evidence::{Evidence, Explanation, RawScore};
use super::super::verdict::{Detector, VOTE};
use super::super::vote;
use super::fusion::{share, turned};
use super::{Ensemble, Knobs, Verdict, Work};
use crate::series::Timestamp;

/// Metrics named in an attribution, at most.
const NAMED: usize = 5;

impl Ensemble {
    /// What each ready detector's say about `metric` rested on, in the row that `work` and `verdict` are of.
    pub fn explain(&self, at: Timestamp, metric: usize, work: &Work, verdict: &Verdict) -> Explanation {
        let ready = Detector::ALL.into_iter().filter(|detector| self.is_ready(*detector));
        let evidence = ready.map(|detector| self.evidence(detector, metric, work, verdict)).collect();
        let band = verdict.metrics.get(metric).and_then(|metric| metric.band);
        let state = work.states.get(metric).copied().flatten();
        Explanation { at, band, state: state.map(|(state, _)| state.to_string()), evidence }
    }

    fn evidence(&self, detector: Detector, metric: usize, work: &Work, verdict: &Verdict) -> Evidence {
        let at = detector.index();
        let surprisal = &work.surprisals[at];
        let confidence = verdict.target.and_then(|target| target.confidences[at]);
        let knobs = self.knobs();
        Evidence {
            detector,
            weight: self.settings.weights[at],
            confidence: confidence.unwrap_or(0.0),
            metric_confidence: share(confidence, &surprisal.metrics, metric).unwrap_or(0.0),
            surprisal: surprisal.target.unwrap_or(0.0),
            threshold: self.alert_rate.kappa() * turned(detector, &knobs) * vote::line(VOTE),
            deviation_sigma: work.deviations[metric][at].map(|sigmas| sigmas.min(vote::MOST_SIGMA)),
            looks: self.raw_scores(detector, metric, work),
            attribution: self.attribution(&surprisal.metrics),
        }
    }

    pub(super) fn knobs(&self) -> Knobs {
        Knobs {
            weights: self.settings.weights,
            zscore_threshold: self.settings.zscore_threshold,
            contamination: self.settings.contamination,
        }
    }

    fn raw_scores(&self, detector: Detector, metric: usize, work: &Work) -> Vec<RawScore> {
        let mut scores = Vec::new();
        for (timescale, look) in self.timescales.iter().zip(&work.looks) {
            for component in Component::ALL.into_iter().filter(|component| component.detector() == detector) {
                let raw = look.raw[component.index()].metrics.get(metric).copied().flatten();
                let surprisal = look.surprisals[component.index()].metrics.get(metric).copied().flatten();
                if let (Some(score), Some(surprisal)) = (raw, surprisal)
                    && timescale.weights[component.index()] > 0.0
                {
                    scores.push(RawScore {
                        look: component.name().to_owned(),
                        smoothing: timescale.cut.smoothing,
                        window: timescale.window_of(component, metric),
                        score,
                        surprisal,
                    });
                }
            }
        }
        scores
    }

    fn attribution(&self, surprisals: &[Option<f64>]) -> Vec<(String, f64)> {
        let total: f64 = surprisals.iter().flatten().sum();
        let named = self.watched.iter().zip(surprisals);
        let meant = named.filter_map(|(watched, surprisal)| Some((watched, (*surprisal)?)));
        let meant = meant.filter(|(_, surprisal)| total > 0.0 && *surprisal > 0.0);
        let mut meant: Vec<(String, f64)> =
            meant.map(|(watched, surprisal)| (watched.metric.name.clone(), surprisal / total)).collect();
        meant.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        meant.truncate(NAMED);
        meant
    }
}
