//! The same mutation on files: `inject -f`. Documents that are not injected are handed back letter by letter; in the
//! others everything but comments stays, with its scalars as they were written.

mod node;
mod write;

use serde_json::Value;

use self::node::Node;
use super::{Decision, Place, Policy, Skip, decide, wish};

/// Manifests with sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// All documents.
    pub text: String,
    /// Workloads that were given a sidecar.
    pub injected: usize,
    /// Objects that ask for one and were left as they are; the notes say why.
    pub left: usize,
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

/// How deep in an object a wish is looked for.
const ASKING: usize = 64;
/// Objects in lists of lists are looked for no deeper.
const DEPTH: usize = 4;

/// Injects every workload in `text`, YAML of one or many documents, or JSON.
pub fn rewrite(text: &str, policy: &Policy) -> Result<Rewritten, Unreadable> {
    let mut rewritten = Rewritten::default();
    for (line, document) in documents(unmarked(text)).into_iter().flat_map(values) {
        let (head, body) = apart(document);
        let body = unmarked(body);
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

/// Without the mark of the byte order that some editors begin a file with.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The values of a document that has several, as JSON one after the other; any other document is one.
fn values((line, document): (usize, &str)) -> Vec<(usize, &str)> {
    let whole = vec![(line, document)];
    if !unmarked(document).trim_start().starts_with('{') {
        return whole;
    }
    let mut read = serde_json::Deserializer::from_str(document).into_iter::<serde::de::IgnoredAny>();
    let (mut found, mut begin) = (Vec::new(), 0);
    while let Some(value) = read.next() {
        if value.is_err() {
            return whole;
        }
        let end = read.byte_offset();
        found.push((line + document[..begin].matches('\n').count(), &document[begin..end]));
        begin = end;
    }
    if found.len() < 2 {
        return whole;
    }
    // What is behind the last value, such as a line's end, belongs to it.
    if let Some((_, last)) = found.last_mut() {
        *last = &document[begin - last.len()..];
    }
    found
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
    let kind = view["kind"].as_str()?;
    // As Deployments are, by those who came after.
    if [("argoproj.io", "Rollout"), ("apps.kruise.io", "CloneSet")].contains(&(group, kind)) {
        return Some(&["spec", "template"]);
    }
    if !["", "apps", "batch", "extensions"].contains(&group) {
        return None;
    }
    match kind {
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
    let name = view["metadata"]["name"].as_str().or_else(|| view["metadata"]["generateName"].as_str());
    let name = format!("{kind}/{}", name.unwrap_or_default());
    let Some(path) = pod_in(view) else {
        if asks(view, ASKING) {
            into.leave(
                &name,
                "objects of this kind are not known to inject -f; the webhook gives their pods the sidecar",
            );
        }
        return;
    };
    let pod = path.iter().fold(view, |value, key| &value[*key]);
    let place = Place {
        namespace: view["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(),
        owner_kind: if path.is_empty() { String::new() } else { kind.to_owned() },
    };
    let Decision { outcome, warnings } = decide(pod, &place, policy);
    into.notes.extend(warnings.iter().map(|told| format!("{name}: {told}")));
    let operations = match outcome {
        Ok(operations) => operations,
        Err(Skip::OptedOut | Skip::AlreadyInjected) => return,
        Err(Skip::NotAsked) => {
            if asks(view, ASKING) {
                let at = [path, &["metadata", "labels"]].concat().join(".");
                let told = format!("dwcp.io/inject is not where its pods have it from; put it into {at}");
                into.leave(&name, &told);
            }
            return;
        }
        Err(_) => {
            into.left += 1;
            return;
        }
    };
    let prefix: Vec<&str> = at.iter().map(String::as_str).chain(path.iter().copied()).collect();
    for operation in &operations {
        let pointer = operation["path"].as_str().unwrap_or_default();
        let parts = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
        let whole: Vec<String> = prefix.iter().map(|part| (*part).to_owned()).chain(parts).collect();
        root.add(&whole, Node::from_json(&operation["value"]));
    }
    into.injected += 1;
}

impl Rewritten {
    /// Takes note of an object that asks in vain.
    fn leave(&mut self, name: &str, told: &str) {
        self.left += 1;
        self.notes.push(format!("{name}: dwcp-anomaly: not injected: {told}"));
    }
}

/// Whether anything in it asks for a sidecar, wherever that stands; selectors only look for those that do.
fn asks(value: &Value, depth: usize) -> bool {
    let is_yes = |key: &String, value: &Value| {
        key == wish::NAME && *value != "false" && *value != false && !value.is_null()
    };
    match value {
        _ if depth == 0 => false,
        Value::Object(map) => map.iter().any(|(key, value)| {
            let selects = key == "matchLabels" || key.ends_with("elector");
            is_yes(key, value) || (!selects && asks(value, depth - 1))
        }),
        Value::Array(items) => items.iter().any(|item| asks(item, depth - 1)),
        _ => false,
    }
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
