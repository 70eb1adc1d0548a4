//! etcd's v2 key tree (contract `etcd.md` sections 1.1 to 1.4), without HTTP: requests, the tree, events, history.
//!
//! A key is written as clients write it: `/a/b`, the root `/`. etcd's inner prefix `/1` does not appear.

pub mod error;
pub mod event;
pub mod expiry;
pub mod form;
pub mod history;
pub mod json;
pub mod path;
pub mod read;
pub mod request;
pub mod stats;
pub mod time;
pub mod tree;
pub mod watch;
pub mod write;

pub use error::{Code, Error};
pub use event::{Action, Event, Node, Notice};
pub use expiry::next_expiry;
pub use history::HISTORY;
pub use read::get;
pub use request::{Request, parse};
pub use stats::Stats;
pub use watch::Watch;

use serde::{Deserialize, Serialize};

/// One write of the key tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The key, cleaned ([`path::clean`]); for [`Op::CreateInOrder`] the directory.
    pub key: String,
    /// What to do.
    pub op: Op,
    /// The proposer's time: the `ttl` fields of the event are counted from it.
    pub now_ms: u64,
}

/// The write operations. `expire_ms` is an absolute time; `None` means for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Create or replace; parents are made.
    Set {
        /// Make a directory.
        dir: bool,
        /// The value of a file.
        value: String,
        /// When it expires.
        expire_ms: Option<u64>,
        /// Keep the value and wake no watcher; the key must exist.
        refresh: bool,
    },
    /// Create; fails if the key exists.
    Create {
        /// Make a directory.
        dir: bool,
        /// The value of a file.
        value: String,
        /// When it expires.
        expire_ms: Option<u64>,
    },
    /// Create under `key` with the new index, twenty digits, as name.
    CreateInOrder {
        /// Make a directory.
        dir: bool,
        /// The value of a file.
        value: String,
        /// When it expires.
        expire_ms: Option<u64>,
    },
    /// Change value and expiry of an existing file, or the expiry of a directory.
    Update {
        /// The new value; must be empty for a directory.
        value: String,
        /// When it expires.
        expire_ms: Option<u64>,
        /// Keep the value and wake no watcher.
        refresh: bool,
    },
    /// Change a file if it is as expected.
    CompareAndSwap {
        /// What is expected.
        prev: Compare,
        /// The new value.
        value: String,
        /// When it expires.
        expire_ms: Option<u64>,
        /// Keep the value and wake no watcher.
        refresh: bool,
    },
    /// Delete a file, or a directory with `dir` (when empty) or `recursive`.
    Delete {
        /// Directories too.
        dir: bool,
        /// With all that is in it; implies `dir`.
        recursive: bool,
    },
    /// Delete a file if it is as expected.
    CompareAndDelete {
        /// What is expected.
        prev: Compare,
    },
}

/// What a compare-and-x expects. An empty value and index 0 expect nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The value, unless empty.
    pub value: String,
    /// The modifiedIndex, unless 0.
    pub index: u64,
}
