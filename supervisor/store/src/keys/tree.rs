//! The tree on the tables: directories have numbers, a node lies under its directory's number and its own name.
//!
//! ```text
//! nodes   key  directory id (u64 BE) | name            value  Stored { created, modified, expire, body }
//! expiry  key  expire ms (u64 BE) | directory id | name   value  the node's full key (UTF-8)
//! ```
//!
//! Listing one level is one prefix scan; a lookup is one get per part. The root is directory 1 and has no row.
//! A name longer than [`LONGEST_NAME`] bytes is kept as its first bytes, 0xff (never in UTF-8) and its SHA-256, with the
//! full name in the row: LMDB's keys end at 511 bytes, etcd's do not.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{Code, Error};
use super::event::Node;
use super::{path, time};
use crate::meta::Meta;
use crate::tables::{KeyRange, Read, StoreFault, Table, Write, decode, load, store};

/// The directory number of `/`.
pub const ROOT: u64 = 1;

/// Longest name, in bytes, that is a key as it is.
const LONGEST_NAME: usize = 440;

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub created: u64,
    pub modified: u64,
    pub expire_ms: Option<u64>,
    pub body: Body,
    /// Only where the key does not hold it.
    pub long_name: Option<String>,
}

/// A file's value or a directory's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    File(String),
    Dir(u64),
}

/// A node found, with where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The directory it lies in; `None` for the root.
    pub parent: Option<u64>,
    /// Its full key.
    pub key: String,
    pub stored: Stored,
}

/// What a lookup gave.
pub(crate) type Lookup<T> = Result<Result<T, Error>, StoreFault>;

impl Stored {
    pub fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }

    pub fn value(&self) -> &str {
        match &self.body {
            Body::File(value) => value,
            Body::Dir(_) => "",
        }
    }

    /// As the wire shows it, without children.
    pub fn show(&self, key: &str, now_ms: u64) -> Node {
        Node {
            key: if key == "/" { String::new() } else { key.to_owned() },
            value: match &self.body {
                Body::File(value) => Some(value.clone()),
                Body::Dir(_) => None,
            },
            dir: self.is_dir(),
            expiration_ms: self.expire_ms,
            ttl: self.expire_ms.map_or(0, |at| time::ttl_seconds(at, now_ms)),
            nodes: Vec::new(),
            modified_index: self.modified,
            created_index: self.created,
        }
    }
}

/// The row key of `name` in directory `dir`.
pub(crate) fn node_key(dir: u64, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + name.len().min(LONGEST_NAME));
    key.extend_from_slice(&dir.to_be_bytes());
    if name.len() <= LONGEST_NAME {
        key.extend_from_slice(name.as_bytes());
    } else {
        key.extend_from_slice(&name.as_bytes()[..LONGEST_NAME - 33]);
        key.push(0xff);
        key.extend_from_slice(&Sha256::digest(name.as_bytes()));
    }
    key
}

fn expiry_key(expire_ms: u64, dir: u64, name: &str) -> Vec<u8> {
    let mut key = expire_ms.to_be_bytes().to_vec();
    key.extend_from_slice(&node_key(dir, name));
    key
}

/// The node `name` of directory `dir`.
pub(crate) fn child(tx: &(impl Read + ?Sized), dir: u64, name: &str) -> Result<Option<Stored>, StoreFault> {
    load(tx, Table::Nodes, &node_key(dir, name))
}

/// The root, which has no row.
fn root() -> Found {
    let stored = Stored {
        created: 0,
        modified: 0,
        expire_ms: None,
        body: Body::Dir(ROOT),
        long_name: None,
    };
    Found {
        parent: None,
        key: "/".to_owned(),
        stored,
    }
}

/// Finds `key`: 100 with the first part that is missing, 104 with the first that is a file and has parts below.
pub(crate) fn find(tx: &(impl Read + ?Sized), index: u64, key: &str) -> Lookup<Found> {
    let mut at = root();
    for name in path::parts(key) {
        let Body::Dir(dir) = at.stored.body else {
            return Ok(Err(Error::new(Code::NotDir, at.key, index)));
        };
        let key = path::join(&at.key, name);
        match child(tx, dir, name)? {
            Some(stored) => {
                at = Found {
                    parent: Some(dir),
                    key,
                    stored,
                }
            }
            None => return Ok(Err(Error::new(Code::KeyNotFound, key, index))),
        }
    }
    Ok(Ok(at))
}

/// The number of the directory `key`, making what is missing on the way with the coming index.
pub(crate) fn make_dirs(tx: &mut (impl Write + ?Sized), meta: &mut Meta, key: &str) -> Lookup<u64> {
    let (mut dir, mut walked) = (ROOT, String::from("/"));
    for name in path::parts(key) {
        walked = path::join(&walked, name);
        match child(tx, dir, name)? {
            Some(Stored {
                body: Body::Dir(id), ..
            }) => dir = id,
            Some(_) => return Ok(Err(Error::new(Code::NotDir, walked, meta.etcd_index))),
            None => dir = make_dir(tx, meta, dir, name, None)?,
        }
    }
    Ok(Ok(dir))
}

/// Makes the directory `name` in `parent` with the coming index; gives its number.
pub(crate) fn make_dir(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    parent: u64,
    name: &str,
    expire_ms: Option<u64>,
) -> Result<u64, StoreFault> {
    let (id, index) = (meta.next_dir, meta.etcd_index + 1);
    meta.next_dir += 1;
    let stored = Stored {
        created: index,
        modified: index,
        expire_ms,
        body: Body::Dir(id),
        long_name: None,
    };
    put(tx, parent, name, stored)?;
    Ok(id)
}

/// Writes a node's row (not its expiry).
pub(crate) fn put(
    tx: &mut (impl Write + ?Sized),
    parent: u64,
    name: &str,
    mut stored: Stored,
) -> Result<(), StoreFault> {
    stored.long_name = (name.len() > LONGEST_NAME).then(|| name.to_owned());
    store(tx, Table::Nodes, &node_key(parent, name), &stored)
}

/// Moves a node's place in the expiry queue.
pub(crate) fn reschedule(
    tx: &mut (impl Write + ?Sized),
    parent: u64,
    key: &str,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<(), StoreFault> {
    if from == to {
        return Ok(());
    }
    let name = name_of(key);
    if let Some(ms) = from {
        tx.delete(Table::Expiry, &expiry_key(ms, parent, name))?;
    }
    if let Some(ms) = to {
        tx.put(Table::Expiry, &expiry_key(ms, parent, name), key.as_bytes())?;
    }
    Ok(())
}

/// The last part of a key.
pub(crate) fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// The names and nodes of a directory, sorted by name.
pub(crate) fn children(tx: &(impl Read + ?Sized), dir: u64) -> Result<Vec<(String, Stored)>, StoreFault> {
    let mut found = Vec::new();
    let mut long = false;
    tx.scan(
        Table::Nodes,
        &KeyRange::prefix(&dir.to_be_bytes()),
        &mut |key, row| {
            let stored: Stored = decode(Table::Nodes, key, row)?;
            let name = match &stored.long_name {
                Some(name) => name.clone(),
                None => String::from_utf8_lossy(&key[8..]).into_owned(),
            };
            long |= stored.long_name.is_some();
            found.push((name, stored));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    if long {
        found.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok(found)
}

/// Whether a directory has no children, hidden ones included.
pub(crate) fn is_empty(tx: &(impl Read + ?Sized), dir: u64) -> Result<bool, StoreFault> {
    let mut empty = true;
    tx.scan(
        Table::Nodes,
        &KeyRange::prefix(&dir.to_be_bytes()),
        &mut |_, _| {
            empty = false;
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok(empty)
}

/// Removes a node with all that is below it; gives the keys below, sorted.
pub(crate) fn remove(tx: &mut (impl Write + ?Sized), found: &Found) -> Result<Vec<String>, StoreFault> {
    let Some(parent) = found.parent else {
        return Ok(Vec::new());
    };
    let mut below = Vec::new();
    let mut dirs = Vec::new();
    remove_row(tx, parent, &found.key, &found.stored, &mut dirs)?;
    while let Some((dir, key)) = dirs.pop() {
        for (name, stored) in children(tx, dir)? {
            let key = path::join(&key, &name);
            remove_row(tx, dir, &key, &stored, &mut dirs)?;
            below.push(key);
        }
    }
    below.sort_unstable();
    Ok(below)
}

fn remove_row(
    tx: &mut (impl Write + ?Sized),
    parent: u64,
    key: &str,
    stored: &Stored,
    dirs: &mut Vec<(u64, String)>,
) -> Result<(), StoreFault> {
    tx.delete(Table::Nodes, &node_key(parent, name_of(key)))?;
    reschedule(tx, parent, key, stored.expire_ms, None)?;
    if let Body::Dir(id) = stored.body {
        dirs.push((id, key.to_owned()));
    }
    Ok(())
}
