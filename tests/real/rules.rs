//! The shipped rules: each fires and stays silent where it should, and none is empty on what a real sidecar serves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use promql_parser::parser::token::{T_LAND, T_LUNLESS, TokenType};
use promql_parser::parser::{BinModifier, BinaryExpr, Expr, parse};
use serde_json::Value;

use crate::servers::tool;
use crate::watched::Watched;

/// Files of a directory of the repository, in the order of their names.
fn files(directory: &str) -> Vec<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "{directory} is empty");
    files
}

fn promtool(arguments: &[&str], files: &[PathBuf]) {
    let files = files.iter().map(|file| file.to_str().unwrap());
    let (status, said) = tool("promtool", &arguments.iter().copied().chain(files).collect::<Vec<_>>(), "");
    assert_eq!(status, 0, "{said}");
}

fn read(file: &PathBuf) -> Value {
    yaml_serde::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// All rules: name, and expression; whether it is an alert.
fn rules() -> Vec<(String, String, bool)> {
    let mut rules = Vec::new();
    for document in files("rules").iter().map(read) {
        for rule in list(&document["groups"]).flat_map(|group| list(&group["rules"])) {
            let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
            rules.push((name.to_owned(), text(&rule["expr"]).to_owned(), rule["alert"].is_string()));
        }
    }
    rules
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules_and_their_tests_pass() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &files("rules"));
    promtool(&["test", "rules"], &files("tests/rules"));
}

#[test]
fn every_rule_is_tested_with_something_and_with_nothing() {
    // By rule: whether a case expects something, and whether one with series expects nothing.
    let mut cases: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    let rules = rules();
    for document in files("tests/rules").iter().map(read) {
        for test in list(&document["tests"]) {
            assert!(
                list(&test["input_series"]).next().is_some(),
                "{} is silent for want of series",
                test["name"]
            );
            let alerts = list(&test["alert_rule_test"])
                .map(|case| (text(&case["alertname"]).to_owned(), list(&case["exp_alerts"]).count()));
            let records = list(&test["promql_expr_test"]).map(|case| {
                let recorded = rules.iter().find(|(name, ..)| text(&case["expr"]).contains(name.as_str()));
                (recorded.unwrap().0.clone(), list(&case["exp_samples"]).count())
            });
            for (name, expected) in alerts.chain(records) {
                let case = cases.entry(name).or_default();
                *case = (case.0 || expected > 0, case.1 || expected == 0);
            }
        }
    }
    for (name, ..) in &rules {
        let (fires, is_silent) = cases.remove(name).unwrap_or_default();
        assert!(fires && is_silent, "{name}: has a case that fires: {fires}, that is silent: {is_silent}");
    }
    assert!(cases.is_empty(), "tests of rules there are not: {cases:?}");
}

#[test]
fn every_alert_has_a_severity_and_says_what_where_and_what_to_do() {
    for document in files("rules").iter().map(read) {
        for rule in list(&document["groups"]).flat_map(|group| list(&group["rules"])) {
            let Some(name) = rule["alert"].as_str() else { continue };
            let severity = text(&rule["labels"]["severity"]);
            let has_severity = ["info", "warning", "critical"].contains(&severity);
            assert!(has_severity || text(&rule["expr"]).contains("severity=~"), "{name}: {severity:?}");
            let annotation = |key: &str| text(&rule["annotations"][key]);
            assert!(annotation("summary").contains("{{"), "{name}: the summary does not say where");
            assert!(annotation("description").len() > 40, "{name}: {}", annotation("description"));
            let runbook = annotation("runbook_url");
            let of_metric = runbook.ends_with("/runbook/{{ $labels.metric_name }}");
            assert!(of_metric || runbook.ends_with(&format!("/runbook/{name}")), "{name}: {runbook}");
        }
    }
}

/// No rule is empty on what a real sidecar serves.
pub fn no_rule_is_empty(watched: &Watched) {
    let mut empty = Vec::new();
    for (name, expr, is_alert) in rules() {
        // An alert that does not fire is empty; what it compares must not be.
        let needed = if is_alert { comparisons(&expr) } else { vec![name.clone()] };
        for part in needed {
            let found = watched.ask(&part, false).unwrap_or_else(|error| panic!("{name}: {error}"));
            let is_number = |sample: &Value| sample["value"][1].as_str().is_some_and(|value| value != "NaN");
            if !found.iter().any(is_number) {
                empty.push(format!("{name}: {part}"));
            }
        }
    }
    assert!(empty.is_empty(), "nothing in\n{}", empty.join("\n"));
}

/// Each alert's link leads somewhere.
pub fn every_alert_has_a_runbook(watched: &Watched) {
    for (name, ..) in rules().iter().filter(|(.., is_alert)| *is_alert) {
        assert!(watched.sidecar.get(&format!("/runbook/{name}")).is_some(), "/runbook/{name}");
    }
}

/// The expression and every comparison in it, made to say 0 where they would say nothing.
fn comparisons(expr: &str) -> Vec<String> {
    // What looks at each hour has no hour yet.
    let mut expr = parse(&expr.replace(":1h]", ":1s]")).unwrap();
    let mut found = Vec::new();
    say_all(&mut expr, &mut found);
    found.push(expr.to_string());
    found
}

/// A comparison answers 0 or 1, and what would be left out is kept: so an answer proves that both sides' labels match.
fn say_all(expr: &mut Expr, found: &mut Vec<String>) {
    match expr {
        Expr::Paren(paren) => say_all(&mut paren.expr, found),
        Expr::Binary(BinaryExpr { op, lhs, rhs, modifier }) => {
            say_all(lhs, found);
            say_all(rhs, found);
            if op.id() == T_LUNLESS {
                *op = TokenType::new(T_LAND);
            }
            if op.is_comparison_operator() {
                modifier.get_or_insert_with(BinModifier::default).return_bool = true;
                found.push(expr.to_string());
            }
        }
        _ => {}
    }
}

/// What Prometheus says of the incident on `heat`.
pub fn the_incident_is_told_with_its_figures_and_its_runbook(watched: &Watched) {
    let answer = watched.prometheus.get("/api/v1/rules").unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let rules: Vec<&Value> =
        list(&answer["data"]["groups"]).flat_map(|group| list(&group["rules"])).collect();
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let firing = rules.iter().find(|rule| rule["name"] == "DwcpAnomalyFiring").unwrap();
    let alert = list(&firing["alerts"]).find(|alert| alert["labels"]["metric_name"] == "heat").unwrap();
    let annotation = |key: &str| text(&alert["annotations"][key]).to_owned();
    let labels = &alert["labels"];
    assert_eq!((&labels["namespace"], &labels["cluster"]), (&"shop".into(), &"east".into()), "{alert}");
    let (summary, description) = (annotation("summary"), annotation("description"));
    assert!(summary.starts_with("heat on here:") && summary.contains("is anomalous"), "{summary}");
    assert!(description.starts_with("It is 1") && description.contains(", expected "), "{description}");
    assert!(description.contains("; score 0."), "{description}");
    let (page, runbook) = (format!(":{}/runbook/heat", watched.sidecar.port), annotation("runbook_url"));
    assert!(runbook.starts_with("http://") && runbook.ends_with(&page), "{runbook}");
}
