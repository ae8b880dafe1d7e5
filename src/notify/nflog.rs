//! The notification log: which channel was told of which incident, on disk, so that a restart neither pages again nor
//! forgets to tell an end.
//!
//! One JSON object a line, appended and flushed to the disk after each message that arrived; the last line of a key
//! counts. A line that was cut off by a crash is passed over. The file is written anew, beside itself and then renamed,
//! when it has grown to many times what it says.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::ledger::Message;
use crate::detect::verdict::Severity;
use crate::disk;
use crate::series::{Labels, Timestamp};

/// Ended incidents are remembered for the throttle's sake, no longer than this.
const KEPT: Duration = Duration::from_hours(24);
/// Lines beyond what counts before the file is written anew.
const SLACK: usize = 1000;
/// Bytes of the file at most.
const MOST_BYTES: u64 = 64 << 20;

/// What one channel knows of one incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The channel.
    pub place: String,
    /// The incident.
    pub key: u64,
    /// What was told of it.
    pub severity: Severity,
    /// When it began.
    pub started_at: Timestamp,
    /// When that was told.
    pub fired_at: Timestamp,
    /// When each severity was told last, of this incident or one before it: for the throttle.
    #[serde(default)]
    pub told_at: Vec<(Severity, Timestamp)>,
    /// When its end was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The labels behind `key`.
    pub identity: Labels,
    /// What was told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

impl Record {
    /// A firing arrived.
    pub fn firing(place: &str, message: &Message, started_at: Timestamp, fired_at: Timestamp) -> Self {
        Self {
            place: place.to_owned(),
            key: message.key,
            severity: message.severity,
            started_at,
            fired_at,
            told_at: Vec::new(),
            ended_at: None,
            identity: message.identity.clone(),
            alerts: message.alerts.clone(),
        }
    }

    /// Its end is told, or need not be.
    pub fn ended(place: &str, key: u64, severity: Severity, fired_at: Timestamp, now: Timestamp) -> Self {
        Self {
            place: place.to_owned(),
            key,
            severity,
            started_at: fired_at,
            fired_at,
            told_at: Vec::new(),
            ended_at: Some(now),
            identity: Labels::empty(),
            alerts: Vec::new(),
        }
    }

    /// The same with what the throttle remembers.
    #[must_use]
    pub fn with(self, told_at: Vec<(Severity, Timestamp)>) -> Self {
        Self { told_at, ..self }
    }

    /// What was told, if its end has not been.
    pub fn message(&self) -> Option<Arc<Message>> {
        if self.ended_at.is_some() || self.alerts.is_empty() {
            return None;
        }
        Some(Arc::new(Message {
            key: self.key,
            identity: self.identity.clone(),
            severity: self.severity,
            resolved: false,
            alerts: self.alerts.clone(),
        }))
    }
}

/// The log; cheap to clone. Without a path it is kept in memory only.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    path: Option<PathBuf>,
    file: Option<File>,
    lines: usize,
    records: HashMap<(String, u64), Record>,
}

impl Log {
    /// The log in `directory`, which is made if need be; an empty path keeps all in memory.
    ///
    /// # Errors
    /// The file, and why it cannot be read or written.
    pub fn open(directory: &str, now: Timestamp) -> Result<Self, String> {
        if directory.is_empty() {
            return Ok(Self::default());
        }
        let path = Path::new(directory).join("notifications.jsonl");
        let say = |error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir_all(directory).map_err(say)?;
        let text = match disk::read(&path, MOST_BYTES) {
            Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            // A link, a pipe or far too much is not ours.
            Ok(None) => aside(&path, "it is too large")?,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                aside(&path, &error.to_string())?
            }
            Err(error) => return Err(say(error)),
        };
        let mut state = State { path: Some(path.clone()), ..State::default() };
        for line in text.lines() {
            match serde_json::from_str::<Record>(line) {
                Ok(record) => state.put(record),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a line of the notification log is passed over");
                }
            }
        }
        let is_old = |record: &Record| record.ended_at.is_some_and(|ended| now.since(ended) > KEPT);
        state.records.retain(|_, record| !is_old(record));
        state.write_anew().map_err(say)?;
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// Everything that counts.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.values().cloned().collect()
    }

    /// Appends, and returns once it is on the disk.
    ///
    /// # Errors
    /// Why it is not; it is remembered in memory all the same.
    pub fn append(&self, records: &[Record]) -> Result<(), String> {
        let mut state = self.lock();
        let mut text = String::new();
        for record in records {
            text.push_str(&serde_json::to_string(record).map_err(|error| error.to_string())?);
            text.push('\n');
            state.put(record.clone());
        }
        state.write(&text, records.len()).map_err(|error| match &state.path {
            Some(path) => format!("{}: {error}", path.display()),
            None => error.to_string(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets a log aside that is none; an empty one takes its place.
fn aside(path: &Path, why: &str) -> Result<String, String> {
    tracing::error!(file = %path.display(), why, "the notification log is set aside");
    disk::set_aside(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::new())
}

impl State {
    fn put(&mut self, record: Record) {
        self.records.insert((record.place.clone(), record.key), record);
    }

    fn write(&mut self, text: &str, lines: usize) -> std::io::Result<()> {
        if self.path.is_none() {
            return Ok(());
        }
        if self.lines > 4 * self.records.len() + SLACK {
            return self.write_anew();
        }
        let Some(file) = &mut self.file else { return self.write_anew() };
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        self.lines += lines;
        Ok(())
    }

    fn write_anew(&mut self) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let new = path.with_extension("new");
        let mut file = disk::create_anew(&new)?;
        for record in self.records.values() {
            serde_json::to_writer(&mut file, record)?;
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        self.file = Some(disk::open(path, File::options().append(true))?);
        self.lines = self.records.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::tests::message;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn keys(log: &Log) -> Vec<(String, bool)> {
        let mut keys: Vec<(String, bool)> = log
            .records()
            .into_iter()
            .map(|record| (record.place.clone(), record.message().is_some()))
            .collect();
        keys.sort();
        keys
    }

    #[test]
    fn a_link_in_the_place_of_the_log_is_set_aside_and_what_it_leads_to_stays() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let theirs = elsewhere.path().join("theirs");
        std::fs::write(&theirs, "theirs").unwrap();
        for name in ["notifications.jsonl", "notifications.new"] {
            std::os::unix::fs::symlink(&theirs, directory.path().join(name)).unwrap();
        }
        let log = Log::open(&directory.path().display().to_string(), at(0)).unwrap();
        log.append(&[Record::firing("slack", &message(Severity::Critical, None), at(100), at(130))]).unwrap();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
        assert!(directory.path().join("notifications.jsonl.damaged").is_symlink());
    }

    #[test]
    fn what_was_told_is_known_after_a_crash_but_for_a_line_that_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        let message = message(Severity::Critical, None);
        let log = Log::open(&path, at(0)).unwrap();
        log.append(&[Record::firing("slack", &message, at(100), at(130))]).unwrap();
        log.append(&[Record::firing("email", &message, at(100), at(130))]).unwrap();
        log.append(&[Record::ended("email", message.key, Severity::Critical, at(130), at(150))]).unwrap();
        // Killed: nothing more is written, and the last line only half.
        let file = directory.path().join("notifications.jsonl");
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("{\"place\":\"pagerd");
        std::fs::write(&file, text).unwrap();
        let log = Log::open(&path, at(200)).unwrap();
        assert_eq!(keys(&log), [("email".to_owned(), false), ("slack".to_owned(), true)]);
        let told = log.records().into_iter().find_map(|record| record.message()).unwrap();
        assert_eq!(*told, message);
        assert_eq!(keys(&Log::open(&path, at(150 + 86_401)).unwrap()), [("slack".to_owned(), true)]);
    }

    #[test]
    fn the_file_is_written_anew_before_it_grows_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::open(&directory.path().display().to_string(), at(0)).unwrap();
        let record = Record::ended("slack", 1, Severity::Warning, at(1), at(2));
        for _ in 0..30 {
            log.append(&vec![record.clone(); 100]).unwrap();
        }
        let lines =
            std::fs::read_to_string(directory.path().join("notifications.jsonl")).unwrap().lines().count();
        assert!(lines <= SLACK + 204, "{lines}");
    }

    #[test]
    fn without_a_directory_it_is_kept_in_memory_and_a_bad_one_is_said() {
        let log = Log::open("", at(0)).unwrap();
        log.append(&[Record::firing("slack", &message(Severity::Critical, None), at(100), at(130))]).unwrap();
        assert_eq!(keys(&log.clone()), [("slack".to_owned(), true)]);
        assert!(Log::open("/proc/none", at(0)).unwrap_err().starts_with("/proc/none"));
    }
}
