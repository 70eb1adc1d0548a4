//! Which keys a watcher wants to be told of, and finding the watchers of a key without asking all of them.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use corten_store::kv::{Action, Change};

/// What one watcher wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// The key, or the range's first.
    pub key: Bytes,
    /// Where the range ends.
    pub until: Until,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
}

/// Where a watched range ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// It is the one key.
    Itself,
    /// Before this key.
    Before(Bytes),
    /// Nowhere.
    Open,
}

impl Interest {
    /// Whether it wants to be told of a change.
    pub fn wants(&self, change: &Change) -> bool {
        let filtered = match change.action {
            Action::Put => self.no_put,
            Action::Delete => self.no_delete,
        };
        !filtered && self.covers(&change.kv.key)
    }

    fn covers(&self, key: &Bytes) -> bool {
        match &self.until {
            Until::Itself => *key == self.key,
            Until::Before(end) => self.key <= *key && *key < *end,
            Until::Open => self.key <= *key,
        }
    }

    /// The prefix it asks for, if its range is that of a prefix.
    fn prefix(&self) -> Option<&Bytes> {
        let Until::Before(end) = &self.until else {
            return None;
        };
        let (last, before) = self.key.split_last()?;
        let follows = *last < u8::MAX && end.len() == self.key.len();
        (follows && end.starts_with(before) && end.last() == Some(&(last + 1))).then_some(&self.key)
    }
}

/// Watchers by what they want, each under a number. A change costs its key's length and the watchers it wakes, plus the
/// watchers of ranges that are neither a key nor a prefix, which are rare.
#[derive(Debug)]
pub struct Index<W> {
    keys: HashMap<Bytes, BTreeMap<u64, W>>,
    prefixes: HashMap<Bytes, BTreeMap<u64, W>>,
    /// How many different prefixes of a length there are.
    lengths: BTreeMap<usize, usize>,
    ranges: BTreeMap<u64, (Interest, W)>,
}

impl<W> Default for Index<W> {
    fn default() -> Self {
        Index {
            keys: HashMap::new(),
            prefixes: HashMap::new(),
            lengths: BTreeMap::new(),
            ranges: BTreeMap::new(),
        }
    }
}

impl<W> Index<W> {
    /// Adds a watcher.
    pub fn insert(&mut self, number: u64, interest: &Interest, watcher: W) {
        if interest.until == Until::Itself {
            let at_key = self.keys.entry(interest.key.clone()).or_default();
            at_key.insert(number, watcher);
        } else if let Some(prefix) = interest.prefix() {
            if !self.prefixes.contains_key(prefix) {
                *self.lengths.entry(prefix.len()).or_default() += 1;
            }
            let at_prefix = self.prefixes.entry(prefix.clone()).or_default();
            at_prefix.insert(number, watcher);
        } else {
            self.ranges.insert(number, (interest.clone(), watcher));
        }
    }

    /// Takes a watcher out.
    pub fn remove(&mut self, number: u64, interest: &Interest) {
        if interest.until == Until::Itself {
            remove(&mut self.keys, &interest.key, number);
        } else if let Some(prefix) = interest.prefix() {
            if remove(&mut self.prefixes, prefix, number)
                && let Some(count) = self.lengths.get_mut(&prefix.len())
            {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
            }
        } else {
            self.ranges.remove(&number);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let grouped = self.keys.values().chain(self.prefixes.values());
        grouped.map(BTreeMap::len).sum::<usize>() + self.ranges.len()
    }

    /// Takes all out.
    pub fn take_all(&mut self) -> Vec<(u64, W)> {
        let Index {
            keys,
            prefixes,
            ranges,
            ..
        } = std::mem::take(self);
        let grouped = keys.into_values().chain(prefixes.into_values()).flatten();
        let others = ranges.into_iter().map(|(number, (_, watcher))| (number, watcher));
        grouped.chain(others).collect()
    }

    /// Visits the watchers whose range holds `key`, whatever their filters.
    pub fn visit<'i>(&'i self, key: &Bytes, mut visit: impl FnMut(u64, &'i W)) {
        let mut group = |watchers: Option<&'i BTreeMap<u64, W>>| {
            for (number, watcher) in watchers.into_iter().flatten() {
                visit(*number, watcher);
            }
        };
        group(self.keys.get(key));
        for length in self.lengths.keys().take_while(|length| **length <= key.len()) {
            group(self.prefixes.get(&key[..*length]));
        }
        for (number, (interest, watcher)) in &self.ranges {
            if interest.covers(key) {
                visit(*number, watcher);
            }
        }
    }
}

/// Takes a watcher out of its group; true when the group is gone with it.
fn remove<W>(groups: &mut HashMap<Bytes, BTreeMap<u64, W>>, at: &Bytes, number: u64) -> bool {
    let Some(group) = groups.get_mut(at) else {
        return false;
    };
    group.remove(&number);
    if !group.is_empty() {
        return false;
    }
    groups.remove(at);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interest(key: &'static str, until: Until) -> Interest {
        Interest {
            key: Bytes::from_static(key.as_bytes()),
            until,
            no_put: false,
            no_delete: false,
        }
    }

    fn before(key: &'static [u8]) -> Until {
        Until::Before(Bytes::from_static(key))
    }

    #[test]
    fn a_key_finds_its_watchers() {
        let all = [
            interest("a", Until::Itself),
            interest("a", before(b"b")),
            interest("a/", before(b"a0")),
            interest("a", before(b"a/x")),
            interest("b", Until::Open),
            interest("a\u{7f}", before(b"a\x80")),
        ];
        let mut index = Index::default();
        for (number, interest) in (0..).zip(&all) {
            index.insert(number, interest, ());
        }
        let found = |index: &Index<()>, key: &'static str| {
            let mut found = Vec::new();
            index.visit(&Bytes::from_static(key.as_bytes()), |number, ()| {
                found.push(number)
            });
            found.sort_unstable();
            found
        };
        assert_eq!(found(&index, "a"), [0, 1, 3]);
        assert_eq!(found(&index, "a/"), [1, 2, 3]);
        assert_eq!(found(&index, "a/y"), [1, 2]);
        assert_eq!(found(&index, "a\u{7f}b"), [1, 5]);
        assert_eq!(found(&index, "c"), [4]);
        assert!(found(&index, "A").is_empty());
        for (number, interest) in (0..).zip(&all) {
            index.remove(number, interest);
        }
        assert!(index.keys.is_empty() && index.prefixes.is_empty() && index.lengths.is_empty());
        assert!(index.ranges.is_empty());
    }
}
