//! From a verdict to what each metric's incident is told of it.

use crate::detect::ensemble::Verdict;
use crate::detect::vote::CANONICAL_THRESHOLD;
use crate::incident::config::Severities;
use crate::incident::machine::Reading;

/// From which score on something is an anomaly, and how bad it is.
pub(super) struct Rule<'a> {
    pub(super) threshold: f64,
    pub(super) severities: &'a Severities,
}

impl Rule<'_> {
    /// A target's anomaly belongs to the metric that opened it while that lasts, then to the consensus metric.
    pub(super) fn lead(&self, lasting: Option<usize>, verdict: &Verdict) -> Option<usize> {
        let anomalous = verdict.target.is_some_and(|target| target.score > self.threshold);
        lasting.or(if anomalous { verdict.consensus } else { None })
    }

    /// What `verdict` says to the incident of a metric that has a value.
    pub(super) fn reading(&self, verdict: &Verdict, metric: usize, leads: bool, value: f64) -> Reading {
        let of_metric = &verdict.metrics[metric];
        let own = of_metric.assessment.unwrap_or_default();
        let target = verdict.target.filter(|target| leads && target.score > own.score);
        let assessment = target.unwrap_or(own);
        Reading {
            opens: assessment.score > self.threshold,
            // A knob turned to quieter closes nothing earlier than its default would, so it can only make incidents
            // fewer: one that closes early may open again.
            holds: assessment.score > self.threshold.min(CANONICAL_THRESHOLD)
                || verdict.flags(metric)
                || (leads && verdict.flagged.is_some()),
            severity: self.severities.of(&assessment),
            assessment,
            value,
            expected: of_metric.band.map(|band| band.expected),
        }
    }
}
