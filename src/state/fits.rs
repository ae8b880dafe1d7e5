//! When fits took effect, as lines of JSON: what a replay of the same checks needs to say the same.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::disk::{self, Lock};
use crate::engine::held::Taken;

/// What the file is called.
pub(super) const NAME: &str = "fits.jsonl";
/// Bytes of it at most, ten thousand fits or so; when there are more, the older half is dropped.
const MOST_BYTES: u64 = 2 << 20;

/// Adds lines, each whole: one that an earlier process has not finished is ended first.
pub(super) fn note(path: &Path, lock: &Lock, taken: &[Taken]) -> io::Result<()> {
    let mut options = File::options();
    options.create(true).read(true).append(true);
    let mut file = match disk::open(path, &mut options) {
        Err(why) if why.kind() == io::ErrorKind::InvalidInput => {
            disk::set_aside(path)?;
            disk::open(path, &mut options)?
        }
        opened => opened?,
    };
    let length = file.seek(SeekFrom::End(0))?;
    let mut text = String::new();
    if !ends_a_line(&mut file, length)? {
        text.push('\n');
    }
    for one in taken {
        text.push_str(&serde_json::to_string(one)?);
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    if length + text.len() as u64 > MOST_BYTES { halve(path, lock) } else { Ok(()) }
}

fn ends_a_line(file: &mut File, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn halve(path: &Path, lock: &Lock) -> io::Result<()> {
    // What is far larger is not ours, and nothing of it is kept.
    let text = disk::read(path, 2 * MOST_BYTES)?.unwrap_or_default();
    let half = &text[text.len() / 2..];
    let rest = half.iter().position(|byte| *byte == b'\n').map_or(&[][..], |at| &half[at + 1..]);
    lock.replace(path, rest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::detect::fit_tasks::Kind;
    use crate::series::{Labels, Timestamp};

    fn taken(check: u64) -> Taken {
        let target = Labels::new([("instance", "a \"b\""), ("job", "node")]);
        let at = Timestamp::from_millis(1_700_000_000_000);
        Taken { target, model: Kind::LstmAutoencoder, asked: check, effective: check + 40, at }
    }

    fn lines(path: &Path) -> Vec<Taken> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn lines_are_added_and_a_torn_one_spoils_no_other() {
        let place = tempfile::tempdir().unwrap();
        let lock = Lock::take(place.path(), "lock", Duration::ZERO, |_| false).unwrap().unwrap();
        let path = place.path().join(NAME);
        note(&path, &lock, &[taken(1), taken(2)]).unwrap();
        let line = r#"{"target":{"instance":"a \"b\"","job":"node"},"model":"lstm_autoencoder","asked":1,"effective":41,"at":1700000000000}"#;
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(line));
        File::options().append(true).open(&path).unwrap().write_all(b"{\"target\":").unwrap();
        note(&path, &lock, &[taken(3)]).unwrap();
        assert_eq!(lines(&path), [taken(1), taken(2), taken(3)]);
    }

    #[test]
    fn the_older_half_goes_when_there_are_too_many() {
        let place = tempfile::tempdir().unwrap();
        let lock = Lock::take(place.path(), "lock", Duration::ZERO, |_| false).unwrap().unwrap();
        let path = place.path().join(NAME);
        for hundred in 0..400_u64 {
            let many: Vec<Taken> = (0..100).map(|nth| taken(100 * hundred + nth)).collect();
            note(&path, &lock, &many).unwrap();
            assert!(std::fs::metadata(&path).unwrap().len() <= MOST_BYTES);
        }
        let kept = lines(&path);
        assert!(kept.len() > 5000 && kept.last() == Some(&taken(39_999)), "{}", kept.len());
        assert!(kept.windows(2).all(|two| two[0].asked + 1 == two[1].asked), "none is missing between");
    }
}
