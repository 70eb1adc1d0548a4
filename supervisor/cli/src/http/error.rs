//! What can go wrong between us and a server, in the words of Go's net package.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::tls::TlsError;

/// Why no connection came about.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    /// TCP: refused, unreachable, timed out.
    #[error("dial tcp {address}: connect: {}", go_words(source))]
    Tcp {
        /// `host:port`.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The name has no address.
    #[error("dial tcp: lookup {host}: no such host")]
    Lookup {
        /// The name.
        host: String,
    },
    /// A unix socket.
    #[error("dial unix {}: connect: {}", path.display(), go_words(source))]
    Unix {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// TLS: files or handshake.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The program that carries the connection (ssh) could not be started.
    #[error("cannot run {program:?}: {}", hint(program, source))]
    Spawn {
        /// Its name.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// No connection in the time given.
    #[error("dial {what}: i/o timeout")]
    Timeout {
        /// `tcp host:port`, `unix path`.
        what: String,
    },
}

impl DialError {
    /// True where the server could not be reached at all, as opposed to a mistake of ours (files, programs).
    pub(crate) fn is_connection(&self) -> bool {
        matches!(
            self,
            DialError::Tcp { .. }
                | DialError::Lookup { .. }
                | DialError::Unix { .. }
                | DialError::Timeout { .. }
        )
    }
}

/// Why a request has no answer.
#[derive(Debug, Error)]
pub(crate) enum SendError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or what came is not HTTP.
    #[error("{}", http_words(.0))]
    Http(#[from] hyper::Error),
    /// The request cannot be said in HTTP.
    #[error("invalid request: {0}")]
    Request(#[from] hyper::http::Error),
    /// The program that carried the connection ended.
    #[error("{}", tunnel_words(.program, *.code))]
    Tunnel {
        /// Its name.
        program: String,
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
        /// What to do, where its own words tell.
        advice: Option<&'static str>,
    },
}

impl SendError {
    /// A mistake on our side (files, programs, keys), which does not go away by asking again.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            SendError::Dial(dial) => !dial.is_connection(),
            SendError::Http(_) => false,
            SendError::Request(_) | SendError::Tunnel { .. } => true,
        }
    }
}

impl SendError {
    /// Did the connection break by an error of the system (reset), as opposed to an orderly end?
    pub(crate) fn is_broken(&self) -> bool {
        let SendError::Http(error) = self else {
            return false;
        };
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if cause.is::<io::Error>() {
                return true;
            }
            source = cause.source();
        }
        false
    }

    /// What to do about it, where there is a way.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            SendError::Dial(DialError::Unix { .. }) => Some(SOCKET_ADVICE),
            SendError::Tunnel { advice, .. } => *advice,
            _ => None,
        }
    }
}

/// For a socket that is not there, or at which nobody listens.
const SOCKET_ADVICE: &str = "On a machine of the cluster: is its supervisor up (systemctl status corten)?\n\
    Elsewhere: name a machine with --tunnel HOST[:PORT] (over SSH), or where the API is with --endpoint URL.";

/// ssh ends with 255 for a fault of its own, else with the exit code of the remote command; 127 is a shell's "not found".
fn tunnel_words(program: &str, code: Option<i32>) -> String {
    match code {
        Some(255) => format!(
            "failed initializing SSH client: {program} ended with exit code 255; its own words stand above"
        ),
        Some(127) => {
            format!("{program} could log in, but found no fleetctl on the PATH there (exit code 127)")
        }
        Some(code) => format!("{program} ended with exit code {code} before there was an answer"),
        None => format!("a signal ended {program} before there was an answer"),
    }
}

/// An error of the system as Go prints it: without Rust's "(os error N)", in lower case.
pub(crate) fn go_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn hint(program: &str, source: &io::Error) -> String {
    if source.kind() == io::ErrorKind::NotFound {
        format!("not found; install it (Debian: apt-get install openssh-client) or put {program} on the PATH")
    } else {
        go_words(source)
    }
}

fn http_words(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "EOF".to_owned();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
