//! The silence of a leader that lets another one come.
//!
//! | because | proposals, reads, proofs, changes of the members | heartbeats |
//! |---|---|---|
//! | it hands over | wait for the next leader | stop once the target has the whole log |
//! | its disk is full, and the others have a majority | wait for the next leader | stop |
//!
//! Danger: whatever a leader sends renews the others' belief in it, the question behind a linearizable read no less than a
//! heartbeat. So whatever makes it send asks here first, and nothing else switches the heartbeats.

use std::sync::{Mutex, PoisonError};

use crate::inner::Inner;

/// Why a node is silent as a leader, if it is.
#[derive(Debug, Default)]
pub(crate) struct Silence(Mutex<Reasons>);

/// The reasons, each with its own begin and end.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Reasons {
    /// It hands leadership to another member.
    pub hands_over: bool,
    /// It does, and the target has all it needs.
    pub handed_all: bool,
    /// Its disk is full.
    pub gives_way: bool,
}

impl Reasons {
    fn is_silent(self) -> bool {
        self.hands_over || self.gives_way
    }

    fn heartbeats(self) -> bool {
        !self.handed_all && !self.gives_way
    }
}

impl Inner {
    /// Why it is silent now.
    pub(crate) fn silence(&self) -> Reasons {
        *self.silence.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it proposes and confirms nothing, leader or not.
    pub(crate) fn is_silent(&self) -> bool {
        self.silence().is_silent()
    }

    /// A reason begins or ends.
    pub(crate) fn change_silence(&self, change: impl FnOnce(&mut Reasons)) {
        let mut reasons = self.silence.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut reasons);
        self.raft.runtime_config().heartbeat(reasons.heartbeats());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_ends_without_the_other() {
        let full = Reasons {
            gives_way: true,
            ..Reasons::default()
        };
        let both = Reasons {
            hands_over: true,
            handed_all: true,
            ..full
        };
        let hands_over = Reasons {
            gives_way: false,
            handed_all: false,
            ..both
        };
        assert!(
            [full, both]
                .iter()
                .all(|now| now.is_silent() && !now.heartbeats())
        );
        assert!(hands_over.is_silent() && hands_over.heartbeats());
        assert!(!Reasons::default().is_silent() && Reasons::default().heartbeats());
    }
}
