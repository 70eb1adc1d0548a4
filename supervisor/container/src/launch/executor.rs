//! The last step inside the container: from libcontainer's init process to the program itself.
//!
//! Duty: find the program as Docker does and say so in its words; give back signals as a program expects them; be a small
//! init first if asked (`--init`). Danger: runs in a clone of the launcher, inside the container and under its seccomp
//! filter; there is no way back but the exit status.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use rustix::fs::{Access, access};

use crate::sys;

/// Marks a message of `validate` as "no such program", exit status 127.
pub const NOT_FOUND: &str = "executable file not found in $PATH";
/// Another form of the same: a path that is not there.
pub const NO_SUCH_FILE: &str = "no such file or directory";
/// Marks "cannot be run", exit status 126.
pub const DENIED: &str = "permission denied";

/// Runs the program of the specification.
#[derive(Debug, Clone)]
pub struct Program {
    /// Whether a small init reaps what the program leaves.
    pub init: bool,
}

fn parts(spec: &Spec) -> Option<(&[String], &[String])> {
    let process = spec.process().as_ref()?;
    Some((
        process.args().as_deref()?,
        process.env().as_deref().unwrap_or_default(),
    ))
}

/// The program's path, or Docker's words for why there is none.
fn find(name: &str, env: &[String]) -> Result<PathBuf, String> {
    let usable = |path: &Path| match access(path, Access::EXEC_OK) {
        Ok(()) if path.is_dir() => Err("is a directory: permission denied".to_owned()),
        Ok(()) => Ok(path.to_owned()),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Err(NO_SUCH_FILE.to_owned()),
        Err(_) => Err(DENIED.to_owned()),
    };
    if name.contains('/') {
        return usable(Path::new(name)).map_err(|why| format!("exec: \"{name}\": stat {name}: {why}"));
    }
    let path = env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or_default();
    let mut denied = false;
    for dir in path.split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        match usable(&Path::new(dir).join(name)) {
            Ok(found) => return Ok(found),
            Err(why) => denied |= why != NO_SUCH_FILE,
        }
    }
    Err(format!(
        "exec: \"{name}\": {}",
        if denied { DENIED } else { NOT_FOUND }
    ))
}

fn c_strings(list: &[String]) -> Vec<CString> {
    list.iter()
        .filter_map(|text| CString::new(text.as_bytes()).ok())
        .collect()
}

impl Executor for Program {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let wrong = |why: String| ExecutorValidationError::ArgValidationError(why);
        let (args, env) = parts(spec).ok_or_else(|| wrong("no command specified".into()))?;
        let name = args.first().ok_or_else(|| wrong("no command specified".into()))?;
        find(name, env).map(drop).map_err(wrong)
    }

    fn setup_envs(&self, _: std::collections::HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // `exec` passes the specification's own list, in its order; the launcher's variables never reach it.
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let (args, env) = parts(spec).ok_or(ExecutorError::InvalidArg)?;
        let name = args.first().ok_or(ExecutorError::InvalidArg)?;
        sys::default_signal_actions();
        if self.init {
            sys::become_init();
        }
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
        let error = match find(name, env) {
            Ok(path) => match CString::new(OsStr::as_bytes(path.as_os_str())) {
                Ok(path) => match nix::unistd::execve(&path, &c_strings(args), &c_strings(env)) {
                    Err(errno) => format!("exec {name}: {}", errno.desc().to_lowercase()),
                },
                Err(_) => DENIED.to_owned(),
            },
            Err(why) => why,
        };
        eprintln!("{error}");
        let status = if error.contains(NOT_FOUND) || error.contains(NO_SUCH_FILE) {
            127
        } else {
            126
        };
        // Nothing above this frame may run in the container.
        std::process::exit(status)
    }
}
