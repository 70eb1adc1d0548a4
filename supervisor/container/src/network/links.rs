//! Links, addresses and routes over netlink, blocking and without a runtime.
//!
//! Duty: the bridge, a pair into a namespace, what is inside. Refusal: no policy, no names of its own.
//! Danger: `within` moves this process into another network namespace for a moment; single-threaded callers only.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, setns};

use super::NetworkError;
use crate::record::Attachment;

/// One netlink socket in the namespace it was opened in.
struct Routes(Socket);

impl Routes {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self(socket))
    }

    /// Sends a request and waits for its acknowledgement.
    fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let (answer, _) = self.0.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::Error(error) => match error.code {
                None => Ok(()),
                Some(code) => Err(io::Error::from_raw_os_error(-code.get())),
            },
            other => Err(io::Error::other(format!("unexpected answer {other:?}"))),
        }
    }

    fn set_up(&self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.index = index;
        message.header.prefix_len = prefix;
        let broadcast = Ipv4Addr::from(u32::from(address) | (u32::MAX >> prefix));
        message.attributes = vec![
            AddressAttribute::Local(IpAddr::V4(address)),
            AddressAttribute::Address(IpAddr::V4(address)),
            AddressAttribute::Broadcast(broadcast),
        ];
        self.request(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    fn add_default_route(&self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Boot;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        route.attributes = vec![
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
            RouteAttribute::Oif(index),
        ];
        self.request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
    }
}

fn index_of(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> NetworkError {
    let what = what.into();
    move |source| NetworkError::Link { what, source }
}

/// Makes the bridge with its address when it is missing, and lets the machine forward.
pub fn ensure_bridge(name: &str, address: Ipv4Addr, prefix: u8) -> Result<(), NetworkError> {
    let routes = Routes::open().map_err(failed("opening netlink"))?;
    if index_of(name).is_err() {
        let mut link = LinkMessage::default();
        let [a, b, c, d] = address.octets();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(vec![0x02, 0x42, a, b, c, d]),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        routes
            .request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(failed(format!(
                "making bridge {name} (is the module bridge there?)"
            )))?;
    }
    let index = index_of(name).map_err(failed(format!("finding bridge {name}")))?;
    routes
        .add_address(index, address, prefix)
        .map_err(failed(format!("giving {name} the address {address}")))?;
    routes
        .set_up(index)
        .map_err(failed(format!("bringing {name} up")))?;
    sysctl("ip_forward", "1")?;
    // Lets a connection to 127.0.0.1 be redirected to a container.
    sysctl(&format!("conf/{name}/route_localnet"), "1")
}

fn sysctl(key: &str, value: &str) -> Result<(), NetworkError> {
    let path = format!("/proc/sys/net/ipv4/{key}");
    if std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(failed(format!("setting {path}")))
}

/// Makes a pair: `host_name` on the bridge, `eth0` with the address in the namespace of `pid`.
pub fn plug(bridge: &str, host_name: &str, pid: i32, attachment: &Attachment) -> Result<(), NetworkError> {
    let namespace_pid =
        u32::try_from(pid).map_err(|_| failed("naming the container")(io::Error::other("bad pid")))?;
    let routes = Routes::open().map_err(failed("opening netlink"))?;
    let master = index_of(bridge).map_err(failed(format!("finding bridge {bridge}")))?;
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName("eth0".into()),
        LinkAttribute::Address(attachment.mac.to_vec()),
        LinkAttribute::NetNsPid(namespace_pid),
    ];
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(host_name.to_owned()),
        LinkAttribute::Controller(master),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    routes
        .request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(failed(format!(
            "making the pair {host_name} (is the module veth there?)"
        )))?;
    let index = index_of(host_name).map_err(failed(format!("finding {host_name}")))?;
    routes
        .set_up(index)
        .map_err(failed(format!("bringing {host_name} up")))?;
    within(pid, || {
        let routes = Routes::open()?;
        routes.set_up(index_of("lo")?)?;
        let index = index_of("eth0")?;
        routes.add_address(index, attachment.address, attachment.prefix)?;
        routes.set_up(index)?;
        routes.add_default_route(index, attachment.gateway)
    })
    .map_err(failed("setting up the container's side"))
}

/// Brings up `lo` in the namespace of `pid`.
pub fn loopback(pid: i32) -> Result<(), NetworkError> {
    within(pid, || Routes::open()?.set_up(index_of("lo")?))
        .map_err(failed("bringing the container's loopback up"))
}

/// Removes a link; one that is gone is fine.
pub fn remove(name: &str) {
    let Ok(index) = index_of(name) else { return };
    let mut link = LinkMessage::default();
    link.header.index = index;
    if let Ok(routes) = Routes::open() {
        let _ = routes.request(RouteNetlinkMessage::DelLink(link), 0);
    }
}

/// Does `work` in the network namespace of `pid`.
fn within<T>(pid: i32, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let home = File::open("/proc/self/ns/net")?;
    let away = File::open(format!("/proc/{pid}/ns/net"))?;
    setns(away.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let result = work();
    setns(home.as_fd(), CloneFlags::CLONE_NEWNET)?;
    result
}
