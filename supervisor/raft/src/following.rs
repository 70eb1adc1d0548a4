//! Whether there is a leader, as far as this node can know: for clients that would rather be refused than served by a member
//! that is cut off.
//!
//! | this node | there is a leader |
//! |---|---|
//! | knows of none | no |
//! | follows one | yes, until it stands for election itself |
//! | leads | for as long as a majority follows it: openraft goes on leading without one |

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::inner::Inner;
use crate::node::Node;

/// How many elections' time a leader may go without a majority. The others have elected another one by then.
const ELECTIONS: u32 = 3;

impl Node {
    /// Whether there is a leader that a majority follows, as far as this node can know, and when that changes.
    pub fn has_leader(&self) -> watch::Receiver<bool> {
        self.inner.has_leader.subscribe()
    }
}

/// Keeps [`Inner::has_leader`] true, for the node's life.
pub(crate) async fn watch(inner: Arc<Inner>) {
    let election = Duration::from_millis(inner.config.election_ms);
    let node = Node { inner };
    let mut leader = node.inner.leader.subscribe();
    let mut elected = Instant::now();
    loop {
        let known = leader.borrow_and_update().clone();
        let leads = known.as_ref().is_some_and(|leader| leader.is_me);
        let followed = || {
            // A majority has just voted for it.
            let ago = node.led_ago().unwrap_or(Duration::MAX).min(elected.elapsed());
            ago < ELECTIONS * election
        };
        let has_leader = known.is_some() && (!leads || followed());
        let changed = node
            .inner
            .has_leader
            .send_if_modified(|before| std::mem::replace(before, has_leader) != has_leader);
        if changed && leads && !has_leader {
            tracing::warn!(
                "no majority follows this leader any more: until one does, nothing can be written"
            );
        }
        tokio::select! {
            changed = leader.changed() => {
                if changed.is_err() {
                    return;
                }
                elected = Instant::now();
            }
            () = tokio::time::sleep(election), if leads => {}
        }
    }
}
