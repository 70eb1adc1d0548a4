//! Serving HTTP/1.1 and HTTP/2: listeners, connections, the end of both.

mod authority;
mod listen;
mod patient;
mod serve;
mod socket;

pub use listen::{FleetListener, ListenError, bind_tcp, bind_unix, passed_by_systemd};
pub use serve::{Answering, App, First, Limits, serve};
pub use socket::Socket;
