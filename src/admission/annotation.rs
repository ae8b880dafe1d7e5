//! Words on a pod: its labels and annotations.

use serde_json::Value;

/// Everything of ours on a pod begins so.
pub(super) const PREFIX: &str = "dwcp.io/";
/// Which version was injected; said for people, never believed.
pub(super) const VERSION: &str = "dwcp.io/injected-version";
/// The kubelet's mark of a pod that only shows a static one.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
/// Where the sidecar of this pod listens, for Prometheus.
pub(super) const METRICS_PORT: &str = "dwcp.io/metrics-port";

/// An annotation's text.
pub(super) fn annotation<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    pod["metadata"]["annotations"].get(name)?.as_str()
}

/// An annotation of ours, by its name after the prefix.
pub(super) fn ours<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    annotation(pod, &format!("{PREFIX}{name}")).map(str::trim)
}

/// A list in the pod's specification; none is as good as an empty one.
pub(super) fn list<'a>(pod: &'a Value, name: &str) -> &'a [Value] {
    pod["spec"][name].as_array().map_or(&[], Vec::as_slice)
}

/// Every container that runs beside the others: the ordinary ones, and the initial ones that stay.
pub(super) fn running(pod: &Value) -> impl Iterator<Item = &Value> {
    let stays = |container: &&Value| container["restartPolicy"] == "Always";
    list(pod, "containers").iter().chain(list(pod, "initContainers").iter().filter(stays))
}
