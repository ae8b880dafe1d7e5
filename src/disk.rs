//! Files that appear whole or not at all, and whose turn it is to write them: for whoever keeps something in a directory.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a name ends in while its file is being written.
const UNFINISHED: &str = ".new";
/// How often a turn is asked for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What became of a file to be written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    New,
    /// Its name has been in use.
    Taken,
}

/// The turn to write into a directory, until it is dropped or the process dies.
pub struct Lock {
    directory: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for the turn, which is `None` if it does not come within `patience`; makes the directory, and clears away what
    /// writers before have left unfinished. The lock is a file called `name`; what is to be written are files that `is_ours`
    /// says yes to, and nothing else is touched.
    pub fn take(
        directory: &Path,
        name: &str,
        patience: Duration,
        is_ours: impl Fn(&str) -> bool,
    ) -> io::Result<Option<Self>> {
        fs::create_dir_all(directory)?;
        let file = File::options().create(true).truncate(false).write(true).open(directory.join(name))?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => std::thread::sleep(LOOK_AGAIN),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(why)) => return Err(why),
            }
        }
        for name in names(directory)? {
            if name.strip_suffix(UNFINISHED).is_some_and(&is_ours) {
                fs::remove_file(directory.join(name))?;
            }
        }
        Ok(Some(Self { directory: directory.to_owned(), _file: file }))
    }

    /// Writes a file that has not been there.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<Written> {
        if path.try_exists()? {
            return Ok(Written::Taken);
        }
        match self.replace(path, bytes) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(Written::Taken),
            done => done.map(|()| Written::New),
        }
    }

    /// Writes a file in place of what is there, on the disk when this returns.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        put(path, bytes, File::sync_all)?;
        self.sync()
    }

    /// Writes a file in place of what is there, in the hands of the system when this returns: it outlives the process,
    /// but not a loss of power before [`Lock::settle`].
    pub fn replace_quickly(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        put(path, bytes, |_| Ok(()))
    }

    /// Brings a file that was written quickly to the disk.
    pub fn settle(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()?;
        self.sync()
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

/// Writes under another name, and renames once `finish` is content.
fn put(path: &Path, bytes: &[u8], finish: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let mut file = File::create_new(&unfinished)?;
    let finished =
        file.write_all(bytes).and_then(|()| finish(&file)).and_then(|()| fs::rename(&unfinished, path));
    if finished.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    finished
}

/// The content of a plain file; `None` if it is larger than `most`.
pub fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    // Asked before it is opened: a pipe would be waited at.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok((read as u64 <= most).then_some(bytes))
}

/// The names in a directory, in no order; none if there is no directory.
pub fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
