//! Reads and writes of each key are linearizable: there is an order of all of them, in which each takes effect between its
//! begin and its end, that gives every answer. Keys are independent, so each is looked at by itself. The search is Wing
//! and Gong's, with Lowe's memory of configurations that lead nowhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Recorded;
use crate::cluster::client::{Ask, End, Face, Seen};

/// Where the search gives up. What is not decided then counts as broken, so that nothing is left out unseen.
const STEPS: usize = 2_000_000;

#[derive(Debug, Clone)]
struct One<'r> {
    began: u64,
    /// `u64::MAX` while it may still take effect.
    ended: u64,
    ask: &'r Ask,
    seen: Option<&'r Seen>,
}

impl One<'_> {
    /// Whether it has taken effect for sure, and an answer that must fit.
    fn must(&self) -> bool {
        self.ended != u64::MAX
    }
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

/// Which operations have taken effect: all before `base` that must have, and those `ahead` of it or that need not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Done {
    base: usize,
    ahead: BTreeSet<usize>,
}

impl Done {
    fn has(&self, all: &[One<'_>], at: usize) -> bool {
        self.ahead.contains(&at) || (at < self.base && all[at].must())
    }

    /// This one as well.
    fn with(&self, all: &[One<'_>], at: usize) -> Done {
        let mut done = self.clone();
        done.ahead.insert(at);
        while let Some(one) = all.get(done.base)
            && (!one.must() || done.ahead.contains(&done.base))
        {
            if one.must() {
                done.ahead.remove(&done.base);
            }
            done.base += 1;
        }
        done
    }

    /// Those that may take effect next: none of the others has ended before they began. Of two, the one that ends first
    /// comes last.
    fn next(&self, all: &[One<'_>]) -> Vec<usize> {
        let mut first_end = u64::MAX;
        let mut next = Vec::new();
        for (at, one) in all.iter().enumerate() {
            if one.began > first_end {
                break;
            }
            if !self.has(all, at) {
                first_end = first_end.min(one.ended);
                next.push(at);
            }
        }
        next.retain(|at| all[*at].began <= first_end);
        next.sort_by_key(|at| Reverse(all[*at].ended));
        next
    }
}

/// Whether there is an order; `None` if that takes too long to say. `all` is sorted by their beginnings.
fn is_linearizable(all: &[One<'_>]) -> Option<bool> {
    // Those at the beginning that need not take effect are behind the base from the start.
    let base = all.iter().take_while(|one| !one.must()).count();
    let begin = Done {
        base,
        ..Done::default()
    };
    let mut known = BTreeSet::new();
    let mut open = vec![(begin, None)];
    let mut steps = 0;
    while let Some((done, state)) = open.pop() {
        if done.base == all.len() {
            return Some(true);
        }
        steps += 1;
        if steps > STEPS {
            return None;
        }
        for at in done.next(all) {
            let Some(after) = step(state, &all[at]) else {
                continue;
            };
            // What may never have taken effect, and would change nothing, need not.
            if !all[at].must() && after == state {
                continue;
            }
            let next = (done.with(all, at), after);
            if known.insert(next.clone()) {
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
        match is_linearizable(&all) {
            Some(true) => {}
            Some(false) => return Err(format!("{key:?} is not linearizable: {all:#?}")),
            None => return Err(format!("{key:?}: no order was found in {STEPS} steps: {all:#?}")),
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

    #[test]
    fn nothing_is_left_out_of_many() {
        let done = || Some(Seen::Done);
        let mut all: Vec<_> = (0..300).map(|at| (at, at, Ask::Set(at), done())).collect();
        all.push((10, u64::MAX, Ask::Set(1_000), None));
        all.push((300, 301, Ask::Read, Some(Seen::Value(Some(299)))));
        all.sort_by_key(|one| one.0);
        assert!(holds(&all));
        all.push((302, 303, Ask::Read, Some(Seen::Value(Some(298)))));
        assert!(!holds(&all));
    }
}
