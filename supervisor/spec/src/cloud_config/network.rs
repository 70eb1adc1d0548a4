//! OpenStack's `network_data.json` to files for systemd-networkd, and to the addresses a cloud-config may ask for.
//!
//! ```text
//! links[]    id, ethernet_mac_address, mtu, type        networks[]  link -> links[].id, type ipv4 | ipv4_dhcp |
//! services[] type dns, address                                      ipv6 | ipv6_dhcp | ipv6_slaac, ip_address[/n],
//!                                                                   netmask, gateway, routes[], dns_nameservers[]
//! ```
//! Refuses bonds and VLANs (a note says so; the rest still counts). Nothing is guessed: a network without a usable
//! address is left out.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::substitute::Addresses;

/// What `network_data.json` comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Name and content of each file for `/run/systemd/network`.
    pub files: Vec<(String, String)>,
    /// The addresses it gives the machine.
    pub addresses: Addresses,
    /// What of it could not be used, and why.
    pub notes: Vec<String>,
}

/// Reads `network_data.json`.
///
/// # Errors
/// Text that is not JSON, with the parser's line.
pub fn parse(text: &str) -> Result<Network, serde_json::Error> {
    let data: Value = serde_json::from_str(text)?;
    let mut out = Network::default();
    let mut own: Vec<IpAddr> = Vec::new();
    for link in list(&data, "links") {
        let Some(id) = word(link, "id") else {
            out.notes
                .push("links: an entry without id is left out".to_owned());
            continue;
        };
        let networks: Vec<&Value> = list(&data, "networks")
            .filter(|network| word(network, "link") == Some(id))
            .collect();
        if networks.is_empty() {
            continue;
        }
        match file(&data, link, &networks, &mut own, &mut out.notes) {
            Ok(content) => {
                out.files
                    .push((format!("10-config-drive-{}.network", out.files.len()), content));
            }
            Err(why) => out.notes.push(format!("link {id:?} is left out: {why}")),
        }
    }
    out.addresses = choose(&own);
    Ok(out)
}

/// Which of a machine's addresses `$private_ipv4` and its kin mean: private is the first in a private range, public
/// the first outside; where a machine has only one kind, it stands for both.
pub fn choose(own: &[IpAddr]) -> Addresses {
    let usable = |ip: &&IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_unicast_link_local(),
    };
    let pick = |v4: bool, private: bool| {
        let mut family = own.iter().filter(usable).filter(|ip| ip.is_ipv4() == v4);
        let first = family.clone().next();
        family
            .find(|ip| is_private(ip) == private)
            .or(first)
            .map(IpAddr::to_string)
    };
    Addresses {
        public_ipv4: pick(true, false),
        private_ipv4: pick(true, true),
        public_ipv6: pick(false, false),
        private_ipv6: pick(false, true),
    }
}

fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_private() || u32::from(*ip) & 0xffc0_0000 == u32::from(Ipv4Addr::new(100, 64, 0, 0))
        }
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

fn file(
    data: &Value,
    link: &Value,
    networks: &[&Value],
    own: &mut Vec<IpAddr>,
    notes: &mut Vec<String>,
) -> Result<String, String> {
    if let Some(kind @ ("bond" | "vlan")) = word(link, "type") {
        return Err(format!("links of type {kind} are not supported"));
    }
    let mac = word(link, "ethernet_mac_address").ok_or("it has no ethernet_mac_address")?;
    let pairs = mac
        .split(':')
        .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
        .count();
    if pairs != 6 || mac.len() != 17 {
        return Err(format!("{mac:?} is not an Ethernet address"));
    }
    let mut text = format!("# from network_data.json\n[Match]\nMACAddress={mac}\n");
    if let Some(mtu) = link.get("mtu").and_then(Value::as_u64) {
        text.push_str(&format!("\n[Link]\nMTUBytes={mtu}\n"));
    }
    let mut body = String::from("\n[Network]\n");
    let mut routes = String::new();
    body.push_str(dhcp(networks));
    for network in networks {
        match word(network, "type") {
            Some("ipv4" | "ipv6") => match fixed(network) {
                Ok((ip, prefix)) => {
                    own.push(ip);
                    body.push_str(&format!("Address={ip}/{prefix}\n"));
                    gateways(network, &mut body, &mut routes, notes);
                }
                Err(why) => notes.push(why),
            },
            Some("ipv4_dhcp" | "ipv6_dhcp" | "ipv6_dhcpv6-stateful") => {}
            Some("ipv6_slaac" | "ipv6_dhcpv6-stateless") => body.push_str("IPv6AcceptRA=yes\n"),
            other => notes.push(format!(
                "network type {:?} is not supported",
                other.unwrap_or_default()
            )),
        }
        for server in list(network, "dns_nameservers").filter_map(Value::as_str) {
            push_ip(&mut body, "DNS", server, notes);
        }
        for service in list(network, "services") {
            dns_service(service, &mut body, notes);
        }
    }
    list(data, "services").for_each(|service| dns_service(service, &mut body, notes));
    Ok(text + &body + &routes)
}

fn dhcp(networks: &[&Value]) -> &'static str {
    let has = |names: &[&str]| {
        networks
            .iter()
            .any(|n| word(n, "type").is_some_and(|t| names.contains(&t)))
    };
    match (has(&["ipv4_dhcp"]), has(&["ipv6_dhcp", "ipv6_dhcpv6-stateful"])) {
        (true, true) => "DHCP=yes\n",
        (true, false) => "DHCP=ipv4\n",
        (false, true) => "DHCP=ipv6\n",
        (false, false) => "",
    }
}

fn fixed(network: &Value) -> Result<(IpAddr, u8), String> {
    let given = word(network, "ip_address").ok_or("a network without ip_address is left out")?;
    let (address, length) = match given.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (given, word(network, "netmask")),
    };
    let ip: IpAddr = address
        .parse()
        .map_err(|_| format!("{address:?} is not an address"))?;
    let length = length.map_or(Ok(if ip.is_ipv4() { 32 } else { 128 }), |l| {
        prefix(l, ip.is_ipv4())
    });
    length.map(|length| (ip, length))
}

/// A prefix length from `24`, `255.255.255.0` or `ffff:ffff:ffff:ffff::`.
fn prefix(text: &str, v4: bool) -> Result<u8, String> {
    let wrong = || format!("{text:?} is not a netmask");
    let bits = if v4 { 32 } else { 128 };
    if let Ok(length) = text.parse::<u8>() {
        return if length <= bits { Ok(length) } else { Err(wrong()) };
    }
    let mask: u128 = match text.parse() {
        Ok(IpAddr::V4(ip)) if v4 => u128::from(u32::from(ip)) << 96,
        Ok(IpAddr::V6(ip)) if !v4 => u128::from(ip),
        _ => return Err(wrong()),
    };
    let ones = mask.leading_ones();
    if mask.count_ones() != ones {
        return Err(wrong());
    }
    u8::try_from(ones).map_err(|_| wrong())
}

fn gateways(network: &Value, body: &mut String, routes: &mut String, notes: &mut Vec<String>) {
    if let Some(gateway) = word(network, "gateway") {
        push_ip(body, "Gateway", gateway, notes);
    }
    for route in list(network, "routes") {
        let destination = word(route, "network").and_then(|n| n.parse::<IpAddr>().ok());
        let gateway = word(route, "gateway").and_then(|g| g.parse::<IpAddr>().ok());
        let length = |ip: IpAddr| prefix(word(route, "netmask").unwrap_or("0"), ip.is_ipv4()).ok();
        match (destination.and_then(|ip| Some((ip, length(ip)?))), gateway) {
            (Some((ip, length)), Some(via)) => {
                routes.push_str(&format!("\n[Route]\nDestination={ip}/{length}\nGateway={via}\n"));
            }
            _ => notes.push(format!("a route is left out: {route}")),
        }
    }
}

fn dns_service(service: &Value, body: &mut String, notes: &mut Vec<String>) {
    if let (Some("dns"), Some(server)) = (word(service, "type"), word(service, "address")) {
        push_ip(body, "DNS", server, notes);
    }
}

/// Adds `key=address` unless it stands there already.
fn push_ip(body: &mut String, key: &str, address: &str, notes: &mut Vec<String>) {
    match address.parse::<IpAddr>() {
        Ok(ip) => {
            let line = format!("{key}={ip}\n");
            if !body.contains(&line) {
                body.push_str(&line);
            }
        }
        Err(_) => notes.push(format!("{key} {address:?} is not an address")),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn word<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
