//! The command line as it is handed to the parser.

use std::ffi::{OsStr, OsString};

/// Flags of `query` that take what follows them.
const TAKE_A_VALUE: [&str; 6] = ["--target", "--openmetrics", "--time", "--interval", "--output", "-o"];

/// The arguments with a `query` expression that begins with a minus put after `--`: it is no flag.
pub(super) fn with_expression_apart(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_query = arguments.get(1).is_some_and(|command| command == "query");
    if !is_query || arguments.iter().any(|argument| argument == "--") {
        return arguments;
    }
    let takes_value = |argument: &OsStr| TAKE_A_VALUE.iter().any(|flag| argument == *flag);
    let at =
        (2..arguments.len()).find(|at| is_expression(&arguments[*at]) && !takes_value(&arguments[at - 1]));
    if let Some(at) = at {
        let expression = arguments.remove(at);
        arguments.extend([OsString::from("--"), expression]);
    }
    arguments
}

/// Whether an argument that begins with a minus can be no flag of `query`.
fn is_expression(argument: &OsStr) -> bool {
    let Some(text) = argument.to_str().and_then(|text| text.strip_prefix('-')) else { return false };
    let is_output = ["o", "ojson", "otext", "o=json", "o=text"].contains(&text);
    // Two minuses before a number or a bracket are arithmetic as well.
    let is_long =
        text.strip_prefix('-').is_some_and(|long| long.starts_with(|c: char| c.is_ascii_alphabetic()));
    !text.is_empty() && text != "h" && text != "V" && !is_output && !is_long
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(line: &str) -> String {
        let arguments = with_expression_apart(line.split('|').map(OsString::from));
        arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn an_expression_may_begin_with_a_minus_wherever_it_stands() {
        for (line, expect) in [
            ("d|query|-x|--target|u", "d|query|--target|u|--|-x"),
            ("d|query|--target|u|-hello_total", "d|query|--target|u|--|-hello_total"),
            ("d|query|--target|u|-node_load1 + 1", "d|query|--target|u|--|-node_load1 + 1"),
            ("d|query|--target|u|-1|-o|json", "d|query|--target|u|-o|json|--|-1"),
            ("d|query|--target|u|-(x)|-ojson", "d|query|--target|u|-ojson|--|-(x)"),
            ("d|query|--target|u|--1", "d|query|--target|u|--|--1"),
        ] {
            assert_eq!(apart(line), expect);
        }
        for same in [
            "d|query|-h",
            "d|query|--help",
            "d|query|--time|-5|--target|u|x",
            "d|query|--target|u|--|-x",
            "d|query|--no-such|x",
            "d|run|-x",
            "d",
        ] {
            assert_eq!(apart(same), same);
        }
    }
}
