//! What is past is told as it was, or refused: reads as of a revision and watches from one meet the one history, and are
//! told `compacted` when, and only when, somebody has compacted it; v2's window is as long as it should be.

use super::Recorded;
use super::history::History;
use crate::cluster::client::{Ask, End, Face, Operation, Seen};

/// A compaction that was asked for, and may have been done.
struct Compaction {
    revision: u64,
    asked_ms: u64,
    /// When it was surely done.
    done_ms: Option<u64>,
}

/// The compactions of a run.
pub struct Compactions(Vec<Compaction>);

impl Compactions {
    /// Those among all operations.
    pub fn of(recorded: &[Recorded]) -> Compactions {
        let compaction = |one: &Recorded| {
            let Ask::Compact(revision) = one.operation.ask else {
                return None;
            };
            let done_ms = match &one.ended {
                Some((_, End::Nothing(_))) => return None,
                Some((at, End::Answer { seen, .. })) if *seen == Seen::Done => Some(*at),
                Some((_, End::Answer { .. })) => return None,
                _ => None,
            };
            let asked_ms = one.began_ms;
            Some(Compaction {
                revision,
                asked_ms,
                done_ms,
            })
        };
        Compactions(recorded.iter().filter_map(compaction).collect())
    }

    /// Whether one of `fits` may have been done at `until_ms`.
    fn may_be(&self, until_ms: u64, fits: impl Fn(u64) -> bool) -> bool {
        let mut asked = self.0.iter().filter(|it| it.asked_ms <= until_ms);
        asked.any(|it| fits(it.revision))
    }

    /// Whether one of `fits` was surely done at `from_ms`.
    fn must_be(&self, from_ms: u64, fits: impl Fn(u64) -> bool) -> bool {
        let mut done = self
            .0
            .iter()
            .filter(|it| it.done_ms.is_some_and(|at| at <= from_ms));
        done.any(|it| fits(it.revision))
    }

    /// Whether anybody has asked for one at this revision.
    pub fn has(&self, revision: u64) -> bool {
        self.may_be(u64::MAX, |it| it == revision)
    }
}

/// Checks all operations.
///
/// # Errors
/// The first that was told what was not, or wrongly refused.
pub fn at_the_end(history: &History, recorded: &[Recorded]) -> Result<(), String> {
    let compactions = Compactions::of(recorded);
    for one in recorded {
        if let Some((ended_ms, End::Answer { seen, .. })) = &one.ended
            && let Err(why) = check(history, &compactions, one, *ended_ms, seen)
        {
            return Err(format!("{one:?}: {why}"));
        }
    }
    Ok(())
}

fn check(
    history: &History,
    compactions: &Compactions,
    one: &Recorded,
    ended_ms: u64,
    seen: &Seen,
) -> Result<(), String> {
    let holds = match (&one.operation.ask, seen) {
        (_, Seen::Wrong(what)) => return Err(what.clone()),
        (Ask::ReadAt(at), Seen::Value(value)) => {
            let was = value_at(history, &one.operation, *at);
            if was != *value {
                return Err(format!("it was {was:?}"));
            }
            !compactions.must_be(one.began_ms, |it| it > *at)
        }
        (Ask::ReadAt(at), Seen::Compacted) => compactions.may_be(ended_ms, |it| it > *at),
        (Ask::Compact(at), Seen::Compacted) => compactions.may_be(ended_ms, |it| it >= *at),
        (Ask::WatchFrom(from), Seen::Event(at, changes)) => {
            first(history, &one.operation, *from) == Some((*at, *changes))
        }
        (Ask::WatchFrom(from), Seen::NoEvent(upto)) => {
            first(history, &one.operation, *from).is_none_or(|(at, _)| at > *upto)
        }
        (Ask::WatchFrom(from), Seen::Cleared(at)) if one.operation.face == Face::V3 => {
            *at > *from && compactions.may_be(ended_ms, |it| it == *at)
        }
        _ => true,
    };
    match holds {
        true => Ok(()),
        false => Err("no such compaction, or no such history".to_owned()),
    }
}

/// What a v3 key was at a revision.
fn value_at(history: &History, operation: &Operation, revision: u64) -> Option<u64> {
    let key = operation.key();
    let mut changes = history.v3.range(..=revision).rev();
    let last = changes.find_map(|(_, told)| told.values.iter().rfind(|(name, _)| *name == key));
    last?.1.as_ref()?.parse().ok()
}

/// The first event from an index or revision on, and how many changes it has.
fn first(history: &History, operation: &Operation, from: u64) -> Option<(u64, usize)> {
    let told = match operation.face {
        Face::V2 => &history.v2,
        Face::V3 => &history.v3,
    };
    told.range(from..)
        .next()
        .map(|(at, told)| (*at, told.values.len()))
}

#[cfg(test)]
mod tests {
    use super::super::history::Told;
    use super::*;

    fn one(ask: Ask, began_ms: u64, ended_ms: u64, seen: Seen) -> Recorded {
        let (face, key, place, entry) = (Face::V3, 1, 9, 9);
        Recorded {
            operation: Operation { face, key, ask },
            began_ms,
            ended: Some((ended_ms, End::Answer { seen, place, entry })),
        }
    }

    fn holds(asked: Recorded) -> bool {
        let mut history = History::default();
        for (revision, value) in [(2, 20), (4, 40)] {
            let values = vec![("k1".to_owned(), Some(value.to_string()))];
            let text = String::new();
            history.v3.insert(revision, Told { text, values });
        }
        at_the_end(&history, &[one(Ask::Compact(4), 100, 200, Seen::Done), asked]).is_ok()
    }

    #[test]
    fn the_past_is_told_as_it_was_or_refused() {
        let value = |value| Seen::Value(Some(value));
        assert!(holds(one(Ask::ReadAt(3), 150, 250, value(20))));
        assert!(!holds(one(Ask::ReadAt(3), 150, 250, value(40))));
        assert!(
            !holds(one(Ask::ReadAt(3), 201, 250, value(20))),
            "it was compacted"
        );
        assert!(holds(one(Ask::ReadAt(4), 201, 250, value(40))));
        assert!(holds(one(Ask::ReadAt(3), 201, 250, Seen::Compacted)));
        assert!(!holds(one(Ask::ReadAt(3), 20, 50, Seen::Compacted)));
        assert!(!holds(one(Ask::ReadAt(4), 201, 250, Seen::Compacted)));
        assert!(holds(one(Ask::WatchFrom(3), 150, 150, Seen::Event(4, 1))));
        assert!(!holds(one(Ask::WatchFrom(2), 150, 150, Seen::Event(4, 1))));
        assert!(holds(one(Ask::WatchFrom(3), 150, 150, Seen::Cleared(4))));
        assert!(!holds(one(Ask::WatchFrom(3), 150, 150, Seen::Cleared(3))));
        assert!(!holds(one(Ask::WatchFrom(4), 150, 150, Seen::NoEvent(4))));
    }
}
