//! The thread that owns the log's end: it takes all that waits, writes it at once, syncs once, and tells all.
//!
//! Order is the queue's order. It is the only one that writes files; a caller that must know its record is on disk waits
//! for the answer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::storage::LogFlushed;
use tokio::sync::oneshot;

use super::record::{self, Record};
use super::segment::{Segment, sync_dir};
use super::shared::{Place, Shared};
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// How long a full disk is left alone before the next try.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);
/// No more than this is gathered into one write.
const ROUND_BYTES: usize = 8 << 20;

/// Something to be written.
pub(super) enum Op {
    Append(Vec<Entry>, LogFlushed<TypeConfig>),
    /// An entry of our own, before Raft runs.
    AppendNow(Box<Entry>, oneshot::Sender<io::Result<()>>),
    Vote(Vote, oneshot::Sender<io::Result<()>>),
    /// Not worth a sync: it only spares work at the next start.
    Committed(Option<LogId>),
    Truncate(u64, oneshot::Sender<io::Result<()>>),
    Purge(LogId, oneshot::Sender<io::Result<()>>),
    Stop,
}

/// Whom to tell when a round is on disk.
enum Waiting {
    Append(LogFlushed<TypeConfig>),
    Other(oneshot::Sender<io::Result<()>>),
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    dir: PathBuf,
    cluster: u64,
    segment_bytes: u64,
    segment: Segment,
    /// What ended the writing for good.
    failed: Option<String>,
}

/// One round: what is written, where its entries lie, who waits.
#[derive(Default)]
struct Round {
    bytes: Vec<u8>,
    places: Vec<(LogId, Place)>,
    waiting: Vec<Waiting>,
    must_sync: bool,
    purged: bool,
    stop: bool,
}

/// Starts the thread.
pub(super) fn start(
    shared: Arc<Shared>,
    dir: PathBuf,
    cluster: u64,
    segment_bytes: u64,
    segment: Segment,
) -> io::Result<(Sender<Op>, JoinHandle<()>)> {
    let (send, receive) = channel();
    let mut writer = Writer {
        shared,
        dir,
        cluster,
        segment_bytes,
        segment,
        failed: None,
    };
    let thread = std::thread::Builder::new()
        .name("raft-log".to_owned())
        .spawn(move || writer.run(&receive))?;
    Ok((send, thread))
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Op>) {
        while let Ok(first) = queue.recv() {
            let mut round = Round::default();
            self.gather(&mut round, first);
            while round.bytes.len() < ROUND_BYTES
                && !round.stop
                && let Ok(next) = queue.try_recv()
            {
                self.gather(&mut round, next);
            }
            let stop = round.stop;
            self.finish(round);
            if stop {
                break;
            }
        }
        if self.failed.is_none()
            && let Err(e) = self.segment.sync()
        {
            tracing::error!(error = %e, "the log's last records could not be synced");
        }
    }

    /// Encodes one operation into the round.
    fn gather(&mut self, round: &mut Round, op: Op) {
        let encoded = match op {
            Op::Append(entries, flushed) => {
                round.must_sync = true;
                let result = entries
                    .into_iter()
                    .try_for_each(|entry| self.gather_entry(round, entry));
                round.waiting.push(Waiting::Append(flushed));
                result
            }
            Op::AppendNow(entry, tell) => {
                round.must_sync = true;
                round.waiting.push(Waiting::Other(tell));
                self.gather_entry(round, *entry)
            }
            Op::Vote(vote, tell) => {
                round.must_sync = true;
                round.waiting.push(Waiting::Other(tell));
                self.encode(round, &Record::Vote(vote)).map(|_| ())
            }
            Op::Committed(committed) => self.encode(round, &Record::Committed(committed)).map(|_| ()),
            Op::Truncate(since, tell) => {
                round.waiting.push(Waiting::Other(tell));
                self.encode(round, &Record::Truncate(since)).map(|_| ())
            }
            Op::Purge(upto, tell) => {
                (round.must_sync, round.purged) = (true, true);
                round.waiting.push(Waiting::Other(tell));
                self.encode(round, &Record::Purge(upto)).map(|_| ())
            }
            Op::Stop => {
                round.stop = true;
                Ok(())
            }
        };
        if let Err(e) = encoded {
            self.fail(&format!("a record does not encode: {e}"));
        }
    }

    fn gather_entry(&self, round: &mut Round, entry: Entry) -> Result<(), postcard::Error> {
        let (log_id, offset) = (entry.log_id, self.segment.end + round.bytes.len() as u64);
        let length = self.encode(round, &Record::Entry(entry))?;
        let length = u32::try_from(length).map_err(|_| postcard::Error::SerializeBufferFull)?;
        round.places.push((
            log_id,
            Place {
                segment: self.segment.number,
                offset,
                length,
            },
        ));
        Ok(())
    }

    fn encode(&self, round: &mut Round, record: &Record) -> Result<usize, postcard::Error> {
        record::encode(&mut round.bytes, self.segment.number, self.segment.synced, record)
    }

    /// Writes the round, tells who waits, and tidies up behind it.
    fn finish(&mut self, round: Round) {
        let result = self.write(&round);
        if result.is_ok() {
            let mut index = self.shared.lock();
            for (log_id, place) in &round.places {
                index.written(*log_id, *place);
            }
        }
        let answer = || {
            result
                .as_ref()
                .copied()
                .map_err(|e| io::Error::new(e.kind(), e.to_string()))
        };
        for waiting in round.waiting {
            match waiting {
                Waiting::Append(flushed) => flushed.log_io_completed(answer()),
                Waiting::Other(tell) => drop(tell.send(answer())), // one that gave up need not know
            }
        }
        if self.failed.is_some() {
            return;
        }
        if self.segment.end >= self.segment_bytes {
            self.roll();
        }
        if round.purged {
            self.remove_purged();
        }
    }

    fn write(&mut self, round: &Round) -> io::Result<()> {
        if let Some(cause) = &self.failed {
            return Err(io::Error::other(cause.clone()));
        }
        let result = self
            .when_there_is_room(|segment| segment.reserve(round.bytes.len()))
            .and_then(|()| self.segment.write(&round.bytes))
            .and_then(|()| {
                if round.must_sync {
                    self.segment.sync()
                } else {
                    Ok(())
                }
            });
        if let Err(e) = &result {
            self.fail(&format!(
                "{}: the log cannot be written: {e}",
                self.segment.path.display()
            ));
        }
        result
    }

    /// Runs `act` until it does not fail for want of space, or the node stops.
    fn when_there_is_room(&mut self, mut act: impl FnMut(&mut Segment) -> io::Result<()>) -> io::Result<()> {
        loop {
            match act(&mut self.segment) {
                Err(e) if is_full(&e) && !self.shared.is_stopping() => {
                    if !self.shared.no_space.swap(true, Ordering::Relaxed) {
                        tracing::error!(
                            path = %self.segment.path.display(),
                            "no space left on the disk of the log: writes wait until there is room"
                        );
                    }
                    std::thread::sleep(FULL_DISK_PAUSE);
                }
                result => {
                    if result.is_ok() && self.shared.no_space.swap(false, Ordering::Relaxed) {
                        tracing::info!("there is room on the disk of the log again: writes go on");
                    }
                    return result;
                }
            }
        }
    }

    /// Begins the next segment; the full one is on disk before.
    fn roll(&mut self) {
        let standing = self.shared.lock().standing.clone();
        let (dir, number, cluster) = (self.dir.clone(), self.segment.number + 1, self.cluster);
        let rolled = self.when_there_is_room(|segment| {
            segment.sync()?;
            *segment = Segment::create(&dir, number, cluster, &standing)?;
            Ok(())
        });
        match rolled {
            Ok(()) => {
                self.shared
                    .lock()
                    .files
                    .insert(number, Arc::clone(&self.segment.file));
            }
            Err(e) => self.fail(&format!("log segment {number} cannot be made: {e}")),
        }
    }

    /// Removes the segments whose entries are all purged. The purge itself is on disk.
    fn remove_purged(&mut self) {
        let gone = {
            let mut index = self.shared.lock();
            let needed = index
                .first_needed_segment()
                .unwrap_or(self.segment.number)
                .min(self.segment.number);
            let kept = index.files.split_off(&needed);
            std::mem::replace(&mut index.files, kept)
        };
        for number in gone.keys() {
            let path = self.dir.join(super::segment::file_name(*number));
            if let Err(e) = std::fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), error = %e, "a purged log segment stays");
                return; // a later one must not go before it
            }
        }
        if !gone.is_empty()
            && let Err(e) = sync_dir(&self.dir)
        {
            tracing::warn!(error = %e, "the log's directory could not be synced");
        }
    }

    fn fail(&mut self, cause: &str) {
        tracing::error!("{cause}");
        self.failed.get_or_insert_with(|| cause.to_owned());
    }
}

/// Whether an error means that the disk or the quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
