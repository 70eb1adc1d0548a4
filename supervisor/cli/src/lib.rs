//! The command-line clients: `fleetctl`, `etcdctl` and `docker`.
//!
//! They know the wire and never the daemon: `fleetctl` speaks fleet's HTTP API, `etcdctl` the etcd v2 API, `docker`
//! calls the container engine. Each has one entry, `main(args) -> ExitCode`, with `args[0]` the name it was called
//! under; nothing else here is public but `terminal`'s care
//! for readers that go away, so that what a user sees is the only contract.

pub mod docker;
pub mod etcdctl;
pub mod fleetctl;
mod go;
mod http;
mod shell;
pub mod terminal;
