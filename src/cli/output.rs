//! Standard output: what a command was asked for. Standard error: what is said beside it.

use std::fmt::Display;
use std::io::Write as _;

use super::Failed;

/// Writes `text` and ends the line. A reader that has left, as `head` does, is an error in words.
pub(super) fn say(text: impl Display) -> Result<(), Failed> {
    put(format_args!("{text}\n"))
}

/// Writes `text` as it is.
pub(super) fn put(text: impl Display) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| Failed::Running(format!("standard output: {error}")))
}

/// Says `text` on standard error. Where nobody reads it nothing is lost that was asked for, so that is no error; `eprintln!`
/// would panic.
pub(super) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
