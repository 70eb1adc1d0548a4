//! Who watches on this node, and what feeds them: for each version of etcd's interface a hub, which hands on what is
//! applied, and beside it what lets a watcher begin in the past and go on with the present.
//!
//! ```text
//!  what is applied ──► hub ──► a bounded queue of each watcher, or stream of watchers ──► its client
//!  history ──────────────────► who begins in the past, or was too slow
//! ```
//!
//! The promise: a watcher gets every change it wants, in order and once, or is told from where on it did not. Knows no
//! wire: the daemon's faces and the simulation's watchers stand on the same.

pub mod v2;
pub mod v3;

use std::time::Duration;

/// A hub's loop makes a turn at least this often, for whoever wants to see that it moves.
const TURN: Duration = Duration::from_secs(2);
