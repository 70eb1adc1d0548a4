//! Opening the log: every segment is read and checked, the unsynced tail of the last one cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{self, ALIGN, Record};
use super::segment::{self, HEADER, Segment};
use super::shared::{Index, Place};
use crate::StartError;
use crate::disk::{Disk, File};

/// Opens the log in `dir`, making it if there is none.
pub(super) fn open(disk: &dyn Disk, dir: &Path, cluster: u64) -> Result<(Index, Segment), StartError> {
    disk.make_dir(dir)
        .map_err(|e| io_error(dir, "make the log's directory", e))?;
    let numbers = segments(disk, dir)?;
    let mut index = Index::default();
    let Some(last) = numbers.last().copied() else {
        let segment = Segment::create(disk, dir, 1, cluster, &index.standing)
            .map_err(|e| io_error(dir, "make the first log segment", e))?;
        index.files.insert(1, Arc::clone(&segment.file));
        return Ok((index, segment));
    };
    let mut open_segment = None;
    for (at, number) in numbers.iter().copied().enumerate() {
        let path = dir.join(segment::file_name(number));
        if number != numbers[0] + at as u64 {
            let missing = dir.join(segment::file_name(numbers[0] + at as u64));
            return Err(corrupt(&missing, 0, "the segment is missing"));
        }
        let (file, end, length) = replay(disk, &mut index, &path, number, cluster, number == last)?;
        index.files.insert(number, Arc::clone(&file));
        open_segment = Some(Segment {
            file,
            path,
            number,
            end,
            synced: end,
            allocated: length,
        });
    }
    if let Some((due, number)) = index.hole() {
        let cause = format!("entry {due} should come before the first one, and is missing");
        return Err(corrupt(&dir.join(segment::file_name(number)), 0, &cause));
    }
    let segment = open_segment.expect("there is at least one segment");
    Ok((index, segment))
}

/// The numbers of the segments, sorted; removes unfinished ones.
fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, StartError> {
    let mut numbers = Vec::new();
    for path in disk.list(dir).map_err(|e| io_error(dir, "list the log", e))? {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".tmp") {
            disk.remove(&path)
                .map_err(|e| io_error(&path, "remove an unfinished segment", e))?;
        } else if let Some(number) = name.strip_suffix(".log").and_then(|n| n.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Replays one segment: the file, where its records end, its length. The last one's torn tail is cut.
fn replay(
    disk: &dyn Disk,
    index: &mut Index,
    path: &Path,
    number: u64,
    cluster: u64,
    is_last: bool,
) -> Result<(Arc<dyn File>, u64, u64), StartError> {
    let bytes = disk
        .read(path)
        .map_err(|e| io_error(path, "read the log segment", e))?;
    segment::check_header(&bytes, number, cluster).map_err(|cause| corrupt(path, 0, &cause))?;
    let mut at = HEADER;
    while let Some(parsed) = record::parse(&bytes[at..], number) {
        let record = record::decode(parsed.payload).map_err(|e| corrupt(path, at, &e.to_string()))?;
        let length = u32::try_from(parsed.length).map_err(|e| corrupt(path, at, &e.to_string()))?;
        let place = Place {
            segment: number,
            offset: at as u64,
            length,
        };
        take(index, record, place).map_err(|cause| corrupt(path, at, &cause))?;
        at += parsed.length;
    }
    let file = disk
        .open(path)
        .map_err(|e| io_error(path, "open the log segment", e))?;
    let rest = &bytes[at..];
    let damage = "a record does not check";
    if let Some(behind) = proof_of_sync(&bytes, at, number) {
        let cause = format!("{damage}, but the one at byte {behind} says it had been written safely");
        return Err(corrupt(path, at, &cause));
    }
    let torn = rest.iter().any(|byte| *byte != 0);
    if !is_last {
        return if torn {
            Err(corrupt(path, at, damage))
        } else {
            Ok((file, at as u64, bytes.len() as u64))
        };
    }
    if torn {
        tracing::warn!(
            file = %path.display(),
            offset = at,
            "the log ends in a write that was never finished or acknowledged: cutting it off"
        );
        let cut = || -> std::io::Result<()> {
            file.set_len(at as u64)?;
            file.sync_all()?;
            path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
        };
        cut().map_err(|e| io_error(path, "cut the log's unfinished end", e))?;
        return Ok((file, at as u64, at as u64));
    }
    // What an earlier process wrote and never synced may be read, but is not safe yet.
    file.sync_data()
        .map_err(|e| io_error(path, "sync the log segment", e))?;
    Ok((file, at as u64, bytes.len() as u64))
}

/// The offset of a sound record behind `bad` that was written after the bytes at `bad` had been synced.
pub(super) fn proof_of_sync(bytes: &[u8], bad: usize, number: u64) -> Option<usize> {
    let mut at = (bad + 1).next_multiple_of(ALIGN);
    while at < bytes.len() {
        if bytes[at..bytes.len().min(at + ALIGN)]
            .iter()
            .all(|byte| *byte == 0)
        {
            at += ALIGN; // no record begins with a zero checksum and length
            continue;
        }
        match record::parse(&bytes[at..], number) {
            Some(parsed) if parsed.synced > bad as u64 => return Some(at),
            Some(parsed) => at += parsed.length,
            None => at += ALIGN,
        }
    }
    None
}

/// Takes one record into the index; says what is wrong with it.
pub(super) fn take(index: &mut Index, record: Record, place: Place) -> Result<(), String> {
    match record {
        Record::State(standing) => {
            // Entries that an older segment still holds, but are purged, are gone for good.
            if let Some(purged) = standing.purged {
                index.purge(purged);
            }
            index.standing = standing;
        }
        Record::Entry(entry) => {
            let (got, next) = (entry.log_id.index, index.next());
            if !index.restore(entry, place) {
                return Err(format!("entry {got} stands where entry {next} should"));
            }
        }
        Record::Vote(vote) => index.standing.vote = Some(vote),
        Record::Committed(committed) => index.standing.committed = committed,
        Record::Truncate(since) => index.truncate(since),
        Record::Purge(upto) => index.purge(upto),
    }
    Ok(())
}

fn io_error(path: &Path, what: &'static str, source: std::io::Error) -> StartError {
    StartError::Io {
        path: PathBuf::from(path),
        what,
        source,
    }
}

fn corrupt(file: &Path, offset: impl TryInto<u64>, cause: &str) -> StartError {
    StartError::CorruptLog {
        file: PathBuf::from(file),
        offset: offset.try_into().unwrap_or(u64::MAX),
        cause: cause.to_owned(),
    }
}
