//! What can go wrong in a call, and what the user gets to see of it.

use serde::Deserialize;
use thiserror::Error;

use crate::http::SendError;

/// Exit codes of etcdctl.
pub(super) const BAD_ARGUMENTS: u8 = 1;
pub(super) const BAD_CONNECTION: u8 = 2;
pub(super) const SERVER_ERROR: u8 = 4;
pub(super) const NOT_HEALTHY: u8 = 5;

/// The end of a command that failed: what stands on standard error, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) code: u8,
}

impl Failure {
    pub(super) fn arguments(text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            code: BAD_ARGUMENTS,
        }
    }

    /// `Error:  <fault>`, with a line for each member that could not be asked.
    pub(super) fn of(fault: &CallFault, code: u8) -> Failure {
        let mut text = format!("Error:  {fault}");
        if let CallFault::Cluster(faults) = fault {
            text.push('\n');
            for (number, fault) in faults.iter().enumerate() {
                text.push_str(&format!("error #{number}: {fault}\n"));
            }
        }
        Failure { text, code }
    }
}

/// An error the keys API answered with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Error)]
#[error("{code}: {message} ({cause}) [{index}]")]
pub(super) struct EtcdError {
    /// etcd's own number, 100 and up.
    #[serde(rename = "errorCode")]
    pub(super) code: u32,
    pub(super) message: String,
    #[serde(default)]
    pub(super) cause: String,
    #[serde(default)]
    pub(super) index: u64,
}

/// Why a call brought no result.
#[derive(Debug, Error)]
pub(super) enum CallFault {
    /// The keys API said no.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The members API said no.
    #[error("{0}")]
    Members(String),
    /// No member could be asked.
    #[error("client: etcd cluster is unavailable or misconfigured")]
    Cluster(Vec<EndpointFault>),
    /// The time of the whole command is over.
    #[error("context deadline exceeded")]
    Deadline,
    /// What answered is no etcd.
    #[error("client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint.")]
    NotEtcd,
}

impl CallFault {
    /// True where no member could be reached at all.
    pub(super) fn is_connection(&self) -> bool {
        match self {
            CallFault::Deadline => true,
            CallFault::Cluster(faults) => faults.iter().all(EndpointFault::is_connection),
            _ => false,
        }
    }
}

/// Why one member did not answer.
#[derive(Debug, Error)]
pub(super) enum EndpointFault {
    /// No connection, or it broke.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Not in the time one request may take.
    #[error("client: endpoint {0} exceeded header timeout")]
    Timeout(String),
    /// It answered 500 or 503.
    #[error("client: etcd member {0} has no leader")]
    NoLeader(String),
    /// It answered another 5xx.
    #[error("client: etcd member {url} returns server error [{status}]")]
    Server {
        /// The member.
        url: String,
        /// The status in words.
        status: String,
    },
}

impl EndpointFault {
    fn is_connection(&self) -> bool {
        match self {
            EndpointFault::Send(SendError::Dial(dial)) => dial.is_connection(),
            // As in Go, whose client counts an error while reading, but not an orderly end without an answer.
            EndpointFault::Send(error) => error.is_broken(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_etcds() {
        let error = EtcdError {
            code: 100,
            message: "Key not found".into(),
            cause: "/none".into(),
            index: 1139,
        };
        let failure = Failure::of(&CallFault::Etcd(error), SERVER_ERROR);
        assert_eq!(failure.text, "Error:  100: Key not found (/none) [1139]");
        let faults = vec![EndpointFault::NoLeader("http://a".into())];
        let failure = Failure::of(&CallFault::Cluster(faults), SERVER_ERROR);
        let lines = "Error:  client: etcd cluster is unavailable or misconfigured\n\
                     error #0: client: etcd member http://a has no leader\n";
        assert_eq!(failure.text, lines);
    }
}
