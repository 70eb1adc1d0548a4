//! The container engine: a library over state on disk, without a daemon.
//!
//! Duty: Docker/OCI images (pull, load, unpack), containers' records, root file systems, bridge networking, and the
//! launch through libcontainer. Every caller is a short-lived process; what they share is files under flock.
//!
//! Refusal: no process of this crate stays resident for bookkeeping, nothing here decides a restart (systemd does), and
//! no function may be called from a process with other threads alive where its docs say "single-threaded".
//!
//! Danger: the launcher runs *inside the cgroup of the unit it serves*. libcontainer's own clean-up writes `1` to
//! `cgroup.kill` of the cgroup it was given, which would kill the unit; `launch` therefore drives libcontainer's
//! process layer directly and never its `Container::delete` or its builder. See `launch`.
//!
//! On disk (`data` survives a reboot, `run` does not):
//! ```text
//! data/images/index.json           tags, digests and images (one file, replaced atomically under data/images/lock)
//! data/images/blobs/sha256/<hex>   manifests and configs; layer blobs only while a pull is under way
//! data/images/layers/<chain id>/   one unpacked layer in overlay form; <chain id>.tmp while it is being unpacked
//! data/containers/<id>/            record.json, lock, upper/, work/, rootfs/, hostname, hosts, resolv.conf
//! data/volumes/<name>/_data        named and anonymous volumes
//! run/containers/<id>/             notify.sock and the like of a running container
//! run/network/leases.json          addresses and published ports in use (under run/network/lock)
//! ```

pub mod containers;
pub mod create;
pub mod durable;
pub mod engine;
pub mod identity;
pub mod image;
pub mod journal;
pub mod launch;
pub mod network;
pub mod record;
pub mod reference;
pub mod registry;
pub mod rootfs;
pub mod spec;
mod sys;
pub mod systemd;
pub mod user;

pub use engine::Engine;
