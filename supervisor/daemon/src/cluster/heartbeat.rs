//! Heartbeats over the peer listener: what a machine posts to the leader, and what the leader answers.
//!
//! They are kept in the leader's memory only; the log sees a machine join and leave, never a beat.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use corten_raft::Node;
use corten_spec::machine::MachineId;
use corten_store::fleet::leases::Leases;
use serde::{Deserialize, Serialize};

use crate::clock::since_boot;

/// Where the leader takes them.
pub const PATH: &str = "/corten/v1/heartbeat";

/// "I am here."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Who.
    pub machine: MachineId,
    /// Of its last join.
    pub session: u64,
}

/// "I have heard you", and whether the cluster knows the session; if not, the machine joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The machine is registered with this session.
    pub known: bool,
    /// How long ago, in ms, the leader surely led: what it says is worth as much as if it had said it then. One that does
    /// not tell may have led never.
    #[serde(default = "never")]
    pub led_ago_ms: u64,
}

fn never() -> u64 {
    u64::MAX
}

/// The leases and the term they are of, shared between the heartbeat route and the leader's loop; `None` while another node
/// leads.
#[derive(Debug, Clone, Default)]
pub struct Register(Arc<Mutex<Option<(u64, Leases)>>>);

impl Register {
    /// This node leads, in this term.
    pub fn begin(&self, term: u64, leases: Leases) {
        *self.lock() = Some((term, leases));
    }

    /// It does no more.
    pub fn end(&self) {
        *self.lock() = None;
    }

    /// Does something with the leases; `None` while another node leads.
    pub fn with<T>(&self, f: impl FnOnce(&mut Leases) -> T) -> Option<T> {
        self.lock().as_mut().map(|(_, leases)| f(leases))
    }

    /// A heartbeat at `node`; `None` while another one leads.
    pub fn beat(&self, beat: &Beat, node: &Node) -> Option<Heard> {
        let (leads_in, led_ago) = (node.leading_term()?, node.led_ago()?);
        let mut held = self.lock();
        // Whoever leads again does not know whom another leader gave up meanwhile, until it has read that.
        let (_, leases) = held.as_mut().filter(|(term, _)| *term == leads_in)?;
        Some(Heard {
            known: leases.beat(&beat.machine, beat.session, since_boot()),
            led_ago_ms: u64::try_from(led_ago.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u64, Leases)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The route, for the peer listener.
pub fn router(register: Register, node: Node) -> Router {
    Router::new().route(PATH, post(take)).with_state((register, node))
}

async fn take(
    State((register, node)): State<(Register, Node)>,
    beat: Bytes,
) -> Result<Json<Heard>, (StatusCode, &'static str)> {
    // Peers post octets whatever they mean, so the extractor that wants JSON's media type would refuse every beat.
    let beat =
        serde_json::from_slice(&beat).map_err(|_| (StatusCode::BAD_REQUEST, "this is no heartbeat\n"))?;
    register
        .beat(&beat, &node)
        .map(Json)
        .ok_or((StatusCode::MISDIRECTED_REQUEST, "this node does not lead\n"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_leader_that_does_not_say_since_when_proves_nothing() {
        let heard: Heard = serde_json::from_str("{\"known\":true}").unwrap();
        assert!(heard.known);
        assert_eq!(
            since_boot().checked_sub(Duration::from_millis(heard.led_ago_ms)),
            None
        );
    }
}
