//! From outcomes of one peer's probes to its series.

use std::collections::VecDeque;
use std::time::Duration;

use super::Outcome;
use crate::series::{Labels, METRIC_NAME, Sample};

/// Probes that loss is reckoned over, at least and at most.
const PROBES: std::ops::RangeInclusive<usize> = 10..=1000;

/// What is known about one peer.
pub(super) struct Tally {
    round_trip: Labels,
    jitter_labels: Labels,
    loss: Labels,
    counters: [Labels; 4],
    /// Probes sent, lost, refused and failed.
    counts: [u64; 4],
    /// Whether each of the last probes was lost.
    lately: VecDeque<bool>,
    most: usize,
    last: Option<Duration>,
    /// RFC 3550's estimate, in seconds.
    jitter: Option<f64>,
}

impl Tally {
    /// Of the peer called `target`; loss is that of the last `probes`.
    pub(super) fn new(target: &str, probes: usize) -> Self {
        let labels = |name: &str| Labels::new([(METRIC_NAME, name), ("target", target)]);
        Self {
            round_trip: labels("dwcp_probe_rtt_seconds"),
            jitter_labels: labels("dwcp_probe_jitter_seconds"),
            loss: labels("dwcp_probe_loss_ratio"),
            counters: [
                labels("dwcp_probe_sent_total"),
                labels("dwcp_probe_lost_total"),
                labels("dwcp_probe_refused_total"),
                labels("dwcp_probe_failed_total"),
            ],
            counts: [0; 4],
            lately: VecDeque::new(),
            most: probes.clamp(*PROBES.start(), *PROBES.end()),
            last: None,
            jitter: None,
        }
    }

    pub(super) fn count(&mut self, outcome: &Outcome) {
        self.counts[0] += 1;
        match outcome {
            Outcome::Answered(took) => self.answered(*took),
            Outcome::Lost => self.counts[1] += 1,
            Outcome::Refused => self.counts[2] += 1,
            Outcome::Failed(_) => self.counts[3] += 1,
        }
        // What failed on this side says nothing about the path.
        if !matches!(outcome, Outcome::Failed(_)) {
            self.lately.push_back(*outcome == Outcome::Lost);
        }
        if self.lately.len() > self.most {
            self.lately.pop_front();
        }
    }

    /// Jitter is smoothed over sixteen differences of successive round trips, as RFC 3550 does it for transit times.
    fn answered(&mut self, took: Duration) {
        if let Some(last) = self.last.replace(took) {
            let difference = (took.as_secs_f64() - last.as_secs_f64()).abs();
            let jitter = self.jitter.unwrap_or(0.0);
            self.jitter = Some(jitter + (difference - jitter) / 16.0);
        }
    }

    /// What is known after a probe that ended so. Times are there only where it was answered.
    pub(super) fn samples(&self, outcome: &Outcome) -> Vec<Sample> {
        let sample = |labels: &Labels, value: f64| Sample { labels: labels.clone(), value, at: None };
        let mut samples: Vec<Sample> =
            self.counters.iter().zip(self.counts).map(|(l, count)| sample(l, count as f64)).collect();
        if !self.lately.is_empty() {
            let lost = self.lately.iter().filter(|lost| **lost).count();
            samples.push(sample(&self.loss, lost as f64 / self.lately.len() as f64));
        }
        if let Outcome::Answered(took) = outcome {
            samples.push(sample(&self.round_trip, took.as_secs_f64()));
            samples.extend(self.jitter.map(|jitter| sample(&self.jitter_labels, jitter)));
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(outcomes: &[Outcome]) -> impl Fn(&str) -> Option<f64> + use<> {
        let mut tally = Tally::new("tcp://a:1", 1);
        outcomes.iter().for_each(|outcome| tally.count(outcome));
        let samples = tally.samples(outcomes.last().unwrap());
        move |name| samples.iter().find(|s| s.labels.name() == name).map(|s| s.value)
    }

    fn answered(millis: u64) -> Outcome {
        Outcome::Answered(Duration::from_millis(millis))
    }

    #[test]
    fn jitter_is_rfc_3550s() {
        let jitter = |outcomes: &[Outcome]| after(outcomes)("dwcp_probe_jitter_seconds");
        assert_eq!(jitter(&[answered(10)]), None, "one round trip has no difference");
        let first = 0.004_f64 / 16.0;
        let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-15;
        assert!(close(jitter(&[answered(10), answered(14)]), first));
        assert!(close(jitter(&[answered(10), answered(14), answered(6)]), first + (0.008 - first) / 16.0));
        assert!(close(jitter(&[answered(10), Outcome::Lost, answered(14)]), first), "between those answered");
        assert_eq!(jitter(&[answered(10), answered(14), Outcome::Lost]), None, "never its last value");
    }

    #[test]
    fn what_was_lost_has_no_time_and_what_was_refused_is_no_loss() {
        let failed = Outcome::Failed("no such name".to_owned());
        let all = [answered(1), Outcome::Lost, Outcome::Refused, answered(2), failed];
        let value = after(&all);
        for (name, expect) in [
            ("dwcp_probe_sent_total", Some(5.0)),
            ("dwcp_probe_lost_total", Some(1.0)),
            ("dwcp_probe_refused_total", Some(1.0)),
            ("dwcp_probe_failed_total", Some(1.0)),
            ("dwcp_probe_loss_ratio", Some(0.25)),
            ("dwcp_probe_rtt_seconds", None),
        ] {
            assert_eq!(value(name), expect, "{name}");
        }
        assert_eq!(after(&all[..4])("dwcp_probe_rtt_seconds"), Some(0.002));
        assert_eq!(after(&all[4..])("dwcp_probe_loss_ratio"), None, "nothing is known of the path");
    }

    #[test]
    fn loss_is_of_the_last_probes_only() {
        let lost_then = |answers: usize| [vec![Outcome::Lost; 10], vec![answered(1); answers]].concat();
        for (answers, expect) in [(0, 1.0), (5, 0.5), (10, 0.0)] {
            assert_eq!(after(&lost_then(answers)[..])("dwcp_probe_loss_ratio"), Some(expect), "{answers}");
        }
    }
}
