//! Files that appear whole or not at all, and whose turn it is to write them.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file that writers lock.
const LOCK: &str = ".lock";
/// What a name ends in while its file is being written.
const UNFINISHED: &str = ".new";
/// How often a turn is asked for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What became of a file to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is there.
    New,
    /// Its name has been in use.
    Taken,
}

/// The turn to write into a directory, until it is dropped or the process dies.
pub(super) struct Lock {
    directory: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for the turn, which is `None` if it does not come within `patience`; makes the directory, and clears away what writers before have left unfinished.
    pub(super) fn take(directory: &Path, patience: Duration) -> io::Result<Option<Self>> {
        fs::create_dir_all(directory)?;
        let file = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK))?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => std::thread::sleep(LOOK_AGAIN),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(why)) => return Err(why),
            }
        }
        for name in names(directory)?.iter().filter(|name| is_unfinished(name)) {
            fs::remove_file(directory.join(name))?;
        }
        Ok(Some(Self { directory: directory.to_owned(), _file: file }))
    }

    /// Writes a file that has not been there.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<Written> {
        if path.try_exists()? {
            return Ok(Written::Taken);
        }
        match self.replace(path, bytes) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(Written::Taken),
            done => done.map(|()| Written::New),
        }
    }

    /// Writes a file in place of what is there.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let mut file = File::create_new(&unfinished)?;
        let finished = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, path))
            .and_then(|()| self.sync());
        if finished.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        finished
    }

    /// Brings the names to the disk, where the file system knows how.
    fn sync(&self) -> io::Result<()> {
        match File::open(&self.directory)?.sync_all() {
            Err(why) if matches!(why.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
                Ok(())
            }
            done => done,
        }
    }
}

/// Whether it is one of ours; what others keep there is not touched.
fn is_unfinished(name: &str) -> bool {
    let is_ours = |name: &str| name == super::CURRENT || super::version_of(name).is_some();
    name.strip_suffix(UNFINISHED).is_some_and(is_ours)
}

/// The content of a plain file; `None` if it is larger than `most`.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    // Asked before it is opened: a pipe would be waited at.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok((read as u64 <= most).then_some(bytes))
}

/// The names in a directory, in no order; none if there is no directory.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
