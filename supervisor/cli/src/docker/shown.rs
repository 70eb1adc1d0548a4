//! Small things as Docker shows them: sizes, ports, commands, states. Pure.

use corten_container::launch::stop_signal;
use corten_container::record::{PortMapping, Record, Status};

use super::elapsed;

/// `1.23MB`, with four significant digits as Docker's units.HumanSize.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", UNITS[unit])
}

/// `0.0.0.0:80->80/tcp`.
pub(super) fn port(port: &PortMapping) -> String {
    let address = port
        .host_ip
        .map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
    format!(
        "{address}:{}->{}/{}",
        port.host_port,
        port.container_port,
        port.protocol.word()
    )
}

/// All ports of a container, published first.
pub(super) fn ports(record: &Record) -> String {
    if record.state.status != Status::Running {
        return String::new();
    }
    let published = record
        .state
        .network
        .as_ref()
        .map(|network| network.ports.as_slice())
        .unwrap_or_default();
    let mut list: Vec<String> = published.iter().map(port).collect();
    let is_published = |exposed: &&String| {
        published
            .iter()
            .any(|port| **exposed == format!("{}/{}", port.container_port, port.protocol.word()))
    };
    list.extend(
        record
            .config
            .exposed_ports
            .iter()
            .filter(|exposed| !is_published(exposed))
            .cloned(),
    );
    list.join(", ")
}

/// `"/bin/sh -c 'echo…"`, cut at twenty characters unless `whole`.
pub(super) fn command(record: &Record, whole: bool) -> String {
    let line = record.config.argv().join(" ");
    if whole || line.chars().count() <= 20 {
        return format!("\"{line}\"");
    }
    format!("\"{}…\"", line.chars().take(19).collect::<String>())
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago`, `Created`.
pub(super) fn status(record: &Record) -> String {
    let state = &record.state;
    match state.status {
        Status::Created | Status::Starting => "Created".into(),
        Status::Running => {
            let since = state.started_at.as_deref().and_then(elapsed::since);
            format!("Up {}", since.unwrap_or_else(|| "Less than a second".into()))
        }
        Status::Exited => {
            let ago = state.finished_at.as_deref().and_then(elapsed::ago);
            format!("Exited ({}) {}", state.exit_code, ago.unwrap_or_default())
        }
    }
}

/// Docker's word for a state.
pub(super) fn state(record: &Record) -> &'static str {
    match record.state.status {
        Status::Created | Status::Starting => "created",
        Status::Running => "running",
        Status::Exited => "exited",
    }
}

/// `SIGTERM`.
pub(super) fn stop_signal_name(record: &Record) -> String {
    nix::sys::signal::Signal::try_from(stop_signal(record))
        .map_or_else(|_| "SIGTERM".into(), |signal| signal.as_str().to_owned())
}

/// Whether `text` fits a pattern of literal characters, `?` and `*`.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    fn fits(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => fits(&pattern[1..], text) || (!text.is_empty() && fits(pattern, &text[1..])),
            (Some('?'), Some(_)) => fits(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) => p == t && fits(&pattern[1..], &text[1..]),
            _ => false,
        }
    }
    fits(
        &pattern.chars().collect::<Vec<_>>(),
        &text.chars().collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_few_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234_567, "1.23MB"),
            (45_600_000, "45.6MB"),
            (2_000_000_000, "2GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn globs() {
        assert!(glob("a*", "abc") && glob("*c", "abc") && glob("a?c", "abc") && !glob("a?", "abc"));
    }
}
