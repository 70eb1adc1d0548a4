//! The accelerator: KVM where it really works, emulation (TCG) elsewhere.
//!
//! A device node that opens proves nothing: inside some virtual machines it opens, runs real-mode code and then cannot
//! boot a kernel. So three things must hold: the processor has the extension, the node opens, and a tiny machine runs.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{rom, tool, wait_until};

/// What runs a machine's processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accel {
    /// The host's processor.
    Kvm,
    /// QEMU's emulation.
    Tcg,
}

impl Accel {
    /// The best one that works here; tried once per process.
    pub fn best() -> Accel {
        static BEST: OnceLock<Accel> = OnceLock::new();
        *BEST.get_or_init(|| {
            if why_no_kvm().is_none() {
                Accel::Kvm
            } else {
                Accel::Tcg
            }
        })
    }

    /// QEMU's options for it.
    pub fn args(self) -> [&'static str; 4] {
        match self {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // One thread per virtual processor; the widest processor the emulation knows, but with four levels of page
            // tables instead of five: walking them is what emulation is slow at (a boot takes a fifth less).
            Accel::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,-la57"],
        }
    }
}

/// Why KVM is not used here, or `None` if it works.
pub fn why_no_kvm() -> Option<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !has_extension(&cpuinfo) {
        return Some("the processor offers neither vmx nor svm".to_owned());
    }
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return Some(format!("/dev/kvm: {error}"));
    }
    trial().err()
}

/// Whether a processor has what KVM needs, by the flags of /proc/cpuinfo.
fn has_extension(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| {
            line.split_ascii_whitespace()
                .any(|flag| flag == "vmx" || flag == "svm")
        })
}

/// Runs a machine under KVM that does nothing but end.
fn trial() -> Result<(), String> {
    let file = std::env::temp_dir().join(format!("kvm-trial-{}.rom", std::process::id()));
    let text = |error: std::io::Error| error.to_string();
    // Made anew, or not at all: in a folder that all may write to, a link could lie under this name.
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .map_err(text)?;
    new.write_all(&rom::exit(16)).map_err(text)?;
    drop(new);
    let result = run_trial(&file);
    std::fs::remove_file(&file).map_err(text)?;
    result
}

fn run_trial(rom: &std::path::Path) -> Result<(), String> {
    let qemu = tool::find("qemu-system-x86_64").map_err(|error| error.to_string())?;
    let mut child = std::process::Command::new(qemu)
        .args([
            "-machine",
            "q35",
            "-nodefaults",
            "-display",
            "none",
            "-m",
            "16M",
            "-bios",
        ])
        .arg(rom)
        .args(Accel::Kvm.args())
        .args([
            "-device",
            &format!("isa-debug-exit,iobase={:#x},iosize=1", rom::EXIT_PORT),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let ended = wait_until("the trial machine to end", Duration::from_secs(10), || {
        child
            .try_wait()
            .map_err(|error| error.to_string())?
            .ok_or_else(|| "it runs".to_owned())
    });
    match ended {
        Ok(status) if status.code() == Some(33) => Ok(()),
        Ok(status) => Err(format!("a trial machine under KVM ended with {status}")),
        Err(error) => {
            child
                .kill()
                .and_then(|()| child.wait())
                .map_err(|error| error.to_string())?;
            Err(error.to_string())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_whole_words() {
        assert!(has_extension("processor : 0\nflags\t\t: fpu svm sse\n"));
        assert!(has_extension("flags : vmx"));
        assert!(!has_extension("flags : fpu svm_lock vmxx\nbugs : vmx"));
    }
}
