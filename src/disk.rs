//! Files that appear whole or not at all, and whose turn it is to write them: for whoever keeps something in a directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a name ends in while its file is being written.
const UNFINISHED: &str = ".new";
/// What the name of a file ends in that was set aside.
pub const DAMAGED: &str = ".damaged";
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
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let file = open(&directory.join(name), &mut options)?;
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
        open(path, File::options().read(true))?.sync_all()?;
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

/// Opens a file of a directory of ours. Somebody else may have put something in its place: a link would lead elsewhere, and
/// a pipe would be waited at, so that anything but a plain file is an error of the kind `InvalidInput`.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let no = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    match options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(no("it is no plain file")),
        Err(why) => match why.raw_os_error() {
            Some(libc::ELOOP) => Err(no("it is a link, which is not followed")),
            // Of a pipe that nobody reads, and of a directory.
            Some(libc::ENXIO | libc::EISDIR) => Err(no("it is no plain file")),
            _ => Err(why),
        },
    }
}

/// Makes a file in place of what has that name, whatever that is, and leaves alone what a link leads to.
pub fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    File::create_new(path)
}

/// Gives what cannot be used another name, by which people find it.
pub fn set_aside(path: &Path) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(DAMAGED);
    fs::rename(path, aside)
}

/// The content of a file of a directory of ours, as [`open`] opens it; `None` if it is larger than `most`.
pub fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    content(&open(path, File::options().read(true))?, most)
}

/// The content of a file that a person has named, through links too, as a ConfigMap is mounted; `None` if it is larger
/// than `most`.
pub fn read_named(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
    }
    content(&file, most)
}

fn content(file: &File, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes)?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_put_in_the_place_of_a_file_is_neither_followed_nor_waited_for() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (at, theirs) = (|name: &str| directory.path().join(name), elsewhere.path().join("theirs"));
        std::fs::write(&theirs, "theirs").unwrap();
        symlink(&theirs, at("link")).unwrap();
        symlink(elsewhere.path().join("none"), at("dangling")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for name in ["link", "dangling", "directory", "pipe"] {
            let told = |outcome: io::Result<()>| outcome.unwrap_err().kind();
            assert_eq!(told(read(&at(name), 100).map(drop)), io::ErrorKind::InvalidInput, "{name}");
            let append = open(&at(name), File::options().append(true).create(true)).map(drop);
            assert_eq!(told(append), io::ErrorKind::InvalidInput, "{name}");
            let lock = Lock::take(directory.path(), name, Duration::ZERO, |_| false).map(drop);
            assert_eq!(told(lock), io::ErrorKind::InvalidInput, "{name}");
        }
        create_anew(&at("link")).unwrap().write_all(b"ours").unwrap();
        assert_eq!(std::fs::read(&theirs).unwrap(), b"theirs");
        assert_eq!(read(&at("link"), 4).unwrap(), Some(b"ours".to_vec()));
        assert_eq!(read(&at("link"), 3).unwrap(), None);
        assert!(!elsewhere.path().join("none").exists());
        symlink(at("link"), at("named")).unwrap();
        assert_eq!(read_named(&at("named"), 4).unwrap(), Some(b"ours".to_vec()));
        assert!(read_named(&at("pipe"), 4).is_err());
        set_aside(&at("dangling")).unwrap();
        assert!(std::fs::symlink_metadata(at("dangling.damaged")).unwrap().is_symlink());
    }
}
