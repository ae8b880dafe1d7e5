//! What must hold between the parts of a configuration.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::{Config, Problems, Sources};
use crate::notify::receivers::Native;
use crate::probe;
use crate::scrape::config::EMBEDDED;
use crate::setting::pattern::Budget;
use crate::signal::{Definition, Macros, Plan, TAKEN_LABELS};
use crate::window::Table;

/// Series a selector is taken to have when memory is reckoned before anything is scraped.
const SERIES_PER_SELECTOR: usize = 16;
/// Share of the time between two checks that evaluating all signals of all targets may take, as far as it can be told
/// beforehand.
const MOST_WORK: u32 = 2;

impl Config {
    /// What the expressions' macros stand for.
    pub fn macros(&self) -> Macros {
        Macros { rate_interval: self.check_interval.0 * 4 }
    }

    /// Samples kept per series: as many as configured, or as the longest range needs.
    pub fn samples(&self) -> usize {
        let needed = self.plans().map(|(_, plan)| self.samples_for(&plan)).max();
        self.buffer_size.max(needed.unwrap_or_default())
    }

    /// Samples of a series that `plan` reads back to, at the pace of whoever takes them.
    fn samples_for(&self, plan: &Plan) -> usize {
        let reads_probes = plan.selectors().iter().any(|s| s.may_begin_with(probe::PREFIX));
        let is_probed = reads_probes && !self.probe.targets.is_empty();
        let interval = self.check_interval.0;
        let pace = if is_probed { interval.min(self.probe.interval.0) } else { interval };
        samples_of(plan.longest_range(), pace)
    }

    /// The signals that parse, with their position.
    fn plans(&self) -> impl Iterator<Item = (usize, Plan)> {
        let macros = self.macros();
        let parsed = move |(at, signal): (usize, &crate::signal::Definition)| {
            Some((at, Plan::signal(&signal.expr, &macros).ok()?))
        };
        self.signals.iter().enumerate().filter_map(parsed)
    }
}

fn samples_of(range: Duration, interval: Duration) -> usize {
    (range.as_secs_f64() / interval.as_secs_f64().max(1e-3)).ceil() as usize + 2
}

/// Key path and problem of everything that is wrong.
pub(super) fn problems(config: &Config) -> Vec<(String, String)> {
    let mut found = Vec::new();
    general(config, &mut found);
    targets(config, &mut found);
    signals(config, &mut found);
    let probe = config.probe.problems().into_iter();
    found.extend(probe.map(|(key, problem)| (format!("probe.{key}"), problem)));
    found.extend(config.detector.problems().into_iter().map(|(key, problem)| {
        let key = if key.is_empty() { "detector".to_owned() } else { format!("detector.{key}") };
        (key, problem)
    }));
    severities(config, &mut found);
    alerts(config, &mut found);
    if found.is_empty() {
        memory(config, &mut found);
        work(config, &mut found);
    }
    found
}

type Found = Vec<(String, String)>;

fn must(found: &mut Found, holds: bool, key: impl Into<String>, problem: impl Into<String>) {
    if !holds {
        found.push((key.into(), problem.into()));
    }
}

fn general(config: &Config, found: &mut Found) {
    let interval = config.check_interval.0;
    must(
        found,
        interval >= Duration::from_millis(100),
        "check_interval",
        "must be at least 100ms, such as 10s",
    );
    must(found, interval <= Duration::from_hours(1), "check_interval", "must be at most 1h, such as 10s");
    must(
        found,
        (10..=1_000_000).contains(&config.buffer_size),
        "buffer_size",
        "must be 10 to 1000000, such as 1000",
    );
    must(found, !config.scrape.timeout.0.is_zero(), "scrape.timeout", "must be above 0, such as 5s");
    must(
        found,
        config.scrape.max_body_size.0 >= 1024,
        "scrape.max_body_size",
        "must be at least 1KiB, such as 16MiB",
    );
    must(
        found,
        config.limits.memory.is_none_or(|limit| limit.0 >= 16 << 20),
        "limits.memory",
        "must be at least 16MiB, such as 64MiB",
    );
    let url = &config.history.prometheus_url;
    must(
        found,
        url.is_empty() || url.problem().is_none(),
        "history.prometheus_url",
        format!(
            "{url:?} is no URL of a Prometheus, such as http://127.0.0.1:9090: it {}",
            url.problem().unwrap_or_default()
        ),
    );
    must(
        found,
        config.detector.models.keep_versions >= 1,
        "detector.models.keep_versions",
        "must be at least 1",
    );
    must(found, config.incident.r#for >= 1, "incident.for", "must be at least 1 check");
    must(found, config.incident.clear_after >= 1, "incident.clear_after", "must be at least 1 check");
}

fn targets(config: &Config, found: &mut Found) {
    let mut known = HashSet::new();
    for (at, target) in config.scrape.targets.iter().enumerate() {
        let key = format!("scrape.targets[{at}]");
        let problem = target.url.problem().filter(|_| target.url != *EMBEDDED);
        must(
            found,
            problem.is_none(),
            format!("{key}.url"),
            format!("{:?} {}; or give {EMBEDDED}", target.url, problem.unwrap_or_default()),
        );
        for name in target.labels.keys() {
            let problem = label_problem(name);
            must(found, problem.is_none(), format!("{key}.labels.{name}"), problem.unwrap_or_default());
        }
        must(
            found,
            known.insert(target.final_labels("host", 0)),
            &key,
            "has the same final labels as a target before it; give it a label or an instance of its own",
        );
    }
}

fn is_http(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && reqwest::Url::parse(url).is_ok()
}

fn label_problem(name: &str) -> Option<String> {
    if TAKEN_LABELS.contains(&name) || name.starts_with("__") {
        return Some(format!("the label {name} is taken; rename it"));
    }
    (!is_label_name(name)).then(|| format!("{name:?} is no label name; use letters, digits and _"))
}

fn is_label_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn signals(config: &Config, found: &mut Found) {
    let mut macros = config.macros();
    if macros.rate_interval.is_zero() {
        // That is told already; the expressions are read with another.
        macros.rate_interval = Duration::from_secs(40);
    }
    let mut known = HashSet::new();
    let mut budget = Budget::default();
    for (at, signal) in config.signals.iter().enumerate() {
        let key = format!("signals[{at}]");
        must(
            found,
            is_label_name(&signal.name),
            format!("{key}.name"),
            format!("{:?} is no name; use letters, digits and _", signal.name),
        );
        must(
            found,
            known.insert(&signal.name),
            format!("{key}.name"),
            format!("{} is defined twice", signal.name),
        );
        must(
            found,
            signal.min_deviation >= 0.0 && signal.min_deviation.is_finite(),
            format!("{key}.min_deviation"),
            "must be 0 or above",
        );
        must(
            found,
            signal.min_deviation_ratio >= 0.0 && signal.min_deviation_ratio.is_finite(),
            format!("{key}.min_deviation_ratio"),
            "must be 0 or above, as 0.01 for 1 % of what is expected",
        );
        bounds(signal, &key, found);
        must(
            found,
            signal.runbook_url.as_deref().is_none_or(is_http),
            format!("{key}.runbook_url"),
            "is no URL, such as https://wiki.example/cpu",
        );
        if let Err(error) = Plan::signal_within(&signal.expr, &macros, &mut budget) {
            found.push((format!("{key}.expr"), format!("{}: {error}", signal.name)));
        }
    }
}

fn bounds(signal: &Definition, key: &str, found: &mut Found) {
    for (name, bound) in [("min", signal.min), ("max", signal.max)] {
        let is_number = bound.is_none_or(f64::is_finite);
        must(
            found,
            is_number,
            format!("{key}.{name}"),
            "must be a number; leave it out where there is no bound",
        );
    }
    let (least, most) = (signal.min.unwrap_or(f64::NEG_INFINITY), signal.max.unwrap_or(f64::INFINITY));
    must(found, least < most, format!("{key}.min"), format!("{least} must be below max, which is {most}"));
}

fn severities(config: &Config, found: &mut Found) {
    let (warning, critical) = (&config.severity.warning, &config.severity.critical);
    let sound = |sigma: f64| sigma >= 0.0 && sigma.is_finite();
    must(found, sound(warning.sigma), "severity.warning.sigma", "must be 0 or above");
    must(found, sound(critical.sigma), "severity.critical.sigma", "must be 0 or above");
    must(
        found,
        warning.confidence <= critical.confidence && warning.sigma <= critical.sigma,
        "severity.critical",
        "must ask for at least as much as severity.warning",
    );
}

fn alerts(config: &Config, found: &mut Found) {
    let alert = &config.alert;
    found.extend(alert.problems().into_iter().map(|(key, problem)| (format!("alert.{key}"), problem)));
    if !alert.alertmanager_config.is_empty()
        && let Err(problems) = Native::read(Path::new(&alert.alertmanager_config))
    {
        found.extend(problems.into_iter().map(|problem| ("alert.alertmanager_config".to_owned(), problem)));
    }
    for name in alert.external_labels.keys() {
        let problem = label_problem(name);
        must(found, problem.is_none(), format!("alert.external_labels.{name}"), problem.unwrap_or_default());
    }
}

/// A range that cannot be held is an error now, not a hole later.
fn memory(config: &Config, found: &mut Found) {
    let limit = config.window.max_bytes.0 as usize;
    for (at, plan) in config.plans() {
        let samples = config.buffer_size.max(config.samples_for(&plan));
        let series = plan.selectors().len() * SERIES_PER_SELECTOR + 1;
        let needed = series * Table::bytes_per_column(samples);
        must(
            found,
            needed <= limit,
            format!("signals[{at}].expr"),
            format!(
                "{}: its range needs about {} MiB for {series} series; raise window.max_bytes or shorten the range",
                config.signals[at].name,
                needed.div_ceil(1 << 20),
            ),
        );
    }
}

/// Work that would make every check late is an error now; it is told of the signal that asks for most.
fn work(config: &Config, found: &mut Found) {
    let interval = config.check_interval.0;
    let targets = config.scrape.targets.len().max(1) as u64;
    let each = |(at, plan): (usize, Plan)| (plan.work(SERIES_PER_SELECTOR as u64, interval), at);
    let each: Vec<_> = config.plans().map(each).collect();
    let all = each.iter().fold(0, |sum: u64, (work, _)| sum.saturating_add(*work)).saturating_mul(targets);
    let Some((most, at)) = each.iter().max() else { return };
    let (needed, allowed) = (Duration::from_micros(all), interval / MOST_WORK);
    must(
        found,
        needed <= allowed,
        format!("signals[{at}].expr"),
        format!(
            "{}: evaluating all signals takes about {:.1} s a check, this one {:.1} s a target, and {:.2} s are allowed at a check_interval of {}; give its subquery a longer step, shorten its range, or raise check_interval",
            config.signals[*at].name,
            needed.as_secs_f64(),
            Duration::from_micros(*most).as_secs_f64(),
            allowed.as_secs_f64(),
            config.check_interval,
        ),
    );
}

/// What `check-config` found in a sound file.
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// A line for people.
    pub summary: String,
}

/// Keys by which Alertmanager's own configuration is known.
const THEIRS: [&str; 6] = ["route", "receivers", "global", "inhibit_rules", "templates", "time_intervals"];

/// Validates one file and changes nothing. Alertmanager's own configuration is told apart by its keys.
pub fn check_file(path: &Path, environment: &[(String, String)]) -> Result<Checked, Problems> {
    let text = super::read(path)?;
    let keys: BTreeMap<String, yaml_serde::Value> = yaml_serde::from_str(&text).unwrap_or_default();
    if THEIRS.iter().any(|key| keys.contains_key(*key)) {
        return alertmanager(path);
    }
    let sources =
        Sources { file: Some(path.to_owned()), environment: environment.to_vec(), quick_start: false };
    let config = sources.load()?;
    if let Some(refused) = config.detector.refused {
        return Err(Problems(vec![format!("{}: detector.priors: {refused}", path.display())]));
    }
    let (targets, signals) = (config.scrape.targets.len(), config.signals.len());
    Ok(Checked { summary: format!("{}: {targets} targets, {signals} signals", path.display()) })
}

/// What Alertmanager would refuse, and what of it is not followed natively.
fn alertmanager(path: &Path) -> Result<Checked, Problems> {
    let native = Native::read(path).map_err(Problems)?;
    let ignored = match native.ignored.as_slice() {
        [] => String::new(),
        ignored => format!(", not told natively: {}", ignored.join(", ")),
    };
    Ok(Checked { summary: format!("{}: {} receivers{ignored}", path.display(), native.receivers) })
}
