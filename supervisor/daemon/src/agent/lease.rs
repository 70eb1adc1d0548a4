//! How long this machine may still run what must not run twice.

use std::time::Duration;

use corten_agent::Contact;
use tokio::sync::watch;

use crate::clock::since_boot;

/// This machine's lease with the leader, as it knows it.
pub struct Lease {
    heard: watch::Receiver<Option<Duration>>,
    ttl: Duration,
    /// What was looked at last.
    contact: Contact,
}

impl Lease {
    /// A lease of `ttl` since the last `heard`, counted from the machine's boot.
    pub fn new(heard: watch::Receiver<Option<Duration>>, ttl: Duration) -> Lease {
        let silence = silence(*heard.borrow());
        let (contact, _) = Contact::after(silence, ttl);
        Lease { heard, ttl, contact }
    }

    /// How long it lasts.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// What was looked at last.
    pub fn contact(&self) -> Contact {
        self.contact
    }

    /// How this machine stands with the leader.
    pub fn look(&mut self) -> Contact {
        let (contact, _) = self.now();
        if contact != self.contact {
            let silence = silence(*self.heard.borrow()).unwrap_or_default();
            match contact {
                Contact::Near => tracing::info!("the leader hears this machine"),
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

    /// Whether a look would find the same as the last one.
    pub fn is_as_looked(&self) -> bool {
        self.now().0 == self.contact
    }

    /// Returns when a look would find something else than the last one.
    pub async fn changed(&self) {
        let mut heard = self.heard.clone();
        loop {
            heard.borrow_and_update();
            let (contact, left) = self.now();
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
                if heard.changed().await.is_err() {
                    std::future::pending::<()>().await; // nobody will say any more
                }
            };
            tokio::select! {
                () = passes => {}
                () = heard => {}
            }
        }
    }

    fn now(&self) -> (Contact, Option<Duration>) {
        Contact::after(silence(*self.heard.borrow()), self.ttl)
    }
}

fn silence(heard: Option<Duration>) -> Option<Duration> {
    heard.map(|at| since_boot().saturating_sub(at))
}
