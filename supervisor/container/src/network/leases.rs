//! Who has which address and which ports of the machine.
//!
//! Duty: the leases file and its rules: an address and a port belong to one living process at a time. Callers hold the
//! network lock. Layout: `{"last": 5, "leases": {"<id>": {address, mac, ports, owner}}}`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage};
use serde::{Deserialize, Serialize};

use super::{NetworkError, SUBNET, protocol_word, shown_address};
use crate::durable;
use crate::engine::Engine;
use crate::identity::ProcessId;
use crate::record::{PortMapping, Protocol};

/// One container's address and ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Published ports with real port numbers.
    pub ports: Vec<PortMapping>,
    /// The process it lasts for.
    pub owner: ProcessId,
}

/// A port of the machine kept from other programs for as long as this is held. It is bound and never listens: whoever
/// connects before the packets are led to the container is refused at once, instead of waiting for an answer forever.
#[derive(Debug)]
pub struct Reservation {
    _socket: OwnedFd,
}

/// All leases.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Leases {
    last: u32,
    leases: BTreeMap<String, Lease>,
}

impl Leases {
    /// Reads the file; a missing one is empty.
    pub fn read(engine: &Engine) -> Result<Self, NetworkError> {
        let path = engine.leases();
        let read = durable::read_json(&path).map_err(|source| NetworkError::Disk { path, source })?;
        Ok(read.unwrap_or_default())
    }

    /// Replaces the file.
    pub fn write(&self, engine: &Engine) -> Result<(), NetworkError> {
        let path = engine.leases();
        durable::write_json(&path, self).map_err(|source| NetworkError::Disk { path, source })
    }

    /// All leases.
    pub fn all(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// Drops leases whose owner is gone; says whether there were any.
    pub fn sweep(&mut self) -> bool {
        let before = self.leases.len();
        self.leases.retain(|_, lease| lease.owner.alive());
        self.leases.len() != before
    }

    /// Drops one lease; says whether there was one.
    pub fn remove(&mut self, id: &str) -> bool {
        self.leases.remove(id).is_some()
    }

    /// Hands a lease to another process.
    pub fn own(&mut self, id: &str, owner: ProcessId) {
        if let Some(lease) = self.leases.get_mut(id) {
            lease.owner = owner;
        }
    }

    /// Leases an address and `ports` to this process.
    pub fn add(
        &mut self,
        id: &str,
        name: &str,
        ports: &[PortMapping],
    ) -> Result<(Lease, Vec<Reservation>), NetworkError> {
        let owner = ProcessId::me().ok_or_else(|| NetworkError::Disk {
            path: "/proc/self/stat".into(),
            source: io::Error::other("does not tell who we are"),
        })?;
        let (mut real, mut reservations) = (Vec::new(), Vec::new());
        for wanted in ports {
            let (mapping, reservation) = self.reserve(id, name, wanted, &real)?;
            real.push(mapping);
            reservations.extend(reservation);
        }
        let host = self
            .next_host()
            .ok_or_else(|| NetworkError::Full(SUBNET.text()))?;
        self.last = host;
        let address = SUBNET.address(host);
        let [a, b, c, d] = address.octets();
        // Locally administered, and derived from the address: a reused address keeps its neighbours' tables right.
        let lease = Lease {
            address,
            mac: [0x02, 0x42, a, b, c, d],
            ports: real,
            owner,
        };
        self.leases.insert(id.to_owned(), lease.clone());
        Ok((lease, reservations))
    }

    /// The next free address behind the one given last, so that an address rests before it is used again.
    fn next_host(&self) -> Option<u32> {
        let used: BTreeSet<Ipv4Addr> = self.leases.values().map(|lease| lease.address).collect();
        let first = 2;
        let count = SUBNET.size() - 1 - first;
        let start = if self.last < first {
            0
        } else {
            self.last + 1 - first
        };
        (0..count)
            .map(|step| first + (start + step) % count)
            .find(|host| !used.contains(&SUBNET.address(*host)))
    }

    fn reserve(
        &self,
        id: &str,
        name: &str,
        wanted: &PortMapping,
        own: &[PortMapping],
    ) -> Result<(PortMapping, Option<Reservation>), NetworkError> {
        let (name, id) = (name.to_owned(), id.to_owned());
        let taken = self
            .leases
            .values()
            .flat_map(|lease| &lease.ports)
            .chain(own)
            .any(|held| clash(held, wanted));
        if wanted.host_port != 0 && taken {
            return Err(NetworkError::PortTaken {
                name,
                id,
                address: shown_address(wanted),
                port: wanted.host_port,
            });
        }
        let address = SocketAddr::new(
            wanted.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            wanted.host_port,
        );
        match bind(address, wanted.protocol) {
            Ok((port, reservation)) => Ok((
                PortMapping {
                    host_port: port,
                    ..wanted.clone()
                },
                Some(reservation),
            )),
            Err(source) => Err(NetworkError::Bind {
                name,
                id,
                address: shown_address(wanted),
                port: wanted.host_port,
                protocol: protocol_word(wanted.protocol),
                source,
            }),
        }
    }
}

fn bind(address: SocketAddr, protocol: Protocol) -> io::Result<(u16, Reservation)> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket = socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let bound: SockaddrStorage = socket::getsockname(socket.as_raw_fd())?;
    let v4 = bound.as_sockaddr_in().map(|address| address.port());
    let port = v4.or_else(|| bound.as_sockaddr_in6().map(|address| address.port()));
    Ok((port.unwrap_or(address.port()), Reservation { _socket: socket }))
}

/// Whether two mappings want the same port of the machine.
fn clash(a: &PortMapping, b: &PortMapping) -> bool {
    let same_address = a.host_ip.is_none() || b.host_ip.is_none() || a.host_ip == b.host_ip;
    a.host_port == b.host_port && a.protocol == b.protocol && same_address
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn port(host_port: u16, container_port: u16) -> PortMapping {
        let host_ip = Some(Ipv4Addr::LOCALHOST.into());
        PortMapping {
            host_ip,
            host_port,
            container_port,
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn addresses_rest_before_they_are_used_again() {
        let mut leases = Leases::default();
        let address = |leases: &mut Leases, id: &str| leases.add(id, id, &[]).unwrap().0.address.to_string();
        assert_eq!(address(&mut leases, "a"), "172.17.0.2");
        assert_eq!(address(&mut leases, "b"), "172.17.0.3");
        leases.remove("a");
        assert_eq!(address(&mut leases, "c"), "172.17.0.4");
        leases.last = SUBNET.size() - 2;
        assert_eq!(address(&mut leases, "d"), "172.17.0.2");
    }

    #[test]
    fn a_reserved_port_is_kept_from_others_and_refuses_connections() {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (number, _held) = bind(loopback(0), Protocol::Tcp).unwrap();
        let taken = std::net::TcpListener::bind(loopback(number)).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let refused = std::net::TcpStream::connect(loopback(number)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_port_is_leased_once_and_free_again_when_its_owner_dies() {
        let mut leases = Leases::default();
        let (lease, held) = leases.add("a", "a", &[port(0, 80)]).unwrap();
        let real = lease.ports[0].host_port;
        assert_ne!(real, 0);
        let clash = leases.add("b", "b", &[port(real, 80)]).unwrap_err().to_string();
        assert!(
            clash.ends_with(&format!(
                "Bind for 127.0.0.1:{real} failed: port is already allocated"
            )),
            "{clash}"
        );
        let dead = ProcessId {
            start: 1,
            ..ProcessId::me().unwrap()
        };
        leases.own("a", dead);
        assert!(leases.sweep());
        let busy = leases.add("b", "b", &[port(real, 80)]).unwrap_err().to_string();
        assert!(busy.contains("failed to bind host port"), "{busy}");
        drop(held);
        leases.add("b", "b", &[port(real, 80)]).unwrap();
    }
}
