//! Reads and writes of each key are linearizable: there is an order of all of them, in which each takes effect between its
//! begin and its end, that gives every answer. Keys are independent, so each is looked at by itself. The search is Wing
//! and Gong's, with Lowe's memory of configurations that lead nowhere.

use std::collections::{BTreeMap, BTreeSet};

use super::Recorded;
use crate::cluster::client::{Ask, End, Face, Seen};

/// A configuration is a set of operations as bits: no more than these are looked at for one key.
const MOST: usize = 128;
/// Where the search gives up. What is not decided then is not broken.
const STEPS: usize = 400_000;

#[derive(Debug, Clone)]
struct One<'r> {
    began: u64,
    /// `u64::MAX` while it may still take effect.
    ended: u64,
    ask: &'r Ask,
    seen: Option<&'r Seen>,
}

/// The key after an operation, if what was seen fits.
fn step(state: Option<u64>, one: &One<'_>) -> Option<Option<u64>> {
    let (done, after) = match *one.ask {
        Ask::Set(value) => (true, Some(value)),
        Ask::Create(value) if state.is_none() => (true, Some(value)),
        Ask::Swap(old, value) if state == Some(old) => (true, Some(value)),
        Ask::Delete if state.is_some() => (true, None),
        Ask::Read | Ask::ReadStale => {
            let fits = one.seen.is_none_or(|seen| *seen == Seen::Value(state));
            return fits.then_some(state);
        }
        _ => (false, state),
    };
    let fits = match one.seen {
        None => true,
        Some(Seen::Done) => done,
        Some(Seen::Refused) => !done,
        Some(_) => false,
    };
    fits.then_some(after)
}

/// Whether there is an order; `None` if that takes too long to say.
fn is_linearizable(all: &[One<'_>]) -> Option<bool> {
    let must: u128 = all
        .iter()
        .enumerate()
        .filter(|(_, one)| one.ended != u64::MAX)
        .fold(0, |bits, (at, _)| bits | 1 << at);
    let mut known = BTreeSet::new();
    let mut open = vec![(0u128, None)];
    let mut steps = 0;
    while let Some((done, state)) = open.pop() {
        if done & must == must {
            return Some(true);
        }
        steps += 1;
        if steps > STEPS {
            return None;
        }
        let waiting = || all.iter().enumerate().filter(|(at, _)| done & 1 << at == 0);
        let first_end = waiting().map(|(_, one)| one.ended).min().unwrap_or(u64::MAX);
        for (at, one) in waiting().filter(|(_, one)| one.began <= first_end) {
            let Some(after) = step(state, one) else { continue };
            let next = (done | 1 << at, after);
            if known.insert(next) {
                open.push(next);
            }
        }
    }
    Some(false)
}

/// Checks all operations.
///
/// # Errors
/// The first key for which there is no order.
pub fn at_the_end(recorded: &[Recorded]) -> Result<(), String> {
    let mut keys: BTreeMap<(Face, u64), Vec<One<'_>>> = BTreeMap::new();
    for recorded in recorded {
        let (ended, seen) = match &recorded.ended {
            Some((_, End::Nothing(_))) => continue,
            Some((ended, End::Answer { seen, .. })) => (*ended, Some(seen)),
            Some((_, End::Unknown(_))) | None => (u64::MAX, None),
        };
        let says_something = match recorded.operation.ask {
            Ask::Read | Ask::ReadStale => ended != u64::MAX,
            Ask::Set(_) | Ask::Create(_) | Ask::Swap(..) | Ask::Delete => true,
            _ => false, // nobody else writes there
        };
        if !says_something {
            continue;
        }
        let key = (recorded.operation.face, recorded.operation.key);
        keys.entry(key).or_default().push(One {
            began: recorded.began_ms,
            ended,
            ask: &recorded.operation.ask,
            seen,
        });
    }
    for (key, mut all) in keys {
        all.sort_by_key(|one| one.began);
        if let Some(left_out) = all.get(MOST).map(|one| one.began) {
            all.truncate(MOST);
            // What ends behind the first one left out may be explained by that, so its answer says nothing.
            all.retain(|one| one.ended < left_out || !matches!(one.ask, Ask::Read | Ask::ReadStale));
            for one in all.iter_mut().filter(|one| one.ended >= left_out) {
                (one.ended, one.seen) = (u64::MAX, None);
            }
        }
        if is_linearizable(&all) == Some(false) {
            return Err(format!("{key:?} is not linearizable: {all:#?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(all: &[(u64, u64, Ask, Option<Seen>)]) -> bool {
        let all: Vec<One<'_>> = all
            .iter()
            .map(|(began, ended, ask, seen)| One {
                began: *began,
                ended: *ended,
                ask,
                seen: seen.as_ref(),
            })
            .collect();
        is_linearizable(&all) == Some(true)
    }

    #[test]
    fn orders_are_found_where_there_are_any() {
        let done = || Some(Seen::Done);
        let value = |value| Some(Seen::Value(value));
        assert!(holds(&[
            (0, 5, Ask::Set(1), done()),
            (3, 4, Ask::Read, value(None))
        ]));
        assert!(holds(&[
            (0, 5, Ask::Set(1), done()),
            (3, 4, Ask::Read, value(Some(1)))
        ]));
        assert!(
            !holds(&[(0, 2, Ask::Set(1), done()), (3, 4, Ask::Read, value(None))]),
            "stale"
        );
        let never = u64::MAX;
        assert!(holds(&[
            (0, never, Ask::Set(1), None),
            (3, 4, Ask::Read, value(Some(1)))
        ]));
        assert!(!holds(&[
            (0, never, Ask::Set(1), None),
            (3, 4, Ask::Read, value(Some(1))),
            (5, 6, Ask::Read, value(None)),
        ]));
        assert!(!holds(&[
            (0, 1, Ask::Set(1), done()),
            (2, 3, Ask::Create(2), done())
        ]));
        assert!(holds(&[
            (0, 1, Ask::Set(1), done()),
            (2, 3, Ask::Swap(2, 3), Some(Seen::Refused))
        ]));
    }
}
