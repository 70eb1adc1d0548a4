//! The journal: writing a container's output into it, and reading it back.
//!
//! Duty: a stream to journald tagged with the container's name; `journalctl` command lines and the decoding of what it
//! prints. Refusal: no log files. Source: systemd's journal native stream protocol (the header of sd_journal_stream_fd).

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use serde_json::Value;

/// syslog's level for what a container writes to its standard output (info) and error (err), as Docker has it.
const PRIORITIES: [(Source, u8); 2] = [(Source::Stdout, 6), (Source::Stderr, 3)];

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Source {
    fn priority(self) -> u8 {
        PRIORITIES
            .iter()
            .find(|(source, _)| *source == self)
            .map_or(6, |(_, priority)| *priority)
    }
}

/// Opens a stream to journald; each line written is an entry with the identifier `tag`.
pub fn stream(tag: &str, source: Source) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect("/run/systemd/journal/stdout")?;
    stream.shutdown(std::net::Shutdown::Read)?;
    // identifier, unit (journald finds it by cgroup), priority, level prefix, forward to syslog, kmsg, console
    write!(stream, "{tag}\n\n{}\n0\n0\n0\n0\n", source.priority())?;
    Ok(stream)
}

/// Whether our own standard output is the journal (systemd says which device and inode that is).
pub fn is_our_output() -> bool {
    let Ok(wanted) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(metadata) = std::fs::metadata("/proc/self/fd/1") else {
        return false;
    };
    wanted == format!("{}:{}", metadata.dev(), metadata.ino())
}

/// A stream as a descriptor.
pub fn stream_fd(tag: &str, source: Source) -> io::Result<OwnedFd> {
    stream(tag, source).map(OwnedFd::from)
}

/// What `docker logs` was asked for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Identifier of the container's lines.
    pub tag: String,
    /// Not before this time, in microseconds since the epoch.
    pub since_us: i64,
    /// Not after this time, in microseconds since the epoch.
    pub until_us: Option<i64>,
    /// Whether to wait for more.
    pub follow: bool,
    /// Only so many last lines.
    pub tail: Option<u64>,
}

/// Arguments of `journalctl` for a query.
pub fn journalctl_arguments(query: &Query) -> Vec<String> {
    let time = |us: i64| format!("@{}.{:06}", us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let mut list: Vec<String> = [
        "--output=json",
        "--quiet",
        "--no-pager",
        "--all",
        "--output-fields=MESSAGE,PRIORITY",
    ]
    .map(str::to_owned)
    .to_vec();
    list.push(format!("--since={}", time(query.since_us)));
    list.extend(query.until_us.map(|us| format!("--until={}", time(us))));
    if query.follow {
        list.push("--follow".into());
    }
    match query.tail {
        Some(lines) => list.push(format!("--lines={lines}")),
        None => list.push(if query.follow {
            "--no-tail".into()
        } else {
            "--lines=all".into()
        }),
    }
    list.push("_TRANSPORT=stdout".into());
    list.push(format!("SYSLOG_IDENTIFIER={}", query.tag));
    list
}

/// One line of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, in microseconds since the epoch.
    pub time_us: i64,
    /// From where.
    pub source: Source,
    /// The bytes, without the end of line.
    pub text: Vec<u8>,
}

/// Reads one line of `journalctl --output=json`.
pub fn parse_line(json: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(json).ok()?;
    let text = match &value["MESSAGE"] {
        Value::String(text) => text.clone().into_bytes(),
        // Bytes that are no UTF-8 come as numbers.
        Value::Array(bytes) => bytes
            .iter()
            .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
            .collect(),
        _ => Vec::new(),
    };
    let time_us = value["__REALTIME_TIMESTAMP"].as_str()?.parse().ok()?;
    let stderr = value["PRIORITY"].as_str() == Some("3");
    Some(Line {
        time_us,
        source: if stderr { Source::Stderr } else { Source::Stdout },
        text,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whatever_they_hold() {
        let line = parse_line(r#"{"MESSAGE":"hi","PRIORITY":"6","__REALTIME_TIMESTAMP":"1700000000000001"}"#)
            .unwrap();
        assert_eq!(
            line,
            Line {
                time_us: 1_700_000_000_000_001,
                source: Source::Stdout,
                text: b"hi".to_vec()
            }
        );
        let bytes = parse_line(r#"{"MESSAGE":[255,10],"PRIORITY":"3","__REALTIME_TIMESTAMP":"1"}"#).unwrap();
        assert_eq!((bytes.source, bytes.text), (Source::Stderr, vec![255, 10]));
        assert_eq!(parse_line("-- No entries --"), None);
    }

    #[test]
    fn queries_become_arguments() {
        let query = Query {
            tag: "web".into(),
            since_us: 1_500_000,
            tail: Some(3),
            ..Query::default()
        };
        let text = journalctl_arguments(&query).join(" ");
        assert!(
            text.contains("--since=@1.500000 --lines=3") && text.ends_with("SYSLOG_IDENTIFIER=web"),
            "{text}"
        );
    }
}
