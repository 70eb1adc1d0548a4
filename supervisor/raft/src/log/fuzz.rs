//! The readers of the log as functions of bytes alone, for tests/fuzz: whatever a disk did to a segment must end in an
//! answer, never in a panic, and never in a record that nobody wrote.

use super::record::{self, Record, Standing};
use super::recover;
use super::segment::{self, HEADER};
use super::shared::{Index, Place};
use crate::types::{Batch, Entry, LogId};

/// The segment and the cluster all of this is about.
const NUMBER: u64 = 1;
const CLUSTER: u64 = 1;

/// A sound segment with an entry for each of `batches`.
pub fn segment(batches: &[&[u8]]) -> Vec<u8> {
    let mut bytes = segment::header(NUMBER, CLUSTER).to_vec();
    let mut records = vec![Record::State(Standing::default())];
    for (at, batch) in batches.iter().enumerate() {
        records.push(Record::Entry(Entry {
            log_id: LogId::new(openraft::CommittedLeaderId::new(1, 1), at as u64 + 1),
            payload: openraft::EntryPayload::Normal(Batch(bytes::Bytes::copy_from_slice(batch))),
        }));
    }
    for record in &records {
        let synced = bytes.len() as u64;
        // Encoding fails on what is longer than 4 GiB only.
        let _ = record::encode(&mut bytes, NUMBER, synced, record);
    }
    bytes
}

/// Reads a segment as opening the log does: its records in their debug form.
///
/// # Errors
/// What is wrong with it.
pub fn read_segment(bytes: &[u8]) -> Result<Vec<String>, String> {
    segment::check_header(bytes, NUMBER, CLUSTER)?;
    let mut index = Index::default();
    let mut read = Vec::new();
    let mut at = HEADER;
    while let Some(parsed) = record::parse(&bytes[at..], NUMBER) {
        let record = record::decode(parsed.payload).map_err(|error| error.to_string())?;
        read.push(format!("{record:?}"));
        let place = Place {
            segment: NUMBER,
            offset: at as u64,
            length: u32::try_from(parsed.length).map_err(|error| error.to_string())?,
        };
        recover::take(&mut index, record, place)?;
        at += parsed.length;
    }
    if let Some(behind) = recover::proof_of_sync(bytes, at, NUMBER) {
        return Err(format!("byte {at} is damaged, says byte {behind}"));
    }
    Ok(read)
}

/// Decodes a record whose checksum is right, whatever its payload is; gives it in its debug form, and in that of its
/// encoding read again.
pub fn read_payload(payload: &[u8]) -> Option<(String, String)> {
    let record = record::decode(payload).ok()?;
    let mut bytes = Vec::new();
    record::encode(&mut bytes, NUMBER, 0, &record).ok()?;
    let again = record::parse(&bytes, NUMBER).and_then(|parsed| record::decode(parsed.payload).ok());
    Some((
        format!("{record:?}"),
        again.map_or_else(String::new, |again| format!("{again:?}")),
    ))
}
