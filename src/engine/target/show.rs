//! What there is to see of a target.

use std::collections::HashMap;

use super::super::Unanswerable;
use super::super::snapshot::{Detection, DetectorStatus, MetricSnapshot, TargetSnapshot};
use super::{Setup, Target, short_name};
use crate::detect::ensemble::{MetricVerdict, Work};
use crate::detect::verdict::{Detector, Severity};
use crate::incident::Incident;

impl Target {
    /// Judges the current values, or those in `posted` over them.
    pub(in crate::engine) fn detect(
        &self,
        setup: &Setup,
        posted: Option<&HashMap<String, f64>>,
    ) -> Result<Detection, Unanswerable> {
        let mut values = self.values.clone();
        for (name, value) in posted.into_iter().flatten() {
            let slot = self.called(name).map_err(Unanswerable::Unclear)?;
            let effect_filter = setup.signals[self.slots[slot].signal].0.effect_filter();
            values[slot] = Some(*value).filter(|v| v.is_finite()).and_then(|v| effect_filter.meant(v));
        }
        let at =
            self.last_tick.ok_or_else(|| Unanswerable::NotYet("nothing has been scraped yet".to_owned()))?;
        let mut work = Work::default();
        let verdict = self.ensemble.assess(at, &values, &mut work);
        let severity = verdict.target.map_or(Severity::Info, |target| setup.severities.of(&target));
        Ok(Detection {
            target: self.setup.labels.clone(),
            at,
            anomalous: verdict.target.is_some_and(|target| target.score > setup.detection.threshold),
            severity,
            consensus: verdict.consensus.map(|slot| self.slots[slot].labels.clone()),
            assessment: verdict.target,
            metrics: values
                .iter()
                .enumerate()
                .map(|(at, value)| self.metric(at, *value, verdict.metrics[at], setup))
                .collect(),
        })
    }

    /// The slot of `cpu_usage`, or of `disk{device="sda"}` where a signal has several series.
    fn called(&self, name: &str) -> Result<usize, String> {
        if let Some(slot) = self.slots.iter().position(|slot| short_name(&slot.labels) == name) {
            return Ok(slot);
        }
        let is_its = |slot: &usize| self.slots[*slot].labels.get("metric_name") == Some(name);
        match (0..self.slots.len()).filter(is_its).collect::<Vec<_>>().as_slice() {
            [] => Err(format!("no signal is called {name:?}")),
            [only] => Ok(*only),
            several => {
                let names: Vec<String> =
                    several.iter().map(|slot| short_name(&self.slots[*slot].labels)).collect();
                Err(format!("{name} has several series; name one of {}", names.join(", ")))
            }
        }
    }

    fn metric(&self, at: usize, value: Option<f64>, verdict: MetricVerdict, setup: &Setup) -> MetricSnapshot {
        let slot = &self.slots[at];
        let definition = &setup.signals[slot.signal].0;
        MetricSnapshot {
            labels: slot.labels.clone(),
            unit: definition.unit.clone(),
            value,
            no_data: if value.is_none() { self.why_no_value(slot, setup) } else { None },
            band: verdict.band.filter(|_| value.is_some()),
            outside: self.ensemble.outside(at),
            assessment: verdict.assessment,
            strength: verdict.assessment.map(|_| verdict.strength),
            drift: self.ensemble.drift(at).filter(|_| value.is_some()),
            firing: slot.machine.firing().map(Incident::severity),
            runbook_url: definition.runbook_url.clone(),
        }
    }

    /// Everything there is to see of the target.
    pub(in crate::engine) fn show(&self, setup: &Setup, budget_used: f64) -> TargetSnapshot {
        let verdict = |at: usize| self.verdict.metrics.get(at).copied().unwrap_or_default();
        let metrics = (0..self.slots.len()).map(|at| self.metric(at, self.values[at], verdict(at), setup));
        let weights = setup.detection.weights;
        TargetSnapshot {
            labels: self.setup.labels.clone(),
            url: self.setup.url.clone(),
            node_scope: self.setup.node_scope,
            up: self.health.as_ref().map(|health| health.failure.is_none()),
            failure: self.health.as_ref().and_then(|health| health.failure.clone()),
            last_scrape: self.last_scrape,
            samples: self.health.as_ref().map_or(0, |health| health.exposed as u64),
            processed: self.processed,
            rejected: self.rejected,
            series: self.window.len(),
            window_bytes: self.window.bytes(),
            refused: self.window.refused() + self.dropped,
            out_of_bounds: setup
                .signals
                .iter()
                .map(|(signal, _)| signal.name.clone())
                .zip(self.out_of_bounds.iter().copied())
                .collect(),
            glitches: self.glitches,
            ahead: self.window.ahead(),
            detectors: Detector::ALL.map(|detector| DetectorStatus {
                detector,
                enabled: weights[detector.index()] > 0.0,
                weight: weights[detector.index()],
                ready: self.ensemble.is_ready(detector),
                waiting_for: self.ensemble.waits_for(detector),
                trained_at: self.ensemble.trained_at(detector),
                model_version: self
                    .ensemble
                    .version()
                    .filter(|_| self.ensemble.trained_at(detector).is_some())
                    .map(str::to_owned),
            }),
            assessment: self.verdict.target,
            last_verdict: self.last_verdict,
            consensus: self.verdict.consensus.map(|slot| self.slots[slot].labels.clone()),
            budget_used,
            metrics: metrics.collect(),
        }
    }
}
