//! Watchers of both faces get every change, in order and once, whatever happens to the node they watch: they go on at
//! another one, from where they were.
//!
//! A v3 watcher joins the stream of changes, reads what lies before from the history page by page, and does so again when
//! it was too slow or the state was replaced. A v2 watcher asks for one event after the other (`waitIndex`).

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_raft::{AppliedBatch, Node};
use corten_store::keys::{Watch, history as v2};
use corten_store::{Event, kv};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::history::History;
use crate::cluster::client::Face;

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
    /// It forgets every so manyth change: a broken promise, for the test of the checkers.
    pub forgets: Option<u64>,
}

impl Watcher {
    /// A watcher from the beginning on.
    pub fn new(face: Face) -> Watcher {
        Watcher {
            face,
            at: None,
            stream: None,
            caught_up: false,
            next: 1,
            seen: BTreeMap::new(),
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
            let watch = Watch {
                key: "/".to_owned(),
                recursive: true,
                stream: false,
                since: self.next,
            };
            let found = node.read(|tx| v2::scan(tx, &watch)).map_err(|e| e.to_string())?;
            match found.map_err(|e| format!("{e:?}"))?.0 {
                v2::Found::Event(event) => self.got(event.index(), 1)?,
                _ => return Ok(()),
            }
        }
    }

    fn look_v3(&mut self, node: &Node) -> Result<(), String> {
        while !self.caught_up {
            let from = self.next as i64;
            let page = node
                .read(|tx| kv::events_from(tx, from, PAGE))
                .map_err(|e| e.to_string())?;
            let page = page.map_err(|e| e.to_string())?;
            self.caught_up = page.revisions.is_empty();
            for changes in page.revisions {
                self.got(changes.revision as u64, changes.changes.len())?;
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
    /// The first change it missed, or got in pieces.
    pub fn at_the_end(&self, history: &History) -> Result<(), String> {
        let told = match self.face {
            Face::V2 => &history.v2,
            Face::V3 => &history.v3,
        };
        let told: BTreeMap<u64, usize> = told.iter().map(|(at, told)| (*at, told.values.len())).collect();
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
