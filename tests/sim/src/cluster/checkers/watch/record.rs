//! What one watcher wants, was told, and should have been told.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::cluster::checkers::history::Told;
use crate::cluster::checkers::past::Compactions;

/// The changes of one index or revision: keys, with their values after it.
pub type Values = Vec<(String, Option<String>)>;

/// Which keys a watcher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// All.
    All,
    /// This one.
    One(&'static str),
    /// From the first on, before the second.
    Between(&'static str, &'static str),
    /// From this one on.
    From(&'static str),
}

/// What a watcher wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    pub keys: Keys,
    pub puts: bool,
    pub deletions: bool,
}

impl Wants {
    fn has(&self, (key, value): &(String, Option<String>)) -> bool {
        let is_its_key = match self.keys {
            Keys::All => true,
            Keys::One(one) => key == one,
            Keys::Between(from, to) => from <= key.as_str() && key.as_str() < to,
            Keys::From(from) => from <= key.as_str(),
        };
        is_its_key
            && (if value.is_some() {
                self.puts
            } else {
                self.deletions
            })
    }
}

/// A watcher's part of the history.
#[derive(Debug)]
pub struct Record {
    pub wants: Wants,
    /// Before this index or revision it has been told everything.
    pub next: u64,
    seen: BTreeMap<u64, Values>,
    /// What it was told is not to be had any more.
    lost: Vec<Range<u64>>,
    /// It forgets every so manyth change: a broken promise, for the test of the checkers.
    pub forgets: Option<u64>,
}

impl Record {
    /// Of a watcher from the beginning on.
    pub fn new(wants: Wants) -> Record {
        Record {
            wants,
            next: 1,
            seen: BTreeMap::new(),
            lost: Vec::new(),
            forgets: None,
        }
    }

    /// It was told all changes of one index or revision.
    ///
    /// # Errors
    /// When it should have been told before, or was.
    pub fn got(&mut self, at: u64, values: Values) -> Result<(), String> {
        if at < self.next {
            return Err(format!("got {at} where it waited for {}", self.next));
        }
        self.next = at + 1;
        if !self.forgets.is_some_and(|nth| at.is_multiple_of(nth)) {
            self.seen.insert(at, values);
        }
        Ok(())
    }

    /// It was told that it has everything up to there.
    pub fn has_all_upto(&mut self, upto: u64) {
        self.next = self.next.max(upto + 1);
    }

    /// It was told that what lies before is lost to it.
    pub fn lost_before(&mut self, next: u64) {
        self.lost.push(self.next..next);
        self.next = next;
    }

    /// Whether anything was lost to it.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Compares all it got with the one history.
    ///
    /// # Errors
    /// The first change it missed, or got in pieces, or that never was.
    pub fn compare(&self, history: &BTreeMap<u64, Told>) -> Result<(), String> {
        let is_lost = |at: u64| self.lost.iter().any(|lost| lost.contains(&at));
        let mut seen = self.seen.iter();
        for (at, told) in history.iter().filter(|(at, _)| !is_lost(**at)) {
            let wanted = told.values.iter().filter(|value| self.wants.has(value));
            let wanted: Values = wanted.cloned().collect();
            if wanted.is_empty() {
                continue;
            }
            let got = seen.next();
            if got != Some((at, &wanted)) {
                return Err(format!("should have got {wanted:?} at {at}, and got {got:?}"));
            }
        }
        match seen.next() {
            Some(more) => Err(format!("got {more:?} that never was")),
            None => Ok(()),
        }
    }

    /// What it lost to compactions, somebody asked for.
    ///
    /// # Errors
    /// What it lost, if nobody did.
    pub fn lost_rightly(&self, compactions: &Compactions) -> Result<(), String> {
        let wrongly = self.lost.iter().find(|lost| !compactions.has(lost.end));
        wrongly.map_or(Ok(()), |lost| {
            Err(format!("lost {lost:?}, and nobody compacted at {}", lost.end))
        })
    }
}
