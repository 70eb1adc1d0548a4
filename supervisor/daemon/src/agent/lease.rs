//! How long this machine may still run what must not run twice.

use std::time::{Duration, Instant};

use corten_agent::Contact;
use tokio::sync::watch;

/// This machine's lease with the leader, as it knows it.
pub struct Lease {
    heard: watch::Receiver<Instant>,
    ttl: Duration,
    /// What was looked at last.
    contact: Contact,
}

impl Lease {
    /// A lease of `ttl` since the last `heard`.
    pub fn new(heard: watch::Receiver<Instant>, ttl: Duration) -> Lease {
        Lease {
            heard,
            ttl,
            contact: Contact::Near,
        }
    }

    /// How this machine stands with the leader.
    pub fn look(&mut self) -> Contact {
        let silence = self.silence();
        let (contact, _) = Contact::after(silence, self.ttl);
        if contact != self.contact {
            match contact {
                Contact::Near => tracing::info!("the leader hears this machine again"),
                Contact::Lost => tracing::warn!(
                    "no leader has heard this machine for {silence:?}: units with OnPartition=stop stop"
                ),
                Contact::Overdue => tracing::warn!(
                    "the cluster may give this machine up soon: what of these units still runs is killed"
                ),
            }
        }
        self.contact = contact;
        contact
    }

    /// Returns when a look would find something else than the last one.
    pub async fn changed(&mut self) {
        loop {
            let (contact, left) = Contact::after(self.silence(), self.ttl);
            if contact != self.contact {
                return;
            }
            let passes = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            let heard = async {
                if self.heard.changed().await.is_err() {
                    std::future::pending::<()>().await; // nobody will say any more
                }
            };
            tokio::select! {
                () = passes => {}
                () = heard => {}
            }
        }
    }

    fn silence(&self) -> Duration {
        self.heard.borrow().elapsed()
    }
}
