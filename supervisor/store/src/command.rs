//! What goes through the log, and what comes out of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::meta::Meta;
use crate::tables::{StoreFault, Write};
use crate::{alarm, auth, fleet, keys, kv, member, meta, v2auth};

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
    /// A change of the v3 data: keys, leases, compaction; by nobody known, which is refused where auth is on.
    Kv(kv::Command),
    /// The same by somebody.
    KvAs(auth::Caller, kv::Command),
    /// A change of the v3 users and roles, or of whether they matter.
    Auth(auth::Caller, auth::Change),
    /// An alarm is raised or cleared.
    Alarm(alarm::Change),
    /// A change of the v2 users and roles, or of whether they matter.
    V2Auth(v2auth::Change),
    /// A member leaves for good.
    RemoveMember(member::MemberId),
    /// The v2 history keeps so many events from now on: the leader's configuration, the same for all members.
    History(u64),
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
    /// To [`Command::Member`], [`Command::Version`], [`Command::RemoveMember`] and [`Command::History`].
    Recorded,
    /// To [`Command::Kv`] and [`Command::KvAs`]: etcd's answer, or its error.
    Kv(Result<kv::Answer, kv::Error>),
    /// To [`Command::Auth`].
    Auth(Result<(), kv::Error>),
    /// To [`Command::Alarm`]: the alarm, unless one was cleared that was not there.
    Alarm(Option<alarm::Alarm>),
    /// To [`Command::V2Auth`].
    V2Auth(Result<v2auth::Done, v2auth::Error>),
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
    /// A revision of the v3 data.
    Kv(kv::Changes),
    /// A lease was granted, for so many seconds, or revoked (`None`).
    Lease(kv::LeaseId, Option<i64>),
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
    /// What it did to the v3 data, for the figures.
    pub work: kv::Work,
}

/// Commands applied one after the other within one transaction, whose counters are at hand until [`Batch::end`].
pub struct Batch {
    meta: Meta,
    stored: Meta,
}

/// Applies one command as a whole [`Batch`].
///
/// # Errors
/// See [`Batch::apply`].
pub fn apply(tx: &mut impl Write, at: LogIndex, command: &Command) -> Result<Outcome, StoreFault> {
    let mut batch = Batch::begin(tx)?;
    let outcome = batch.apply(tx, at, command)?;
    batch.end(tx)?;
    Ok(outcome)
}

impl Batch {
    /// Reads the counters.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn begin(tx: &impl Write) -> Result<Batch, StoreFault> {
        let meta = meta::read(tx)?;
        let stored = meta.clone();
        Ok(Batch { meta, stored })
    }

    /// Writes the counters.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn end(self, tx: &mut impl Write) -> Result<(), StoreFault> {
        if self.meta == self.stored {
            return Ok(());
        }
        meta::write(tx, &self.meta)
    }

    /// The v2 store's index.
    pub fn etcd_index(&self) -> u64 {
        self.meta.etcd_index
    }

    /// Applies `command`, the log's entry `at`, within the transaction `tx`.
    ///
    /// Deterministic: equal tables and equal commands give equal tables and outcomes.
    ///
    /// # Errors
    /// When the storage fails; the caller then abandons the transaction. What a client did wrong is a [`Response`].
    pub fn apply(
        &mut self,
        tx: &mut impl Write,
        _at: LogIndex,
        command: &Command,
    ) -> Result<Outcome, StoreFault> {
        let meta = &mut self.meta;
        let (mut events, mut work) = (Vec::new(), kv::Work::default());
        let response = match command {
            Command::Keys(write) => {
                let (answer, notice) = keys::write::apply(tx, meta, write)?;
                events.extend(notice.map(Event::Key));
                Response::Keys(answer)
            }
            Command::ExpireKeys { now_ms } => {
                let notices = keys::expiry::expire(tx, meta, *now_ms)?;
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
                if member::publish(tx, meta, attributes)? {
                    events.push(Event::Member(attributes.id));
                }
                Response::Recorded
            }
            Command::RemoveMember(id) => {
                if member::remove(tx, meta, *id)? {
                    events.push(Event::Member(*id));
                }
                Response::Recorded
            }
            Command::Version(version) => {
                member::decide_version(tx, meta, version)?;
                Response::Recorded
            }
            Command::History(events) => {
                keys::history::resize(tx, meta, *events)?;
                Response::Recorded
            }
            Command::Kv(change) => {
                let nobody = auth::Caller::Nobody;
                Response::Kv(change_kv(tx, &nobody, change, &mut events, &mut work)?)
            }
            Command::KvAs(caller, change) => {
                Response::Kv(change_kv(tx, caller, change, &mut events, &mut work)?)
            }
            Command::Auth(caller, change) => Response::Auth(auth::apply(tx, caller, change)?),
            Command::Alarm(change) => Response::Alarm(alarm::apply(tx, *change)?),
            Command::V2Auth(change) => Response::V2Auth(v2auth::apply(tx, meta, change)?),
        };
        Ok(Outcome {
            response,
            events,
            etcd_index: meta.etcd_index,
            work,
        })
    }
}

/// Applies a change of the v3 data, if its caller may make it and no alarm forbids it.
fn change_kv(
    tx: &mut impl Write,
    caller: &auth::Caller,
    change: &kv::Command,
    events: &mut Vec<Event>,
    work: &mut kv::Work,
) -> Result<Result<kv::Answer, kv::Error>, StoreFault> {
    if let Err(error) = alarm::permits(tx, change)? {
        return Ok(Err(error));
    }
    if let Err(error) = auth::permits(tx, caller, change)? {
        return Ok(Err(error));
    }
    let (answer, changes) = kv::apply(tx, change)?;
    if let Ok(answer) = &answer {
        *work += kv::Work::of(change, answer, changes.as_ref());
    }
    events.extend(changes.map(Event::Kv));
    match change {
        kv::Command::LeaseGrant { id, ttl_s } if answer.is_ok() => {
            events.push(Event::Lease(*id, Some(*ttl_s)));
        }
        kv::Command::LeaseRevoke { id } if answer.is_ok() => events.push(Event::Lease(*id, None)),
        _ => {}
    }
    Ok(answer)
}
