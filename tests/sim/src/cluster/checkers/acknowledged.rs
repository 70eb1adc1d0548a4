//! No acknowledged write is lost: what a client was told was done stands in the one history, in its place, at the end.

use super::Recorded;
use super::history::History;
use crate::cluster::client::{Ask, End, Face, Operation, Seen};

/// What a write leaves in its key; `None` if it is about none.
fn leaves(ask: &Ask) -> Option<Option<String>> {
    match ask {
        Ask::Set(value)
        | Ask::Create(value)
        | Ask::Swap(_, value)
        | Ask::SetFor(value, _)
        | Ask::Attach(_, value) => Some(Some(value.to_string())),
        Ask::Delete => Some(None),
        _ => None,
    }
}

/// Checks one operation that has ended, against the history and how far it reaches in every replica at the end.
fn check(history: &History, end: (u64, u64), operation: &Operation, place: u64) -> Result<(), String> {
    let Some(value) = leaves(&operation.ask) else {
        return Ok(());
    };
    let (told, reaches) = match operation.face {
        Face::V2 => (history.v2.get(&place), end.0),
        Face::V3 => (history.v3.get(&place), end.1),
    };
    if place > reaches {
        return Err(format!(
            "{operation:?} was acknowledged at {place}, and the replicas reach to {reaches} only"
        ));
    }
    if !told.is_some_and(|told| told.values.contains(&(operation.key(), value))) {
        return Err(format!(
            "{operation:?} was acknowledged at {place}, where the history has {told:?}"
        ));
    }
    Ok(())
}

/// Checks all operations. `end`: the v2 index and the v3 revision that every replica has reached.
///
/// # Errors
/// The first that is lost.
pub fn at_the_end(history: &History, end: (u64, u64), recorded: &[Recorded]) -> Result<(), String> {
    recorded.iter().try_for_each(|one| match &one.ended {
        Some((
            _,
            End::Answer {
                seen: Seen::Done,
                place,
                ..
            },
        )) => check(history, end, &one.operation, *place),
        _ => Ok(()),
    })
}
