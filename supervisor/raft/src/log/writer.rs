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
use std::time::{Duration, Instant};

use openraft::storage::LogFlushed;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::record::{self, Record};
use super::segment::Segment;
use super::shared::{Place, Shared};
use crate::observe::Observation;
use crate::types::{Entry, LogId, TypeConfig, Vote};
use crate::world::{Simulated, World};

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
    world: World,
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

/// The way to the writer.
#[derive(Clone)]
pub(super) enum Queue {
    Thread(Sender<Op>),
    Task(UnboundedSender<Op>),
}

impl Queue {
    /// False if the writer has ended.
    pub fn send(&self, op: Op) -> bool {
        match self {
            Queue::Thread(queue) => queue.send(op).is_ok(),
            Queue::Task(queue) => queue.send(op).is_ok(),
        }
    }
}

/// Starts the thread; on a simulated machine a task.
pub(super) fn start(
    world: &World,
    shared: Arc<Shared>,
    dir: PathBuf,
    cluster: u64,
    segment_bytes: u64,
    segment: Segment,
) -> io::Result<(Queue, Option<JoinHandle<()>>)> {
    let mut writer = Writer {
        world: world.clone(),
        shared,
        dir,
        cluster,
        segment_bytes,
        segment,
        failed: None,
    };
    if let Some(machine) = &world.simulated {
        let (send, receive) = mpsc::unbounded_channel();
        tokio::spawn(writer.run_simulated(receive, Arc::clone(machine)));
        return Ok((Queue::Task(send), None));
    }
    let (send, receive) = channel();
    let thread = std::thread::Builder::new()
        .name("raft-log".to_owned())
        .spawn(move || writer.run(&receive))?;
    Ok((Queue::Thread(send), Some(thread)))
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Op>) {
        while let Ok(first) = queue.recv() {
            let round = self.gather_all(first, || queue.try_recv().ok());
            let stop = round.stop;
            while !self.has_room(&round) {
                std::thread::sleep(FULL_DISK_PAUSE);
            }
            self.finish(round);
            if stop {
                break;
            }
        }
        self.end();
    }

    /// As [`Writer::run`], taking simulated time.
    async fn run_simulated(mut self, mut queue: UnboundedReceiver<Op>, machine: Arc<dyn Simulated>) {
        while let Some(first) = queue.recv().await {
            tokio::time::sleep(machine.log_delay()).await;
            let round = self.gather_all(first, || queue.try_recv().ok());
            let stop = round.stop;
            while !self.has_room(&round) {
                tokio::time::sleep(FULL_DISK_PAUSE).await;
            }
            self.finish(round);
            if stop {
                break;
            }
        }
        self.end();
    }

    fn gather_all(&mut self, first: Op, mut next: impl FnMut() -> Option<Op>) -> Round {
        let mut round = Round::default();
        self.gather(&mut round, first);
        while round.bytes.len() < ROUND_BYTES
            && !round.stop
            && let Some(next) = next()
        {
            self.gather(&mut round, next);
        }
        round
    }

    /// Puts what was not worth a sync on disk.
    fn end(&mut self) {
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
            .segment
            .reserve(round.bytes.len())
            .and_then(|()| self.segment.write(&round.bytes))
            .and_then(|()| if round.must_sync { self.sync(round) } else { Ok(()) });
        if let Err(e) = &result {
            self.fail(&format!(
                "{}: the log cannot be written: {e}",
                self.segment.path.display()
            ));
        }
        result
    }

    /// Makes a written round durable, and tells of it.
    fn sync(&mut self, round: &Round) -> io::Result<()> {
        let begun = Instant::now();
        self.segment.sync()?;
        if let Some(sight) = self.shared.sight.get() {
            let bytes = round.bytes.len() as u64;
            sight.see(Observation::LogWritten { bytes });
            let took = begun.elapsed();
            sight.see(Observation::LogSynced { took });
            if let Some((last, _)) = round.places.last() {
                sight.trail.synced(last.index);
            }
        }
        Ok(())
    }

    /// Sees to it that the disk has room for a round; false if it must wait for that. Any other failure shows when it is
    /// written, and so does this one once the node stops.
    fn has_room(&mut self, round: &Round) -> bool {
        if self.failed.is_some() {
            return true;
        }
        match self.segment.reserve(round.bytes.len()) {
            Err(e) if is_full(&e) && !self.shared.is_stopping() => {
                if !self.shared.no_space.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        path = %self.segment.path.display(),
                        "no space left on the disk of the log: writes wait until there is room"
                    );
                }
                return false;
            }
            Ok(()) if self.shared.no_space.swap(false, Ordering::Relaxed) => {
                tracing::info!("there is room on the disk of the log again: writes go on");
            }
            _ => {}
        }
        true
    }

    /// Begins the next segment; the full one is on disk before. Where there is no room for it yet, the full one grows on.
    fn roll(&mut self) {
        let standing = self.shared.lock().standing.clone();
        let number = self.segment.number + 1;
        let rolled = self
            .segment
            .sync()
            .and_then(|()| Segment::create(&*self.world.disk, &self.dir, number, self.cluster, &standing));
        match rolled {
            Ok(segment) => {
                self.segment = segment;
                self.shared
                    .lock()
                    .files
                    .insert(number, Arc::clone(&self.segment.file));
            }
            Err(e) if is_full(&e) => {}
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
            if let Err(e) = self.world.disk.remove(&path) {
                tracing::warn!(file = %path.display(), error = %e, "a purged log segment stays");
                return; // a later one must not go before it
            }
        }
        if !gone.is_empty()
            && let Err(e) = self.world.disk.sync_dir(&self.dir)
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
