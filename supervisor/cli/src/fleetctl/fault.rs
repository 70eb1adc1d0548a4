//! What can go wrong between fleetctl and the API, in the words of fleet's Go client.

use hyper::StatusCode;
use serde::Deserialize;
use thiserror::Error;

use crate::http::{Response, SendError};

/// Why a call of the API brought no result.
#[derive(Debug, Error)]
pub(super) enum ApiFault {
    /// No connection, or it broke.
    #[error("{request}: {source}")]
    Send {
        /// `Get http://host/path`.
        request: String,
        /// What happened.
        source: SendError,
    },
    /// No answer in time.
    #[error("{request}: no answer within {seconds} s")]
    Timeout {
        /// `Get http://host/path`.
        request: String,
        /// The time given.
        seconds: u64,
    },
    /// The API said no.
    #[error("googleapi: Error {code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// Its words.
        message: String,
    },
    /// What answered does not speak fleet's API.
    #[error("{request}: the answer is not fleet's: {why}")]
    NotFleet {
        /// `Get http://host/path`.
        request: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ApiFault {
    /// The API's own refusal, out of an answer that is none.
    pub(super) fn refused(answer: &Response) -> ApiFault {
        #[derive(Deserialize)]
        struct Outer {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(default)]
            message: String,
        }
        let code = answer.status.as_u16();
        let reason = || answer.status.canonical_reason().unwrap_or_default().to_owned();
        let message = serde_json::from_slice::<Outer>(&answer.body)
            .map(|outer| outer.error.message)
            .unwrap_or_default();
        ApiFault::Refused {
            code,
            message: if message.is_empty() { reason() } else { message },
        }
    }

    /// The thing asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, ApiFault::Refused { code, .. } if *code == StatusCode::NOT_FOUND.as_u16())
    }

    /// The server cannot say or do anything now.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self, ApiFault::Refused { code, .. } if *code == StatusCode::SERVICE_UNAVAILABLE.as_u16())
    }

    /// May the same call go well a little later: a broken connection, a server without a leader.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            ApiFault::Send { source, .. } => !source.is_ours(),
            ApiFault::Timeout { .. } => true,
            ApiFault::Refused { code, .. } => *code >= 500,
            ApiFault::NotFleet { .. } => false,
        }
    }
}

/// The end of a command that failed: what stands on standard error, line by line, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) code: u8,
}

impl Failure {
    /// Exit code 1, fleet's for nearly everything.
    pub(super) fn new(text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            code: 1,
        }
    }
}
