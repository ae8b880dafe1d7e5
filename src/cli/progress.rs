//! How far long work is: a bar on a terminal, a line now and then and at the end otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output;

/// Between two lines.
const LINES: Duration = Duration::from_secs(10);

/// Progress of one piece of work; what it says goes to standard error.
pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    said: Instant,
    is_done: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0).with_message(what);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { what, bar, said: Instant::now(), is_done: false }
    }

    pub(super) fn tell(&mut self, done: usize, of: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            self.is_done = done == of;
        } else if !self.is_done && (done == of || self.said.elapsed() >= LINES) {
            (self.said, self.is_done) = (Instant::now(), done == of);
            output::note(format_args!("{}: {done} of {of}", self.what));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &self.bar {
            Some(bar) if self.is_done => bar.finish(),
            Some(bar) => bar.finish_and_clear(),
            None => {}
        }
    }
}
