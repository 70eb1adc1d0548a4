//! Waiting until this machine can know what is its own; what must not run twice does not wait.

use std::pin::pin;
use std::time::Duration;

use corten_agent::fence;

use super::{Agent, FENCE_RETRY, RETRY};
use crate::pulse::Pulse;
use crate::systemd::{Changed, Systemd, SystemdError};

impl<S: Systemd> Agent<S> {
    /// Waits until systemd can be asked.
    pub(super) async fn wait_for_systemd(&mut self, pulse: &Pulse) {
        while let Err(error) = self.ready().await {
            pulse.beat();
            tracing::warn!("{error}: this machine takes no units until it can");
            tokio::time::sleep(RETRY).await;
        }
        self.answers.came();
    }

    /// Asks once whether systemd can be asked. What an earlier life of the supervisor started may run: this machine must not
    /// be given up for its silence, and joins without waiting for the answer.
    async fn ready(&self) -> Result<(), SystemdError> {
        let mut ready = pin!(self.systemd.ready());
        if self.disk.is_empty() {
            return ready.await;
        }
        match tokio::time::timeout(RETRY, &mut ready).await {
            Ok(Ok(())) => Ok(()),
            Ok(error) => {
                self.answers.give_up();
                error
            }
            Err(_) => {
                self.answers.give_up();
                ready.await
            }
        }
    }

    /// Waits until the local state is as new as the contact with the leader that there is then.
    pub(super) async fn wait_until_current(&mut self, pulse: &Pulse) {
        loop {
            pulse.beat();
            let contact = self.lease.look();
            // Perhaps of yesterday: enough to know what must not run twice.
            self.stale = true;
            let (read, seen) = (self.read_store(), self.observe(&Changed::Everything).await);
            let ends = fence(&self.wanted(), &self.observed(), contact);
            self.end(&ends, pulse).await;
            let again = match (ends.is_empty(), read && seen) {
                (true, true) => Duration::MAX,
                (true, false) => RETRY,
                (false, _) => FENCE_RETRY,
            };
            tokio::select! {
                biased;
                () = self.lease.changed() => {}
                current = self.current() => if current { return },
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    /// Makes sure of it once; false, after a pause, when that could not be.
    async fn current(&self) -> bool {
        let linearized = self.node.linearize().await;
        if let Err(error) = &linearized {
            tracing::debug!(%error, "assignments are not known yet");
            tokio::time::sleep(RETRY).await;
        }
        linearized.is_ok()
    }
}
