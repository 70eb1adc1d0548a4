//! Opening sockets: TCP by address, unix by path, or the ones systemd opened for us (sd_listen_fds(3)).
//!
//! All are opened before anything else starts, so that a port in use is the first thing said, not the last.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is taken, the address is not ours, ...
    #[error("cannot listen on {address} for {purpose}: {error}: stop what uses it, or change {variable}")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// What for.
        purpose: &'static str,
        /// The variable that says so.
        variable: &'static str,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// The path cannot be bound.
    #[error("cannot listen on {}: {error}: change CORTEN_FLEET_SOCKET, or let systemd open it (fleet.socket)", path.display())]
    Unix {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// A socket of fleet.socket is neither unix stream nor TCP.
    #[error(
        "systemd passed {count} sockets, but number {number} cannot be used: {error}: fleet.socket may have ListenStream= only"
    )]
    Passed {
        /// From 0.
        number: usize,
        /// How many.
        count: usize,
        /// Why.
        error: std::io::Error,
    },
}

/// A socket the fleet API is served on.
#[derive(Debug)]
pub enum FleetListener {
    /// A unix stream socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// Connections that may wait to be accepted; the kernel caps it.
const BACKLOG: u32 = 1024;

/// Listens on `address`; `purpose` and `variable` are for the message when that fails.
///
/// The address need not be on an interface yet (IP_FREEBIND): at boot the network may come up after us.
///
/// # Errors
/// [`ListenError::Tcp`].
pub async fn bind_tcp(
    address: SocketAddr,
    purpose: &'static str,
    variable: &'static str,
) -> Result<TcpListener, ListenError> {
    let bind = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        if address.is_ipv4() {
            setsockopt(&socket, sockopt::IpFreebind, &true)?;
        }
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let listener = bind().map_err(|error| ListenError::Tcp {
        address,
        purpose,
        variable,
        error,
    })?;
    if !is_here(address.ip()) {
        tracing::warn!(
            "no interface has the address {} of {variable} yet: nobody is heard there until one has",
            address.ip()
        );
    }
    Ok(listener)
}

fn is_here(ip: IpAddr) -> bool {
    let of_interface = |interface: InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    ip.is_unspecified()
        || getifaddrs().is_ok_and(|mut all| all.any(|interface| of_interface(interface) == Some(ip)))
}

/// Listens on `path`, replacing a socket nobody listens on any more.
///
/// # Errors
/// [`ListenError::Unix`].
pub fn bind_unix(path: &Path) -> Result<UnixListener, ListenError> {
    let bind = || {
        if std::os::unix::net::UnixStream::connect(path).is_err() {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        UnixListener::bind(path)
    };
    bind().map_err(|error| ListenError::Unix {
        path: path.to_owned(),
        error,
    })
}

/// The sockets systemd passed, none when it passed none.
///
/// # Errors
/// [`ListenError::Passed`] for one that is neither unix stream nor TCP.
pub fn passed_by_systemd() -> Result<Vec<FleetListener>, ListenError> {
    let mut passed = listenfd::ListenFd::from_env();
    let count = passed.len();
    let mut found = Vec::with_capacity(count);
    for number in 0..count {
        found.push(take(&mut passed, number).map_err(|error| ListenError::Passed {
            number,
            count,
            error,
        })?);
    }
    Ok(found)
}

fn take(passed: &mut listenfd::ListenFd, number: usize) -> std::io::Result<FleetListener> {
    if let Ok(Some(socket)) = passed.take_unix_listener(number) {
        socket.set_nonblocking(true)?;
        return Ok(FleetListener::Unix(UnixListener::from_std(socket)?));
    }
    let socket = passed
        .take_tcp_listener(number)?
        .ok_or_else(|| std::io::Error::other("it was taken already"))?;
    socket.set_nonblocking(true)?;
    Ok(FleetListener::Tcp(TcpListener::from_std(socket)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_said_with_its_variable() {
        let first = bind_tcp(
            "127.0.0.1:0".parse().unwrap(),
            "clients",
            "ETCD_LISTEN_CLIENT_URLS",
        )
        .await
        .unwrap();
        let address = first.local_addr().unwrap();
        let error = bind_tcp(address, "clients", "ETCD_LISTEN_CLIENT_URLS")
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot listen on {address} for clients: Address already in use (os error 98): stop what uses it, or \
                 change ETCD_LISTEN_CLIENT_URLS"
            )
        );
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.sock");
        drop(bind_unix(&path).unwrap());
        let _alive = bind_unix(&path).unwrap();
        assert!(matches!(bind_unix(&path), Err(ListenError::Unix { .. })));
    }
}
