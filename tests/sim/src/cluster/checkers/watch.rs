//! Watchers of both faces get every change, in order and once, whatever happens to the node they watch: they go on at
//! another one, from where they were.
//!
//! A v3 watcher joins the stream of changes, reads what lies before from the history page by page, and does so again when
//! it was too slow or the state was replaced. A v2 watcher asks for one event after the other (`waitIndex`). Who looks seldom
//! may lose what was compacted, or left v2's window, meanwhile; and is told so.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use corten_raft::{AppliedBatch, Node};
use corten_store::Event;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::history::History;
use super::past::Compactions;
use crate::cluster::client::read::{self, Page};
use crate::cluster::client::{Face, Seen};

/// A page of the history, in events.
const PAGE: usize = 4;

/// A watcher of everything.
pub struct Watcher {
    face: Face,
    /// The node it watches: which machine, and which start of it.
    pub at: Option<(usize, u64)>,
    stream: Option<Receiver<Arc<AppliedBatch>>>,
    /// Whether all that lies before the stream has been read.
    caught_up: bool,
    next: u64,
    seen: BTreeMap<u64, usize>,
    /// What it was told is not to be had any more.
    lost: Vec<Range<u64>>,
    /// It looks every so often.
    every_ms: u64,
    looks_at_ms: u64,
    /// It forgets every so manyth change: a broken promise, for the test of the checkers.
    pub forgets: Option<u64>,
}

impl Watcher {
    /// A watcher from the beginning on.
    pub fn new(face: Face, every_ms: u64) -> Watcher {
        Watcher {
            face,
            at: None,
            stream: None,
            caught_up: false,
            next: 1,
            seen: BTreeMap::new(),
            lost: Vec::new(),
            every_ms,
            looks_at_ms: 0,
            forgets: None,
        }
    }

    /// Goes on at a node.
    pub fn join(&mut self, at: (usize, u64), node: &Node) {
        (self.at, self.stream, self.caught_up) = (Some(at), Some(node.events()), false);
    }

    fn got(&mut self, at: u64, changes: usize) -> Result<(), String> {
        if at < self.next {
            return Err(format!("a watcher got {at} where it waited for {}", self.next));
        }
        self.next = at + 1;
        if !self.forgets.is_some_and(|nth| at.is_multiple_of(nth)) {
            self.seen.insert(at, changes);
        }
        Ok(())
    }

    /// Whether it looks now.
    pub fn is_due(&mut self, now_ms: u64) -> bool {
        let is_due = self.looks_at_ms <= now_ms;
        if is_due {
            self.looks_at_ms = now_ms + self.every_ms;
        }
        is_due
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// When it comes out of order.
    pub fn look(&mut self, node: &Node) -> Result<(), String> {
        match self.face {
            Face::V2 => self.look_v2(node),
            Face::V3 => self.look_v3(node),
        }
    }

    fn look_v2(&mut self, node: &Node) -> Result<(), String> {
        loop {
            match read::first_v2(node, self.next)? {
                Seen::Event(at, changes) => self.got(at, changes)?,
                Seen::NoEvent(_) => return Ok(()),
                Seen::Cleared(upto) => self.begin_at(upto + 1),
                other => return Err(format!("a v2 watcher from {}: {other:?}", self.next)),
            }
        }
    }

    /// What lies before is lost to it.
    fn begin_at(&mut self, next: u64) {
        self.lost.push(self.next..next);
        self.next = next;
    }

    fn look_v3(&mut self, node: &Node) -> Result<(), String> {
        while !self.caught_up {
            match read::page_v3(node, self.next, PAGE)? {
                Page::Of(revisions, _) => {
                    self.caught_up = revisions.is_empty();
                    for (revision, changes) in revisions {
                        self.got(revision, changes)?;
                    }
                }
                Page::Compacted(at) if at > self.next => self.begin_at(at),
                Page::Compacted(at) => {
                    return Err(format!(
                        "a watcher from {} was told that {at} is compacted",
                        self.next
                    ));
                }
            }
        }
        let Some(mut stream) = self.stream.take() else {
            return Ok(());
        };
        loop {
            match stream.try_recv() {
                Ok(batch) if batch.reset => self.caught_up = false,
                Ok(batch) => {
                    for event in &batch.events {
                        // What the history had already is told again by the stream.
                        if let Event::Kv(changes) = event
                            && self.caught_up
                            && changes.revision as u64 >= self.next
                        {
                            self.got(changes.revision as u64, changes.changes.len())?;
                        }
                    }
                }
                Err(TryRecvError::Lagged(_)) => self.caught_up = false,
                Err(_) => break,
            }
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Compares all it got with the one history.
    ///
    /// # Errors
    /// The first change it missed, or got in pieces, or lost to a compaction nobody asked for.
    pub fn at_the_end(&self, history: &History, compactions: &Compactions) -> Result<(), String> {
        let told = match self.face {
            Face::V2 => &history.v2,
            Face::V3 => &history.v3,
        };
        if self.face == Face::V3
            && let Some(lost) = self.lost.iter().find(|lost| !compactions.has(lost.end))
        {
            return Err(format!(
                "a watcher lost {lost:?}, and nobody compacted at {}",
                lost.end
            ));
        }
        let is_lost = |at: u64| self.lost.iter().any(|lost| lost.contains(&at));
        let kept = told.iter().filter(|(at, _)| !is_lost(**at));
        let told: BTreeMap<u64, usize> = kept.map(|(at, told)| (*at, told.values.len())).collect();
        if told == self.seen {
            return Ok(());
        }
        let missed = told.iter().find(|(at, count)| self.seen.get(at) != Some(count));
        let made_up = self.seen.keys().find(|at| !told.contains_key(at));
        Err(format!(
            "a {:?} watcher missed {missed:?}, and got {made_up:?} that never was",
            self.face
        ))
    }
}
