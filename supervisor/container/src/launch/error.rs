//! Why a launch failed, and the exit status that tells.

use std::io;

use super::executor::{DENIED, NO_SUCH_FILE, NOT_FOUND};
use super::process::ProcessError;
use crate::containers::ContainerError;
use crate::network::NetworkError;
use crate::spec::SpecError;
use crate::user::UserError;

/// Why a container was not launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The records.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The network.
    #[error("failed to set up container networking: {0}")]
    Network(#[from] NetworkError),
    /// The options.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The user.
    #[error(transparent)]
    User(#[from] UserError),
    /// The kernel or the program.
    #[error("failed to create task for container: {0}")]
    Process(#[from] ProcessError),
    /// It runs already.
    #[error("container {0} is already running")]
    AlreadyRunning(String),
    /// A path of the machine.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The caller is no place to clone from.
    #[error("the launcher has {0} threads and must have one; this is a defect")]
    Threads(usize),
    /// A source that must exist.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {0}")]
    NoSource(String),
    /// Somebody asked for its end while it was being started.
    #[error("stopped by signal {0} before it had started")]
    Stopped(i32),
    /// The container whose network is to be shared.
    #[error("cannot join network of a non running container: {0}")]
    NoPeer(String),
}

impl LaunchError {
    /// Docker's exit status: 127 when there is no such program, 126 when it cannot be run, else 125.
    pub fn exit_code(&self) -> u8 {
        let text = match self {
            Self::Process(ProcessError(text)) => text,
            Self::Stopped(signal) => return u8::try_from(128 + signal).unwrap_or(125),
            _ => return 125,
        };
        if text.contains(NOT_FOUND) || text.contains(NO_SUCH_FILE) {
            127
        } else if text.contains(DENIED) {
            126
        } else {
            125
        }
    }
}

/// Says what was tried when `io::Error` alone would not.
pub(super) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> LaunchError {
    let what = what.into();
    move |source| LaunchError::Io { what, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_dockers() {
        let code = |text: &str| LaunchError::Process(ProcessError(text.into())).exit_code();
        assert_eq!(code("x: exec: \"foo\": executable file not found in $PATH"), 127);
        assert_eq!(code("exec: \"/foo\": stat /foo: no such file or directory"), 127);
        assert_eq!(code("exec: \"/etc\": permission denied"), 126);
        assert_eq!(code("something else"), 125);
    }
}
