//! Which events a watcher gets. Who the watchers are, and how they get them, is the serving side's.

use super::event::Notice;
use super::path;

/// A watch, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The cleaned key.
    pub key: String,
    /// Also what lies below.
    pub recursive: bool,
    /// More than one event.
    pub stream: bool,
    /// The first index wanted (`waitIndex`); 0 means the next one.
    pub since: u64,
}

impl Watch {
    /// Whether a live watcher gets this event. A watcher with a future `since` is spared what comes before it.
    ///
    /// Hidden keys are shown only to a watcher on the hidden key itself or below; the deletion of a directory is shown
    /// to the watchers of every key that went with it.
    pub fn matches(&self, notice: &Notice) -> bool {
        let key = &notice.event.node.key;
        if notice.event.index() < self.since {
            return false;
        }
        if *key == self.key {
            return true;
        }
        if path::is_below(&self.key, key) {
            return self.recursive && !path::is_hidden_from(&self.key, key);
        }
        notice.removed.binary_search(&self.key).is_ok()
    }
}
