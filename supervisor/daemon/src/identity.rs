//! Who this machine is: its id, its address, its metadata.

use std::net::Ipv4Addr;

use corten_spec::machine::{Machine, MachineId, TROUBLE};
use corten_spec::resources::Resources;
use nix::ifaddrs::getifaddrs;
use procfs::Current;

use crate::settings::Fleet;

const MACHINE_ID: &str = "/etc/machine-id";
const ROUTES: &str = "/proc/net/route";

/// Why this machine cannot say who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file is missing or unreadable.
    #[error("{MACHINE_ID} cannot be read: {0}: let systemd-machine-id-setup write it")]
    Unreadable(#[from] std::io::Error),
    /// The file holds something else.
    #[error(
        "{MACHINE_ID} holds {0:?}, not 32 hexadecimal digits: let systemd-machine-id-setup write it anew"
    )]
    Malformed(String),
}

/// This machine as it registers.
///
/// # Errors
/// Without an id there is no machine; without an address there is one whose address is empty.
pub fn machine(settings: &Fleet) -> Result<Machine, IdentityError> {
    let id = match &settings.machine_id {
        Some(id) => id.clone(),
        None => read_id(&std::fs::read_to_string(MACHINE_ID)?)?,
    };
    let mut metadata = settings.metadata.clone();
    if metadata.remove(TROUBLE).is_some() {
        tracing::warn!(
            "the metadata {TROUBLE} is left out: it says what this machine finds wrong with itself"
        );
    }
    Ok(Machine {
        id: MachineId(id),
        primary_ip: address(settings),
        metadata,
        found: found_resources(),
    })
}

/// The processors and the memory of this machine, of which the kernel's own share is not taken off.
fn found_resources() -> Resources {
    let cpus = procfs::CpuInfo::current().map_or(0, |info| info.num_cores());
    let memory = procfs::Meminfo::current().map_or(0, |info| info.mem_total);
    Resources {
        cpu_percent: 100 * cpus as u64,
        memory_bytes: memory,
    }
}

/// The address this machine is shown with: the configured one, else one of its interfaces', else none.
pub fn address(settings: &Fleet) -> String {
    let found = || found_address().map(|ip| ip.to_string()).unwrap_or_default();
    settings.public_ip.clone().unwrap_or_else(found)
}

fn read_id(text: &str) -> Result<String, IdentityError> {
    let id = text.trim();
    if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(id.to_ascii_lowercase())
    } else {
        Err(IdentityError::Malformed(id.to_owned()))
    }
}

/// The first global IPv4 address of the interface with the default route; of any interface when there is none.
fn found_address() -> Option<Ipv4Addr> {
    let routes = std::fs::read_to_string(ROUTES).unwrap_or_default();
    let addresses: Vec<(String, Ipv4Addr)> = getifaddrs()
        .ok()?
        .filter_map(|interface| {
            let address = interface.address?.as_sockaddr_in()?.ip();
            Some((interface.interface_name, address))
        })
        .filter(|(_, address)| !address.is_loopback() && !address.is_link_local())
        .collect();
    choose(default_interface(&routes), &addresses)
}

fn choose(preferred: Option<&str>, addresses: &[(String, Ipv4Addr)]) -> Option<Ipv4Addr> {
    let on_preferred = addresses
        .iter()
        .find(|(name, _)| Some(name.as_str()) == preferred);
    on_preferred.or(addresses.first()).map(|(_, address)| *address)
}

/// The interface of the default route with the least metric; the columns are those of proc_net_route: interface,
/// destination, gateway, flags, reference count, use, metric, mask, ...
fn default_interface(routes: &str) -> Option<&str> {
    let mut best: Option<(u32, &str)> = None;
    for line in routes.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [interface, "00000000", _, _, _, _, metric, "00000000", ..] = columns[..] else {
            continue;
        };
        let metric = metric.parse().unwrap_or(u32::MAX);
        if best.is_none_or(|(least, _)| metric < least) {
            best = Some((metric, interface));
        }
    }
    best.map(|(_, interface)| interface)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_routes_interface_is_preferred() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                      eth1\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      eth2\t00000000\t0100000A\t0003\t0\t0\t200\t00000000\t0\t0\t0\n\
                      eth0\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        assert_eq!(default_interface(routes), Some("eth0"));
        assert_eq!(default_interface("Iface\n"), None);
        let addresses = [
            ("eth1".to_owned(), Ipv4Addr::new(10, 0, 0, 1)),
            ("eth0".to_owned(), Ipv4Addr::new(10, 0, 2, 1)),
        ];
        assert_eq!(choose(Some("eth0"), &addresses), Some(Ipv4Addr::new(10, 0, 2, 1)));
        assert_eq!(choose(None, &addresses), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(choose(None, &[]), None);
    }

    #[test]
    fn machine_ids() {
        assert_eq!(
            read_id("0123456789ABCDEF0123456789abcdef\n").unwrap(),
            "0123456789abcdef0123456789abcdef"
        );
        assert!(matches!(
            read_id("uninitialized\n"),
            Err(IdentityError::Malformed(_))
        ));
    }
}
