//! The quota: how much room the data may take until v3 writes are refused, and the alarm that says so.
//!
//! As in etcd every member asks its own state before it proposes, and raises the alarm for itself when there is no room; the
//! alarm then refuses on all of them, until somebody has made room and disarms it. Unlike etcd, whose file must be
//! defragmented first, what counts is what holds data.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use corten_raft::Node;
use corten_store::Command;
use corten_store::alarm::{Alarm, Change, Kind, alarms};
use tonic::Status;

use super::error;

/// How old a look at the state's size may be: writes do not wait for one each.
const FRESH: Duration = Duration::from_millis(100);

/// How much room there is, and what was seen of it.
#[derive(Debug)]
pub struct Quota {
    limit: u64,
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Quota {
    /// At most `limit` bytes.
    pub fn new(limit: u64) -> Quota {
        Quota {
            limit,
            seen: Mutex::new(None),
        }
    }

    /// Refuses what would need room while there is none, once the alarm is raised.
    ///
    /// # Errors
    /// etcd's NOSPACE, or that the state cannot be read.
    pub async fn check(&self, node: &Node) -> Result<(), Status> {
        if self.used(node)? < self.limit {
            return Ok(());
        }
        let alarm = Alarm {
            member: node.member_id(),
            kind: Kind::NoSpace,
        };
        let raised = node
            .read(|tx| alarms(tx))
            .map_err(|fault| error::reading(&fault))?;
        if !raised.contains(&alarm) {
            tracing::warn!(
                limit = self.limit,
                "the data has outgrown --quota-backend-bytes: v3 writes are refused until somebody has made room and \
                 disarmed the alarm"
            );
            let raise = Command::Alarm(Change::Activate(alarm));
            node.propose(raise)
                .await
                .map_err(|error| error::proposing(&error))?;
        }
        Err(error::NO_SPACE.into())
    }

    fn used(&self, node: &Node) -> Result<u64, Status> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is refused by an old look: somebody may have made room just now.
        if let Some((at, used)) = *seen
            && at.elapsed() < FRESH
            && used < self.limit
        {
            return Ok(used);
        }
        let size = node.state_size().map_err(|fault| error::reading(&fault))?;
        *seen = Some((Instant::now(), size.in_use));
        Ok(size.in_use)
    }
}
