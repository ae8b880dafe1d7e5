//! What a verdict rested on.

use super::super::evidence::{Evidence, Explanation, RawScore};
use super::super::part::Part;
use super::super::verdict::{Detector, VOTE};
use super::super::vote;
use super::opinion::{share, turned};
use super::{Knobs, Panel, Verdict, Work};
use crate::series::Timestamp;

/// Metrics named in an attribution, at most.
const NAMED: usize = 5;

impl Panel {
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
        let surprise = &work.surprises[at];
        let confidence = verdict.target.and_then(|target| target.confidences[at]);
        let knobs = self.knobs();
        Evidence {
            detector,
            weight: self.settings.weights[at],
            confidence: confidence.unwrap_or(0.0),
            metric_confidence: share(confidence, &surprise.metrics, metric).unwrap_or(0.0),
            surprise: surprise.target.unwrap_or(0.0),
            threshold: self.budget.kappa() * turned(detector, &knobs) * vote::line(VOTE),
            deviation_sigma: work.deviations[metric][at].map(|sigmas| sigmas.min(vote::MOST_SIGMA)),
            looks: self.raw_scores(detector, metric, work),
            attribution: self.attribution(&surprise.metrics),
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
        for (pace, look) in self.paces.iter().zip(&work.looks) {
            for part in Part::ALL.into_iter().filter(|part| part.detector() == detector) {
                let raw = look.raw[part.index()].metrics.get(metric).copied().flatten();
                let surprise = look.surprises[part.index()].metrics.get(metric).copied().flatten();
                if let (Some(score), Some(surprise)) = (raw, surprise)
                    && pace.weights[part.index()] > 0.0
                {
                    scores.push(RawScore {
                        look: part.name().to_owned(),
                        smoothing: pace.cut.smoothing,
                        window: pace.window_of(part, metric),
                        score,
                        surprise,
                    });
                }
            }
        }
        scores
    }

    fn attribution(&self, surprises: &[Option<f64>]) -> Vec<(String, f64)> {
        let total: f64 = surprises.iter().flatten().sum();
        let named = self.watched.iter().zip(surprises);
        let meant = named.filter_map(|(watched, surprise)| Some((watched, (*surprise)?)));
        let meant = meant.filter(|(_, surprise)| total > 0.0 && *surprise > 0.0);
        let mut meant: Vec<(String, f64)> =
            meant.map(|(watched, surprise)| (watched.metric.name.clone(), surprise / total)).collect();
        meant.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        meant.truncate(NAMED);
        meant
    }
}
