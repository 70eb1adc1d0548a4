//! Heartbeats over the peer listener: what a machine posts to the leader, and what the leader answers.
//!
//! They are kept in the leader's memory only; the log sees a machine join and leave, never a beat.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use corten_raft::Node;
use corten_spec::machine::MachineId;
use serde::{Deserialize, Serialize};

use super::leases::Leases;

/// Where the leader takes them.
pub const PATH: &str = "/corten/v1/heartbeat";

/// "I am here."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Who.
    pub machine: MachineId,
    /// In which of its lives.
    pub session: u64,
}

/// "I have heard you", and whether the cluster knows the session; if not, the machine joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The machine is registered with this session.
    pub known: bool,
    /// How long ago, in ms, the leader surely led: what it says is worth as much as if it had said it then.
    pub led_ago_ms: u64,
}

/// The leases, shared between the heartbeat route and the leader's loop; `None` while another node leads.
#[derive(Debug, Clone, Default)]
pub struct Register(Arc<Mutex<Option<Leases>>>);

impl Register {
    /// This node begins (`Some`) or ceases to lead.
    pub fn replace(&self, leases: Option<Leases>) {
        *self.lock() = leases;
    }

    /// Does something with the leases; `None` while another node leads.
    pub fn with<T>(&self, f: impl FnOnce(&mut Leases) -> T) -> Option<T> {
        self.lock().as_mut().map(f)
    }

    /// A heartbeat at `node`; `None` while another one leads.
    pub fn beat(&self, beat: &Beat, node: &Node) -> Option<Heard> {
        let led_ago = node.led_ago()?;
        self.with(|leases| Heard {
            known: leases.beat(&beat.machine, beat.session, Instant::now()),
            led_ago_ms: u64::try_from(led_ago.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Leases>> {
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
