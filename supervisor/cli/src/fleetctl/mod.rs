//! fleetctl: being built.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs fleetctl; `args[0]` is the name it was called under.
pub fn main(_args: Vec<OsString>) -> ExitCode {
    crate::terminal::tell("fleetctl is not built yet");
    ExitCode::FAILURE
}
