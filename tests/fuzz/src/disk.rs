//! What a disk gives back: segments of the log, records in them, snapshots.

use corten_raft::fuzz;
use corten_store::tables::Table;

/// Batches of the segment that is damaged.
const BATCHES: &[&[u8]] = &[b"one", b"", &[0; 40], b"four", &[0xff; 100]];

/// Changes of a sound segment: triples of an offset (two bytes) and what is XORed onto the byte there.
pub fn segment_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![], fuzz::segment(BATCHES)];
    for offset in [0u16, 8, 24, 32, 36, 40, 100, 200, 300] {
        let [low, high] = offset.to_le_bytes();
        seeds.push(vec![low, high, 1]);
    }
    seeds
}

/// A damaged segment is refused, or gives the records that were written up to some point, never others. Whatever the
/// bytes, reading them ends.
pub fn segment(data: &[u8]) {
    let _ = fuzz::read_segment(data); // must only end
    let sound = fuzz::segment(BATCHES);
    let written = fuzz::read_segment(&sound).expect("a sound segment is read");
    let mut damaged = sound.clone();
    for edit in data.chunks_exact(3) {
        let offset = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        match damaged.get_mut(offset) {
            Some(byte) => *byte ^= edit[2],
            None => damaged.truncate(offset % (sound.len() + 1)),
        }
    }
    if let Ok(read) = fuzz::read_segment(&damaged) {
        assert!(
            written.starts_with(&read),
            "{read:?}\nis no beginning of\n{written:?}"
        );
    }
}

/// Payloads of records.
pub fn record_seeds() -> Vec<Vec<u8>> {
    let sound = fuzz::segment(BATCHES);
    let mut seeds = vec![];
    let mut at = 32;
    while at + 24 <= sound.len() {
        let length =
            u32::from_le_bytes([sound[at + 4], sound[at + 5], sound[at + 6], sound[at + 7]]) as usize;
        seeds.push(sound[at + 24..at + 24 + length].to_vec());
        at += (24 + length).next_multiple_of(8);
    }
    seeds
}

/// A payload whose checksum is right is a record or none; a record is the same once written and read again.
pub fn record(data: &[u8]) {
    if let Some((read, again)) = fuzz::read_payload(data) {
        assert_eq!(read, again);
    }
}

const ROWS: &[(Table, &[u8], &[u8])] = &[
    (Table::V2Auth, b"a", b"1"),
    (Table::V2Auth, b"b", &[7; 300]),
    (Table::V2Auth, b"", b""),
];

/// A snapshot's head and its first block, lengths in front (two bytes each), and changes as in [`segment_seeds`].
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let sound = fuzz::snapshot(ROWS);
    let meta = u32::from_le_bytes([sound[16], sound[17], sound[18], sound[19]]) as usize;
    let rows = &sound[24 + meta + 8..];
    let mut seed = vec![];
    for part in [&sound[24..24 + meta], &rows[..rows.len() - 16]] {
        seed.extend_from_slice(&(part.len() as u16).to_le_bytes());
        seed.extend_from_slice(part);
    }
    vec![vec![], seed, sound]
}

/// A snapshot is refused, or its rows are counted rightly; whatever its blocks hold, with right checksums, reading ends. A
/// changed byte is seen.
pub fn snapshot(data: &[u8]) {
    let _ = fuzz::read_snapshot(data); // must only end
    let (meta, rest) = part(data);
    let (rows, edits) = part(rest);
    let mut made = fuzz::beginning();
    made.extend(fuzz::block(meta));
    made.extend(fuzz::block(rows));
    let _ = fuzz::read_snapshot(&made); // must only end
    let sound = fuzz::snapshot(ROWS);
    assert_eq!(fuzz::read_snapshot(&sound), Ok(ROWS.len() as u64));
    let mut damaged = sound.clone();
    for edit in edits.chunks_exact(3) {
        let offset = usize::from(u16::from_le_bytes([edit[0], edit[1]]));
        match damaged.get_mut(offset) {
            Some(byte) => *byte ^= edit[2],
            None => damaged.truncate(offset % (sound.len() + 1)),
        }
    }
    if damaged != sound {
        assert!(fuzz::read_snapshot(&damaged).is_err(), "damage was not seen");
    }
}

/// A length of two bytes and so many bytes, as far as there are.
fn part(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = data.split_at_checked(2) else {
        return (&[], &[]);
    };
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    rest.split_at(length.min(rest.len()))
}
