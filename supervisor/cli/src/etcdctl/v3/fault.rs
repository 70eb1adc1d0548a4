//! How commands of the v3 face end.

use std::process::ExitCode;

use crate::terminal::tell;

/// The server said no, or could not be asked.
pub(super) const ERROR: u8 = 1;
/// No connection, or no login.
pub(super) const BAD_CONNECTION: u8 = 2;
/// Input that cannot be read.
pub(super) const INVALID_INPUT: u8 = 3;
/// An option that asks for what is not there.
pub(super) const BAD_FEATURE: u8 = 4;
/// A watch that the server ended; also a snapshot of more than one member, as etcdctl has it.
pub(super) const INTERRUPTED: u8 = 5;
/// A file.
pub(super) const IO: u8 = 6;
/// Wrong arguments.
pub(super) const BAD_ARGS: u8 = 128;

/// The end of a command that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Behind `Error: `; empty for nothing at all.
    pub(super) text: String,
    pub(super) code: u8,
}

impl Failure {
    pub(super) fn new(code: u8, text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            code,
        }
    }

    /// Wrong arguments.
    pub(super) fn args(text: impl Into<String>) -> Failure {
        Failure::new(BAD_ARGS, text)
    }

    /// Says so.
    pub(super) fn told(&self) -> ExitCode {
        if !self.text.is_empty() {
            tell(format!("Error: {}", self.text));
        }
        ExitCode::from(self.code)
    }
}
