//! `-p` and `EXPOSE`: `[address:][host port[-last]:]container port[-last][/protocol]`. Pure.

use std::net::IpAddr;

use crate::record::{PortMapping, Protocol};

/// What is no port mapping. Messages are Docker's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PortError {
    /// No number, or out of range.
    #[error("invalid containerPort: {0}")]
    Container(String),
    /// No number, or out of range.
    #[error("invalid hostPort: {0}")]
    Host(String),
    /// No address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// Not tcp or udp.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// Ranges of different lengths.
    #[error("invalid ranges specified for container and host Ports: {0} and {1}")]
    Ranges(String, String),
}

/// Reads one `-p` value; a range gives several mappings.
pub fn parse_publish(text: &str) -> Result<Vec<PortMapping>, PortError> {
    let (rest, protocol) = split_protocol(text)?;
    let (rest, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (address, host) = match rest.rsplit_once(':') {
        Some((address, host)) => (address, host),
        None if rest.starts_with('[') || rest.contains('.') => (rest, ""),
        None => ("", rest),
    };
    let host_ip = match address.trim_matches(['[', ']']) {
        "" | "0.0.0.0" => None,
        text => Some(
            text.parse::<IpAddr>()
                .map_err(|_| PortError::Address(address.into()))?,
        ),
    };
    let container_ports = range(container).ok_or_else(|| PortError::Container(container.into()))?;
    let count = container_ports.1 - container_ports.0;
    let first_host = match host {
        "" => None,
        text => {
            let ports = range(text).ok_or_else(|| PortError::Host(text.into()))?;
            if ports.1 - ports.0 != count {
                return Err(PortError::Ranges(container.into(), text.into()));
            }
            Some(ports.0)
        }
    };
    let mapping = |offset: u16| PortMapping {
        host_ip,
        host_port: first_host.map_or(0, |first| first + offset),
        container_port: container_ports.0 + offset,
        protocol,
    };
    Ok((0..=count).map(mapping).collect())
}

/// Reads `80`, `80/udp`, `80-82/tcp`.
pub fn parse_exposed(text: &str) -> Result<Vec<(u16, Protocol)>, PortError> {
    let (rest, protocol) = split_protocol(text)?;
    let (first, last) = range(rest).ok_or_else(|| PortError::Container(rest.into()))?;
    Ok((first..=last).map(|port| (port, protocol)).collect())
}

fn split_protocol(text: &str) -> Result<(&str, Protocol), PortError> {
    match text.rsplit_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((rest, word)) => match word.to_ascii_lowercase().as_str() {
            "tcp" => Ok((rest, Protocol::Tcp)),
            "udp" => Ok((rest, Protocol::Udp)),
            _ => Err(PortError::Protocol(word.into())),
        },
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mappings_in_all_their_forms() {
        let shown = |text: &str| -> Vec<String> {
            let show = |m: PortMapping| {
                format!(
                    "{}:{}->{}/{}",
                    m.host_ip.map_or("*".into(), |ip| ip.to_string()),
                    m.host_port,
                    m.container_port,
                    m.protocol.word()
                )
            };
            parse_publish(text).unwrap().into_iter().map(show).collect()
        };
        assert_eq!(shown("1337:1337"), ["*:1337->1337/tcp"]);
        assert_eq!(shown("0.0.0.0:80:8080"), ["*:80->8080/tcp"]);
        assert_eq!(shown("127.0.0.1:53:53/udp"), ["127.0.0.1:53->53/udp"]);
        assert_eq!(shown("127.0.0.1::53"), ["127.0.0.1:0->53/tcp"]);
        assert_eq!(shown("80"), ["*:0->80/tcp"]);
        assert_eq!(shown("8000-8001:80-81"), ["*:8000->80/tcp", "*:8001->81/tcp"]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "x",
            "80:",
            "0:80",
            "70000:80",
            "80:70000",
            "1-2:80",
            "1.2.3:80:80",
            "80/icmp",
            "2-1:2-1",
        ] {
            assert!(parse_publish(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_exposed("80-81/udp").unwrap(),
            [(80, Protocol::Udp), (81, Protocol::Udp)]
        );
    }
}
