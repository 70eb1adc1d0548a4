//! Virtual machines for tests: QEMU processes with disks, volumes, a switched network with faults, serial logs, a QMP
//! connection and SSH. It knows nothing of what runs inside them.
//!
//! - [`Spec`] says what a machine is; [`Machine`] is one that was started. Everything of a machine lies in its folder:
//!   `console.log`, `qemu.log`, `qmp.sock`, and `net0.sock`, where the switch waits for its first network card.
//! - [`Switch`] connects the cards; [`Fault`] is what a path through it suffers. The deciding half is [`fabric`].
//! - Nothing outlives the process that made it, even when that is killed, unless it was told so ([`Machine::release`]).
//!
//! It never needs root, never listens on anything but loopback and unix sockets, and never ends a process by name.
//! The danger: a machine left behind, or a process ended that is not ours. [`process`] is where both are prevented.

pub mod accel;
pub mod args;
pub mod console;
pub mod disk;
pub mod fabric;
pub mod forward;
pub mod machine;
pub mod process;
pub mod qmp;
pub mod rom;
pub mod short_path;
pub mod spec;
pub mod ssh;
pub mod switch;
pub mod tool;
pub mod volume;
pub mod wait;

pub use accel::Accel;
pub use fabric::Fault;
pub use machine::{Machine, Record, StartError};
pub use spec::{Boot, Disk, DiskFormat, FwCfg, GuestForward, Link, Spec, UserNet};
pub use ssh::Ssh;
pub use switch::{Control, Port, Switch, SwitchConfig};
pub use wait::{WaitError, wait_until};
