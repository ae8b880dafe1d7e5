//! The incidents: each in a line with its reason in words, and what it rests on behind it.

use std::fmt::Write as _;

use super::super::words;
use super::parts::{of_instance, time};
use crate::engine::snapshot::Snapshot;
use crate::incident::Incident;
use crate::setting::{escape, short};

/// Incidents shown at most.
const MOST: usize = 50;

/// All that are remembered: what fires first, then the newest.
pub(super) fn incidents(snapshot: &Snapshot) -> String {
    if snapshot.incidents.is_empty() {
        return "<p class=\"soft\">None in the last 24 hours.</p>".to_owned();
    }
    let mut sorted: Vec<&Incident> = snapshot.incidents.iter().collect();
    // Newest first already; what fires comes before what has ended.
    sorted.sort_by_key(|incident| incident.ended_at.is_some());
    let mut out: String = sorted.iter().take(MOST).map(|each| incident(each, snapshot)).collect();
    if sorted.len() > MOST {
        let _ = write!(out, "<p class=\"soft\">{} more; the API has them all.</p>", sorted.len() - MOST);
    }
    out
}

fn incident(incident: &Incident, snapshot: &Snapshot) -> String {
    let (id, severity) = (words::id(incident), incident.severity().name());
    let when = match incident.ended_at {
        None => format!("{} since {}", words::standing(incident.reason), time(incident.started_at)),
        Some(ended) => {
            format!("{} to {}: {}", time(incident.started_at), time(ended), words::standing(incident.reason))
        }
    };
    let lasting = if incident.ended_at.is_none() { format!("is-{severity}") } else { String::new() };
    format!(
        "<div class=\"incident {lasting}\"><details id=\"i-{id}\"><summary id=\"o-{id}\"><span class=\"badge {severity}\">{severity}</span> \
         <strong>{}</strong> on {} <span class=\"soft\">{when}</span><span class=\"reason\">{}</span></summary>\
         <div class=\"more\">{}</div></details></div>",
        escape(incident.metric_name()),
        escape(of_instance(incident)),
        escape(&words::summary(incident, snapshot)),
        account(incident, snapshot)
    )
}

/// What an incident rests on, and where to go from it.
fn account(incident: &Incident, snapshot: &Snapshot) -> String {
    let metrics = snapshot.targets.iter().flat_map(|target| &target.metrics);
    let own = metrics.filter(|m| m.labels == incident.metric).find_map(|m| m.runbook_url.clone());
    let runbook = own.unwrap_or_else(|| format!("runbook/{}", incident.metric_name()));
    let mut out = format!(
        "<p>Score {} (anomalous above {}), confidence {}, {} sigmas from expected.</p>",
        words::hundredths(incident.worst.score),
        short(snapshot.threshold),
        words::hundredths(incident.worst.confidence),
        short(incident.worst.deviation_sigma)
    );
    if !incident.also.is_empty() {
        let _ = write!(out, "<p>Anomalous beside it: {}.</p>", escape(&incident.also.join(", ")));
    }
    if let Some(state) = incident.explanation.as_ref().and_then(|explanation| explanation.state.as_ref()) {
        let _ = write!(out, "<p>The value is {}.</p>", escape(state));
    }
    if let Some(explanation) = &incident.explanation {
        let _ = write!(
            out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"The vote\"><table><caption>The vote at its worst check, {}</caption><thead><tr><th>Detector</th><th>Says</th>\
             <th class=\"n\">Confidence</th><th class=\"n\">Surprise</th><th class=\"n\">Votes from</th><th>Means</th></tr></thead><tbody>",
            time(explanation.at)
        );
        for evidence in &explanation.evidence {
            let means = evidence.attribution.iter().take(3);
            let means: Vec<String> =
                means.map(|(name, share)| format!("{} {:.0} %", escape(name), share * 100.0)).collect();
            let _ = write!(
                out,
                "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1}</td><td class=\"n\">{:.1}</td><td>{}</td></tr>",
                words::detector(evidence.detector),
                if evidence.voted() { "anomalous" } else { "nothing" },
                words::hundredths(evidence.confidence),
                evidence.surprisal,
                evidence.threshold,
                means.join(", ")
            );
        }
        out.push_str("</tbody></table></div>");
    }
    let _ = write!(
        out,
        "<p><a href=\"{}\">Runbook: what to do about {}</a> · <a href=\"api/v1/monitoring/anomaly/explain?id={}\">All of it as JSON</a></p>",
        escape(&runbook),
        escape(incident.metric_name()),
        words::id(incident)
    );
    out
}
