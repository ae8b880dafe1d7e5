//! The versions of the models, as files of one directory; what is in a model is its owner's business.
//!
//! ```text
//! models/000001.model   versions, ascending; a number is not given twice
//! models/000002.model
//! models/current        the version in use
//! models/.lock          held by whoever writes
//! ```
//!
//! Files appear whole or not at all: they are written under another name, brought to the disk, and renamed. Writers take
//! turns by a lock that the system takes back from one that dies; readers need none, and may be on a read-only directory.
//! A file says nothing that changes from run to run, so the same data and seed give the same bytes.

mod file;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk::{self, Lock, Written};
use crate::series::Timestamp;

pub use file::Refusal;

/// The file that writers lock.
const LOCK: &str = ".lock";
/// The file that names the version in use.
const CURRENT: &str = "current";
/// The last number that six digits can say.
const LAST: u32 = 999_999;
/// How long a turn to write is waited for; one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of a version, from 1 on, written in six digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u32);

impl Version {
    /// The version of that number, if there can be one.
    pub fn new(number: u32) -> Option<Self> {
        (1..=LAST).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// A text that names no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version; a version is a number from 1 to {LAST}, such as 000007 or 7")]
pub struct NotAVersion(String);

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let digits = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.and_then(Self::new).ok_or_else(|| NotAVersion(text.to_owned()))
    }
}

/// What a version says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Names of the metrics, in the order of the vector.
    pub features: Vec<String>,
    /// Rows fit on.
    pub rows: u64,
    /// Time of the first row.
    pub first: Timestamp,
    /// Time of the last row.
    pub last: Timestamp,
    /// What the rows and the settings amount to: the same for the same.
    pub fingerprint: String,
    /// Where the randomness came from.
    pub seed: u64,
    /// The detectors that have a model in it.
    pub detectors: Vec<String>,
    /// Milliseconds between rows.
    pub interval_ms: u64,
}

/// One line of [`Store::list`].
#[derive(Debug)]
pub struct Entry {
    /// Its number.
    pub version: Version,
    /// What it says of itself, or why it cannot be used.
    pub metadata: Result<Metadata, Error>,
    /// Whether it is the one in use.
    pub is_current: bool,
}

/// A version, read and found sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its number.
    pub version: Version,
    /// What it says of itself.
    pub metadata: Metadata,
    /// The models, as they were given.
    pub payload: Vec<u8>,
}

/// Why the store did not do it; names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system does not give it.
    #[error("{}: cannot be read: {why}; let this process read it", path.display())]
    Read {
        /// File or directory.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The system does not take it.
    #[error("{}: cannot be written: {why}; {}", path.display(), remedy(why))]
    Write {
        /// File or directory.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The lock is not to be had.
    #[error("{}: another process keeps writing there; wait for it, or give each a directory of its own", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("{}: there is no such version; `models list` names those there are", path.display())]
    Absent {
        /// The file it would be.
        path: PathBuf,
    },
    /// The file is no sound version.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Refusal,
    },
    /// All numbers are used.
    #[error("{}: version {LAST} is the last there can be; start with an empty directory", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
    },
}

fn remedy(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        _ => "let this process write there, or set detector.models.path to a directory where it may",
    }
}

/// The models in one directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    keep: usize,
}

impl Store {
    /// The store in the directory `path`, which comes into being with the first version.
    ///
    /// At most `keep` versions stay when one is added, the oldest go first. The version in use and the one just added
    /// stay in any case, so it can be two where `keep` says one.
    pub fn open(path: impl Into<PathBuf>, keep: usize) -> Self {
        Self { directory: path.into(), keep }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Keeps a new version and makes it the one in use.
    pub fn add(&self, metadata: &Metadata, payload: &[u8]) -> Result<Version, Error> {
        self.write(metadata, payload, true)
    }

    /// Keeps a new version; the one in use stays in use.
    pub fn add_aside(&self, metadata: &Metadata, payload: &[u8]) -> Result<Version, Error> {
        self.write(metadata, payload, false)
    }

    /// All versions, oldest first, each read whole; none where there is no directory.
    pub fn list(&self) -> Result<Vec<Entry>, Error> {
        let current = self.current();
        let entry = |version| match self.load(version) {
            // Another process has just pruned it.
            Err(Error::Absent { .. }) => None,
            read => {
                let metadata = read.map(|loaded| loaded.metadata);
                Some(Entry { version, metadata, is_current: current == Some(version) })
            }
        };
        Ok(self.versions()?.into_iter().filter_map(entry).collect())
    }

    /// Reads one version.
    pub fn load(&self, version: Version) -> Result<Loaded, Error> {
        let path = self.file(version);
        let refused = |why| Error::Refused { path: path.clone(), why };
        let mut bytes = match disk::read(&path, file::MOST_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(refused(Refusal::TooLarge)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Err(Error::Absent { path }),
            Err(why) => return Err(Error::Read { path, why }),
        };
        let (metadata, payload) = file::decode(&bytes).map_err(refused)?;
        bytes.truncate(payload.end);
        bytes.drain(..payload.start);
        Ok(Loaded { version, metadata, payload: bytes })
    }

    /// Reads the version in use; `None` where none is.
    pub fn load_current(&self) -> Result<Option<Loaded>, Error> {
        loop {
            let Some(version) = self.in_use()? else { return Ok(None) };
            match self.load(version) {
                // Replaced and pruned since it was looked up.
                Err(Error::Absent { .. }) if self.in_use()? != Some(version) => {}
                read => return read.map(Some),
            }
        }
    }

    /// Makes a version there is the one in use, once it has been read and found sound.
    pub fn rollback(&self, version: Version) -> Result<(), Error> {
        if !self.file(version).exists() {
            return Err(Error::Absent { path: self.file(version) });
        }
        let lock = self.lock()?;
        self.load(version)?;
        self.use_version(version, &lock)
    }

    /// The version in use, by one look at a small file; `None` also where that cannot be read.
    pub fn current(&self) -> Option<Version> {
        self.in_use().ok().flatten()
    }

    fn write(&self, metadata: &Metadata, payload: &[u8], in_use: bool) -> Result<Version, Error> {
        let path = &self.directory;
        let refused = |why| Error::Refused { path: path.clone(), why };
        let bytes = file::encode(metadata, payload).map_err(refused)?;
        let lock = self.lock()?;
        let version = self.write_next(&bytes, &lock)?;
        if in_use {
            self.use_version(version, &lock)?;
        }
        if let Err(error) = self.prune(version) {
            tracing::warn!(%error, "old models stay");
        }
        Ok(version)
    }

    /// Writes under the first number that has not been used.
    fn write_next(&self, bytes: &[u8], lock: &Lock) -> Result<Version, Error> {
        let newest = self.versions()?.last().copied().max(self.current());
        let first = newest.map_or(1, |version| version.0 + 1);
        for number in first..=LAST {
            let version = Version(number);
            let path = self.file(version);
            // Only a file system that pretends to lock gets a second round.
            match lock.write(&path, bytes) {
                Ok(Written::New) => return Ok(version),
                Ok(Written::Taken) => {}
                Err(why) => return Err(Error::Write { path, why }),
            }
        }
        Err(Error::Full { path: self.directory.clone() })
    }

    fn use_version(&self, version: Version, lock: &Lock) -> Result<(), Error> {
        let path = self.directory.join(CURRENT);
        let text = format!("{version}\n");
        lock.replace(&path, text.as_bytes()).map_err(|why| Error::Write { path, why })
    }

    fn prune(&self, added: Version) -> Result<(), Error> {
        let current = self.in_use()?;
        for version in
            surplus(&self.versions()?, self.keep, |version| version == added || current == Some(version))
        {
            let path = self.file(version);
            std::fs::remove_file(&path).map_err(|why| Error::Write { path, why })?;
        }
        Ok(())
    }

    /// The version in use, by one look at a small file; `None` where none is.
    pub fn in_use(&self) -> Result<Option<Version>, Error> {
        let path = self.directory.join(CURRENT);
        let bytes = match disk::read(&path, 64) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(Error::Read { path, why }),
        };
        let text = String::from_utf8_lossy(&bytes);
        let refused = |_| Error::Refused { path, why: Refusal::NamesNothing };
        text.trim_end().parse().map(Some).map_err(refused)
    }

    /// Ascending.
    fn versions(&self) -> Result<Vec<Version>, Error> {
        let names = disk::names(&self.directory);
        let names = names.map_err(|why| Error::Read { path: self.directory.clone(), why })?;
        let mut versions: Vec<Version> = names.iter().filter_map(|name| version_of(name)).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    fn lock(&self) -> Result<Lock, Error> {
        let path = self.directory.clone();
        match Lock::take(&path, LOCK, PATIENCE, is_ours) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(Error::Busy { path }),
            Err(why) => Err(Error::Write { path, why }),
        }
    }

    fn file(&self, version: Version) -> PathBuf {
        self.directory.join(format!("{version}.model"))
    }
}

/// What others keep in the directory is not touched.
fn is_ours(name: &str) -> bool {
    name == CURRENT || version_of(name).is_some()
}

fn version_of(name: &str) -> Option<Version> {
    name.strip_suffix(".model").filter(|digits| digits.len() == 6)?.parse().ok()
}

/// The oldest of `versions` that are too many, those that `stay` left out.
fn surplus(versions: &[Version], keep: usize, stay: impl Fn(Version) -> bool) -> Vec<Version> {
    let too_many = versions.len().saturating_sub(keep);
    versions.iter().copied().filter(|version| !stay(*version)).take(too_many).collect()
}
