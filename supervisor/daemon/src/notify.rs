//! Telling systemd how we are: sd_notify(3) over the socket it names, and the watchdog it asks for.
//!
//! Refuses to fail: a supervisor run by hand has no such socket, and a lost datagram must not stop a cluster member. Nor does it
//! wait for a systemd that reads nothing any more: what its socket has no room for is lost, too.
//! The danger it guards against: a `WATCHDOG=1` that says only that a timer still runs; see [`crate::pulse`].

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Between two attempts to tell systemd what it must hear.
const AGAIN: Duration = Duration::from_secs(1);

/// Where systemd listens for us.
#[derive(Debug)]
pub struct Notifier {
    target: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// `address` is the value of NOTIFY_SOCKET: a path, or an abstract name after `@`. Without one, nothing is sent.
    pub fn new(address: Option<&str>) -> Notifier {
        let target = address.and_then(|address| {
            let target = match address.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(address),
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, target.ok()?))
        });
        Notifier { target }
    }

    /// Whether it was sent, where there is somebody to send it to.
    fn send(&self, message: &str) -> bool {
        let Some((socket, address)) = &self.target else {
            return true;
        };
        let sent = socket.send_to_addr(message.as_bytes(), address);
        if let Err(error) = &sent {
            tracing::warn!(%error, message, "systemd could not be notified");
        }
        sent.is_ok()
    }

    /// The one line `systemctl status` shows.
    pub fn status(&self, line: &str) {
        let _ = self.send(&format!("STATUS={line}\n"));
    }

    /// This machine has joined its cluster and is registered. False if systemd is to be told again.
    pub fn ready(&self, line: &str) -> bool {
        self.send(&format!("READY=1\nSTATUS={line}\n"))
    }

    /// The same, until it was sent.
    pub async fn ready_for_sure(&self, line: &str) {
        while !self.ready(line) {
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Shutting down on purpose.
    pub fn stopping(&self) {
        let _ = self.send("STOPPING=1\nSTATUS=stopping\n");
    }

    /// Every loop of the supervisor moves.
    pub fn alive(&self) {
        let _ = self.send("WATCHDOG=1\n");
    }
}

/// The watchdog's interval from WATCHDOG_USEC, if it is meant for this process (WATCHDOG_PID).
pub fn watchdog_interval(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own_pid)) {
        return None;
    }
    usec?
        .parse()
        .ok()
        .filter(|usec| *usec > 0)
        .map(Duration::from_micros)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_reach_a_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(path.to_str());
        assert!(notifier.ready("member n1"));
        let mut buffer = [0; 100];
        let length = systemd.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=member n1\n");
        Notifier::new(None).alive();
        Notifier::new(Some("/no/such/socket")).alive();
    }

    #[test]
    fn nobody_waits_for_one_who_does_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(path.to_str());
        for _ in 0..5000 {
            notifier.alive();
        }
        assert!(!notifier.ready("it is to be told again"));
        systemd.set_nonblocking(true).unwrap();
        let held = std::iter::from_fn(|| systemd.recv(&mut [0; 100]).ok()).count();
        assert!((1..5000).contains(&held), "{held} of them fit");
        assert!(notifier.ready("there is room again"));
    }

    #[test]
    fn watchdog_table() {
        let second = Some(Duration::from_secs(1));
        for (usec, pid, expected) in [
            (None, None, None),
            (Some("1000000"), None, second),
            (Some("1000000"), Some("7"), second),
            (Some("1000000"), Some("8"), None),
            (Some("0"), None, None),
            (Some("x"), None, None),
        ] {
            assert_eq!(watchdog_interval(usec, pid, 7), expected, "{usec:?} {pid:?}");
        }
    }
}
