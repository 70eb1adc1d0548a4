//! How a watcher begins: it registers first and looks into the history then, so that whatever happens in between reaches
//! it; and what it finds in the history it does not get again.

use std::sync::Arc;

use corten_raft::Node;
use corten_store::StoreFault;
use corten_store::keys::history::{self, Found};
use corten_store::keys::{Error, Event, Watch};

use super::hub::{Delivery, Hub, Subscription};

/// What a watcher finds when it begins.
#[derive(Debug)]
pub enum Begun {
    /// The first event it wants has happened already. It gets this one and no other (etcd's stream watchers too).
    Event(Arc<Event>),
    /// Nothing yet.
    Waits(Waiter),
}

/// A watcher that waits for what happens.
#[derive(Debug)]
pub struct Waiter {
    subscription: Subscription,
    /// The first index it has not found in the history.
    first: u64,
}

/// Begins to watch. The second value is the etcd index at which that is.
///
/// # Errors
/// 401 when the index it wants has left the history. The outer error is the storage's.
pub fn begin(node: &Node, hub: &Hub, watch: Watch) -> Result<Result<(Begun, u64), Error>, StoreFault> {
    let subscription = hub.subscribe(watch.clone());
    let scanned = node.read(|tx| history::scan(tx, &watch))?;
    Ok(scanned.map(|(found, last)| {
        let begun = match found {
            Found::Event(event) => Begun::Event(event),
            Found::WaitFrom(since) => Begun::Waits(Waiter {
                subscription,
                first: since.max(last + 1),
            }),
        };
        (begun, last)
    }))
}

impl Waiter {
    /// The next event; `None` once the watch has ended: the queue was full, or events may have been missed.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.subscription.next().await?;
            if delivery.event.index() >= self.first {
                return Some(delivery);
            }
        }
    }
}
