//! What outlives the process, as files of one directory.
//!
//! ```text
//! data/lock                held by the one process that uses the directory
//! data/TARGET.state        a target's windows, its normal past and what was learned from it: every 30 s and at the end
//! data/TARGET-CRC.models   its models, which the state names: when they have changed
//! data/incidents           every incident: at each transition, before anybody is told of it
//! data/incidents.settled   the same with every state, brought to the disk
//! data/fits.jsonl          at which checks fits were asked for and took effect, for `backtest --fits`: one line a fit
//! data/NAME.damaged        what could not be read, set aside
//! ```
//!
//! Windows and the past are Arrow IPC. Every file but `fits.jsonl`, which is text that is added to, has a version and a checksum in front, and appears whole or not at all:
//! it is written under another name and renamed. So a killed process loses what it scraped since the last state, and no
//! incident.

mod file;
mod fits;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::detect::ensemble::{Learned, Models};
use crate::detect::training_history::{Remembered, Tiers};
use crate::disk::{self, Lock};
use crate::engine::held::Taken;
use crate::engine::kept::{About, Incidents, KeptTarget};
use crate::series::Labels;

pub use file::Refusal;
use file::Sections;

const LOCK: &str = "lock";
const INCIDENTS: &str = "incidents";
const SETTLED: &str = "incidents.settled";
const STATE: &str = ".state";
const MODELS: &str = ".models";

/// Why a directory cannot be used; names the key of the configuration and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds it.
    #[error(
        "storage.path: {} is in use by another process; give each its own directory, or \"\" to keep all in memory",
        path.display()
    )]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The system says no.
    #[error(
        "storage.path: {} cannot be used: {why}; give a directory that can be written, or \"\" to keep all in memory",
        path.display()
    )]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
}

/// The directory, for as long as the process has it.
pub struct Directory {
    path: PathBuf,
    lock: Lock,
    /// Of what was written last; of two files the one with the higher is the newer, whatever the clock says.
    sequence: AtomicU64,
}

/// What was found in the directory.
#[derive(Default)]
pub struct Loaded {
    /// The targets that can be read.
    pub targets: Vec<KeptTarget>,
    /// The incidents.
    pub incidents: Incidents,
    /// What cannot be read.
    pub damaged: Vec<Damaged>,
}

/// A file that was set aside.
#[derive(Debug)]
pub struct Damaged {
    /// What it was.
    pub file: PathBuf,
    /// Why it is of no use.
    pub why: Refusal,
}

/// The models of each target that are in the directory: they are written anew only when they have changed.
#[derive(Default)]
pub struct Known(HashMap<Labels, (Models, u32)>);

impl Directory {
    /// Takes the directory, which is made where it is not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_ours = |name: &str| {
            [INCIDENTS, SETTLED, fits::NAME].contains(&name)
                || name.ends_with(STATE)
                || name.ends_with(MODELS)
        };
        match Lock::take(path, LOCK, Duration::ZERO, is_ours) {
            Ok(Some(lock)) => Ok(Self { path: path.to_owned(), lock, sequence: AtomicU64::new(0) }),
            Ok(None) => Err(Error::Busy { path: path.to_owned() }),
            Err(why) => Err(Error::Unusable { path: path.to_owned(), why }),
        }
    }

    /// Reads everything there is. What is damaged is renamed and named; the rest goes without it.
    pub fn load(&self) -> Loaded {
        let mut loaded = Loaded::default();
        let mut names = disk::names(&self.path).unwrap_or_default();
        names.sort_unstable();
        for name in names.iter().filter(|name| name.ends_with(STATE)) {
            let target = self.read(name, &mut loaded.damaged, |sections| self.target(name, sections));
            if let Some((target, damaged)) = target {
                loaded.damaged.extend(damaged);
                loaded.targets.push(target);
            }
        }
        let newest = [INCIDENTS, SETTLED]
            .into_iter()
            .filter_map(|name| self.read(name, &mut loaded.damaged, incidents))
            .max_by_key(|(sequence, _)| *sequence);
        loaded.incidents = newest.map(|(_, incidents)| incidents).unwrap_or_default();
        loaded
    }

    /// What `decode` makes of a file; `None` where there is none or it had to be set aside.
    fn read<T>(
        &self,
        name: &str,
        damaged: &mut Vec<Damaged>,
        decode: impl FnOnce((u64, Vec<&[u8]>)) -> Result<T, Refusal>,
    ) -> Option<T> {
        let path = self.path.join(name);
        let bytes = match disk::read(&path, file::MOST_BYTES) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Refusal::TooLarge),
            Err(why) if why.kind() == io::ErrorKind::NotFound => return None,
            Err(why) => Err(Refusal::Unreadable(why.to_string())),
        };
        let read = bytes.and_then(|bytes| {
            let (sequence, sections) = file::decode(&bytes)?;
            self.sequence.fetch_max(sequence, Ordering::Relaxed);
            decode((sequence, sections))
        });
        match read {
            Ok(read) => Some(read),
            Err(why) => {
                damaged.push(self.set_aside(name, why));
                None
            }
        }
    }

    fn set_aside(&self, name: &str, why: Refusal) -> Damaged {
        let file = self.path.join(name);
        // Where even that fails the next write replaces it.
        let _ = disk::set_aside(&file);
        Damaged { file, why }
    }

    /// A target, and what of it is damaged.
    fn target(
        &self,
        name: &str,
        (_, sections): (u64, Vec<&[u8]>),
    ) -> Result<(KeptTarget, Vec<Damaged>), Refusal> {
        let [about, learned, models, rows, fine, coarse, window @ ..] = sections.as_slice() else {
            return Err(Refusal::Unreadable("sections are missing".to_owned()));
        };
        let wrong = |error: &dyn ToString| Refusal::Unreadable(error.to_string());
        let about: About = serde_json::from_slice(about).map_err(|error| wrong(&error))?;
        let read = |bytes: &[u8]| table::read(bytes).map_err(|error| wrong(&error));
        let window = window.iter().map(|bytes| table::read_series(bytes).map_err(|error| wrong(&error)));
        let mut damaged = Vec::new();
        let key = name.trim_end_matches(STATE);
        let models = models.first_chunk().map(|crc| models_name(key, u32::from_le_bytes(*crc)));
        let models = models.and_then(|models| {
            self.read(&models, &mut damaged, |(_, sections)| {
                sections.first().map(|bytes| bytes.to_vec()).ok_or(Refusal::Damaged)
            })
        });
        // Of another version of the program, it is learned anew from the rows.
        let learned = models.and_then(|models| Learned::from_bytes(learned, &models).ok());
        let past = Remembered { rows: read(rows)?, tiers: Tiers::new([read(fine)?, read(coarse)?]) };
        let window = window.collect::<Result<_, Refusal>>()?;
        Ok((KeptTarget { about, window, past, learned }, damaged))
    }

    /// A file of one section.
    fn file(&self, section: &[u8]) -> Vec<u8> {
        let mut sections = Sections::new(self.next());
        sections.add(section);
        sections.finish()
    }

    fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Writes a target, brought to the disk.
    pub fn write_target(&self, kept: &KeptTarget, known: &mut Known) -> io::Result<()> {
        let labels = &kept.about.labels;
        let key = key(labels);
        let names: Vec<String> = kept.about.signals.iter().map(|signal| signal.name.clone()).collect();
        let (learned, models) = match &kept.learned {
            Some(learned) => {
                let models = self.write_models(&key, labels, learned.models(), known)?;
                (learned.state().map_err(io::Error::other)?, models.to_le_bytes().to_vec())
            }
            None => (Vec::new(), Vec::new()),
        };
        let mut sections = Sections::new(self.next());
        sections.add(&serde_json::to_vec(&kept.about)?);
        sections.add(&learned);
        sections.add(&models);
        for rows in std::iter::once(&kept.past.rows).chain(kept.past.tiers.tables()) {
            sections.write(|bytes| table::write(rows, &names, bytes)).map_err(io::Error::other)?;
        }
        for series in &kept.window {
            sections.write(|bytes| table::write_series(series, bytes)).map_err(io::Error::other)?;
        }
        let path = self.path.join(format!("{key}{STATE}"));
        self.lock.replace(&path, &sections.finish())?;
        self.remove(|name| {
            let others = name.strip_prefix(&key).and_then(|rest| rest.strip_prefix('-'));
            let current = models.first_chunk().map(|crc| models_name(&key, u32::from_le_bytes(*crc)));
            others.is_some_and(|rest| rest.ends_with(MODELS)) && current.as_deref() != Some(name)
        })
    }

    /// The checksum of a target's models, which are in the directory from here on.
    fn write_models(
        &self,
        key: &str,
        labels: &Labels,
        models: &Models,
        known: &mut Known,
    ) -> io::Result<u32> {
        if let Some((_, crc)) = known.0.get(labels).filter(|(written, _)| written.are(models)) {
            return Ok(*crc);
        }
        let bytes = models.to_bytes().map_err(io::Error::other)?;
        let crc = crc32fast::hash(&bytes);
        let path = self.path.join(models_name(key, crc));
        if !path.exists() {
            self.lock.replace(&path, &self.file(&bytes))?;
        }
        known.0.insert(labels.clone(), (models.clone(), crc));
        Ok(crc)
    }

    /// Removes the files of other targets than these, once they are older than `age`: a target may come back.
    pub fn forget_others(&self, targets: &[Labels], age: Duration) -> io::Result<()> {
        let keys: Vec<String> = targets.iter().map(key).collect();
        self.remove(|name| {
            let is_state = name.ends_with(STATE) || name.ends_with(MODELS);
            let is_old = || {
                let written = std::fs::metadata(self.path.join(name)).and_then(|file| file.modified());
                written.is_ok_and(|written| written.elapsed().is_ok_and(|passed| passed >= age))
            };
            is_state && !keys.iter().any(|key| name.starts_with(key.as_str())) && is_old()
        })
    }

    fn remove(&self, is_over: impl Fn(&str) -> bool) -> io::Result<()> {
        for name in disk::names(&self.path)?.iter().filter(|name| is_over(name)) {
            std::fs::remove_file(self.path.join(name))?;
        }
        Ok(())
    }

    /// Writes the incidents into the hands of the system: it takes a fraction of a millisecond, and they outlive the
    /// process from here on.
    pub fn write_incidents(&self, incidents: &Incidents) -> io::Result<()> {
        let bytes = self.file(&serde_json::to_vec(incidents)?);
        self.lock.replace_quickly(&self.path.join(INCIDENTS), &bytes)
    }

    /// Brings the incidents that were written to the disk.
    pub fn settle_incidents(&self) -> io::Result<()> {
        self.lock.settle(&self.path.join(INCIDENTS))
    }

    /// Writes the incidents of a state, brought to the disk.
    pub fn write_settled(&self, incidents: &Incidents) -> io::Result<()> {
        let bytes = self.file(&serde_json::to_vec(incidents)?);
        self.lock.replace(&self.path.join(SETTLED), &bytes)
    }
}

impl Directory {
    /// Adds the fits that took effect to those before.
    pub fn note_fits(&self, taken: &[Taken]) -> io::Result<()> {
        fits::note(&self.path.join(fits::NAME), &self.lock, taken)
    }
}

fn incidents((sequence, sections): (u64, Vec<&[u8]>)) -> Result<(u64, Incidents), Refusal> {
    let bytes = sections.first().ok_or(Refusal::Damaged)?;
    let incidents = serde_json::from_slice(bytes).map_err(|error| Refusal::Unreadable(error.to_string()))?;
    Ok((sequence, incidents))
}

/// What a target's files are called: the same for the same labels, on every machine (FNV-1a).
fn key(labels: &Labels) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", labels.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

fn models_name(key: &str, crc: u32) -> String {
    format!("{key}-{crc:08x}{MODELS}")
}
