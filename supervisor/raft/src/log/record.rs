//! One record of the log, as bytes. The layout stands in the module's head.

use serde::{Deserialize, Serialize};

use crate::types::{Entry, LogId, Vote};

/// Bytes before the payload.
pub(super) const HEAD: usize = 24;
/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;
/// Longest payload that is believed; more is damage.
const LONGEST: usize = 256 << 20;

/// What a record says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// All that is not entries, at the head of a segment.
    State(Standing),
    /// An entry; its index follows the last one's.
    Entry(Entry),
    /// A new vote.
    Vote(Vote),
    /// Entries up to this one are committed.
    Committed(Option<LogId>),
    /// Entries from this index on are no more.
    Truncate(u64),
    /// Entries up to this one are no longer needed.
    Purge(LogId),
}

/// What the log knows besides entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<LogId>,
}

/// A record that checks, found in a segment.
#[derive(Debug)]
pub(super) struct Parsed<'b> {
    /// Offset up to which the segment was on disk before this record was written.
    pub synced: u64,
    /// The postcard form of a [`Record`].
    pub payload: &'b [u8],
    /// Bytes it takes, padding included.
    pub length: usize,
}

/// Appends a record; gives its length.
pub(super) fn encode(
    out: &mut Vec<u8>,
    segment: u64,
    synced: u64,
    record: &Record,
) -> Result<usize, postcard::Error> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let taken = std::mem::take(out);
    *out = postcard::to_extend(record, taken)?;
    let payload = out.len() - start - HEAD;
    out.resize(start + padded(payload), 0);
    let length = u32::try_from(payload).map_err(|_| postcard::Error::SerializeBufferFull)?;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out[start + 8..start + 16].copy_from_slice(&synced.to_le_bytes());
    let sum = checksum(segment, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    Ok(out.len() - start)
}

/// Reads the record at the head of `bytes`; `None` if none that checks stands there.
pub(super) fn parse(bytes: &[u8], segment: u64) -> Option<Parsed<'_>> {
    let head = bytes.get(..HEAD)?;
    let payload = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
    if payload == 0 || payload > LONGEST {
        return None;
    }
    let length = padded(payload);
    let whole = bytes.get(..length)?;
    if checksum(segment, &whole[4..]).to_le_bytes() != head[..4] {
        return None;
    }
    let synced = u64::from_le_bytes(head[8..16].try_into().ok()?);
    Some(Parsed {
        synced,
        payload: &whole[HEAD..HEAD + payload],
        length,
    })
}

/// The record a payload holds.
pub(super) fn decode(payload: &[u8]) -> Result<Record, postcard::Error> {
    postcard::from_bytes(payload)
}

/// A record's length for a payload's.
fn padded(payload: usize) -> usize {
    (HEAD + payload).next_multiple_of(ALIGN)
}

fn checksum(segment: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), bytes)
}
