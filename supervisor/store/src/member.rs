//! What the cluster's members say about themselves: the source of `/v2/members` and of the addresses clients use.
//!
//! A member's first appearance counts as two internal writes of the v2 store and the decision of the cluster version as
//! one, exactly as in etcd: on a fresh single node the first user write therefore has index 4 (contract `etcd.md` 1.1).

use serde::{Deserialize, Serialize};

use crate::keys::history::{self, Row};
use crate::meta::Meta;
use crate::tables::{KeyRange, Read, StoreFault, Table, Write, collect, load, store};

/// A member's id, as Raft knows it. Printed as lower-case hexadecimal without padding.
pub type MemberId = u64;

/// What a member publishes about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Who.
    pub id: MemberId,
    /// Its human name (`--name`).
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it (`--advertise-client-urls`).
    pub client_urls: Vec<String>,
}

/// Every member that has published itself, by id.
///
/// # Errors
/// When the backend fails.
pub fn members(tx: &(impl Read + ?Sized)) -> Result<Vec<Attributes>, StoreFault> {
    collect(tx, Table::Members, &KeyRange::all())
}

/// What the member `id` published, if it has.
///
/// # Errors
/// When the backend fails.
pub fn member(tx: &(impl Read + ?Sized), id: MemberId) -> Result<Option<Attributes>, StoreFault> {
    load(tx, Table::Members, &id.to_be_bytes())
}

/// Records a member's attributes; true if anything changed.
pub(crate) fn publish(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    attributes: &Attributes,
) -> Result<bool, StoreFault> {
    let known = member(tx, attributes.id)?;
    if known.as_ref() == Some(attributes) {
        return Ok(false);
    }
    if known.is_none() {
        history::record(tx, meta, &Row::Internal)?; // etcd creates raftAttributes ...
        meta.stats.create_success += 1;
    }
    history::record(tx, meta, &Row::Internal)?; // ... and then sets attributes
    meta.stats.sets_success += 1;
    store(tx, Table::Members, &attributes.id.to_be_bytes(), attributes)?;
    Ok(true)
}

/// Whether a member was removed for good: its id is never a member's again.
///
/// # Errors
/// When the backend fails.
pub fn is_removed(tx: &(impl Read + ?Sized), id: MemberId) -> Result<bool, StoreFault> {
    Ok(tx.get(Table::RemovedMembers, &id.to_be_bytes())?.is_some())
}

/// Forgets what a member published, and remembers that it is gone; true if that is new.
pub(crate) fn remove(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    id: MemberId,
) -> Result<bool, StoreFault> {
    if is_removed(tx, id)? {
        return Ok(false);
    }
    if tx.delete(Table::Members, &id.to_be_bytes())? {
        history::record(tx, meta, &Row::Internal)?; // etcd deletes the member's directory ...
        meta.stats.delete_success += 1;
    }
    history::record(tx, meta, &Row::Internal)?; // ... and makes one among the removed
    meta.stats.create_success += 1;
    tx.put(Table::RemovedMembers, &id.to_be_bytes(), &[])?;
    Ok(true)
}

/// Records the decided cluster version; true if it changed.
pub(crate) fn decide_version(
    tx: &mut (impl Write + ?Sized),
    meta: &mut Meta,
    version: &str,
) -> Result<bool, StoreFault> {
    if meta.version.as_deref() == Some(version) {
        return Ok(false);
    }
    meta.version = Some(version.to_owned());
    history::record(tx, meta, &Row::Internal)?;
    meta.stats.sets_success += 1;
    Ok(true)
}
