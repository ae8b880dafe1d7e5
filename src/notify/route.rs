//! Alertmanager's routing tree: which receivers an alert goes to, by the rules of its documentation and of amtool.

mod matcher;

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

pub use matcher::Matcher;

use crate::series::Labels;

/// One route as written, with those below it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Written {
    receiver: String,
    #[serde(rename = "match")]
    equals: BTreeMap<String, String>,
    match_re: BTreeMap<String, String>,
    matchers: Vec<String>,
    r#continue: bool,
    routes: Vec<Self>,
    group_by: Vec<String>,
    group_wait: Option<crate::setting::Span>,
    group_interval: Option<crate::setting::Span>,
    repeat_interval: Option<crate::setting::Span>,
    mute_time_intervals: Vec<String>,
    active_time_intervals: Vec<String>,
}

/// A route that can be asked.
#[derive(Clone, Debug)]
pub struct Route {
    receiver: String,
    matchers: Vec<Matcher>,
    goes_on: bool,
    routes: Vec<Self>,
}

/// One step of a decision, for people: how deep, what was asked, and whether it matched.
pub type Trace = Vec<(usize, String, bool)>;

impl Written {
    /// The tree, if it is sound: every receiver is one of `receivers`.
    ///
    /// # Errors
    /// Key path and problem of everything that Alertmanager would refuse.
    pub(super) fn compile(
        &self,
        receivers: &HashSet<&str>,
        intervals: &HashSet<&str>,
    ) -> Result<Route, Vec<(String, String)>> {
        let mut found = Vec::new();
        if self.receiver.is_empty() {
            found.push((
                "route.receiver".to_owned(),
                "is missing; name the receiver of last resort".to_owned(),
            ));
        }
        if !(self.equals.is_empty() && self.match_re.is_empty() && self.matchers.is_empty()) {
            found.push(("route".to_owned(), "must not have matchers: it takes every alert".to_owned()));
        }
        if self.r#continue {
            found.push((
                "route.continue".to_owned(),
                "must not be set: nothing comes after the first route".to_owned(),
            ));
        }
        if !(self.mute_time_intervals.is_empty() && self.active_time_intervals.is_empty()) {
            found.push(("route".to_owned(), "must not have time intervals".to_owned()));
        }
        let route = self.node("route", &self.receiver, receivers, intervals, &mut found);
        if found.is_empty() { Ok(route) } else { Err(found) }
    }

    fn node(
        &self,
        key: &str,
        inherited: &str,
        receivers: &HashSet<&str>,
        intervals: &HashSet<&str>,
        found: &mut Vec<(String, String)>,
    ) -> Route {
        let mut say = |key: String, problem: String| found.push((key, problem));
        let receiver = if self.receiver.is_empty() { inherited } else { &self.receiver };
        if !self.receiver.is_empty() && !receivers.contains(receiver) {
            say(
                format!("{key}.receiver"),
                format!("no receiver is called {receiver:?}; add it to receivers"),
            );
        }
        for name in self.mute_time_intervals.iter().chain(&self.active_time_intervals) {
            if !intervals.contains(name.as_str()) {
                say(key.to_owned(), format!("no time interval is called {name:?}; add it to time_intervals"));
            }
        }
        let mut labels = HashSet::new();
        if !self.group_by.iter().all(|label| labels.insert(label)) {
            say(format!("{key}.group_by"), "names a label twice".to_owned());
        }
        if self.group_by.len() > 1 && self.group_by.iter().any(|label| label == "...") {
            say(format!("{key}.group_by"), "has ... beside labels; keep one of them".to_owned());
        }
        for (name, span) in
            [("group_interval", self.group_interval), ("repeat_interval", self.repeat_interval)]
        {
            if span.is_some_and(|span| span.0.is_zero()) {
                say(format!("{key}.{name}"), "must be above 0".to_owned());
            }
        }
        let mut matchers = Vec::new();
        let mut keep = |at: &str, compiled: Result<Vec<Matcher>, String>| match compiled {
            Ok(compiled) => matchers.extend(compiled),
            Err(problem) => say(format!("{key}.{at}"), problem),
        };
        for (name, value) in &self.equals {
            keep("match", Matcher::equal(name, value).map(|matcher| vec![matcher]));
        }
        for (name, pattern) in &self.match_re {
            keep("match_re", Matcher::pattern(name, pattern).map(|matcher| vec![matcher]));
        }
        for written in &self.matchers {
            keep("matchers", Matcher::parse_all(written));
        }
        let below = self.routes.iter().enumerate();
        let routes = below
            .map(|(at, route)| {
                route.node(&format!("{key}.routes[{at}]"), receiver, receivers, intervals, found)
            })
            .collect();
        Route { receiver: receiver.to_owned(), matchers, goes_on: self.r#continue, routes }
    }
}

impl Route {
    /// Receivers of an alert with these labels, in order; one may come twice.
    pub fn receivers(&self, labels: &Labels) -> Vec<String> {
        self.explain(labels).0
    }

    /// The same, and what was asked on the way.
    pub fn explain(&self, labels: &Labels) -> (Vec<String>, Trace) {
        let mut trace = Vec::new();
        let receivers = self.take(labels, 0, &mut trace).into_iter().map(str::to_owned).collect();
        (receivers, trace)
    }

    fn take(&self, labels: &Labels, depth: usize, trace: &mut Trace) -> Vec<&str> {
        let matches = self.matchers.iter().all(|matcher| matcher.matches(labels));
        trace.push((depth, self.to_string(), matches));
        if !matches {
            return Vec::new();
        }
        let mut all = Vec::new();
        for route in &self.routes {
            let taken = route.take(labels, depth + 1, trace);
            let is_taken = !taken.is_empty();
            all.extend(taken);
            if is_taken && !route.goes_on {
                break;
            }
        }
        if all.is_empty() {
            all.push(self.receiver.as_str());
        }
        all
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let matchers: Vec<String> = self.matchers.iter().map(Matcher::to_string).collect();
        let goes_on = if self.goes_on { ", continue" } else { "" };
        write!(f, "{{{}}} receiver: {}{goes_on}", matchers.join(","), self.receiver)
    }
}
