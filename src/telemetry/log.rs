//! Log lines, as Prometheus writes them; and a damper on those that repeat.

use std::fmt;
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::stderr;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `ts=… level=info msg="…" key=value`.
    #[default]
    Logfmt,
    /// One object a line.
    Json,
}

/// `level`, if it is one.
///
/// # Errors
/// What would be one.
pub fn known(level: &str) -> Result<&str, String> {
    const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];
    if LEVELS.contains(&level) {
        Ok(level)
    } else {
        Err(format!("--log.level: {level:?} is none of {}", LEVELS.join(", ")))
    }
}

/// Begins to write lines of `level` and above to standard error, and panics as such lines. Nobody who logs waits for the
/// lines to be read, and lines that cannot be written harm nothing.
///
/// # Errors
/// When `level` is none, or lines are already being written.
pub fn init(level: &str, format: Format) -> Result<(), String> {
    let level = known(level)?;
    let filter = EnvFilter::new(format!("warn,dwcp_anomaly={level}"));
    let lines = stderr::shared().map_err(|error| format!("standard error: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    builder.event_format(Lines(format)).try_init().map_err(|error| error.to_string())?;
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let (thread, at) = (thread.name().unwrap_or_default(), panic.location().map(ToString::to_string));
        tracing::error!(thread, at, said = panic.payload_as_str(), "a panic; please report it");
        if thread == "main" {
            flush();
        }
    }));
    Ok(())
}

/// Waits until what was logged is written, but not for long: for the end of the process.
pub fn flush() {
    stderr::flush();
}

struct Lines(Format);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut pairs = Pairs::default();
        event.record(&mut pairs);
        let level = event.metadata().level().as_str().to_lowercase();
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let head = [("ts", at), ("level", level), ("msg", pairs.message)];
        let all = head.into_iter().chain(pairs.rest);
        match self.0 {
            Format::Logfmt => {
                let words: Vec<String> =
                    all.map(|(name, value)| format!("{name}={}", quoted(&value))).collect();
                writeln!(writer, "{}", words.join(" "))
            }
            Format::Json => {
                let object: serde_json::Map<String, serde_json::Value> =
                    all.map(|(name, value)| (name.to_owned(), value.into())).collect();
                writeln!(writer, "{}", serde_json::Value::Object(object))
            }
        }
    }
}

fn quoted(value: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\') && !c.is_control();
    if !value.is_empty() && value.chars().all(is_plain) { value.to_owned() } else { format!("{value:?}") }
}

#[derive(Default)]
struct Pairs {
    message: String,
    rest: Vec<(&'static str, String)>,
}

impl Visit for Pairs {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }
}

impl Pairs {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.rest.push((field.name(), value));
        }
    }
}

/// Lets a line through once in a while for each of its keys; bounded in keys.
#[derive(Clone)]
pub struct Damper {
    said: Cache<String, ()>,
}

impl Damper {
    /// Once each `every` for a key.
    pub fn new(every: Duration) -> Self {
        Self { said: Cache::builder().max_capacity(10_000).time_to_live(every).build() }
    }

    /// Whether it may be said now; then it was.
    pub fn may_say(&self, key: &str) -> bool {
        self.said.entry_by_ref(key).or_insert(()).is_fresh()
    }

    /// Forgets that it was said: what follows is news again.
    pub fn forget(&self, key: &str) {
        self.said.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_blanks_quotes_or_nothing_are_quoted() {
        for (value, expect) in [
            ("a", "a"),
            ("a b", "\"a b\""),
            ("", "\"\""),
            ("a\"b", "\"a\\\"b\""),
            ("x=1", "\"x=1\""),
            ("a\nb", "\"a\\nb\""),
        ] {
            assert_eq!(quoted(value), expect);
        }
    }

    #[test]
    fn a_line_is_said_once_until_it_is_news_again() {
        let damper = Damper::new(Duration::from_hours(1));
        assert!(damper.may_say("a"));
        assert!(!damper.may_say("a"));
        assert!(damper.may_say("b"));
        damper.forget("a");
        assert!(damper.may_say("a"));
    }
}
