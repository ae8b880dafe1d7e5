//! The shipped dashboard: every panel has data after a fault, and Grafana can read it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::servers::tool;
use crate::watched::Watched;

const FILE: &str = "configs/grafana/dwcp-anomaly-detection-dashboard.json";

fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(path(FILE)).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A variable that a person would find chosen: all its values, as Grafana writes them into a regular expression.
fn values(watched: &Watched, dashboard: &Value, variable: &str, chosen: &[(String, String)]) -> Vec<String> {
    let of = list(&dashboard["templating"], "list").find(|of| of["name"] == variable).unwrap();
    if of["type"] == "custom" {
        return vec![text(&of["current"], "value").to_owned()];
    }
    let query = filled(watched, text(&of["query"], "query"), chosen);
    let (selector, label) = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
        .unwrap_or_else(|| panic!("{variable}: {query}"));
    let found = watched.ask(selector, true).unwrap();
    let values: BTreeSet<String> =
        found.iter().map(|series| text(&series["metric"], label).to_owned()).collect();
    assert!(!values.is_empty(), "${variable} has no value: {query}");
    values.into_iter().collect()
}

/// `text` with its variables, and those that Grafana knows by itself, filled in.
fn filled(watched: &Watched, text: &str, chosen: &[(String, String)]) -> String {
    let (from, to) = watched.during;
    let built_in = [
        ("__rate_interval".to_owned(), "4s".to_owned()),
        ("__range".to_owned(), format!("{}s", (to - from) as u64)),
    ];
    let mut text = text.to_owned();
    for (name, value) in built_in.iter().chain(chosen) {
        text = text.replace(&format!("${name}"), value).replace(&format!("${{{name}}}"), value);
    }
    text
}

/// What a person would find chosen, but for the metric.
fn chosen(watched: &Watched, dashboard: &Value) -> Vec<(String, String)> {
    let mut chosen = Vec::new();
    for variable in ["job", "instance", "threshold", "page"] {
        let values = values(watched, dashboard, variable, &chosen);
        chosen.push((variable.to_owned(), values.join("|")));
    }
    chosen
}

/// What is wrong with the answer to a query, if anything is.
fn fault(watched: &Watched, expr: &str, over_time: bool) -> Option<String> {
    assert!(!expr.contains('$'), "a variable is left in {expr}");
    let found = match watched.ask(expr, over_time) {
        Ok(found) => found,
        Err(error) => return Some(error),
    };
    let samples =
        found.iter().flat_map(|series| list(series, "values").chain(std::iter::once(&series["value"])));
    let is_number = |sample: &Value| sample[1].as_str().is_some_and(|value| value != "NaN");
    (!samples.into_iter().any(is_number)).then(|| format!("nothing in {expr}"))
}

/// Every query of every panel has data after a fault.
pub fn every_query_has_data(watched: &Watched) {
    let dashboard = dashboard();
    let mut chosen = chosen(watched, &dashboard);
    let metrics = values(watched, &dashboard, "metric", &chosen);
    assert_eq!(metrics, ["heat", "load", "queue"]);
    let (mut faults, mut asked, mut repeats) = (Vec::new(), 0, false);
    for panel in list(&dashboard, "panels") {
        if panel["type"] == "row" {
            repeats = panel["repeat"] == "metric";
        }
        // Panels of a repeated row are there once for each metric, the others see all of them.
        let shown = if repeats { metrics.clone() } else { vec![metrics.join("|")] };
        for metric in shown {
            chosen.push(("metric".to_owned(), metric));
            for target in list(panel, "targets") {
                let over_time = target["instant"] != true;
                let found = fault(watched, &filled(watched, text(target, "expr"), &chosen), over_time);
                faults.extend(found.map(|fault| format!("{}: {fault}", text(panel, "title"))));
                asked += 1;
            }
            chosen.pop();
        }
    }
    chosen.push(("metric".to_owned(), metrics.join("|")));
    for annotation in list(&dashboard["annotations"], "list").filter(|a| a["expr"].is_string()) {
        faults.extend(fault(watched, &filled(watched, text(annotation, "expr"), &chosen), true));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(asked > 40, "{asked}");
}

#[test]
fn the_dashboard_is_what_its_script_writes() {
    let script = "import sys; sys.path.insert(0, 'configs/grafana'); sys.dont_write_bytecode = True\n\
                  import dashboard, json; print(json.dumps(dashboard.dashboard(), indent=2, ensure_ascii=False))";
    let (status, said) =
        tool("bash", &["-c", &format!("cd {} && python3 -", env!("CARGO_MANIFEST_DIR"))], script);
    assert_eq!(status, 0, "{said}");
    let written = std::fs::read_to_string(path(FILE)).unwrap();
    assert!(said == written, "run python3 configs/grafana/dashboard.py");
}

#[test]
fn nothing_in_the_dashboard_is_unknown_to_grafanas_own_schema() {
    let python = path("target/clients/bin/python");
    let (status, said) = tool(&python, &[&path("tests/real/dashboard_schema.py"), &path(FILE)], "");
    assert_eq!(status, 0, "{said}");
}

#[test]
fn panels_lie_side_by_side_and_say_what_they_show() {
    let dashboard = dashboard();
    let panels: Vec<&Value> = list(&dashboard, "panels").collect();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in &panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies over another", panel["title"]);
        }
        assert!(!text(panel, "title").is_empty());
        if panel["type"] == "row" {
            continue;
        }
        let defaults = &panel["fieldConfig"]["defaults"];
        let has_unit = defaults["unit"].is_string();
        let needs_none = ["heatmap", "state-timeline", "table"].contains(&text(panel, "type"));
        assert!(has_unit || needs_none, "{} has no unit", panel["title"]);
        assert!(!text(panel, "description").is_empty(), "{} is not described", panel["title"]);
        let refs: Vec<&str> = list(panel, "targets").map(|target| text(target, "refId")).collect();
        assert_eq!(refs.iter().collect::<BTreeSet<_>>().len(), refs.len(), "{}", panel["title"]);
        for source in list(panel, "targets").chain([*panel]).map(|of| &of["datasource"]["uid"]) {
            assert_eq!(source, "${datasource}", "{}", panel["title"]);
        }
    }
}

#[test]
fn an_override_is_of_a_series_that_its_panel_has() {
    for panel in list(&dashboard(), "panels") {
        let legends: BTreeSet<&str> =
            list(panel, "targets").map(|target| text(target, "legendFormat")).collect();
        let by_label = legends.iter().any(|legend| legend.contains("{{"));
        let renames = |name: &str| panel["transformations"].to_string().contains(&format!("\"{name}\""));
        for field in list(&panel["fieldConfig"], "overrides").filter(|of| of["matcher"]["id"] == "byName") {
            let name = text(&field["matcher"], "options");
            assert!(legends.contains(name) || by_label || renames(name), "{}: {name}", panel["title"]);
            for property in list(field, "properties").filter(|p| p["id"] == "custom.fillBelowTo") {
                assert!(legends.contains(text(property, "value")), "{}: {property}", panel["title"]);
            }
        }
    }
}

#[test]
fn the_variables_are_those_a_person_chooses_by_and_all_that_is_used_is_defined() {
    let dashboard = dashboard();
    let variables: Vec<&Value> = list(&dashboard["templating"], "list").collect();
    let shown: Vec<&str> = variables.iter().filter(|of| of["hide"] == 0).map(|of| text(of, "name")).collect();
    assert_eq!(shown, ["datasource", "job", "instance", "metric", "threshold"]);
    let defined: BTreeSet<&str> = variables.iter().map(|of| text(of, "name")).collect();
    let whole = dashboard.to_string();
    for used in whole.split('$').skip(1) {
        let name: String =
            used.trim_start_matches('{').chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        assert!(name.starts_with("__") || defined.contains(name.as_str()), "${name}");
    }
}
