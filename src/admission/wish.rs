//! Whether a pod asks to be watched: by the label `dwcp.io/inject`, or the annotation of that name where the webhook
//! lets such pods through. A no in either place wins over a yes in the other.

use serde_json::Value;

use super::{Left, Skip};

/// Name of the label, and of the annotation.
pub(super) const NAME: &str = "dwcp.io/inject";

/// One place's word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Nothing,
    Yes,
    No,
    Unknown,
}

fn word(value: Option<&Value>) -> Word {
    match value.map(Value::as_str) {
        None => Word::Nothing,
        Some(Some("true")) => Word::Yes,
        Some(Some("false")) => Word::No,
        Some(_) => Word::Unknown,
    }
}

/// Fails unless the pod asks, and in words that are known.
pub(super) fn check(pod: &Value) -> Result<(), Left> {
    let said = |place: &str| pod["metadata"][place].get(NAME).filter(|value| !value.is_null());
    let (label, annotation) = (said("labels"), said("annotations"));
    let words = [word(label), word(annotation)];
    if words.contains(&Word::No) {
        return Err(Left::new(Skip::OptedOut, ""));
    }
    if words.contains(&Word::Unknown) {
        let told = [label, annotation].into_iter().flatten().find(|value| word(Some(value)) == Word::Unknown);
        let told = told.cloned().unwrap_or_default();
        return Err(Left::new(Skip::UnknownValue, format!("{NAME} is {told}; write \"true\" or \"false\"")));
    }
    if words.contains(&Word::Yes) { Ok(()) } else { Err(Left::new(Skip::NotAsked, "")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_no_anywhere_wins_then_an_unknown_word_then_a_yes() {
        let (yes, no, odd) = (Some("true"), Some("false"), Some("True"));
        for (label, annotation, expect) in [
            (None, None, Err(Skip::NotAsked)),
            (yes, None, Ok(())),
            (None, yes, Ok(())),
            (yes, yes, Ok(())),
            (no, None, Err(Skip::OptedOut)),
            (None, no, Err(Skip::OptedOut)),
            (no, no, Err(Skip::OptedOut)),
            (yes, no, Err(Skip::OptedOut)),
            (no, yes, Err(Skip::OptedOut)),
            (odd, None, Err(Skip::UnknownValue)),
            (None, odd, Err(Skip::UnknownValue)),
            (odd, yes, Err(Skip::UnknownValue)),
            (yes, odd, Err(Skip::UnknownValue)),
            (odd, odd, Err(Skip::UnknownValue)),
            (odd, no, Err(Skip::OptedOut)),
            (no, odd, Err(Skip::OptedOut)),
        ] {
            let mut pod = json!({"metadata": {}});
            for (place, said) in [("labels", label), ("annotations", annotation)] {
                if let Some(said) = said {
                    pod["metadata"][place] = json!({"dwcp.io/inject": said});
                }
            }
            assert_eq!(check(&pod).map_err(|left| left.reason), expect, "{label:?} {annotation:?}");
        }
    }

    #[test]
    fn values_that_only_look_true_are_unknown() {
        for value in [json!("yes"), json!("1"), json!(""), json!(true), json!("enabled"), json!(["true"])] {
            let pod = json!({"metadata": {"labels": {"dwcp.io/inject": value}}});
            assert_eq!(check(&pod).map_err(|left| left.reason), Err(Skip::UnknownValue), "{value}");
        }
    }
}
