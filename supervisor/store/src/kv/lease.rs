//! Leases: what was granted, and which keys hang on it. When one runs out is the leader's clock's matter; what comes
//! here is the command that revokes it.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::error::Error;
use super::key;
use super::read::{self, Lookup};
use super::request::LeaseId;
use super::write::Session;
use crate::tables::{KeyRange, Read, StoreFault, Table, Write, decode, load, store};

/// The longest TTL that is granted, in seconds (etcd's `MaxLeaseTTL`).
pub const MAX_LEASE_TTL_S: i64 = 9_000_000_000;

/// Every lease's id with its granted seconds, by id.
///
/// # Errors
/// When the backend fails.
pub fn leases(tx: &(impl Read + ?Sized)) -> Result<Vec<(LeaseId, i64)>, StoreFault> {
    let mut leases = Vec::new();
    tx.scan(Table::Leases, &KeyRange::all(), &mut |key, row| {
        if let Ok(id) = key.try_into() {
            leases.push((LeaseId::from_be_bytes(id), decode(Table::Leases, key, row)?));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    leases.sort_unstable(); // rows have negative ids last
    Ok(leases)
}

/// The granted seconds of a lease, if there is such a lease.
///
/// # Errors
/// When the backend fails.
pub fn lease(tx: &(impl Read + ?Sized), id: LeaseId) -> Result<Option<i64>, StoreFault> {
    load(tx, Table::Leases, &id.to_be_bytes())
}

/// The keys that hang on a lease, sorted.
///
/// # Errors
/// When the backend fails.
pub fn lease_keys(tx: &(impl Read + ?Sized), id: LeaseId) -> Result<Vec<Bytes>, StoreFault> {
    let mut keys = Vec::new();
    tx.scan(
        Table::LeaseKeys,
        &KeyRange::prefix(&id.to_be_bytes()),
        &mut |row_key, row| {
            let key = if row.is_empty() { &row_key[8..] } else { row };
            keys.push(Bytes::copy_from_slice(key));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    keys.sort_unstable(); // only long keys are out of order
    Ok(keys)
}

pub(super) fn exists(tx: &(impl Read + ?Sized), id: LeaseId) -> Result<bool, StoreFault> {
    Ok(tx.get(Table::Leases, &id.to_be_bytes())?.is_some())
}

/// Makes a lease.
pub(super) fn grant(tx: &mut (impl Write + ?Sized), id: LeaseId, ttl_s: i64) -> Lookup<()> {
    if id == 0 {
        return Ok(Err(Error::LeaseNotFound)); // etcd's answer
    }
    if ttl_s > MAX_LEASE_TTL_S {
        return Ok(Err(Error::LeaseTtlTooLarge));
    }
    if exists(tx, id)? {
        return Ok(Err(Error::LeaseExists));
    }
    store(tx, Table::Leases, &id.to_be_bytes(), &ttl_s).map(Ok)
}

/// Ends a lease: its keys are deleted in byte order.
pub(super) fn revoke<T: Write + ?Sized>(session: &mut Session<'_, T>, id: LeaseId) -> Lookup<()> {
    if !exists(session.tx, id)? {
        return Ok(Err(Error::LeaseNotFound));
    }
    for key in lease_keys(session.tx, id)? {
        if let Some(pointer) = read::find(session.tx, &key)? {
            session.delete(key, &pointer)?;
        }
    }
    session.tx.delete(Table::Leases, &id.to_be_bytes())?;
    Ok(Ok(()))
}

pub(super) fn attach(tx: &mut (impl Write + ?Sized), id: LeaseId, key: &Bytes) -> Result<(), StoreFault> {
    let full: &[u8] = if key::is_long(key) { key } else { &[] };
    tx.put(Table::LeaseKeys, &row_key(id, key), full)
}

pub(super) fn detach(tx: &mut (impl Write + ?Sized), id: LeaseId, key: &Bytes) -> Result<(), StoreFault> {
    tx.delete(Table::LeaseKeys, &row_key(id, key)).map(|_| ())
}

fn row_key(id: LeaseId, key: &[u8]) -> Vec<u8> {
    let mut row_key = id.to_be_bytes().to_vec();
    row_key.extend_from_slice(&key::row(key));
    row_key
}
