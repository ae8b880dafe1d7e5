//! When the fits of a `run` took effect, so that a replay of its checks says what it said although some came late.
//!
//! `run` adds a line for each to `fits.jsonl` in its `storage.path`. A fit that a replay comes to ask for and that is not
//! among them never took effect, and is not run; one that is among them is asked for, as after a restart that lost it.

use std::collections::{BTreeMap, BTreeSet};

use crate::detect::fit_tasks::{Kind, Model};
use crate::engine::Fit;
use crate::engine::held::Taken;

/// By the check at which a fit was asked for, the one at which it took effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(BTreeMap<(u64, Kind), u64>);

impl Schedule {
    /// Reads the lines of `run`; of several targets those of the one whose instance is `instance`.
    ///
    /// # Errors
    /// In words, with the line and the remedy.
    pub fn parse(text: &str, instance: Option<&str>) -> Result<Self, String> {
        let mut all = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let taken: Taken = serde_json::from_str(line).map_err(|error| {
                format!(
                    "line {}: {error}; a line is as `run` writes it, so remove one that was cut short",
                    at + 1
                )
            })?;
            all.push(taken);
        }
        let of = |taken: &Taken| taken.target.get("instance").unwrap_or_default().to_owned();
        let known: BTreeSet<String> = all.iter().map(of).collect();
        let names = || known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        match instance {
            None if known.len() > 1 => {
                return Err(format!(
                    "has fits of several targets; say whose by --fits-target, one of {}",
                    names()
                ));
            }
            Some(instance) if !known.contains(instance) => {
                return Err(format!("has no fit of {instance}; --fits-target is to be one of {}", names()));
            }
            _ => {}
        }
        all.retain(|taken| instance.is_none_or(|instance| of(taken) == instance));
        Ok(Self::of(&all))
    }

    /// Of one target's fits, in the order in which they took effect.
    pub fn of(taken: &[Taken]) -> Self {
        let mut checks = BTreeMap::new();
        for Taken { model, asked, effective, .. } in taken {
            // Where checks begin anew, so does everything.
            checks.retain(|_, before| *before <= *effective);
            checks.insert((*asked, *model), *effective);
        }
        Self(checks)
    }

    fn asked_at(&self, check: u64) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.0.contains_key(&(check, *kind)))
    }
}

/// Checks so far, and fits that have been run and are kept from the engine until they are due.
pub(super) struct Pending<'a> {
    schedule: Option<&'a Schedule>,
    check: u64,
    fits: Vec<(u64, Fit<Model>)>,
}

impl<'a> Pending<'a> {
    pub(super) fn new(schedule: Option<&'a Schedule>) -> Self {
        Self { schedule, check: 0, fits: Vec::new() }
    }

    /// Another check begins: what is to be asked for at it, and what takes effect with it.
    pub(super) fn begin(&mut self) -> (Vec<Kind>, Vec<Fit<Model>>) {
        self.check += 1;
        let asked = self.schedule.into_iter().flat_map(|schedule| schedule.asked_at(self.check)).collect();
        let due =
            self.fits.extract_if(.., |(effective, _)| *effective <= self.check).map(|(_, fit)| fit).collect();
        (asked, due)
    }

    /// When a fit that is asked for takes effect; `None` where it never does.
    pub(super) fn effective(&self, asked: u64, kind: Kind) -> Option<u64> {
        match self.schedule {
            Some(schedule) => schedule.0.get(&(asked, kind)).copied(),
            // With the next check it comes to the engine, which has it wait as long as any.
            None => Some(asked + 1),
        }
    }

    pub(super) fn keep(&mut self, effective: u64, fit: Fit<Model>) {
        self.fits.push((effective, fit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Labels, Timestamp};

    fn line(instance: &str, model: Kind, asked: u64, effective: u64) -> String {
        let target = Labels::new([("instance", instance), ("job", "node")]);
        let taken = Taken { target, model, asked, effective, at: Timestamp::default() };
        serde_json::to_string(&taken).unwrap() + "\n"
    }

    #[test]
    fn what_is_read_is_that_of_one_target() {
        let [a, b] =
            ["a", "b"].map(|name| line(name, Kind::IsolationForest, 30, 60 + u64::from(name == "b")));
        let text = format!("{a}\n{b}");
        let only = |effective| Schedule(BTreeMap::from([((30, Kind::IsolationForest), effective)]));
        assert_eq!(Schedule::parse(&text, Some("b")), Ok(only(61)));
        assert_eq!(Schedule::parse(&a, None), Ok(only(60)));
        assert_eq!(Schedule::parse("", None), Ok(Schedule::default()));
        for (text, instance, part) in [
            (text.as_str(), None, "of several targets; say whose by --fits-target, one of a, b"),
            (&text, Some("c"), "has no fit of c; --fits-target is to be one of a, b"),
            (&format!("{a}{{\"target\":"), None, "line 2: EOF"),
            (&a.replace("isolation_forest", "kmeans"), None, "line 1: unknown variant `kmeans`"),
        ] {
            let refused = Schedule::parse(text, instance).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn where_checks_begin_anew_what_was_before_counts_no_more() {
        let lines = [(30, 60), (60, 900), (30, 75), (60, 90)];
        let text: String =
            lines.map(|(asked, effective)| line("a", Kind::IsolationForest, asked, effective)).concat();
        let kind = Kind::IsolationForest;
        let expected = BTreeMap::from([((30, kind), 75), ((60, kind), 90)]);
        assert_eq!(Schedule::parse(&text, None), Ok(Schedule(expected)));
    }
}
