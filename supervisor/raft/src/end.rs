//! How a node ends: by itself, or because it is told to.

use std::sync::{Arc, PoisonError};

use crate::node::Node;

impl Node {
    /// Waits until the node is of no use any more, and says why: Raft has stopped by itself because its storage failed (its
    /// process had better be restarted), the cluster has removed this member, or it has been one before and lost its data.
    pub async fn failed(&self) -> String {
        let mut removed = self.inner.removed.clone();
        let mut forgot = self.inner.forgot.subscribe();
        tokio::select! {
            Ok(why) = forgot.wait_for(Option::is_some) => why.clone().unwrap_or_default(),
            Ok(_) = removed.wait_for(|removed| *removed) => {
                format!(
                    "the member has been permanently removed from the cluster: to come back, remove its data directory ({}) \
                     and add it anew (etcdctl member add)",
                    self.inner.config.data_dir.display()
                )
            }
            why = self.raft_failed() => why,
        }
    }

    async fn raft_failed(&self) -> String {
        // These end with Raft. The other figures, which say why, change with every entry.
        let mut metrics = self.inner.raft.server_metrics();
        while metrics.changed().await.is_ok() {}
        match &self.inner.raft.metrics().borrow().running_state {
            Err(fatal) => fatal.to_string(),
            Ok(()) => "raft has ended".to_owned(),
        }
    }

    /// Stops the node; its files are then free. One that leads had better [hand over](Node::hand_over) first.
    pub async fn shutdown(&self) {
        let inner = Arc::clone(&self.inner);
        inner.log.give_up();
        let mut tasks = std::mem::take(&mut *inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if let Err(e) = inner.raft.shutdown().await {
            tracing::error!(error = %e, "raft did not end well");
        }
        let world = inner.world.clone();
        let closing = world.blocking(move || {
            inner.log.close();
            inner.state.close();
            inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        if let Err(e) = closing.await {
            tracing::error!(error = %e, "log and state did not close well");
        }
    }
}
