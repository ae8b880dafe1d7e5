//! What others answered, as it may be told: they may repeat what they were asked with.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::Regex;
use serde_json::Value;

use super::Secret;

/// Characters of an answer that are told.
const LONGEST: usize = 200;

/// Credentials that nobody here has put on a request, as a proxy may.
static CREDENTIALS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(basic|bearer|digest|token|credentials)(:?\s+)[a-z0-9+/=._~-]{6,}").ok()
});
/// User and password in an address.
static USER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"://[^\s/@]+@").ok());

/// The point of `answer` in one short line, without what it repeats of `secrets` or looks like one: of JSON the texts that say
/// what is wrong, of anything else the first line.
pub fn told(answer: &str, secrets: &[Secret]) -> String {
    // Hidden before it is cut: half a secret is one as well.
    let answer = hide(answer, secrets);
    let text = match serde_json::from_str::<Value>(&answer) {
        Ok(value) => said(&value),
        Err(_) => answer.trim().lines().next().unwrap_or_default().to_owned(),
    };
    let text = without_credentials(&text);
    let printed = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printed.take(LONGEST).collect::<String>().trim().to_owned()
}

/// Keys under which servers say what is wrong.
const SAYING: [&str; 7] = ["status", "error", "errors", "errorType", "message", "code", "detail"];

fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(said).collect::<Vec<_>>().join("; "),
        Value::Object(values) => {
            let known = SAYING.iter().filter_map(|key| values.get(*key)).map(said);
            known.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn without_credentials(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(credentials) = &*CREDENTIALS {
        text = credentials.replace_all(&text, "$1$2<secret>").into_owned();
    }
    if let Some(user) = &*USER {
        text = user.replace_all(&text, "://<secret>@").into_owned();
    }
    text
}

/// `text` without any of `secrets`, however it spells them.
pub fn hide(text: &str, secrets: &[Secret]) -> String {
    let mut spelled: Vec<String> =
        secrets.iter().map(Secret::reveal).filter(|secret| !secret.is_empty()).flat_map(spellings).collect();
    // One may be within another.
    spelled.sort_by_key(|text| std::cmp::Reverse(text.len()));
    spelled.dedup();
    spelled.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "<secret>"))
}

/// A secret as it stands in a body, an address, a JSON text and a header.
fn spellings(secret: &str) -> [String; 7] {
    let form = |text: &str| {
        let url = reqwest::Url::parse_with_params("http://host/", [("", text)]);
        url.ok().and_then(|url| url.query().map(|query| query[1..].to_owned())).unwrap_or_default()
    };
    let json = serde_json::to_string(secret).unwrap_or_default();
    let (encoded, json) = (form(secret), json.trim_matches('"').to_owned());
    let or_itself = |text: String| if text.is_empty() { secret.to_owned() } else { text };
    [
        secret.to_owned(),
        or_itself(encoded.replace('+', "%20")),
        or_itself(encoded),
        or_itself(json),
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_the_point_is_told() {
        for (answer, point) in [
            ("not found\n", "not found"),
            ("\"start time must be before end time\"", "start time must be before end time"),
            (
                r#"{"status":"invalid event","message":"bad","errors":["a","b"],"echo":"hunter2"}"#,
                "invalid event: a; b: bad",
            ),
            (r#"{"status":"error","errorType":"bad_data","error":"what?"}"#, "error: what?: bad_data"),
            ("you sent /x\nAuthorization: Basic aHVudGVyMg==\n", "you sent /x"),
            ("Proxy-Authorization: Basic aHVudGVyMjo=", "Proxy-Authorization: Basic <secret>"),
            ("see http://u:hunter2@a/x", "see http://<secret>@a/x"),
            ("a\tb\u{1b}[31m", "a b [31m"),
            ("{}", ""),
        ] {
            assert_eq!(told(answer, &[]), point, "{answer}");
        }
        assert_eq!(told(&"x".repeat(1000), &[]).len(), LONGEST);
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_spelled() {
        let secret = Secret::new("p\"w d&/1");
        for text in [
            "p\"w d&/1".to_owned(),
            "p%22w%20d%26%2F1".to_owned(),
            "p%22w+d%26%2F1".to_owned(),
            serde_json::to_string(secret.reveal()).unwrap(),
            STANDARD.encode(secret.reveal()),
            URL_SAFE_NO_PAD.encode(secret.reveal()),
        ] {
            let hidden = hide(&format!("({text})"), std::slice::from_ref(&secret));
            assert!(hidden.contains("<secret>") && hidden.len() <= 12, "{text}: {hidden}");
        }
        let both = [Secret::new("abc"), Secret::new("abcdef")];
        assert_eq!(hide("abcdef", &both), "<secret>", "the longer first");
    }
}
