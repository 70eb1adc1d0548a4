//! A command in a few words, for a line of the log: what it is and which key it is about, never a value.

use std::fmt;

use crate::keys::Op;
use crate::kv::{self, Txn};
use crate::{Command, keys};

/// More of a key than this says nothing more.
const SHOWN: usize = 64;

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Keys(write) => v2(f, write),
            Command::Kv(command) | Command::KvAs(_, command) => v3(f, command),
            Command::ExpireKeys { .. } => f.write_str("v2 expiry"),
            Command::Fleet(_) => f.write_str("a change of units or machines"),
            Command::Member(_) => f.write_str("a member's own words"),
            Command::RemoveMember(_) => f.write_str("a member's removal"),
            Command::Version(_) => f.write_str("the cluster's version"),
            Command::Auth(..) => f.write_str("a change of v3 users or roles"),
            Command::V2Auth(_) => f.write_str("a change of v2 users or roles"),
            Command::History(events) => write!(f, "a v2 history of {events} events"),
            Command::Alarm(_) => f.write_str("an alarm"),
        }
    }
}

fn v2(f: &mut fmt::Formatter<'_>, write: &keys::Write) -> fmt::Result {
    let (name, bytes) = match &write.op {
        Op::Set { value, .. } => ("set", value.len()),
        Op::Create { value, .. } | Op::CreateInOrder { value, .. } => ("create", value.len()),
        Op::Update { value, .. } => ("update", value.len()),
        Op::CompareAndSwap { value, .. } => ("compareAndSwap", value.len()),
        Op::Delete { .. } => ("delete", 0),
        Op::CompareAndDelete { .. } => ("compareAndDelete", 0),
    };
    write!(f, "v2 {name} {} ({bytes} bytes)", Short(write.key.as_bytes()))
}

fn v3(f: &mut fmt::Formatter<'_>, command: &kv::Command) -> fmt::Result {
    match command {
        kv::Command::Put(put) => write!(f, "v3 put {} ({} bytes)", Short(&put.key), put.value.len()),
        kv::Command::DeleteRange(delete) => write!(f, "v3 delete_range {}", Short(&delete.key)),
        kv::Command::Txn(txn) => transaction(f, txn),
        kv::Command::Compact { revision } => write!(f, "v3 compact {revision}"),
        kv::Command::LeaseGrant { id, .. } => write!(f, "v3 lease_grant {id:x}"),
        kv::Command::LeaseRevoke { id } => write!(f, "v3 lease_revoke {id:x}"),
        kv::Command::Sweep => f.write_str("v3 sweep"),
    }
}

fn transaction(f: &mut fmt::Formatter<'_>, txn: &Txn) -> fmt::Result {
    let operations = txn.success.len() + txn.failure.len();
    write!(
        f,
        "v3 txn ({} compares, {operations} operations",
        txn.compare.len()
    )?;
    match txn.compare.first() {
        Some(compare) => write!(f, ", first of {})", Short(&compare.key)),
        None => f.write_str(")"),
    }
}

/// A key, cut where it is long.
struct Short<'k>(&'k [u8]);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.0.len() > SHOWN { "..." } else { "" };
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "\"{}{more}\"", shown.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Put;

    #[test]
    fn keys_are_named_and_values_are_not() {
        let put = |key: &[u8]| {
            let put = Put {
                key: key.to_vec().into(),
                value: "secret".into(),
                ..Put::default()
            };
            Command::Kv(kv::Command::Put(put)).to_string()
        };
        assert_eq!(put(b"a\nb"), "v3 put \"a\\nb\" (6 bytes)");
        assert_eq!(
            put(&[b'k'; 100]),
            format!("v3 put \"{}...\" (6 bytes)", "k".repeat(64))
        );
        let write = keys::Write {
            key: "/a/b".to_owned(),
            op: Op::Delete {
                dir: false,
                recursive: true,
            },
            now_ms: 0,
        };
        assert_eq!(Command::Keys(write).to_string(), "v2 delete \"/a/b\" (0 bytes)");
    }
}
