//! Watchers of both faces get every change they want, in order and once, whatever happens to the node they watch: they go on
//! at another one, from where they were.
//!
//! They are fed by the real hubs, with less room than in the product, so that who looks seldom falls behind: in v3 it reads
//! the history then, page by page, and joins the hub again ([`v3`]); in v2 its watch ends, and it asks again ([`v2`]). It may
//! lose what was compacted, or left v2's window, meanwhile; and is told so.

mod record;
mod v2;
mod v3;

use std::fmt;

use super::history::History;
use super::past::Compactions;
use crate::cluster::machine::{Machine, Member};
use crate::rng::Rng;

/// In so many of 1000 looks a watcher goes on at another node, for no reason.
const MOVES: u64 = 1;

/// When somebody looks.
#[derive(Debug)]
pub struct Pace {
    every_ms: u64,
    looks_at_ms: u64,
}

impl Pace {
    fn new(every_ms: u64) -> Pace {
        Pace {
            every_ms,
            looks_at_ms: 0,
        }
    }

    fn is_due(&mut self, now_ms: u64) -> bool {
        let is_due = self.looks_at_ms <= now_ms;
        if is_due {
            self.looks_at_ms = now_ms + self.every_ms;
        }
        is_due
    }
}

/// What happened to watchers.
#[derive(Debug, Default)]
pub struct Fates {
    /// So often somebody fell behind.
    behind: u64,
    /// So often a watch ended.
    ended: u64,
}

/// A watcher, or several on one stream.
pub struct Watcher {
    pace: Pace,
    /// The node it watches: which machine, and which start of it.
    at: Option<(usize, u64)>,
    /// The machine it goes to next.
    heads_for: Option<usize>,
    rng: Rng,
    face: Face,
}

enum Face {
    V2(v2::Client),
    V3(v3::Stream),
}

/// All watchers of a run.
pub fn watchers(rng: &mut Rng) -> Vec<Watcher> {
    let v3 = v3::streams().into_iter();
    let v3 = v3.map(|(pace, stream)| (pace, Face::V3(stream)));
    let v2 = v2::clients().into_iter();
    let v2 = v2.map(|(pace, client)| (pace, Face::V2(client)));
    v3.chain(v2)
        .map(|(pace, face)| Watcher {
            pace,
            at: None,
            heads_for: None,
            rng: Rng::new(rng.number()),
            face,
        })
        .collect()
}

fn running(machine: &Machine) -> Option<(usize, u64)> {
    let running = machine.running.as_ref()?;
    running.member.as_ref()?;
    Some((machine.number, running.start))
}

impl Watcher {
    /// Has it forget some changes.
    pub fn forget_every(&mut self, nth: u64) {
        if let Face::V3(stream) = &mut self.face {
            stream.forget_every(nth);
        }
    }

    /// Has it go to a machine, if that runs.
    pub fn head_for(&mut self, machine: usize) {
        self.heads_for = Some(machine);
    }

    /// Looks, if it is time or the end: at its node, or at another one where that has died.
    ///
    /// # Errors
    /// When something comes out of order.
    pub fn look(&mut self, machines: &[Machine], now_ms: u64, to_the_end: bool) -> Result<(), String> {
        if !self.pace.is_due(now_ms) && !to_the_end {
            return Ok(());
        }
        let is_there = |(machine, start): (usize, u64)| running(&machines[machine]) == Some((machine, start));
        let moves = self.rng.range(0, 1000) < MOVES && !to_the_end;
        let heads_for = self
            .heads_for
            .take()
            .and_then(|machine| running(&machines[machine]));
        if moves || heads_for.is_some() || !self.at.is_some_and(is_there) {
            let up: Vec<_> = machines.iter().filter_map(running).collect();
            self.at = heads_for.or_else(|| (!up.is_empty()).then(|| *self.rng.pick(&up)));
            if let Some(member) = self.member(machines) {
                match &mut self.face {
                    Face::V2(client) => client.join(member),
                    Face::V3(stream) => stream.join(member),
                }
            }
        }
        let Some(node) = self.member(machines).map(|member| &member.node) else {
            return Ok(());
        };
        let looked = match &mut self.face {
            Face::V2(client) => client.look(node),
            Face::V3(stream) => stream.look(node, &mut self.rng, to_the_end),
        };
        looked.map_err(|e| format!("{self} at {:?}: {e}", self.at))
    }

    fn member<'m>(&self, machines: &'m [Machine]) -> Option<&'m Member> {
        self.at.and_then(|(machine, _)| machines[machine].member())
    }

    /// Compares all it got with the one history.
    ///
    /// # Errors
    /// The first change it missed, or got in pieces, or lost to a compaction nobody asked for.
    pub fn at_the_end(&self, history: &History, compactions: &Compactions) -> Result<(), String> {
        let compared = match &self.face {
            Face::V2(client) => client.at_the_end(history),
            Face::V3(stream) => stream.at_the_end(history, compactions),
        };
        compared.map_err(|e| format!("{self}: {e}"))
    }
}

impl fmt::Display for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (face, fates, has_lost) = match &self.face {
            Face::V2(client) => ("v2", &client.fates, client.has_lost()),
            Face::V3(stream) => ("v3", &stream.fates, stream.has_lost()),
        };
        write!(f, "a {face} watcher of every {} ms", self.pace.every_ms)?;
        if fates.behind > 0 {
            write!(f, ", {} times behind", fates.behind)?;
        }
        if fates.ended > 0 {
            write!(f, ", {} times ended", fates.ended)?;
        }
        if has_lost {
            write!(f, ", with losses")?;
        }
        Ok(())
    }
}
