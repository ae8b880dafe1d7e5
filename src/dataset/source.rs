//! The bytes of a recording: unpacked where they are packed, bounded, and with what stands between its cells.
//!
//! They are read piece by piece, so that a small file that unpacks to a huge one is refused before it fills the memory.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

/// How much of a file is taken before it is refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of a file, once unpacked.
    pub bytes: u64,
    /// Bytes between the ends of two rows.
    pub row: u64,
    /// Columns of the header.
    pub columns: usize,
    /// Bytes of memory that the rows take; see [`super::held`].
    pub held: usize,
}

impl Bounds {
    /// What a recording may have.
    pub(super) const USUAL: Self = Self {
        // A year of eight metrics every second has about so much text. What is longer has more rows than are held.
        bytes: 2 << 30,
        // 10 000 cells of 400 characters. A single cell that never ends is no recording.
        row: 4 << 20,
        // Five times the widest recordings that are known; every column is a signal with detectors of its own.
        columns: 10_000,
        // 2 000 columns every ten seconds for almost four days, or eight for one and a half years.
        held: 1 << 30,
    };
}

/// A bound that a file exceeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("has more than {0} bytes once unpacked, which is no recording; give several smaller files")]
    Bytes(u64),
    #[error(
        "has a row of more than {0} bytes, which is no recording; look for a quote that is not closed, or give another file"
    )]
    Row(u64),
}

/// Fails where more is read than may be.
pub(super) struct Bounded<R> {
    inner: R,
    bounds: Bounds,
    bytes: u64,
    of_row: u64,
}

impl<R> Bounded<R> {
    /// A row has ended.
    pub(super) fn end_row(&mut self) {
        self.of_row = 0;
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        self.of_row += count as u64;
        if self.bytes > self.bounds.bytes {
            return Err(io::Error::other(Exceeded::Bytes(self.bounds.bytes)));
        }
        if self.of_row > self.bounds.row {
            return Err(io::Error::other(Exceeded::Row(self.bounds.row)));
        }
        Ok(count)
    }
}

/// Bytes from wherever.
pub(super) type Bytes<'a> = Box<dyn Read + 'a>;

/// A recording from its header on.
pub(super) struct Source<'a> {
    pub bytes: Bounded<Chain<Cursor<Vec<u8>>, BufReader<Bytes<'a>>>>,
    /// Between two cells.
    pub separator: u8,
    /// Lines before the header that belong to no row.
    pub skipped: u64,
}

/// Why there is no source.
#[derive(Debug)]
pub(super) enum NoSource {
    /// It cannot be read.
    Unread(io::Error),
    /// Its first line makes no sense.
    Refused(String),
}

impl From<io::Error> for NoSource {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

/// What `bytes` unpack to; themselves if they are not packed.
pub(super) fn unpacked<'a>(mut bytes: impl Read + 'a) -> io::Result<Bytes<'a>> {
    let mut magic = Vec::new();
    bytes.by_ref().take(2).read_to_end(&mut magic)?;
    let is_packed = magic == [0x1f, 0x8b];
    let whole = Cursor::new(magic).chain(bytes);
    if is_packed {
        return Ok(Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(whole))));
    }
    Ok(Box::new(whole))
}

/// Reads up to the header, to see what stands between the cells.
pub(super) fn source(bytes: Bytes<'_>, bounds: Bounds) -> Result<Source<'_>, NoSource> {
    let mut rest = BufReader::new(bytes);
    let mut line = |begun: &mut Vec<u8>| {
        let before = begun.len();
        rest.by_ref().take(bounds.row).read_until(b'\n', begun)?;
        Ok::<_, io::Error>(begun.len() - before)
    };
    let mut begun = Vec::new();
    line(&mut begun)?;
    if begun.starts_with(b"\xef\xbb\xbf") {
        begun.drain(..3);
    }
    let named = named(&begun).transpose().map_err(NoSource::Refused)?;
    if named.is_some() {
        begun.clear();
        line(&mut begun)?;
    }
    // Empty lines are none of the table's.
    while begun.len() < bounds.row as usize && begun.trim_ascii().is_empty() && line(&mut begun)? > 0 {}
    let separator = named.unwrap_or_else(|| seen(&begun));
    let inner = Cursor::new(begun).chain(rest);
    let bytes = Bounded { inner, bounds, bytes: 0, of_row: 0 };
    Ok(Source { bytes, separator, skipped: u64::from(named.is_some()) })
}

/// The separator that a line such as `sep=;` names, as spreadsheets write it above the header.
fn named(line: &[u8]) -> Option<Result<u8, String>> {
    let end = line.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    let line = &line[..end];
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let name = line.split_at_checked(4).filter(|(key, _)| key.eq_ignore_ascii_case(b"sep="))?.1;
    let may_separate = |byte: u8| {
        byte == b'\t' || byte == b' ' || byte.is_ascii_punctuation() && !b"\"'.+-_".contains(&byte)
    };
    Some(match name {
        [separator] if may_separate(*separator) => Ok(*separator),
        _ => Err(format!(
            "line 1: {} names no separator; give one character after sep=, such as ; or , or | or a tab",
            String::from_utf8_lossy(line).escape_debug()
        )),
    })
}

/// The separator of a header line that nothing is said of: the comma, where that makes more than one column; else the tab,
/// else the semicolon, where those do.
fn seen(header: &[u8]) -> u8 {
    let is_in = |separator: &u8| {
        let mut is_quoted = false;
        header.iter().any(|byte| {
            is_quoted ^= *byte == b'"';
            !is_quoted && byte == separator
        })
    };
    [b',', b'\t', b';'].into_iter().find(is_in).unwrap_or(b',')
}
