//! Alarms: a member has run out of room, or its data does not match the others'. While one is raised the v3 data takes
//! no writes (`NOSPACE`: nothing that needs room) or nothing at all (`CORRUPT`), until somebody clears it.

use serde::{Deserialize, Serialize};

use crate::kv::{self, Command, Error, Lookup, Op, Txn};
use crate::member::MemberId;
use crate::tables::{Read, StoreFault, Table, Write, load, store};

/// The alarms' row in [`Table::Meta`].
pub(crate) const KEY: &[u8] = b"a";

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// There is no room left.
    NoSpace,
    /// The data is not what the other members have.
    Corrupt,
}

/// A raised alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alarm {
    /// With whom.
    pub member: MemberId,
    /// What.
    pub kind: Kind,
}

/// A change of the alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Raises an alarm, if it is not raised yet.
    Activate(Alarm),
    /// Clears an alarm.
    Deactivate(Alarm),
}

/// The raised alarms, by member.
///
/// # Errors
/// When the backend fails.
pub fn alarms(tx: &(impl Read + ?Sized)) -> Result<Vec<Alarm>, StoreFault> {
    Ok(load(tx, Table::Meta, KEY)?.unwrap_or_default())
}

/// Changes the alarms; gives the alarm, unless one was to be cleared that is not raised.
pub(crate) fn apply(tx: &mut (impl Write + ?Sized), change: Change) -> Result<Option<Alarm>, StoreFault> {
    let mut alarms = alarms(tx)?;
    match (change, alarms.binary_search(&change.alarm())) {
        (Change::Activate(alarm), Err(at)) => alarms.insert(at, alarm),
        (Change::Deactivate(_), Ok(at)) => drop(alarms.remove(at)),
        (Change::Activate(alarm), Ok(_)) => return Ok(Some(alarm)),
        (Change::Deactivate(_), Err(_)) => return Ok(None),
    }
    store(tx, Table::Meta, KEY, &alarms)?;
    Ok(Some(change.alarm()))
}

impl Change {
    fn alarm(self) -> Alarm {
        match self {
            Change::Activate(alarm) | Change::Deactivate(alarm) => alarm,
        }
    }
}

/// Whether the alarms let a change of the v3 data through. What frees room always passes [`Kind::NoSpace`].
pub(crate) fn permits(tx: &(impl Read + ?Sized), command: &Command) -> Lookup<()> {
    for alarm in alarms(tx)? {
        match alarm.kind {
            Kind::Corrupt => return Ok(Err(Error::Corrupt)),
            Kind::NoSpace if needs_room(command) => return Ok(Err(Error::NoSpace)),
            Kind::NoSpace => {}
        }
    }
    Ok(Ok(()))
}

/// Whether a change adds to the data (etcd's `applierV3Capped`). Faces that count room before they propose ask it too.
pub fn needs_room(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::LeaseGrant { .. } => true,
        Command::Txn(txn) => puts(txn),
        Command::DeleteRange(_) | Command::Compact { .. } | Command::LeaseRevoke { .. } | Command::Sweep => {
            false
        }
    }
}

fn puts(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Put(_) => true,
        Op::Txn(nested) => puts(nested),
        Op::Range(_) | Op::DeleteRange(_) | Op::Empty => false,
    })
}

/// Whether the alarms let the v3 data be read.
///
/// # Errors
/// [`Error::Corrupt`]. The outer error is the storage's.
pub fn permits_reading(tx: &(impl Read + ?Sized)) -> kv::Lookup<()> {
    let corrupt = alarms(tx)?.iter().any(|alarm| alarm.kind == Kind::Corrupt);
    Ok(if corrupt { Err(Error::Corrupt) } else { Ok(()) })
}
