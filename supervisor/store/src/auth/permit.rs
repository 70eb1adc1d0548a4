//! Who may do what. While auth is off, everybody everything.

use super::state;
use super::{Caller, Permission, PermissionKind, User};
use crate::kv::{self, Command, DeleteRange, Error, LeaseId, Lookup, Op, Put, Range, Txn};
use crate::tables::{Read, StoreFault};

/// How a key is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

/// Somebody whose rights are to be looked at.
struct Asked<'t, T: ?Sized> {
    tx: &'t T,
    user: User,
}

/// Whether the caller may make a change of the v3 data.
pub fn permits(tx: &(impl Read + ?Sized), caller: &Caller, command: &Command) -> Lookup<()> {
    match command {
        Command::Put(request) => put(tx, caller, request),
        Command::DeleteRange(request) => delete_range(tx, caller, request),
        Command::Txn(request) => txn(tx, caller, request),
        Command::LeaseRevoke { id } => lease(tx, caller, *id),
        // etcd lets everybody compact and make leases
        Command::Compact { .. } | Command::LeaseGrant { .. } | Command::Sweep => Ok(Ok(())),
    }
}

/// Whether the caller may read a range.
///
/// # Errors
/// [`Error::UserEmpty`] without a user, [`Error::AuthOldRevision`], [`Error::PermissionDenied`]. The outer error is the
/// storage's. The same holds for the functions below.
pub fn range(tx: &(impl Read + ?Sized), caller: &Caller, request: &Range) -> Lookup<()> {
    with_user(tx, caller, |asked| {
        asked.may(Use::Read, &request.key, &request.range_end)
    })
}

/// Whether the caller may set a key, and hang it on a lease: only on one whose keys they may all write.
pub fn put(tx: &(impl Read + ?Sized), caller: &Caller, request: &Put) -> Lookup<()> {
    with_user(tx, caller, |asked| {
        Ok(asked.may(Use::Write, &request.key, &[])?
            && (request.lease == 0 || asked.may_with_keys_on(Use::Write, request.lease)?)
            && (!request.prev_kv || asked.may(Use::Read, &request.key, &[])?))
    })
}

/// Whether the caller may delete a range.
pub fn delete_range(tx: &(impl Read + ?Sized), caller: &Caller, request: &DeleteRange) -> Lookup<()> {
    with_user(tx, caller, |asked| asked.may_delete(request))
}

/// Whether the caller may do everything that a transaction could do. One that does nothing is nobody's and everybody's.
pub fn txn(tx: &(impl Read + ?Sized), caller: &Caller, request: &Txn) -> Lookup<()> {
    let mut ops = request.success.iter().chain(&request.failure);
    if request.compare.is_empty() && ops.all(|op| *op == Op::Empty) {
        return Ok(Ok(()));
    }
    with_user(tx, caller, |asked| asked.may_all(request))
}

/// Whether the caller may revoke a lease: whoever may write all its keys.
pub fn lease(tx: &(impl Read + ?Sized), caller: &Caller, id: LeaseId) -> Lookup<()> {
    if kv::lease_keys(tx, id)?.is_empty() {
        return Ok(Ok(())); // as in etcd, nobody asks who it is
    }
    with_user(tx, caller, |asked| asked.may_with_keys_on(Use::Write, id))
}

/// Whether the caller may see which keys hang on a lease: whoever may read them all. etcd asks so since 3.4.26.
pub fn lease_keys(tx: &(impl Read + ?Sized), caller: &Caller, id: LeaseId) -> Lookup<()> {
    with_user(tx, caller, |asked| asked.may_with_keys_on(Use::Read, id))
}

/// Whether the caller may change users and roles, and do what else is an administrator's.
pub fn admin(tx: &(impl Read + ?Sized), caller: &Caller) -> Lookup<()> {
    if *caller == Caller::Server || !state::standing(tx)?.enabled {
        return Ok(Ok(()));
    }
    let Caller::User { name, .. } = caller else {
        return Ok(Err(Error::UserEmpty));
    };
    let root = state::user(tx, name)?.is_some_and(|user| user.is_root());
    Ok(if root {
        Ok(())
    } else {
        Err(Error::PermissionDenied)
    })
}

/// Whether the caller may look at a user: at themselves, everybody.
pub fn read_user(tx: &(impl Read + ?Sized), caller: &Caller, user: &str) -> Lookup<()> {
    match caller {
        Caller::User { name, .. } if name == user => Ok(Ok(())),
        // To etcd, nobody's name is empty, and their own.
        Caller::Nobody if user.is_empty() => Ok(Ok(())),
        _ => admin(tx, caller),
    }
}

/// Whether the caller may look at a role: at their own, everybody.
pub fn read_role(tx: &(impl Read + ?Sized), caller: &Caller, role: &str) -> Lookup<()> {
    if let Caller::User { name, .. } = caller
        && let Some(user) = state::user(tx, name)?
        && user.roles.iter().any(|granted| granted == role)
    {
        return Ok(Ok(()));
    }
    admin(tx, caller)
}

/// Asks `may` of a caller who is neither the cluster itself nor root.
fn with_user<T: Read + ?Sized>(
    tx: &T,
    caller: &Caller,
    may: impl FnOnce(&Asked<'_, T>) -> Result<bool, StoreFault>,
) -> Lookup<()> {
    let standing = state::standing(tx)?;
    if *caller == Caller::Server || !standing.enabled {
        return Ok(Ok(()));
    }
    let Caller::User { name, revision } = caller else {
        return Ok(Err(Error::UserEmpty));
    };
    if *revision < standing.revision {
        return Ok(Err(Error::AuthOldRevision));
    }
    let Some(user) = state::user(tx, name)? else {
        return Ok(Err(Error::PermissionDenied));
    };
    let permitted = user.is_root() || may(&Asked { tx, user })?;
    Ok(if permitted {
        Ok(())
    } else {
        Err(Error::PermissionDenied)
    })
}

impl<T: Read + ?Sized> Asked<'_, T> {
    fn may_delete(&self, request: &DeleteRange) -> Result<bool, StoreFault> {
        Ok(self.may(Use::Write, &request.key, &request.range_end)?
            && (!request.prev_kv || self.may(Use::Read, &request.key, &request.range_end)?))
    }

    /// In a transaction etcd asks neither for the lease of a put nor for the right to see what was there, and nothing at
    /// all for one inside of another. We do: a transaction is no way round.
    fn may_all(&self, txn: &Txn) -> Result<bool, StoreFault> {
        for compare in &txn.compare {
            if !self.may(Use::Read, &compare.key, &compare.range_end)? {
                return Ok(false);
            }
        }
        for op in txn.success.iter().chain(&txn.failure) {
            let may = match op {
                Op::Range(range) => self.may(Use::Read, &range.key, &range.range_end)?,
                Op::Put(put) => {
                    self.may(Use::Write, &put.key, &[])?
                        && (put.lease == 0 || self.may_with_keys_on(Use::Write, put.lease)?)
                        && (!put.prev_kv || self.may(Use::Read, &put.key, &[])?)
                }
                Op::DeleteRange(delete) => self.may_delete(delete)?,
                Op::Txn(nested) => self.may_all(nested)?,
                Op::Empty => true,
            };
            if !may {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn may_with_keys_on(&self, wanted: Use, id: LeaseId) -> Result<bool, StoreFault> {
        for key in kv::lease_keys(self.tx, id)? {
            if !self.may(wanted, &key, &[])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the user's roles together permit the use of every key of the range.
    fn may(&self, wanted: Use, key: &[u8], range_end: &[u8]) -> Result<bool, StoreFault> {
        let mut permitted: Vec<Interval> = Vec::new();
        for name in &self.user.roles {
            let role = state::role(self.tx, name)?.unwrap_or_default();
            let fitting = |permission: &&Permission| match permission.kind {
                PermissionKind::Read => wanted == Use::Read,
                PermissionKind::Write => wanted == Use::Write,
                PermissionKind::ReadWrite => true,
            };
            let fitting = role.permissions.iter().filter(fitting);
            permitted.extend(fitting.map(|p| Interval::new(&p.key, &p.range_end)));
        }
        permitted.sort_unstable_by(|a, b| a.from.cmp(&b.from));
        Ok(Interval::new(key, range_end).is_covered_by(&permitted))
    }
}

/// Keys from the first, up to but without the second; `None` to the end.
struct Interval {
    from: Vec<u8>,
    upto: Option<Vec<u8>>,
}

impl Interval {
    fn new(key: &[u8], range_end: &[u8]) -> Interval {
        Interval {
            from: key.to_vec(),
            upto: match range_end {
                [] => Some([key, &[0]].concat()),
                [0] => None,
                end => Some(end.to_vec()),
            },
        }
    }

    /// Whether the intervals, sorted by their beginnings, leave no gap in this one.
    fn is_covered_by(&self, sorted: &[Interval]) -> bool {
        let mut reached = self.from.clone();
        for interval in sorted {
            if interval.from > reached {
                return false;
            }
            match &interval.upto {
                None => return true,
                Some(upto) if *upto > reached => reached.clone_from(upto),
                // It says nothing of the first key even; a range that ends before it begins has one, too.
                Some(_) => continue,
            }
            if self.upto.as_ref().is_some_and(|upto| *upto <= reached) {
                return true;
            }
        }
        false
    }
}
