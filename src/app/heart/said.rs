//! What the log says of the engine's steps.

use crate::engine::Change;
use crate::engine::held::Taken;
use crate::incident::State;

/// A fit has taken effect.
pub(super) fn taken(taken: &Taken) {
    tracing::info!(
        target = %taken.target,
        model = taken.model.name(),
        asked_at_check = taken.asked,
        effective_at_check = taken.effective,
        "a fit has taken effect"
    );
}

/// An incident has moved.
pub(super) fn moved(change: &Change) {
    let instance = change.target.get("instance").unwrap_or_default();
    let metric = change.metric.get("metric_name").unwrap_or_default();
    let reason = change.transition.reason.name();
    let Some(incident) = &change.incident else {
        tracing::debug!(instance, metric, reason, state = ?change.transition.to, "incident");
        return;
    };
    let votes: Vec<&str> = incident.votes().map(|(detector, _)| detector.name()).collect();
    let msg = if change.transition.to == State::Resolved { "incident resolved" } else { "incident firing" };
    tracing::info!(
        instance,
        metric,
        severity = incident.severity().name(),
        reason,
        value = %crate::setting::short(incident.value),
        expected = %incident.expected.map(crate::setting::short).unwrap_or_default(),
        score = %crate::setting::short(incident.worst.score),
        votes = %votes.join(","),
        "{msg}"
    );
}
