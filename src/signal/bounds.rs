//! What an expression may be at most, and where in it something stands.

use promql_parser::util::unquote_string;

use super::plan::ExprError;

/// Longest expression taken.
pub(super) const LONGEST: usize = 8192;
/// Deepest nesting of brackets taken; the parser's time grows steeply with it.
pub(super) const DEEPEST: usize = 64;
/// Operators and calls around one another: a chain of `+` is as deep as it is long, and the stack is not endless.
pub(super) const LONGEST_CHAIN: usize = 256;

/// Refuses what is too long, too deep, or has brackets or quotes that do not close.
pub(super) fn check(expr: &str) -> Result<(), ExprError> {
    if expr.len() > LONGEST {
        return Err(ExprError::TooLong(expr.len()));
    }
    let mut open: Vec<(usize, char)> = Vec::new();
    for (at, c) in code(expr)? {
        match c {
            '(' | '[' | '{' if open.len() == DEEPEST => return Err(ExprError::TooDeep(at + 1)),
            '(' | '[' | '{' => open.push((at, c)),
            ')' | ']' | '}' if open.pop().is_none_or(|(_, opened)| !matches(opened, c)) => {
                return Err(ExprError::Unmatched(c, at + 1));
            }
            _ => {}
        }
    }
    if let Some((at, c)) = open.pop() {
        return Err(ExprError::Unmatched(c, at + 1));
    }
    signs(expr)
}

fn matches(opened: char, closed: char) -> bool {
    matches!((opened, closed), ('(', ')') | ('[', ']') | ('{', '}'))
}

/// A chain of signs nests as brackets do.
fn signs(expr: &str) -> Result<(), ExprError> {
    let mut run = 0;
    for (at, c) in expr.chars().enumerate() {
        match c {
            '-' | '+' => run += 1,
            c if c.is_whitespace() => {}
            _ => run = 0,
        }
        if run > DEEPEST {
            return Err(ExprError::TooDeep(at + 1));
        }
    }
    Ok(())
}

/// The characters outside of strings and comments, with their positions in characters from 0.
fn code(expr: &str) -> Result<Vec<(usize, char)>, ExprError> {
    let mut found = Vec::with_capacity(expr.len());
    let mut rest = expr.chars().enumerate();
    while let Some((at, c)) = rest.next() {
        match c {
            '"' | '\'' | '`' => skip_string(c, &mut rest).ok_or(ExprError::Unmatched(c, at + 1))?,
            '#' => drop(rest.find(|(_, c)| *c == '\n')),
            _ => found.push((at, c)),
        }
    }
    Ok(found)
}

fn skip_string(quote: char, rest: &mut impl Iterator<Item = (usize, char)>) -> Option<()> {
    loop {
        match rest.next()?.1 {
            '\\' if quote != '`' => drop(rest.next()?),
            c if c == quote => return Some(()),
            _ => {}
        }
    }
}

/// The regular expressions of matchers, unquoted; of an expression whose brackets and quotes close.
pub(super) fn patterns(expr: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expr.char_indices();
    let mut before = ' ';
    while let Some((at, c)) = rest.next() {
        match c {
            '"' | '\'' | '`' => {
                while let Some((_, inner)) = rest.next() {
                    match inner {
                        '\\' if c != '`' => drop(rest.next()),
                        inner if inner == c => break,
                        _ => {}
                    }
                }
                if before == '~' {
                    // What cannot be unquoted, the parser refuses.
                    found.extend(unquote_string(&expr[at..rest.offset()]));
                }
            }
            '#' => drop(rest.find(|(_, c)| *c == '\n')),
            _ => {}
        }
        if !c.is_whitespace() && c != '#' {
            before = c;
        }
    }
    found
}

/// The first character of `word` in `expr`, from 1; strings, comments and longer words are looked past.
pub(super) fn position(expr: &str, word: &str) -> Option<usize> {
    let code = code(expr).ok()?;
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let length = word.chars().count();
    // A string or comment in between parts two words as well.
    let next_to = |at: usize, from: usize| {
        code.get(at).is_some_and(|(place, c)| is_word(*c) && place.abs_diff(code[from].0) == 1)
    };
    let stands = |from: &usize| {
        let same = code[*from..].iter().map(|(_, c)| c.to_ascii_lowercase()).take(length).eq(word.chars());
        let last = from + length - 1;
        let is_part =
            from.checked_sub(1).is_some_and(|before| next_to(before, *from)) || next_to(last + 1, last);
        same && !(word.starts_with(is_word) && is_part)
    };
    (0..(code.len() + 1).saturating_sub(length)).find(stands).map(|from| code[from].0 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_where_it_is_no_string_and_no_part_of_another() {
        for (expr, word, at) in [
            ("1 + topk(3, c)", "topk", Some(5)),
            (r#"x{a="topk"} + my_topk + topk (c)"#, "topk", Some(25)),
            ("é + TOPK(1, c)", "topk", Some(5)),
            ("c # topk\n + topk", "topk", Some(13)),
            ("a @ 5", "@", Some(3)),
            ("'topk'", "topk", None),
            ("", "topk", None),
        ] {
            assert_eq!(position(expr, word), at, "{expr}");
        }
    }

    #[test]
    fn patterns_are_those_of_matchers_as_the_parser_unquotes_them() {
        for (expr, expected) in [
            (r#"up{a=~"\\pL{9}",b="x",c!~ 'y"'}"#, vec![r"\pL{9}", "y\""]),
            (
                r#"up{a =~ # ~
                "\x5cd"}"#,
                vec![r"\d"],
            ),
            (r#"label_replace(up{a=~`\d`}, "a", "~", "b", "c")"#, vec![r"\d"]),
            ("up{a=\"~\"} + b", vec![]),
        ] {
            assert_eq!(patterns(expr), expected, "{expr}");
        }
    }

    #[test]
    fn what_does_not_close_is_named_with_its_place() {
        for (expr, told) in [
            ("sum(a", Err(ExprError::Unmatched('(', 4))),
            ("a)", Err(ExprError::Unmatched(')', 2))),
            ("a{b='}'}", Ok(())),
            ("a[5m)", Err(ExprError::Unmatched(')', 5))),
            ("x{a=\"b\\\"}", Err(ExprError::Unmatched('"', 5))),
            ("`\\`", Ok(())),
        ] {
            assert_eq!(check(expr), told, "{expr}");
        }
    }
}
