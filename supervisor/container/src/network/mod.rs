//! Bridge networking: an address on docker0, a veth pair, published ports by nftables.
//!
//! Duty: lease addresses and ports in a file under flock; keep bridge and firewall table as the leases say; plug a
//! container in. Every change regenerates the whole table in one nft transaction, so a lost or half-made table mends itself.
//! Refusal: no daemon, no DNS server, no table but `inet corten`.
//! A lease belongs to a process. When that process is gone the lease is void, whoever notices first: that is how a
//! killed launcher blocks no port. After a reboot the file is gone with /run.

mod firewall;
mod leases;
mod links;
mod resolv;

use std::io;
use std::path::PathBuf;

pub use leases::{Lease, Reservation};
pub use resolv::{hosts_file, resolv_conf};

use crate::durable::Lock;
use crate::engine::Engine;
use crate::identity::ProcessId;
use crate::record::{Attachment, PortMapping, Protocol};
use leases::Leases;

/// Name of the bridge, as everybody knows it.
pub const BRIDGE: &str = "docker0";
/// Its network, 172.17.0.0/16, and its own address, 172.17.0.1.
pub const SUBNET: Subnet = Subnet {
    base: [172, 17, 0, 0],
    prefix: 16,
};

/// An IPv4 network.
#[derive(Debug, Clone, Copy)]
pub struct Subnet {
    base: [u8; 4],
    prefix: u8,
}

impl Subnet {
    /// The `host`th address.
    fn address(self, host: u32) -> std::net::Ipv4Addr {
        (u32::from_be_bytes(self.base) + host).into()
    }

    fn gateway(self) -> std::net::Ipv4Addr {
        self.address(1)
    }

    /// How many addresses there are, network and broadcast included.
    fn size(self) -> u32 {
        1 << (32 - self.prefix)
    }

    fn text(self) -> String {
        format!("{}/{}", self.address(0), self.prefix)
    }
}

/// Why a container got no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Another container has the port.
    #[error(
        "driver failed programming external connectivity on endpoint {name} ({id}): Bind for {address}:{port} failed: port is already allocated"
    )]
    PortTaken {
        /// The container that wants it.
        name: String,
        /// Its id.
        id: String,
        /// Address of the machine.
        address: String,
        /// The port.
        port: u16,
    },
    /// A program of the machine has the port, or it may not be had.
    #[error(
        "driver failed programming external connectivity on endpoint {name} ({id}): failed to bind host port for {address}:{port}:{protocol}: {source}"
    )]
    Bind {
        /// The container that wants it.
        name: String,
        /// Its id.
        id: String,
        /// Address of the machine.
        address: String,
        /// The port.
        port: u16,
        /// tcp or udp.
        protocol: &'static str,
        /// Why.
        source: io::Error,
    },
    /// All addresses are in use.
    #[error("could not find an available IPv4 address in {0}: remove containers that are not needed")]
    Full(String),
    /// A file of ours.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused a link, an address or a route.
    #[error("network: {what}: {source}")]
    Link {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// nft refused, or there is none.
    #[error("firewall: {0}")]
    Firewall(String),
}

fn lock(engine: &Engine) -> Result<Lock, NetworkError> {
    let path = engine.network_lock();
    Lock::wait(&path).map_err(|source| NetworkError::Disk { path, source })
}

/// Leases an address and ports for container `id`, owned by this process until `own` names another. The bridge exists
/// afterwards. The reservations keep the machine's own programs off the ports while they are held.
pub fn lease(
    engine: &Engine,
    id: &str,
    name: &str,
    ports: &[PortMapping],
) -> Result<(Attachment, Vec<Reservation>), NetworkError> {
    let _lock = lock(engine)?;
    let mut leases = Leases::read(engine)?;
    leases.sweep();
    leases.remove(id);
    // A killed launcher's pair may still be there, and would be in the way of the new one.
    links::remove(&host_link(id));
    links::ensure_bridge(BRIDGE, SUBNET.gateway(), SUBNET.prefix)?;
    // The table first: a dead container's redirection would hide the port from whoever tests it.
    firewall::apply(&leases)?;
    let (lease, reservations) = leases.add(id, name, ports)?;
    leases.write(engine)?;
    let attachment = Attachment {
        address: lease.address,
        prefix: SUBNET.prefix,
        gateway: SUBNET.gateway(),
        mac: lease.mac,
        ports: lease.ports,
    };
    Ok((attachment, reservations))
}

/// Plugs the network namespace of `pid` into the bridge and opens the leased ports; the lease belongs to `pid` then.
/// Single-threaded callers only: this process visits the namespace and comes back.
pub fn attach(engine: &Engine, id: &str, pid: i32, attachment: &Attachment) -> Result<(), NetworkError> {
    let _lock = lock(engine)?;
    let mut leases = Leases::read(engine)?;
    links::plug(BRIDGE, &host_link(id), pid, attachment)?;
    if let Some(owner) = ProcessId::of(pid) {
        leases.own(id, owner);
    }
    leases.write(engine)?;
    firewall::apply(&leases)
}

/// Brings up loopback in the network namespace of `pid`. Single-threaded callers only.
pub fn loopback_only(pid: i32) -> Result<(), NetworkError> {
    links::loopback(pid)
}

/// Gives the lease of container `id` back and closes its ports.
pub fn release(engine: &Engine, id: &str) -> Result<(), NetworkError> {
    let _lock = lock(engine)?;
    let mut leases = Leases::read(engine)?;
    if !leases.remove(id) {
        return Ok(());
    }
    // The kernel removes the pair with the namespace, but at its leisure.
    links::remove(&host_link(id));
    leases.write(engine)?;
    firewall::apply(&leases)
}

/// Gives back what dead containers left. Cheap when there is nothing.
pub fn sweep(engine: &Engine) -> Result<(), NetworkError> {
    if !Leases::read(engine)?.sweep() {
        return Ok(());
    }
    let _lock = lock(engine)?;
    let mut leases = Leases::read(engine)?;
    leases.sweep();
    leases.write(engine)?;
    firewall::apply(&leases)
}

/// Name of the machine's end of a container's pair (15 characters at most).
fn host_link(id: &str) -> String {
    format!("veth{}", &id[..10.min(id.len())])
}

/// How a published port is shown when its address is not given.
fn shown_address(mapping: &PortMapping) -> String {
    mapping
        .host_ip
        .map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string())
}

fn protocol_word(protocol: Protocol) -> &'static str {
    protocol.word()
}
