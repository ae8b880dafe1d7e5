//! The same mutation on files: `inject -f`. Documents that are not injected are handed back letter by letter; in the
//! others everything but comments stays, with its scalars as they were written.

mod node;
mod write;

use serde_json::Value;

use self::node::Node;
use super::{Decision, Place, Policy, decide};

/// Manifests with sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// All documents.
    pub text: String,
    /// Workloads that were given a sidecar.
    pub injected: usize,
    /// What there is to say about workloads, one line each.
    pub notes: Vec<String>,
}

/// A text that is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {told}")]
pub struct Unreadable {
    line: usize,
    told: String,
}

/// Objects in lists of lists are looked for no deeper.
const DEPTH: usize = 4;

/// Injects every workload in `text`, YAML of one or many documents, or JSON.
pub fn rewrite(text: &str, policy: &Policy) -> Result<Rewritten, Unreadable> {
    let mut rewritten = Rewritten::default();
    for (line, document) in documents(text) {
        let (head, body) = apart(document);
        let read = Node::read(body)
            .map_err(|(at, told)| Unreadable { line: line + at + usize::from(!head.is_empty()), told })?;
        let Some(mut node) = read else {
            rewritten.text.push_str(document);
            continue;
        };
        let view = node.to_json();
        let before = rewritten.injected;
        object(&view, &mut Vec::new(), policy, &mut node, &mut rewritten);
        if rewritten.injected == before {
            rewritten.text.push_str(document);
            continue;
        }
        rewritten.text.push_str(head);
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
        rewritten.text.push_str(&if is_json { write::json(&node) } else { write::yaml(&node) });
    }
    Ok(rewritten)
}

/// Documents with the line they begin on, counted from 0. Three dashes begin one wherever they stand at a line's start.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut begin, mut first_line, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.trim_start().len() < rest.len() || rest.is_empty());
        if is_marker && at > begin {
            found.push((first_line, &text[begin..at]));
            (begin, first_line) = (at, number);
        }
        at += line.len();
    }
    if begin < text.len() {
        found.push((first_line, &text[begin..]));
    }
    found
}

/// The line of the marker, if the document begins with one, and the rest.
fn apart(document: &str) -> (&str, &str) {
    let Some(after) = document.strip_prefix("---") else { return ("", document) };
    let first = after.split_inclusive('\n').next().unwrap_or_default();
    if first.trim().is_empty() || first.trim_start().starts_with('#') {
        return document.split_at("---".len() + first.len());
    }
    // What stands behind the marker is put below it.
    ("---\n", after)
}

/// Where the pod is in an object of this kind.
fn pod_in(view: &Value) -> Option<&'static [&'static str]> {
    let group = view["apiVersion"].as_str()?.rsplit_once('/').map_or("", |(group, _)| group);
    if !["", "apps", "batch", "extensions"].contains(&group) {
        return None;
    }
    match view["kind"].as_str()? {
        "Pod" => Some(&[]),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            Some(&["spec", "template"])
        }
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

/// Injects one object, or each item of a list.
fn object(view: &Value, at: &mut Vec<String>, policy: &Policy, root: &mut Node, into: &mut Rewritten) {
    let kind = view["kind"].as_str().unwrap_or_default();
    if kind.ends_with("List") && at.len() < DEPTH {
        for (number, item) in view["items"].as_array().into_iter().flatten().enumerate() {
            let item = with_kind(item, kind, view);
            at.extend(["items".to_owned(), number.to_string()]);
            object(&item, at, policy, root, into);
            at.truncate(at.len() - 2);
        }
        return;
    }
    let Some(path) = pod_in(view) else { return };
    let pod = path.iter().fold(view, |value, key| &value[*key]);
    let place = Place {
        namespace: view["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(),
        owner_kind: if path.is_empty() { String::new() } else { kind.to_owned() },
    };
    let Decision { outcome, warnings } = decide(pod, &place, policy);
    let name = view["metadata"]["name"].as_str().or_else(|| view["metadata"]["generateName"].as_str());
    let name = format!("{kind}/{}", name.unwrap_or_default());
    into.notes.extend(warnings.iter().map(|told| format!("{name}: {told}")));
    let Ok(operations) = outcome else { return };
    let prefix: Vec<&str> = at.iter().map(String::as_str).chain(path.iter().copied()).collect();
    for operation in &operations {
        let pointer = operation["path"].as_str().unwrap_or_default();
        let parts = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
        let whole: Vec<String> = prefix.iter().map(|part| (*part).to_owned()).chain(parts).collect();
        root.add(&whole, Node::from_json(&operation["value"]));
    }
    into.injected += 1;
}

/// An item of a typed list may leave out its kind.
fn with_kind(item: &Value, list: &str, of: &Value) -> Value {
    let mut item = item.clone();
    if item["kind"].is_null() && list != "List" && item.is_object() {
        item["kind"] = list.trim_end_matches("List").into();
        item["apiVersion"] = of["apiVersion"].clone();
    }
    item
}

#[cfg(test)]
mod tests;
