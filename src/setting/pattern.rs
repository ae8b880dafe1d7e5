//! Regular expressions as Go reads them, said in Rust's dialect.
//!
//! Both engines are kin, but not twins: `\d`, `\w`, `\s` and `\b` are ASCII in Go; a `[` within a class is a bracket;
//! `&&`, `--` and `~~` mean nothing there; braces that count nothing are braces; `\<` is a `<`. What only Go has (`\Q…\E`,
//! octal escapes) is refused.

mod budget;

use std::ops::Range;

pub use budget::{Budget, TooLarge};

use regex::{Regex, RegexBuilder};

/// Bytes that a matcher may remember of what it has met; beyond it, it begins anew.
const MOST_REMEMBERED: usize = 256 << 10;

/// A pattern that the whole of a label's value has to match.
///
/// # Errors
/// What the engine says of a pattern that it does not take, or that the pattern takes too much, see [`Budget`].
pub fn anchored(pattern: &str) -> Result<Regex, String> {
    Budget::default().spend(pattern).map_err(|error| error.to_string())?;
    let mut builder = RegexBuilder::new(&format!("^(?:{})$", translated(pattern)));
    // The estimate is generous, so the engine's own limit is met by nothing but a fault of the estimate.
    builder.size_limit(2 * budget::ONE).dfa_size_limit(MOST_REMEMBERED);
    builder.build().map_err(|error| {
        let told = error.to_string();
        told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

fn translated(pattern: &str) -> String {
    let mut told = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => told.push_str(&escape(rest.next(), false)),
            '[' => class(&mut rest, &mut told),
            '{' if !counts(rest.as_str()) => told.push_str("\\{"),
            c => told.push(c),
        }
    }
    told
}

/// `pattern` with the braces escaped that count nothing, as the parser of PromQL reads it.
fn braces_escaped(pattern: &str) -> String {
    let mut told = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => told.extend([c].into_iter().chain(rest.next())),
            '{' if !counts(rest.as_str()) => told.push_str("\\{"),
            c => told.push(c),
        }
    }
    told
}

/// Whether `text`, which follows a brace, says how often: `3}`, `3,}` or `3,5}`.
fn counts(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((times, _)) = text.split_once('}') else { return false };
    match times.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(times),
    }
}

/// The rest of a class after its opening bracket.
fn class(rest: &mut std::str::Chars<'_>, told: &mut String) {
    told.push('[');
    if let Some(after) = rest.as_str().strip_prefix('^') {
        told.push('^');
        *rest = after.chars();
    }
    let mut is_first = true;
    while let Some(c) = rest.next() {
        match c {
            ']' if !is_first => return told.push(']'),
            ']' => told.push_str("\\]"),
            '\\' => told.push_str(&escape(rest.next(), true)),
            '[' if rest.as_str().starts_with(':') => match rest.as_str().split_once(":]") {
                Some((name, after)) => {
                    told.extend(["[", name, ":]"]);
                    *rest = after.chars();
                }
                None => told.push_str("\\["),
            },
            '[' | '&' | '~' => told.extend(['\\', c]),
            '-' if told.ends_with('-') => told.push_str("\\-"),
            c => told.push(c),
        }
        is_first = false;
    }
}

fn escape(c: Option<char>, in_class: bool) -> String {
    let plain = match c {
        Some('d') => "0-9",
        Some('w') => "0-9A-Za-z_",
        Some('s') => r"\t\n\f\r ",
        Some('D') => return "[^0-9]".to_owned(),
        Some('W') => return "[^0-9A-Za-z_]".to_owned(),
        Some('S') => return r"[^\t\n\f\r ]".to_owned(),
        Some('b' | 'B') if !in_class => return format!(r"(?-u:\{})", c.unwrap_or_default()),
        Some(c @ ('<' | '>' | '_')) => return c.to_string(),
        Some(c) => return format!("\\{c}"),
        // Left for the engine to refuse.
        None => return "\\".to_owned(),
    };
    if in_class { plain.to_owned() } else { format!("[{plain}]") }
}

/// Go's templates: `$1`, `${1}`, `$name`, `$$`; what is none of these stands for itself.
pub fn expand(template: &str, captures: &regex::Captures<'_>) -> String {
    let mut expanded = String::new();
    let mut rest = template;
    while let Some((plain, after)) = rest.split_once('$') {
        expanded.push_str(plain);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, end)) = group_name(rest) {
            expanded.push_str(group(&rest[name], captures));
            rest = &rest[end..];
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}

/// Where in `text`, which follows a `$`, a group's name lies and where what names it ends.
fn group_name(text: &str) -> Option<(Range<usize>, usize)> {
    let word = |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, end) = match text.strip_prefix('{') {
        Some(braced) => {
            let length = word(braced);
            braced[length..].starts_with('}').then_some((1..1 + length, length + 2))?
        }
        None => (0..word(text), word(text)),
    };
    (!name.is_empty()).then_some((name, end))
}

fn group<'a>(name: &str, captures: &regex::Captures<'a>) -> &'a str {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    let group = if is_number {
        name.parse().ok().and_then(|at: usize| captures.get(at))
    } else {
        captures.name(name)
    };
    group.map_or("", |group| group.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, yes, no) in [
            ("a|b", "b", "ab"),
            (r"\d+", "12", "١٢"),
            (r"\w", "a", "é"),
            (r"[\w-]+", "a-b", "é"),
            (r"[^\d]", "a", "1"),
            (r"\D", "é", "1"),
            (r"[\D]", "é", "1"),
            ("[[]", "[", "]"),
            ("[a[b]]", "[]", "a"),
            ("[]a]", "]", "b"),
            ("[^]a]", "b", "]"),
            ("[a&&b]", "a", "c"),
            ("[+--]", ",", "a"),
            ("[[:alpha:]_]+", "a_b", "1"),
            ("a{,3}", "a{,3}", "aa"),
            ("a{2,3}", "aa", "a"),
            ("{x}", "{x}", "x"),
            (r"\<a\>", "<a>", "a"),
            (".", "é", "\n"),
            (r"a\.b", "a.b", "axb"),
            ("", "", "a"),
            ("(?i)node", "NoDe", "nod"),
        ] {
            let regex = anchored(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(regex.is_match(yes), "{pattern} {yes}");
            assert!(!regex.is_match(no), "{pattern} {no}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for pattern in ["(", "[a", r"\Qa.b\E", r"\1", "\\"] {
            assert!(anchored(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn templates_are_gos() {
        let pattern = anchored("(?P<first>[a-z]+)-(\\d+)").unwrap();
        let captures = pattern.captures("ab-12").unwrap();
        for (template, expect) in [
            ("$1", "ab"),
            ("$2$1", "12ab"),
            ("${first}x", "abx"),
            ("$firstx", ""),
            ("$1x", ""),
            ("$$1", "$1"),
            ("$", "$"),
            ("${1", "${1"),
            ("${a-b}", "${a-b}"),
            ("$3", ""),
            ("$01", ""),
            ("é$2.", "é12."),
            ("$2é", ""),
        ] {
            assert_eq!(expand(template, &captures), expect, "{template}");
        }
    }
}
