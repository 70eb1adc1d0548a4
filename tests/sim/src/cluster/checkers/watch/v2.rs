//! A v2 watcher, fed by the node's real hub: it asks for one event after the other, or for a stream of them, and asks again
//! from where it was when that has ended.

use corten_raft::Node;
use corten_store::keys::{Code, Event, Watch};
use corten_store::meta;
use corten_watch::v2::{self, Begun, Hub, Waiter};

use super::record::{Keys, Record, Wants};
use super::{Fates, Pace};
use crate::cluster::checkers::history::History;
use crate::cluster::machine::{Member, now};

/// The watchers of a run: how often each looks, whether it wants a stream, whether from now
/// on instead of from where it was, and of which keys.
pub fn clients() -> Vec<(Pace, Client)> {
    [
        (20, false, false, Keys::All),
        (20, true, false, Keys::All),
        (20, true, true, Keys::All),
        (20, true, false, Keys::One("/k0")),
        (200, true, false, Keys::All),
        (200, false, true, Keys::One("/k1")),
        (2_500, false, false, Keys::All),
        (2_500, true, false, Keys::All),
    ]
    .into_iter()
    .map(|(every_ms, is_stream, from_now, keys)| {
        let client = Client::new(is_stream, from_now, keys);
        (Pace::new(every_ms), client)
    })
    .collect()
}

/// A watcher.
pub struct Client {
    is_stream: bool,
    /// It asks for what comes next.
    from_now: bool,
    record: Record,
    hub: Option<Hub>,
    waiter: Option<Waiter>,
    pub fates: Fates,
}

impl Client {
    fn new(is_stream: bool, from_now: bool, keys: Keys) -> Client {
        let (puts, deletions) = (true, true);
        Client {
            is_stream,
            from_now,
            record: Record::new(Wants {
                keys,
                puts,
                deletions,
            }),
            hub: None,
            waiter: None,
            fates: Fates::default(),
        }
    }

    /// Goes on at a member.
    pub fn join(&mut self, member: &Member) {
        (self.hub, self.waiter) = (Some(member.hubs.v2.clone()), None);
    }

    /// Takes what there is.
    ///
    /// # Errors
    /// When something comes out of order.
    pub fn look(&mut self, node: &Node) -> Result<(), String> {
        let Some(hub) = self.hub.clone() else {
            return Ok(());
        };
        loop {
            let Some(mut waiter) = self.waiter.take() else {
                self.ask(node, &hub)?;
                continue;
            };
            match now(waiter.next()) {
                Some(Some(delivery)) => {
                    self.got(&delivery.event)?;
                    self.waiter = self.is_stream.then_some(waiter);
                }
                // It was too slow, or the state was replaced.
                Some(None) => self.fates.ended += 1,
                None => {
                    self.waiter = Some(waiter);
                    return Ok(());
                }
            }
        }
    }

    fn got(&mut self, event: &Event) -> Result<(), String> {
        let values = vec![(event.node.key.clone(), event.node.value.clone())];
        self.record.got(event.index(), values)
    }

    fn ask(&mut self, node: &Node, hub: &Hub) -> Result<(), String> {
        let next = self.record.next;
        let meta = node.read(|tx| meta::read(tx)).map_err(|e| e.to_string())?;
        // A node that lags would tell it again what it has.
        let from_now = self.from_now && meta.etcd_index >= next;
        let since = if from_now { 0 } else { next };
        let begun = v2::begin(node, hub, watch(&self.record.wants, self.is_stream, since));
        match begun.map_err(|e| e.to_string())? {
            Ok((Begun::Event(event), _)) => self.got(&event)?,
            Ok((Begun::Waits(waiter), last)) => {
                if from_now {
                    self.record.lost_before(last + 1);
                }
                self.record.has_all_upto(last);
                self.waiter = Some(waiter);
            }
            Err(error) => {
                let is_cleared = next + meta.history <= meta.etcd_index;
                if error.code != Code::EventIndexCleared || error.index != meta.etcd_index || !is_cleared {
                    return Err(format!("asked for {next}: {error:?}, with {meta:?}"));
                }
                self.record.lost_before(error.index + 1);
            }
        }
        Ok(())
    }

    /// Compares all it got with the one history.
    ///
    /// # Errors
    /// The first difference.
    pub fn at_the_end(&self, history: &History) -> Result<(), String> {
        self.record.compare(&history.v2)
    }

    /// Whether anything left the window before it came.
    pub fn has_lost(&self) -> bool {
        !self.from_now && self.record.has_lost()
    }
}

fn watch(wants: &Wants, is_stream: bool, since: u64) -> Watch {
    let (key, recursive) = match wants.keys {
        Keys::One(key) => (key, false),
        _ => ("/", true),
    };
    Watch {
        key: key.to_owned(),
        recursive,
        stream: is_stream,
        since,
    }
}
