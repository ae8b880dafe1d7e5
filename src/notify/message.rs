//! How a message is worded: a title and a text, by templates that people can replace.
//!
//! A template (minijinja, as Jinja) sees every annotation by its name, every label in `labels`, and `status` (firing or
//! resolved), `severity`, `metric_name`, `instance`, `job`, `starts_at`, `ends_at`, `duration` and `link`.

use std::collections::BTreeMap;

use minijinja::{Environment, Value};

use super::ledger::Message;
use crate::setting::{Span, rfc3339};

const TITLE: &str = "[{{ status|upper }}] {{ metric_name or labels.alertname }} on {{ instance or 'unknown' }} ({{ severity }})";

const TEXT: &str = "\
{{ summary }}
{%- if value %}
Value: {{ value }} {{ unit }}{% if expected %}, expected {{ expected }} {{ unit }}{% endif %}{% if band %} (normal: {{ band }}){% endif %}
{%- endif %}
Since: {{ starts_at }}{% if status == 'resolved' %}, until {{ ends_at }}, {{ duration }}{% if reason %} ({{ reason }}){% endif %}{% endif %}
{%- if models %}
Detectors: {{ models }}{% if deviation_sigma %}; {{ deviation_sigma }} sigma{% endif %}{% if score %}, score {{ score }}{% endif %}
{%- endif %}
{%- if also %}
Also anomalous: {{ also }}
{%- endif %}
{%- if runbook_url %}
Runbook: {{ runbook_url }}
{%- endif %}
{%- if link %}
Look: {{ link }}
{%- endif %}";

/// Bytes of an address that is told; a longer one is left out, as a part of it leads nowhere.
pub(super) const LONGEST_LINK: usize = 2048;

/// Templates, ready.
#[derive(Debug)]
pub struct Wording {
    templates: Environment<'static>,
}

/// A worded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worded {
    /// One line.
    pub title: String,
    /// Several.
    pub text: String,
}

impl Wording {
    /// Our own templates, or those of the person where they are not empty.
    ///
    /// # Errors
    /// The key and what is wrong with its template.
    pub fn new(title: &str, text: &str) -> Result<Self, (&'static str, String)> {
        let mut templates = Environment::new();
        // A template that includes itself ends.
        templates.set_recursion_limit(64);
        for (name, own, theirs) in [("message_title", TITLE, title), ("message_text", TEXT, text)] {
            let template = if theirs.is_empty() { own } else { theirs };
            templates
                .add_template_owned(name, template.to_owned())
                .map_err(|error| (name, format!("{error:#}").replace('\n', " ")))?;
        }
        Ok(Self { templates })
    }

    /// Words `message`; what a template cannot say is said by ours.
    pub fn word(&self, message: &Message) -> Worded {
        let context = context(message);
        let say = |name: &str, own: &str| {
            let said = self.templates.get_template(name).and_then(|template| template.render(&context));
            said.unwrap_or_else(|error| {
                tracing::warn!(template = name, %error, "a message cannot be worded so; the default is used");
                Environment::new()
                    .render_str(own, &context)
                    .unwrap_or_else(|_| message.worst().annotation("summary").to_owned())
            })
        };
        let title = say("message_title", TITLE).split_whitespace().collect::<Vec<_>>().join(" ");
        Worded { title, text: say("message_text", TEXT) }
    }
}

fn context(message: &Message) -> BTreeMap<String, Value> {
    let alert = message.worst();
    let label = |name: &str| Value::from(alert.labels.get(name).unwrap_or_default());
    let labels = alert.labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    let mut context: BTreeMap<String, Value> =
        alert.annotations.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
    let ended = if message.resolved { rfc3339(alert.ends_at) } else { String::new() };
    let whole_seconds = alert.ends_at.since(alert.starts_at).as_secs();
    for (name, value) in [
        ("status", Value::from(message.status())),
        ("severity", Value::from(message.severity.name())),
        ("metric_name", label("metric_name")),
        ("instance", label("instance")),
        ("job", label("job")),
        ("starts_at", Value::from(rfc3339(alert.starts_at))),
        ("ends_at", Value::from(ended)),
        ("duration", Value::from(Span::seconds(whole_seconds).to_string())),
        ("link", Value::from(alert.generator_url.as_str())),
        ("labels", Value::from(labels.collect::<BTreeMap<String, Value>>())),
    ] {
        context.insert(name.to_owned(), value);
    }
    context
}

impl Message {
    /// As in payloads.
    pub fn status(&self) -> &'static str {
        if self.resolved { "resolved" } else { "firing" }
    }
}

/// At most so many characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::detect::verdict::Severity;
    use crate::notify::level::tests::{incident, level};

    pub(in crate::notify) fn message(severity: Severity, ended: Option<i64>) -> Message {
        let level = level(vec![incident("web1:9100", &[(severity, 100)], ended)], 130);
        let case = &level.cases[0];
        Message {
            key: case.key,
            identity: case.identity.clone(),
            severity,
            resolved: ended.is_some(),
            alerts: case.steps.iter().map(|step| level.alert(case, step)).collect(),
        }
    }

    #[test]
    fn a_message_says_what_where_since_when_how_far_and_where_to_look() {
        let worded = Wording::new("", "").unwrap().word(&message(Severity::Critical, None));
        assert_eq!(worded.title, "[FIRING] cpu_usage on web1:9100 (critical)");
        assert_eq!(
            worded.text,
            "cpu_usage on web1:9100 is anomalous: 97.1, expected 5.5\n\
             Value: 97.1 , expected 5.5 \n\
             Since: 1970-01-01T00:01:40.000Z\n\
             Detectors: zscore=0.95, seasonal_esd=0.9; 38 sigma, score 0.912\n\
             Also anomalous: memory_usage\n\
             Runbook: http://web1:10091/runbook/cpu_usage\n\
             Look: http://web1:10091/?metric=cpu_usage&instance=web1%3A9100"
        );
        let worded = Wording::new("", "").unwrap().word(&message(Severity::Critical, Some(120)));
        assert_eq!(worded.title, "[RESOLVED] cpu_usage on web1:9100 (critical)");
        assert!(worded.text.contains("until 1970-01-01T00:02:00.000Z, 20s"), "{}", worded.text);
    }

    #[test]
    fn people_can_word_it_themselves_and_a_template_that_fails_is_replaced() {
        let wording = Wording::new("{{ labels.cluster }}: {{ nope }}{{ value }}", "{{ 1 / 0 }}").unwrap();
        let worded = wording.word(&message(Severity::Warning, None));
        assert_eq!(worded.title, "c1: 97.1");
        assert!(worded.text.starts_with("cpu_usage on web1:9100 is anomalous"));
        assert_eq!(Wording::new("{{ a", "").unwrap_err().0, "message_title");
        assert_eq!(Wording::new("", "{% for %}").unwrap_err().0, "message_text");
    }
}
