//! What readers and the writer of the log share: where each entry lies, and the latest ones themselves.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::record::{self, Record, Standing};
use crate::disk::File;
use crate::observe::Sight;
use crate::types::{Entry, LogId};

/// How many bytes of entries are kept in memory for followers and the state machine.
const CACHE_BYTES: usize = 8 << 20;

/// Where an entry's record lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub segment: u64,
    pub offset: u64,
    pub length: u32,
}

/// An entry of the log.
struct Slot {
    log_id: LogId,
    /// `None` until written.
    place: Option<Place>,
    /// `None` once it has left the cache; never without a place.
    entry: Option<Entry>,
}

/// The log's state in memory.
#[derive(Default)]
pub(super) struct Index {
    pub standing: Standing,
    /// The index of `slots[0]`.
    first: u64,
    slots: VecDeque<Slot>,
    /// Slots before this position are out of the cache.
    cached_from: usize,
    cached_bytes: usize,
    pub files: BTreeMap<u64, Arc<dyn File>>,
}

/// The index behind its lock, and what is told without it.
#[derive(Default)]
pub(super) struct Shared {
    index: Mutex<Index>,
    /// Set while the disk is full.
    pub no_space: AtomicBool,
    /// Set to make a writer that waits for room give up.
    pub stopping: AtomicBool,
    /// Who is told of writes and syncs, once there is somebody.
    pub sight: OnceLock<Sight>,
}

impl Shared {
    pub fn new(index: Index) -> Shared {
        Shared {
            index: Mutex::new(index),
            ..Shared::default()
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Index> {
        // Nothing panics while it holds the lock half-way through a change.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

fn weight(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        openraft::EntryPayload::Normal(batch) => batch.0.len(),
        _ => 256,
    };
    payload + 128
}

impl Index {
    /// The last entry's id, or the last purged one's when there is none.
    pub fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.log_id).or(self.standing.purged)
    }

    /// The index the next entry must have; `None` when any may come.
    pub fn next(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// One past the last entry's index.
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    fn position(&self, index: u64) -> Option<usize> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        (at < self.slots.len()).then_some(at)
    }

    /// Adds an entry at the end; false if it would leave a hole.
    pub fn push(&mut self, entry: Entry, place: Option<Place>) -> bool {
        if entry.log_id.index != self.next() {
            return false;
        }
        if self.slots.is_empty() {
            self.first = entry.log_id.index;
            self.cached_from = 0;
        }
        self.cached_bytes += weight(&entry);
        self.slots.push_back(Slot {
            log_id: entry.log_id,
            place,
            entry: Some(entry),
        });
        self.evict();
        true
    }

    /// As [`Index::push`] while the log is read back: where no entry stands yet, older segments with the ones before may
    /// have been removed, which [`Index::hole`] checks at the end.
    pub fn restore(&mut self, entry: Entry, place: Place) -> bool {
        if self.slots.is_empty() && entry.log_id.index >= self.next() {
            self.first = entry.log_id.index;
            self.cached_from = 0;
            self.cached_bytes = weight(&entry);
            self.slots.push_back(Slot {
                log_id: entry.log_id,
                place: Some(place),
                entry: Some(entry),
            });
            return true;
        }
        self.push(entry, Some(place))
    }

    /// The first index that should be there and is not, with the segment that begins behind it.
    pub fn hole(&self) -> Option<(u64, u64)> {
        let due = self.standing.purged.map_or(0, |purged| purged.index + 1);
        let segment = self
            .slots
            .front()
            .and_then(|slot| slot.place)
            .map(|place| place.segment)?;
        (self.first != due).then_some((due, segment))
    }

    /// Says where an entry came to lie, unless it has been truncated since.
    pub fn written(&mut self, log_id: LogId, place: Place) {
        if let Some(at) = self.position(log_id.index)
            && self.slots[at].log_id == log_id
        {
            self.slots[at].place = Some(place);
        }
    }

    fn evict(&mut self) {
        while self.cached_bytes > CACHE_BYTES && self.cached_from < self.slots.len() {
            let slot = &mut self.slots[self.cached_from];
            if slot.place.is_none() {
                break;
            }
            if let Some(entry) = slot.entry.take() {
                self.cached_bytes -= weight(&entry);
            }
            self.cached_from += 1;
        }
    }

    /// Removes entries from `since` on.
    pub fn truncate(&mut self, since: u64) {
        while self.end() > since
            && let Some(slot) = self.slots.pop_back()
        {
            self.cached_bytes -= slot.entry.as_ref().map_or(0, weight);
        }
        self.cached_from = self.cached_from.min(self.slots.len());
    }

    /// Removes entries up to `upto`.
    pub fn purge(&mut self, upto: LogId) {
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.log_id.index <= upto.index)
        {
            if let Some(slot) = self.slots.pop_front() {
                self.cached_bytes -= slot.entry.as_ref().map_or(0, weight);
            }
            self.first += 1;
            self.cached_from = self.cached_from.saturating_sub(1);
        }
        if self
            .standing
            .purged
            .is_none_or(|purged| purged.index < upto.index)
        {
            self.standing.purged = Some(upto);
        }
    }

    /// The first segment that is still needed for entries.
    pub fn first_needed_segment(&self) -> Option<u64> {
        self.slots
            .front()
            .and_then(|slot| slot.place)
            .map(|place| place.segment)
    }
}

/// Reads entries of `[start, end)`, as many as there are without a gap, until their bytes reach `limit`; at least one if
/// there is one.
pub(super) fn read(shared: &Shared, start: u64, end: u64, limit: usize) -> io::Result<Vec<Entry>> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut at = start.max(shared.lock().first);
    while at < end && (bytes < limit || found.is_empty()) {
        let place = {
            let index = shared.lock();
            let Some(position) = index.position(at) else { break };
            let slot = &index.slots[position];
            match (&slot.entry, slot.place) {
                (Some(entry), _) => {
                    bytes += weight(entry);
                    found.push(entry.clone());
                    at += 1;
                    continue;
                }
                (None, Some(place)) => index.files.get(&place.segment).cloned().map(|file| (file, place)),
                (None, None) => None,
            }
        };
        let Some((file, place)) = place else {
            return Err(io::Error::other(format!("entry {at} lies nowhere")));
        };
        let entry = read_at(&*file, place)?;
        bytes += weight(&entry);
        found.push(entry);
        at += 1;
    }
    Ok(found)
}

fn read_at(file: &dyn File, place: Place) -> io::Result<Entry> {
    let mut bytes = vec![0; place.length as usize];
    file.read_exact_at(&mut bytes, place.offset)?;
    let damaged = |cause: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "log segment {} is damaged at byte {}: {cause}",
                place.segment, place.offset
            ),
        )
    };
    let parsed = record::parse(&bytes, place.segment).ok_or_else(|| damaged("a record does not check"))?;
    match record::decode(parsed.payload) {
        Ok(Record::Entry(entry)) => Ok(entry),
        Ok(_) => Err(damaged("no entry stands there")),
        Err(e) => Err(damaged(&e.to_string())),
    }
}
