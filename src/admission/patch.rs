//! From a sidecar to a JSON patch that is known to apply: operations only add, and the result is checked.

use serde_json::{Map, Value, json};

use super::annotation::{METRICS_PORT, VERSION, list};
use super::policy::Policy;
use super::sidecar::Sidecar;
use super::{CONTAINER, Left, Skip};

/// A pod whose parts are of the kinds that a server takes.
pub(super) struct Shape<'a> {
    pod: &'a Value,
}

impl<'a> Shape<'a> {
    /// Looks at every part that we read or add to.
    pub(super) fn of(pod: &'a Value) -> Result<Self, Left> {
        let wrong = |what: &str| Left::new(Skip::MalformedPod, format!("{what} is not what it is in a pod"));
        let is_map = |value: &Value| value.is_object() || value.is_null();
        let is_list = |value: &Value| {
            value.is_null() || value.as_array().is_some_and(|all| all.iter().all(Value::is_object))
        };
        if !pod["spec"].is_object() {
            return Err(wrong("spec"));
        }
        if !is_map(&pod["metadata"]) {
            return Err(wrong("metadata"));
        }
        if !is_map(&pod["metadata"]["annotations"]) {
            return Err(wrong("metadata.annotations"));
        }
        for name in ["containers", "initContainers", "ephemeralContainers", "volumes"] {
            if !is_list(&pod["spec"][name]) {
                return Err(wrong(name));
            }
        }
        if list(pod, "containers").is_empty() {
            return Err(Left::new(Skip::MalformedPod, "it has no container"));
        }
        Ok(Self { pod })
    }

    /// Fails if the pod has a container of our name: a sidecar, or something else that is called so.
    pub(super) fn is_free(&self, policy: &Policy) -> Result<(), Left> {
        let kinds = ["containers", "initContainers", "ephemeralContainers"];
        let mut all = kinds.iter().flat_map(|kind| list(self.pod, kind));
        let Some(found) = all.find(|container| container["name"] == CONTAINER) else { return Ok(()) };
        let image = found["image"].as_str().unwrap_or_default();
        if policy.allows_image(image) || is_sidecar(image) {
            return Err(Left::new(Skip::AlreadyInjected, ""));
        }
        let told = format!("a container named {CONTAINER} has the image {image:?}, which is not a sidecar's");
        Err(Left::new(Skip::NameClash, told))
    }
}

/// An older sidecar's image, which the policy may not list any more.
fn is_sidecar(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split([':', '@']).next() == Some(CONTAINER)
}

/// The operations that add `sidecar` to `pod`.
pub(super) fn build(pod: &Value, sidecar: &Sidecar) -> Result<Vec<Value>, Left> {
    let mut operations = Vec::new();
    let annotations =
        [(VERSION, env!("CARGO_PKG_VERSION").to_owned()), (METRICS_PORT, sidecar.port.to_string())];
    annotate(pod, &annotations, &mut operations);
    for volume in &sidecar.volumes {
        append(pod, "volumes", volume, &mut operations);
    }
    let container = &sidecar.container;
    operations.push(match (sidecar.is_native, list(pod, "initContainers").is_empty()) {
        (false, _) => add("/spec/containers/-", container.clone()),
        (true, true) => add("/spec/initContainers", json!([container])),
        // First, so that the others' work is watched too.
        (true, false) => add("/spec/initContainers/0", container.clone()),
    });
    let failed = |told: String| Left::new(Skip::PatchFailed, told);
    let patched = apply(pod, &operations).map_err(failed)?;
    check(pod, &patched, sidecar).map_err(failed)?;
    Ok(operations)
}

#[allow(clippy::needless_pass_by_value, reason = "values are made for it")]
fn add(path: &str, value: Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

/// A name as one part of a JSON pointer.
fn part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn annotate(pod: &Value, annotations: &[(&str, String)], operations: &mut Vec<Value>) {
    let whole: Map<String, Value> =
        annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    if pod["metadata"].is_null() {
        operations.push(add("/metadata", json!({"annotations": whole})));
    } else if pod["metadata"]["annotations"].is_null() {
        operations.push(add("/metadata/annotations", whole.into()));
    } else {
        let one = |(name, value): &(&str, String)| {
            add(&format!("/metadata/annotations/{}", part(name)), json!(value))
        };
        operations.extend(annotations.iter().map(one));
    }
}

fn append(pod: &Value, name: &str, value: &Value, operations: &mut Vec<Value>) {
    let path = format!("/spec/{name}");
    let begun = operations.iter().any(|operation| operation["path"] == path.as_str());
    // A list that is null is replaced: nothing can be added to it.
    if pod["spec"][name].is_null() && !begun {
        operations.push(add(&path, json!([value])));
    } else {
        operations.push(add(&format!("{path}/-"), value.clone()));
    }
}

/// The pod after the operations.
pub(super) fn apply(pod: &Value, operations: &[Value]) -> Result<Value, String> {
    let patch: json_patch::Patch =
        serde_json::from_value(operations.into()).map_err(|error| format!("no JSON patch: {error}"))?;
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).map_err(|error| format!("does not apply: {error}"))?;
    Ok(patched)
}

/// Without what we added the pod is as it was, and what we added stands by itself.
fn check(before: &Value, after: &Value, sidecar: &Sidecar) -> Result<(), String> {
    let volumes: Vec<&Value> = sidecar.volumes.iter().map(|volume| &volume["name"]).collect();
    let mut stripped = after.clone();
    for kind in ["containers", "initContainers"] {
        strip(&mut stripped["spec"], kind, before, |item| item["name"] == CONTAINER);
    }
    strip(&mut stripped["spec"], "volumes", before, |item| volumes.contains(&&item["name"]));
    let metadata = &before["metadata"];
    if metadata.is_null() || metadata["annotations"].is_null() {
        restore(&mut stripped, before);
    } else if let Some(annotations) = stripped["metadata"]["annotations"].as_object_mut() {
        for name in [VERSION, METRICS_PORT] {
            match metadata["annotations"].get(name) {
                Some(value) => annotations.insert(name.to_owned(), value.clone()),
                None => annotations.remove(name),
            };
        }
    }
    if stripped != *before {
        return Err("it changes what was there".to_owned());
    }
    let kinds = ["containers", "initContainers"];
    let named = kinds.iter().flat_map(|kind| list(after, kind)).filter(|c| c["name"] == CONTAINER).count();
    if named != 1 {
        return Err(format!("there are {named} containers named {CONTAINER}"));
    }
    let mounts = sidecar.container["volumeMounts"].as_array().map_or(&[][..], Vec::as_slice);
    let is_there =
        |mount: &Value| list(after, "volumes").iter().filter(|v| v["name"] == mount["name"]).count() == 1;
    if !mounts.iter().all(is_there) {
        return Err("a mount has no volume".to_owned());
    }
    Ok(())
}

/// Takes what is ours out of a list, and the list if it was not there.
fn strip(spec: &mut Value, name: &str, before: &Value, is_ours: impl Fn(&Value) -> bool) {
    let Some(items) = spec[name].as_array_mut() else {
        // Looking at a key must not create it.
        if before["spec"].get(name).is_none()
            && let Some(spec) = spec.as_object_mut()
        {
            spec.remove(name);
        }
        return;
    };
    items.retain(|item| !is_ours(item));
    let was = before["spec"].get(name);
    if items.is_empty()
        && was.is_none_or(Value::is_null)
        && let Some(spec) = spec.as_object_mut()
    {
        match was {
            Some(_) => spec.insert(name.to_owned(), Value::Null),
            None => spec.remove(name),
        };
    }
}

/// Puts back the metadata, or its annotations, that were not there.
fn restore(stripped: &mut Value, before: &Value) {
    let put = |into: &mut Value, from: &Value, name: &str| {
        if let Some(map) = into.as_object_mut() {
            match from.get(name) {
                Some(value) => map.insert(name.to_owned(), value.clone()),
                None => map.remove(name),
            };
        }
    };
    if before["metadata"].is_null() {
        put(stripped, before, "metadata");
    } else {
        put(&mut stripped["metadata"], &before["metadata"], "annotations");
    }
}
