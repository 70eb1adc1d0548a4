//! A key with a TTL expires after it and not before, as far as the machines' clocks agree, and not long after.

use std::collections::BTreeMap;

use corten_raft::{AppliedBatch, Node};
use corten_store::{Event, keys};

use crate::cluster::client::mortal_key;
use crate::cluster::machine::{EPOCH_MS, MOST_SKEW_MS};

/// How long after its end a key may be there, once all is well: the leader looks twice a second.
const LATE_MS: u64 = 2_000;

/// Until when keys live at least, in the simulation's time.
#[derive(Debug, Default)]
pub struct Lives(BTreeMap<String, u64>);

impl Lives {
    /// At `now_ms` somebody asks for a key that lives for `ttl_ms`.
    pub fn begin(&mut self, value: u64, now_ms: u64, ttl_ms: u64) {
        self.0.insert(mortal_key(value), now_ms + ttl_ms);
    }

    /// Looks at what was applied until `now_ms`.
    ///
    /// # Errors
    /// When a key has expired too early.
    pub fn look(&self, batch: &AppliedBatch, now_ms: u64) -> Result<(), String> {
        for event in &batch.events {
            let Event::Key(notice) = event else { continue };
            let key = &notice.event.node.key;
            if notice.event.action == keys::Action::Expire
                && let Some(lives_until) = self.0.get(key)
                && now_ms + 2 * MOST_SKEW_MS < *lives_until
            {
                return Err(format!("{key} was to live until {lives_until}"));
            }
        }
        Ok(())
    }
}

/// Whether nothing is left at `now_ms` that should have expired.
pub fn is_tidy(node: &Node, now_ms: u64) -> bool {
    let due = node.read(|tx| keys::next_expiry(tx));
    due.is_ok_and(|due| due.is_none_or(|due_ms| EPOCH_MS + now_ms < due_ms + MOST_SKEW_MS + LATE_MS))
}
