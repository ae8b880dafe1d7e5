//! One version as bytes.
//!
//! ```text
//! DWCPMODL  format u32  header's length u32  payload's length u64  header as JSON  payload  CRC-32 of all before it
//! ```
//!
//! Numbers are little-endian. Every single flipped bit and every cut is found, by the checksum or by the lengths.

use std::ops::Range;

use super::Metadata;

const MAGIC: [u8; 8] = *b"DWCPMODL";
/// Raised whenever the models in it are laid out otherwise: they would be misread.
const FORMAT: u32 = 3;
const PREAMBLE: usize = MAGIC.len() + 4 + 4 + 8;
const CHECKSUM: usize = 4;
/// Bytes a file may have.
pub(super) const MOST_BYTES: u64 = 256 << 20;

/// Why bytes are no sound version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Begins otherwise.
    #[error("is no model of this program; remove it from the directory")]
    Foreign,
    /// Of another time.
    #[error("has format {0}, and this program reads {FORMAT}; run the program that wrote it, or train again")]
    Format(u32),
    /// Shorter or longer than it says.
    #[error("has {is} bytes where it should have {should}; remove it, and roll back or train again")]
    Length {
        /// What there is.
        is: u64,
        /// What it says there should be; at least.
        should: u64,
    },
    /// The checksum is of other bytes.
    #[error("is damaged: its checksum does not fit; remove it, and roll back or train again")]
    Checksum,
    /// The checksum fits, and yet.
    #[error("has a header that cannot be read: {0}; run the program that wrote it, or train again")]
    Header(String),
    /// Not to be held.
    #[error("has more than {MOST_BYTES} bytes; train with fewer metrics or smaller models")]
    TooLarge,
    /// Only of the file `current`.
    #[error("names no version; name one by `models rollback`")]
    NamesNothing,
}

/// The bytes of a version: the same for the same.
pub(super) fn encode(metadata: &Metadata, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
    let header = serde_json::to_vec(metadata).map_err(|error| Refusal::Header(error.to_string()))?;
    let length = whole(header.len() as u64, payload.len() as u64);
    if length > MOST_BYTES {
        return Err(Refusal::TooLarge);
    }
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

/// What a version says of itself, and where in `bytes` its payload is.
pub(super) fn decode(bytes: &[u8]) -> Result<(Metadata, Range<usize>), Refusal> {
    let known = MAGIC.len().min(bytes.len());
    if bytes[..known] != MAGIC[..known] {
        return Err(Refusal::Foreign);
    }
    let is = bytes.len() as u64;
    let (header, payload) = lengths(bytes)?.ok_or(Refusal::Length { is, should: whole(0, 0) })?;
    let should = whole(header, payload);
    if is != should {
        return Err(Refusal::Length { is, should });
    }
    let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else {
        return Err(Refusal::Checksum);
    };
    if crc32fast::hash(content).to_le_bytes() != *checksum {
        return Err(Refusal::Checksum);
    }
    let begin = PREAMBLE + header as usize;
    let metadata = serde_json::from_slice(&content[PREAMBLE..begin]);
    Ok((metadata.map_err(|error| Refusal::Header(error.to_string()))?, begin..content.len()))
}

/// Those of header and payload; `None` if the bytes end before.
fn lengths(bytes: &[u8]) -> Result<Option<(u64, u64)>, Refusal> {
    let mut rest = bytes.get(MAGIC.len()..).unwrap_or_default();
    match take(&mut rest).map(u32::from_le_bytes) {
        None => return Ok(None),
        Some(FORMAT) => {}
        Some(format) => return Err(Refusal::Format(format)),
    }
    let header = take(&mut rest).map(u32::from_le_bytes);
    let payload = take(&mut rest).map(u64::from_le_bytes);
    Ok(header.map(u64::from).zip(payload))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn whole(header: u64, payload: u64) -> u64 {
    ((PREAMBLE + CHECKSUM) as u64).saturating_add(header).saturating_add(payload)
}
