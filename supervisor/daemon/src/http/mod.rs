//! Serving HTTP/1.1: listeners, connections, the end of both.

mod listen;
mod serve;

pub use listen::{FleetListener, ListenError, bind_tcp, bind_unix, passed_by_systemd};
pub use serve::serve;
