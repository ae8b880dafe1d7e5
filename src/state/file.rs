//! Sections of bytes in one file.
//!
//! ```text
//! DWCPSTAT  format u32  CRC-32 of all that follows  sequence u64  then for each section: length u64  the section
//! ```
//!
//! Numbers are little-endian. Every flipped bit and every cut is found by the checksum.

const MAGIC: [u8; 8] = *b"DWCPSTAT";
/// Raised whenever the sections are laid out otherwise.
const FORMAT: u32 = 1;
/// Bytes a file may have.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// Why bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Begins otherwise.
    #[error("it is none of this program's files")]
    Foreign,
    /// Of another time.
    #[error("it has format {0}, and this program reads {FORMAT}")]
    Format(u32),
    /// Not what was written.
    #[error("it is damaged: its checksum does not fit")]
    Damaged,
    /// Sound, and yet.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Not to be held.
    #[error("it has more than {MOST_BYTES} bytes")]
    TooLarge,
}

/// Where the checksum is, and what it is of.
const CHECKSUM: std::ops::Range<usize> = 12..16;

/// A file in the making: one buffer, so that a large window is not held twice.
pub(super) struct Sections(Vec<u8>);

impl Sections {
    pub(super) fn new(sequence: u64) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&sequence.to_le_bytes());
        Self(bytes)
    }

    /// Adds the section that `write` appends to the buffer.
    pub(super) fn write<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let length = self.0.len();
        self.0.extend_from_slice(&[0; 8]);
        let begin = self.0.len();
        write(&mut self.0)?;
        let written = (self.0.len() - begin) as u64;
        self.0[length..begin].copy_from_slice(&written.to_le_bytes());
        Ok(())
    }

    /// Adds a section.
    pub(super) fn add(&mut self, section: &[u8]) {
        self.0.extend_from_slice(&(section.len() as u64).to_le_bytes());
        self.0.extend_from_slice(section);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.0[CHECKSUM.end..]);
        self.0[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        self.0
    }
}

/// The sequence and the sections.
pub(super) fn decode(bytes: &[u8]) -> Result<(u64, Vec<&[u8]>), Refusal> {
    let mut rest = bytes;
    if take(&mut rest) != Some(MAGIC) {
        let is_cut = MAGIC.starts_with(bytes);
        return Err(if is_cut { Refusal::Damaged } else { Refusal::Foreign });
    }
    let number = |rest: &mut &[u8]| take(rest).map(u32::from_le_bytes).ok_or(Refusal::Damaged);
    let format = number(&mut rest)?;
    if format != FORMAT {
        return Err(Refusal::Format(format));
    }
    if number(&mut rest)? != crc32fast::hash(rest) {
        return Err(Refusal::Damaged);
    }
    sections(rest).ok_or(Refusal::Damaged)
}

fn sections(mut rest: &[u8]) -> Option<(u64, Vec<&[u8]>)> {
    let sequence = take(&mut rest).map(u64::from_le_bytes)?;
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let length = take(&mut rest).map(u64::from_le_bytes)?;
        let (section, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        sections.push(section);
        rest = after;
    }
    Some((sequence, sections))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let sections = [b"about".to_vec(), Vec::new(), (0..=255).collect()];
        let mut file = Sections::new(7);
        file.add(&sections[0]);
        file.add(&sections[1]);
        let third = |bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(&sections[2]);
            Ok::<(), ()>(())
        };
        file.write(third).unwrap();
        let sound = file.finish();
        let (sequence, read) = decode(&sound).unwrap();
        assert_eq!((sequence, read), (7, sections.iter().map(Vec::as_slice).collect()));
        for length in 0..sound.len() {
            assert_eq!(decode(&sound[..length]), Err(Refusal::Damaged), "cut to {length}");
        }
        for bit in 0..8 * sound.len() {
            let mut flipped = sound.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
        assert!(decode(&[sound, vec![0]].concat()).is_err(), "a byte too many");
    }
}
