//! Programs of the host we call: finds them on `PATH` and runs the short-lived ones; a missing one is named together
//! with how to get it. Never falls back to another program silently.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Why a host program could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not on `PATH`.
    #[error("the program {name} is missing on this host: install it with `apt-get install {package}`")]
    Missing {
        /// The program's name.
        name: String,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// It could not be started at all.
    #[error("cannot run {name}: {source}")]
    Spawn {
        /// The program's name.
        name: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It ended with an error of its own.
    #[error("{command} failed ({status}): {stderr}")]
    Failed {
        /// The whole command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said, trimmed.
        stderr: String,
    },
}

/// The Debian package that brings a program we use.
fn package_of(name: &str) -> &'static str {
    match name {
        "qemu-system-x86_64" => "qemu-system-x86",
        "qemu-img" => "qemu-utils",
        "ssh" | "ssh-keygen" | "ssh-agent" | "ssh-add" => "openssh-client",
        "docker-registry" => "docker-registry",
        _ => "<the package that brings it>",
    }
}

/// Where a program lies on `PATH`.
pub fn find(name: &str) -> Result<PathBuf, ToolError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(name))
        .find(|candidate| {
            nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok() && candidate.is_file()
        })
        .ok_or_else(|| ToolError::Missing {
            name: name.to_owned(),
            package: package_of(name),
        })
}

/// Runs a short-lived program to its end and returns what it wrote to its standard output.
pub fn run<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> Result<String, ToolError> {
    let mut command = Command::new(find(name)?);
    command.args(args).stdin(Stdio::null());
    let output = command.output().map_err(|source| ToolError::Spawn {
        name: name.to_owned(),
        source,
    })?;
    if !output.status.success() {
        return Err(ToolError::Failed {
            command: format!("{command:?}"),
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let error = find("no-such-program-anywhere").unwrap_err().to_string();
        assert!(error.contains("no-such-program-anywhere"), "{error}");
        assert!(error.contains("apt-get install"), "{error}");
    }

    #[test]
    fn a_failing_tool_says_what_it_said() {
        let error = run("sh", ["-c", "echo broken >&2; exit 3"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("broken") && error.contains('3'), "{error}");
    }
}
