//! What lies on a simulated disk, synced and not, and what of it a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::rng::Rng;

/// What is written at once or not at all.
const SECTOR: usize = 512;

/// A file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// As programs see it.
    pub now: Vec<u8>,
    /// As it is on the platter.
    pub synced: Vec<u8>,
    /// What lies between the two.
    pub since: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Clone)]
pub(super) enum Naming {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug)]
pub(super) struct Inner {
    pub rng: Rng,
    pub contents: BTreeMap<u64, Content>,
    pub names: BTreeMap<PathBuf, u64>,
    pub synced_names: BTreeMap<PathBuf, u64>,
    pub namings: Vec<Naming>,
    pub dirs: BTreeSet<PathBuf>,
    pub next: u64,
    /// Files opened before the last cut or kill are closed.
    pub boots: u64,
    pub off: bool,
    pub cut_in: Option<u64>,
    pub full: bool,
    pub lies: bool,
    pub saved: Option<(BTreeMap<u64, Content>, BTreeMap<PathBuf, u64>)>,
}

fn put(bytes: &mut Vec<u8>, offset: u64, with: &[u8]) {
    let offset = offset as usize;
    if bytes.len() < offset + with.len() {
        bytes.resize(offset + with.len(), 0);
    }
    bytes[offset..offset + with.len()].copy_from_slice(with);
}

fn change(bytes: &mut Vec<u8>, by: &Change) {
    match by {
        Change::Write(offset, with) => put(bytes, *offset, with),
        Change::Length(length) => bytes.resize(*length as usize, 0),
    }
}

pub(super) fn name(names: &mut BTreeMap<PathBuf, u64>, by: &Naming) {
    match by {
        Naming::Create(path, id) => drop(names.insert(path.clone(), *id)),
        Naming::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        Naming::Remove(path) => drop(names.remove(path)),
    }
}

pub(super) fn no_power() -> io::Error {
    io::Error::other("the power is gone")
}

impl Inner {
    /// Counts an operation; the one at which the power goes is told so.
    pub fn begin(&mut self) -> io::Result<bool> {
        if self.off {
            return Err(no_power());
        }
        match &mut self.cut_in {
            Some(0) => {
                self.off = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    pub fn apply(&mut self, id: u64, by: Change) {
        let content = self.contents.entry(id).or_default();
        change(&mut content.now, &by);
        content.since.push(by);
    }

    pub fn sync(&mut self, id: u64) {
        let content = self.contents.entry(id).or_default();
        for by in std::mem::take(&mut content.since) {
            change(&mut content.synced, &by);
        }
    }

    /// What of a file is left.
    pub fn survive(rng: &mut Rng, content: &mut Content) {
        let luck = rng.range(0, 4);
        for by in std::mem::take(&mut content.since) {
            match (luck, by) {
                (0, _) => {}
                (1, by) => change(&mut content.synced, &by),
                (_, by @ Change::Length(_)) if rng.chance(50) => change(&mut content.synced, &by),
                (_, Change::Length(_)) => {}
                (_, Change::Write(offset, bytes)) => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = ((offset as usize + at) / SECTOR + 1) * SECTOR - offset as usize;
                        let end = end.min(bytes.len());
                        // Most zeros lie there already, and telling them apart costs.
                        if rng.chance(50) {
                            put(&mut content.synced, offset + at as u64, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        content.now = content.synced.clone();
    }
}
