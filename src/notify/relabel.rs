//! Relabelling of alerts on their way out, with the meaning of Prometheus' `alert_relabel_configs`.

use md5::{Digest, Md5};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::series::Labels;
use crate::setting::pattern::{anchored, expand};

/// One rule, as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Labels whose values are joined to what the rule looks at.
    pub source_labels: Vec<String>,
    /// Put between them.
    pub separator: String,
    /// Label that is set.
    pub target_label: String,
    /// What the whole of the joined values, or of a label's name, has to match.
    pub regex: String,
    /// Of `hashmod`.
    pub modulus: u64,
    /// New value, or new name; `$1` is the pattern's first group.
    pub replacement: String,
    /// What is done.
    pub action: Action,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Sets `target_label` to `replacement` where the pattern matches.
    #[default]
    Replace,
    /// Drops alerts that do not match.
    Keep,
    /// Drops alerts that match.
    Drop,
    /// Drops alerts whose `target_label` is not what is looked at.
    KeepEqual,
    /// Drops alerts whose `target_label` is what is looked at.
    DropEqual,
    /// Sets `target_label` to the hash modulo `modulus`.
    HashMod,
    /// Copies labels whose name matches to the name `replacement`.
    LabelMap,
    /// Takes away labels whose name matches.
    LabelDrop,
    /// Takes away labels whose name does not match.
    LabelKeep,
    /// Sets `target_label` to what is looked at in small letters.
    Lowercase,
    /// Sets `target_label` to what is looked at in capitals.
    Uppercase,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            target_label: String::new(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            replacement: "$1".to_owned(),
            action: Action::default(),
        }
    }
}

/// A rule that can be applied.
#[derive(Clone, Debug)]
pub struct Rule {
    written: Config,
    pattern: Regex,
}

impl Config {
    /// The rule, ready.
    ///
    /// # Errors
    /// Key and problem of what Prometheus would refuse as well.
    pub fn compile(&self) -> Result<Rule, (&'static str, String)> {
        use Action::{DropEqual, HashMod, KeepEqual, LabelMap, Lowercase, Replace, Uppercase};
        let pattern =
            anchored(&self.regex).map_err(|error| ("regex", format!("{:?}: {error}", self.regex)))?;
        let sets = matches!(self.action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if sets && self.target_label.is_empty() {
            return Err(("target_label", "is missing; name the label that this action is about".to_owned()));
        }
        let is_plain = matches!(self.action, HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if is_plain && !is_label_name(&self.target_label) {
            return Err(("target_label", format!("{:?} is no label name", self.target_label)));
        }
        if self.action == HashMod && self.modulus == 0 {
            return Err(("modulus", "must be above 0".to_owned()));
        }
        // A template cannot be told from its outcome; without its groups it has to be one of a name.
        if matches!(self.action, Replace | LabelMap) {
            let (key, template) = match self.action {
                Replace => ("target_label", &self.target_label),
                _ => ("replacement", &self.replacement),
            };
            if !template.contains('$') && !is_label_name(template) {
                return Err((key, format!("{template:?} is no label name")));
            }
        }
        Ok(Rule { written: self.clone(), pattern })
    }
}

/// The labels after all `rules`, or `None` where the alert is dropped.
pub fn relabel(rules: &[Rule], labels: Labels) -> Option<Labels> {
    let relabelled = rules.iter().try_fold(labels, |labels, rule| rule.apply(labels))?;
    (!relabelled.is_empty()).then_some(relabelled)
}

impl Rule {
    fn apply(&self, labels: Labels) -> Option<Labels> {
        let target = self.written.target_label.as_str();
        let looked_at = || {
            let values = self.written.source_labels.iter().map(|name| labels.get(name).unwrap_or_default());
            values.collect::<Vec<_>>().join(&self.written.separator)
        };
        let is_equal = || labels.get(target).unwrap_or_default() == looked_at();
        match self.written.action {
            Action::Keep => self.pattern.is_match(&looked_at()).then_some(labels),
            Action::Drop => (!self.pattern.is_match(&looked_at())).then_some(labels),
            Action::KeepEqual => is_equal().then_some(labels),
            Action::DropEqual => (!is_equal()).then_some(labels),
            Action::Replace => Some(self.replace(&labels, &looked_at())),
            Action::Lowercase => Some(labels.with([(target, looked_at().to_lowercase().as_str())])),
            Action::Uppercase => Some(labels.with([(target, looked_at().to_uppercase().as_str())])),
            Action::HashMod => {
                let rest = hash(&looked_at()) % self.written.modulus;
                Some(labels.with([(target, rest.to_string().as_str())]))
            }
            Action::LabelDrop => Some(labels.without(|name| self.pattern.is_match(name))),
            Action::LabelKeep => Some(labels.without(|name| !self.pattern.is_match(name))),
            Action::LabelMap => Some(self.map(&labels)),
        }
    }

    fn replace(&self, labels: &Labels, looked_at: &str) -> Labels {
        let Some(captures) = self.pattern.captures(looked_at) else { return labels.clone() };
        let target = expand(&self.written.target_label, &captures);
        if !is_label_name(&target) {
            return labels.clone();
        }
        labels.with([(target.as_str(), expand(&self.written.replacement, &captures).as_str())])
    }

    fn map(&self, labels: &Labels) -> Labels {
        let copied = labels.iter().filter_map(|(name, value)| {
            let captures = self.pattern.captures(name)?;
            Some((expand(&self.written.replacement, &captures), value))
        });
        let copied: Vec<(String, &str)> = copied.filter(|(name, _)| is_label_name(name)).collect();
        labels.with(copied.iter().map(|(name, value)| (name.as_str(), *value)))
    }
}

/// The lower half of the MD5 sum, as Prometheus takes it.
fn hash(text: &str) -> u64 {
    let sum = Md5::digest(text.as_bytes());
    sum.iter().skip(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// Whether Prometheus takes `name` as one of a label.
pub(super) fn is_label_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(yaml: &str) -> Vec<Rule> {
        let written: Vec<Config> = yaml_serde::from_str(yaml).unwrap();
        written.iter().map(|rule| rule.compile().unwrap()).collect()
    }

    #[test]
    fn each_action_does_what_it_does_in_prometheus() {
        let before = Labels::new([("a", "foo"), ("b", "Bar"), ("c", "baz"), ("alertname", "X")]);
        let left = |pairs: &[(&str, &str)]| Some(before.with(pairs.iter().copied()));
        for (yaml, expect) in [
            (
                "[{source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}'}]",
                left(&[("d", "choo-choo")]),
            ),
            ("[{source_labels: [a, b], regex: 'foo;(.*)', target_label: d}]", left(&[("d", "Bar")])),
            ("[{source_labels: [a], regex: 'o', target_label: d}]", left(&[])),
            (
                "[{source_labels: [a], regex: '(foo)', target_label: '${1}_x', replacement: y}]",
                left(&[("foo_x", "y")]),
            ),
            ("[{source_labels: [b], regex: '(.*)', target_label: a, replacement: ''}]", left(&[("a", "")])),
            ("[{target_label: site, replacement: lab}]", left(&[("site", "lab")])),
            ("[{source_labels: [a], regex: foo, action: drop}]", None),
            ("[{source_labels: [a], regex: fo, action: drop}]", left(&[])),
            ("[{source_labels: [a], regex: fo, action: keep}]", None),
            ("[{source_labels: [nope], regex: '', action: keep}]", left(&[])),
            ("[{source_labels: [a], target_label: b, action: keepequal}]", None),
            ("[{source_labels: [a], target_label: b, action: dropequal}]", left(&[])),
            ("[{source_labels: [b], target_label: b, action: lowercase}]", left(&[("b", "bar")])),
            (
                "[{source_labels: [a, b], separator: '-', target_label: d, action: uppercase}]",
                left(&[("d", "FOO-BAR")]),
            ),
            // Of Prometheus' own tests.
            (
                "[{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}]",
                left(&[("d", "976")]),
            ),
            ("[{regex: '(b)', action: labelmap, replacement: 'my_$1'}]", left(&[("my_b", "Bar")])),
            ("[{regex: '[ab]', action: labeldrop}]", left(&[("a", ""), ("b", "")])),
            ("[{regex: 'a.*', action: labelkeep}]", left(&[("b", ""), ("c", "")])),
            ("[{regex: '.*', action: labeldrop}]", None),
            ("[{regex: b, action: labeldrop}, {source_labels: [b], regex: Bar, action: keep}]", None),
        ] {
            assert_eq!(relabel(&rules(yaml), before.clone()), expect, "{yaml}");
        }
    }

    #[test]
    fn a_rule_that_prometheus_refuses_is_refused() {
        for (yaml, key) in [
            ("{regex: '('}", "regex"),
            ("{action: replace}", "target_label"),
            ("{action: hashmod, target_label: a}", "modulus"),
            ("{action: lowercase, target_label: '$1'}", "target_label"),
            ("{action: labelmap, replacement: 'a-b'}", "replacement"),
            ("{target_label: 'a-b'}", "target_label"),
        ] {
            let written: Config = yaml_serde::from_str(yaml).unwrap();
            assert_eq!(written.compile().unwrap_err().0, key, "{yaml}");
        }
        assert!(yaml_serde::from_str::<Config>("{action: nope}").is_err());
    }
}
