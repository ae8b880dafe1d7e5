//! The state machine of one metric: inactive → pending → firing → resolved.
//!
//! It opens after so many checks over the threshold and closes after so many under it, so one odd check neither opens
//! nor closes anything. A check without data does neither; a metric that stays away is resolved in the end, for that
//! reason. Every transition says why.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Incident, Reason};
use crate::detect::evidence::Explanation;
use crate::detect::verdict::{Assessment, Severity};
use crate::series::{Labels, Timestamp};

/// How persistent an anomaly must be, and when it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Persistence {
    /// Checks over the threshold that open an incident.
    pub open_after: u32,
    /// Checks under it that close one.
    pub clear_after: u32,
    /// How long a metric may stay away.
    pub hold_no_data: Duration,
}

/// Opening takes at least this long, however short the checks.
const SOONEST: Duration = Duration::from_secs(2);
/// Checks at a higher severity before an incident rises to it.
const RISE_AFTER: u32 = 2;

/// One check of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// Time of the check.
    pub at: Timestamp,
    /// `None` where there is no data.
    pub reading: Option<Reading>,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Whether the score is over the threshold that opens.
    pub opens: bool,
    /// Whether the score is over the threshold that holds open.
    pub holds: bool,
    /// What the check alone would be.
    pub severity: Severity,
    /// The vote.
    pub assessment: Assessment,
    /// The metric's value.
    pub value: f64,
    /// The value expected.
    pub expected: Option<f64>,
}

/// What a check has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// From here on so.
    pub to: super::State,
    /// Why.
    pub reason: Reason,
}

/// Where one metric stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    phase: Phase,
    /// Of the worst check of what is under way.
    explanation: Option<Arc<Explanation>>,
    last_data: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    Inactive,
    Pending {
        since: Timestamp,
        checks: u32,
        worst: Reading,
        /// Checks at each severity or above.
        severities: [u32; 3],
    },
    Firing {
        incident: Box<Incident>,
        clear: u32,
        rising: u32,
    },
}

impl Machine {
    /// The incident that fires.
    pub fn firing(&self) -> Option<&Incident> {
        match &self.phase {
            Phase::Firing { incident, .. } => Some(incident),
            _ => None,
        }
    }

    /// Whether anything has begun and not ended.
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Inactive)
    }

    /// Whether it has begun but does not fire yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Pending { .. })
    }

    /// Whether `assessment` is of the worst check of what is under way.
    pub fn is_worst(&self, assessment: &Assessment) -> bool {
        match &self.phase {
            Phase::Inactive => false,
            Phase::Pending { worst, .. } => worst.assessment == *assessment,
            Phase::Firing { incident, .. } => incident.worst == *assessment,
        }
    }

    /// What the vote at the worst check rested on.
    pub fn explain(&mut self, explanation: Arc<Explanation>) {
        if let Phase::Firing { incident, .. } = &mut self.phase {
            incident.explanation = Some(Arc::clone(&explanation));
        }
        self.explanation = Some(explanation);
    }

    /// Time went on without anybody looking: how long a metric has been away is counted from now, and so are the checks
    /// that close an incident, since right after a gap not every detector has a course to look at.
    pub fn gap(&mut self, at: Timestamp) {
        self.last_data = Some(at);
        if let Phase::Firing { clear, .. } = &mut self.phase {
            *clear = 0;
        }
    }

    /// Wall time was set back to `at`; what is under way goes on, and has not begun in the future.
    pub fn step_back(&mut self, at: Timestamp) {
        self.last_data = self.last_data.map(|last| last.min(at));
        match &mut self.phase {
            Phase::Inactive => {}
            Phase::Pending { since, .. } => *since = (*since).min(at),
            Phase::Firing { incident, .. } => incident.step_back(at),
        }
    }

    /// Names the target's other anomalous metrics in the incident that fires.
    pub fn set_also(&mut self, also: impl Iterator<Item = String>) {
        if let Phase::Firing { incident, .. } = &mut self.phase {
            for name in also {
                if !incident.also.contains(&name) {
                    incident.also.push(name);
                }
            }
        }
    }

    /// Takes one step; an incident that ended by it is handed out.
    pub fn step(
        &mut self,
        check: &Check,
        rule: &Persistence,
        who: (&Labels, &Labels),
    ) -> Option<(Transition, Option<Incident>)> {
        let Some(reading) = check.reading else { return self.without_data(check.at, rule) };
        self.last_data = Some(check.at);
        match &mut self.phase {
            Phase::Inactive => reading.opens.then(|| self.begin(check.at, reading)),
            Phase::Pending { .. } if !reading.opens => {
                self.phase = Phase::Inactive;
                Some((Transition { to: super::State::Resolved, reason: Reason::Lapsed }, None))
            }
            Phase::Pending { .. } => self.persist(check.at, reading, rule, who),
            Phase::Firing { .. } => self.go_on(check.at, reading, rule),
        }
    }

    fn begin(&mut self, at: Timestamp, reading: Reading) -> (Transition, Option<Incident>) {
        let severities = Severity::ALL.map(|s| u32::from(reading.severity >= s));
        self.phase = Phase::Pending { since: at, checks: 1, worst: reading, severities };
        (Transition { to: super::State::Pending, reason: Reason::OverThreshold }, None)
    }

    fn persist(
        &mut self,
        at: Timestamp,
        reading: Reading,
        rule: &Persistence,
        (target, metric): (&Labels, &Labels),
    ) -> Option<(Transition, Option<Incident>)> {
        let Phase::Pending { since, checks, worst, severities } = &mut self.phase else { return None };
        *checks += 1;
        if reading.assessment.score > worst.assessment.score {
            *worst = reading;
        }
        for (count, severity) in severities.iter_mut().zip(Severity::ALL) {
            *count += u32::from(reading.severity >= severity);
        }
        if *checks < rule.open_after || at.since(*since) < SOONEST {
            return None;
        }
        let backed = |(count, severity): (&u32, Severity)| (*count >= RISE_AFTER).then_some(severity);
        let severity =
            severities.iter().zip(Severity::ALL).filter_map(backed).max().unwrap_or(Severity::Info);
        let incident = Incident {
            target: target.clone(),
            metric: metric.clone(),
            severities: vec![(severity, *since)],
            started_at: *since,
            ended_at: None,
            reason: Reason::Persisted,
            value: worst.value,
            expected: worst.expected,
            worst: worst.assessment,
            also: Vec::new(),
            explanation: self.explanation.clone(),
        };
        self.phase = Phase::Firing { incident: Box::new(incident), clear: 0, rising: 0 };
        Some((Transition { to: super::State::Firing, reason: Reason::Persisted }, None))
    }

    fn go_on(
        &mut self,
        at: Timestamp,
        reading: Reading,
        rule: &Persistence,
    ) -> Option<(Transition, Option<Incident>)> {
        let Phase::Firing { incident, clear, rising } = &mut self.phase else { return None };
        if reading.assessment.score > incident.worst.score {
            incident.worst = reading.assessment;
            (incident.value, incident.expected) = (reading.value, reading.expected);
        }
        *clear = if reading.holds { 0 } else { *clear + 1 };
        if *clear >= rule.clear_after {
            return self.end(at, Reason::Recovered);
        }
        *rising = if reading.severity > incident.severity() { *rising + 1 } else { 0 };
        if *rising < RISE_AFTER {
            return None;
        }
        *rising = 0;
        incident.severities.push((reading.severity, at));
        incident.reason = Reason::Escalated;
        Some((Transition { to: super::State::Firing, reason: Reason::Escalated }, None))
    }

    fn without_data(&mut self, at: Timestamp, rule: &Persistence) -> Option<(Transition, Option<Incident>)> {
        let away = at.since(*self.last_data.get_or_insert(at));
        if !self.is_active() || away < rule.hold_no_data {
            return None;
        }
        self.end(at, Reason::NoData)
    }

    /// Ends whatever is under way; an incident that fired is handed out.
    pub fn end(&mut self, at: Timestamp, reason: Reason) -> Option<(Transition, Option<Incident>)> {
        let transition = Transition { to: super::State::Resolved, reason };
        match std::mem::take(&mut self.phase) {
            Phase::Inactive => None,
            Phase::Pending { .. } => Some((transition, None)),
            Phase::Firing { mut incident, .. } => {
                incident.ended_at = Some(at.max(incident.started_at));
                incident.reason = reason;
                Some((transition, Some(*incident)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::State;

    const RULE: Persistence =
        Persistence { open_after: 3, clear_after: 5, hold_no_data: Duration::from_secs(30) };

    fn reading(letter: char) -> Option<Reading> {
        let (score, severity) = match letter {
            '.' => (0.1, Severity::Info),
            'i' => (0.65, Severity::Info),
            'w' => (0.75, Severity::Warning),
            'C' => (0.95, Severity::Critical),
            _ => return None,
        };
        let assessment = Assessment { score, ..Assessment::default() };
        let over = score > 0.6;
        Some(Reading { opens: over, holds: over, severity, assessment, value: score, expected: None })
    }

    /// Runs checks one `step` apart, one a letter (`.` normal, `i` info, `w` warning, `C` critical, `_` no data, `|` a
    /// gap), and writes what happened at which check.
    fn run(checks: &str, step: Duration) -> Vec<(usize, Reason)> {
        let mut machine = Machine::default();
        let (target, metric) = (Labels::empty(), Labels::new([("metric_name", "m")]));
        let mut happened = Vec::new();
        for (at, letter) in checks.chars().enumerate() {
            let time = Timestamp::default() + step * at as u32;
            if letter == '|' {
                machine.gap(time);
                continue;
            }
            let check = Check { at: time, reading: reading(letter) };
            if let Some((transition, _)) = machine.step(&check, &RULE, (&target, &metric)) {
                happened.push((at, transition.reason));
            }
        }
        happened
    }

    #[test]
    fn an_incident_never_ends_before_it_began() {
        let at = |second: u32| Timestamp::default() + SECOND * (1000 + second);
        let (target, metric) = (Labels::empty(), Labels::new([("metric_name", "m")]));
        for back in [None, Some(Timestamp::from_millis(5000))] {
            let mut machine = Machine::default();
            for second in 0..4 {
                machine.step(&Check { at: at(second), reading: reading('C') }, &RULE, (&target, &metric));
            }
            back.iter().for_each(|at| machine.step_back(*at));
            let (_, ended) = machine.end(Timestamp::from_millis(9000), Reason::Recovered).unwrap();
            let ended = ended.unwrap();
            assert!(ended.ended_at >= Some(ended.started_at), "{back:?}: {ended:?}");
            assert!(ended.severities.iter().all(|(_, since)| Some(*since) <= ended.ended_at), "{ended:?}");
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn three_checks_open_and_five_clear_ones_close() {
        use Reason::{Lapsed, OverThreshold, Persisted, Recovered};
        assert_eq!(run("..ww..", SECOND), [(2, OverThreshold), (4, Lapsed)]);
        assert_eq!(run("www.....", SECOND), [(0, OverThreshold), (2, Persisted), (7, Recovered)]);
        assert_eq!(run("www....w....w....", SECOND), [(0, OverThreshold), (2, Persisted)]);
    }

    #[test]
    fn what_closes_is_counted_anew_after_a_gap() {
        use Reason::{OverThreshold, Persisted, Recovered};
        assert_eq!(run("www...|....|...|....", SECOND), [(0, OverThreshold), (2, Persisted)]);
        assert_eq!(run("www...|.....", SECOND), [(0, OverThreshold), (2, Persisted), (11, Recovered)]);
    }

    #[test]
    fn opening_takes_two_seconds_however_short_the_checks() {
        let opened = run(&"w".repeat(100), Duration::from_millis(100));
        assert_eq!(opened, [(0, Reason::OverThreshold), (20, Reason::Persisted)]);
    }

    #[test]
    fn severity_rises_after_two_checks_and_never_falls() {
        use Reason::{Escalated, OverThreshold, Persisted};
        assert_eq!(run("wwwCwCCwwww", SECOND), [(0, OverThreshold), (2, Persisted), (6, Escalated)]);
        assert_eq!(run("wCCCCC", SECOND), [(0, OverThreshold), (2, Persisted)], "it opened as critical");
    }

    #[test]
    fn no_data_holds_an_incident_and_in_the_end_resolves_it() {
        use Reason::{NoData, OverThreshold, Persisted};
        assert_eq!(run("www__________w", SECOND), [(0, OverThreshold), (2, Persisted)]);
        let gone = format!("www{}", "_".repeat(40));
        assert_eq!(run(&gone, SECOND), [(0, OverThreshold), (2, Persisted), (32, NoData)]);
    }

    #[test]
    fn what_never_fired_hands_out_no_incident() {
        let mut machine = Machine::default();
        let who = (&Labels::empty(), &Labels::empty());
        let check = |at, letter| Check { at: Timestamp::from_millis(at), reading: reading(letter) };
        machine.step(&check(0, 'w'), &RULE, who);
        let (transition, incident) = machine.step(&check(1000, '.'), &RULE, who).unwrap();
        assert_eq!((transition.to, incident), (State::Resolved, None));
        assert!(machine.end(Timestamp::default(), Reason::Reconfigured).is_none());
    }
}
