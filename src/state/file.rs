//! Sections of bytes in one file.
//!
//! ```text
//! DWCPSTAT  format u32  CRC-32 of all that follows  sequence u64  sections u32  length u64 of each  the sections
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

pub(super) fn encode(sequence: u64, sections: &[Vec<u8>]) -> Vec<u8> {
    let payload: usize = sections.iter().map(Vec::len).sum();
    let mut bytes = Vec::with_capacity(28 + 8 * sections.len() + payload);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    for section in sections {
        bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
    }
    sections.iter().for_each(|section| bytes.extend_from_slice(section));
    let checksum = crc32fast::hash(&bytes[16..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
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
    let count = take(&mut rest).map(u32::from_le_bytes)?;
    let lengths: Option<Vec<u64>> = (0..count).map(|_| take(&mut rest).map(u64::from_le_bytes)).collect();
    let mut sections = Vec::new();
    for length in lengths? {
        let (section, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        sections.push(section);
        rest = after;
    }
    rest.is_empty().then_some((sequence, sections))
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
        let sound = encode(7, &sections);
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
