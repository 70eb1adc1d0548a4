//! The log against crashes: what may be cut is cut, what may not is refused.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, EntryPayload, RaftLogReader};
use proptest::prelude::*;

use super::LogStore;
use crate::StartError;
use crate::types::{Batch, Entry, LogId, Vote};
use crate::world::World;

const CLUSTER: u64 = 0xc0ffee;
const SEGMENT: u64 = 4096;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn entry(term: u64, index: u64) -> Entry {
    let bytes = vec![u8::try_from(index % 251).unwrap(); 50 + usize::try_from(index % 100).unwrap()];
    Entry {
        log_id: id(term, index),
        payload: EntryPayload::Normal(Batch(bytes.into())),
    }
}

fn open(dir: &Path) -> Result<LogStore, StartError> {
    LogStore::open(&World::real(), dir, CLUSTER, SEGMENT)
}

/// Writes entries, one sync each.
async fn fill(log: &mut LogStore, indices: std::ops::Range<u64>) {
    for index in indices {
        log.blocking_append([entry(1, index)]).await.unwrap();
    }
}

async fn indices(log: &mut LogStore) -> Vec<u64> {
    let entries = log.try_get_log_entries(..).await.unwrap();
    for found in &entries {
        assert_eq!(
            *found,
            entry(found.log_id.leader_id.term, found.log_id.index),
            "an entry came back changed"
        );
    }
    entries.iter().map(|entry| entry.log_id.index).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Changes a segment's bytes.
fn tamper(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Where the records of the last segment end.
fn used(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    let mut at = super::segment::HEADER;
    let number = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    while let Some(parsed) = super::record::parse(&bytes[at..], number) {
        at += parsed.length;
    }
    at
}

#[tokio::test]
async fn everything_comes_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    fill(&mut log, 0..100).await;
    log.save_vote(&Vote::new_committed(3, 7)).await.unwrap();
    log.truncate(id(1, 90)).await.unwrap();
    log.blocking_append((90..95).map(|index| entry(2, index)))
        .await
        .unwrap();
    log.purge(id(1, 40)).await.unwrap();
    log.save_committed(Some(id(2, 93))).await.unwrap();
    let before = indices(&mut log).await;
    assert_eq!(before, (41..95).collect::<Vec<_>>());
    log.close();
    assert!(segments(dir.path()).len() > 1, "the log has several segments");

    let mut log = open(dir.path()).unwrap();
    assert_eq!(indices(&mut log).await, before);
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(3, 7)));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(2, 93)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(id(1, 40)), Some(id(2, 94)))
    );
    log.purge(id(2, 94)).await.unwrap();
    log.close();
    assert_eq!(
        segments(dir.path()).len(),
        1,
        "segments without live entries are removed"
    );
    let mut log = open(dir.path()).unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(id(2, 94)), Some(id(2, 94)))
    );
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(3, 7)));
    log.blocking_append([entry(2, 95)]).await.unwrap();
    assert_eq!(indices(&mut log).await, [95]);
    log.close();
}

#[tokio::test]
async fn entries_out_of_the_cache_are_read_from_their_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(&World::real(), dir.path(), CLUSTER, 1 << 20).unwrap();
    let big = |index| Entry {
        log_id: id(1, index),
        payload: EntryPayload::Normal(Batch(vec![u8::try_from(index).unwrap(); 1 << 20].into())),
    };
    for index in 0..20 {
        log.blocking_append([big(index)]).await.unwrap();
    }
    assert_eq!(
        log.try_get_log_entries(0..20).await.unwrap(),
        (0..20).map(big).collect::<Vec<_>>()
    );
    assert_eq!(
        log.limited_get_log_entries(3, 20).await.unwrap().len(),
        4,
        "about 4 MiB at once"
    );
    log.close();
}

#[tokio::test]
async fn a_snapshot_ahead_of_the_log_leaves_no_hole() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    fill(&mut log, 0..10).await;
    log.purge(id(5, 1000)).await.unwrap();
    log.blocking_append([entry(5, 1001)]).await.unwrap();
    log.close();
    let mut log = open(dir.path()).unwrap();
    assert_eq!(indices(&mut log).await, [1001]);
    log.close();
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_writing_goes_on() {
    for tear in ["half a record", "garbage", "a later part without an earlier one"] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogStore::open(&World::real(), dir.path(), CLUSTER, 1 << 20).unwrap();
        fill(&mut log, 0..10).await;
        log.close();
        let path = segments(dir.path()).pop().unwrap();
        let end = used(&path);
        // What a crash leaves of a write that was never synced: three entries in one batch.
        let mut batch = Vec::new();
        let mut lengths = Vec::new();
        for index in 10..13 {
            let record = super::record::Record::Entry(entry(1, index));
            lengths.push(super::record::encode(&mut batch, 1, end as u64, &record).unwrap());
        }
        let survivors = match tear {
            "half a record" => {
                batch.truncate(lengths[0] + 30);
                11
            }
            "garbage" => {
                batch.fill(0x5a);
                10
            }
            _ => {
                batch[..lengths[0]].fill(0);
                10
            }
        };
        tamper(&path, |bytes| {
            bytes[end..end + batch.len()].copy_from_slice(&batch)
        });
        let mut log = open(dir.path()).unwrap();
        assert_eq!(
            indices(&mut log).await,
            (0..survivors).collect::<Vec<_>>(),
            "{tear}"
        );
        fill(&mut log, survivors..20).await;
        log.close();
        let mut log = open(dir.path()).unwrap();
        assert_eq!(
            indices(&mut log).await,
            (0..20).collect::<Vec<_>>(),
            "{tear}, then more"
        );
        log.close();
    }
}

#[tokio::test]
async fn damage_to_what_was_synced_is_refused_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    fill(&mut log, 0..100).await;
    log.close();
    let paths = segments(dir.path());
    let refused = |path: &Path| match open(dir.path()).err() {
        Some(StartError::CorruptLog { file, offset, .. }) => {
            assert_eq!(file, path);
            offset
        }
        other => panic!("{other:?}"),
    };
    // A flipped bit, in an old segment and in the middle of the last one; a block that became zeros.
    for (path, at) in [(&paths[0], 1000), (paths.last().unwrap(), 200)] {
        let whole = std::fs::read(path).unwrap();
        tamper(path, |bytes| bytes[at] ^= 1);
        let offset = refused(path);
        assert!(
            offset <= at as u64 && offset + 300 > at as u64,
            "{offset} is not near {at}"
        );
        std::fs::write(path, &whole).unwrap();
        tamper(path, |bytes| bytes[at..at + 512].fill(0));
        refused(path);
        std::fs::write(path, &whole).unwrap();
    }
    // Another cluster's log, a segment that is gone, one that is cut short.
    assert!(matches!(
        LogStore::open(&World::real(), dir.path(), 1, SEGMENT).err(),
        Some(StartError::CorruptLog { .. })
    ));
    let whole = std::fs::read(&paths[1]).unwrap();
    std::fs::remove_file(&paths[1]).unwrap();
    assert_eq!(refused(&paths[1]), 0);
    std::fs::write(&paths[1], &whole[..2000]).unwrap();
    refused(&paths[1]);
    std::fs::write(&paths[1], &whole).unwrap();
    open(dir.path()).unwrap().close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However the last, unsynced write is torn, everything before it comes back, and nothing is made up.
    #[test]
    fn any_tear_of_the_last_write_is_survived(
        synced in 1u64..20,
        torn in 1u64..5,
        kept in proptest::collection::vec(any::<bool>(), 40),
        sector in prop_oneof![Just(8usize), Just(64), Just(512)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut log = LogStore::open(&World::real(), dir.path(), CLUSTER, 1 << 20).unwrap();
            fill(&mut log, 0..synced).await;
            log.close();
            let path = segments(dir.path()).pop().unwrap();
            let end = used(&path);
            let mut batch = Vec::new();
            for index in synced..synced + torn {
                let record = super::record::Record::Entry(entry(1, index));
                super::record::encode(&mut batch, 1, end as u64, &record).unwrap();
            }
            // Each sector of the disk either got the write or did not.
            tamper(&path, |bytes| {
                for (at, byte) in batch.iter().enumerate() {
                    let place = end + at;
                    if kept[(place / sector) % kept.len()] {
                        bytes[place] = *byte;
                    }
                }
            });
            let mut log = open(dir.path()).unwrap();
            let found = indices(&mut log).await;
            assert!(found.len() as u64 >= synced);
            assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
            log.close();
        });
    }

    /// The reader of records takes any bytes.
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Some(parsed) = super::record::parse(&bytes, 1) {
            let _ = super::record::decode(parsed.payload);
        }
    }
}
