//! What goes through the log, and what comes out of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::tables::{StoreFault, Write};
use crate::{fleet, keys, member, meta};

/// A position in the Raft log.
pub type LogIndex = u64;

/// One change of the replicated state. Times inside are milliseconds since the Unix epoch, taken by the proposer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A write of the v2 key tree.
    Keys(keys::Write),
    /// The leader's clock has passed `now_ms`: keys that expire at or before it are deleted (etcd's SYNC).
    ExpireKeys {
        /// The leader's time.
        now_ms: u64,
    },
    /// A change of units, machines or unit states.
    Fleet(fleet::Command),
    /// What a member publishes about itself.
    Member(member::Attributes),
    /// The leader's decision of the cluster version, once per cluster and upgrade.
    Version(String),
}

/// What the proposer of a command learns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Command::Keys`]: the event, or etcd's error.
    Keys(Result<Arc<keys::Event>, keys::Error>),
    /// To [`Command::ExpireKeys`]: how many keys and directories expired.
    Expired(u64),
    /// To [`Command::Fleet`].
    Fleet(fleet::Answer),
    /// To [`Command::Member`] and [`Command::Version`].
    Recorded,
}

/// Something a command changed, for watchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key event that watchers may match. Refreshes make none.
    Key(keys::Notice),
    /// A change of units, machines or unit states.
    Fleet(fleet::Change),
    /// A member's attributes changed.
    Member(member::MemberId),
}

/// What applying one command gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// For the proposer.
    pub response: Response,
    /// For the watchers, in order.
    pub events: Vec<Event>,
    /// The v2 store's index after this command.
    pub etcd_index: u64,
}

/// Applies `command`, the log's entry `at`, within the transaction `tx`.
///
/// Deterministic: equal tables and equal commands give equal tables and outcomes.
///
/// # Errors
/// When the storage fails; the caller then abandons the transaction. What a client did wrong is a [`Response`].
pub fn apply(tx: &mut impl Write, _at: LogIndex, command: &Command) -> Result<Outcome, StoreFault> {
    let mut meta = meta::read(tx)?;
    let before = meta.clone();
    let mut events = Vec::new();
    let response = match command {
        Command::Keys(write) => {
            let (answer, notice) = keys::write::apply(tx, &mut meta, write)?;
            events.extend(notice.map(Event::Key));
            Response::Keys(answer)
        }
        Command::ExpireKeys { now_ms } => {
            let notices = keys::expiry::expire(tx, &mut meta, *now_ms)?;
            let count = notices.len() as u64;
            events.extend(notices.into_iter().map(Event::Key));
            Response::Expired(count)
        }
        Command::Fleet(change) => {
            let (answer, changes) = fleet::apply(tx, change)?;
            events.extend(changes.into_iter().map(Event::Fleet));
            Response::Fleet(answer)
        }
        Command::Member(attributes) => {
            if member::publish(tx, &mut meta, attributes)? {
                events.push(Event::Member(attributes.id));
            }
            Response::Recorded
        }
        Command::Version(version) => {
            member::decide_version(tx, &mut meta, version)?;
            Response::Recorded
        }
    };
    if meta != before {
        meta::write(tx, &meta)?;
    }
    Ok(Outcome {
        response,
        events,
        etcd_index: meta.etcd_index,
    })
}
