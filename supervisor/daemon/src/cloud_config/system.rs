//! systemd's ear: systemctl(1), which reaches the manager over its private socket before D-Bus is up.
//!
//! A trait, so that everything else can be tried in a folder without a systemd.

use std::process::Command;

/// What is asked of systemd.
pub trait Manager {
    /// systemctl with these arguments; waits for it.
    ///
    /// # Errors
    /// What it printed, or why it could not be run.
    fn systemctl(&mut self, arguments: &[&str]) -> Result<(), String>;

    /// The kernel's idea of this machine's name.
    ///
    /// # Errors
    /// The kernel's.
    fn set_hostname(&mut self, name: &str) -> Result<(), String>;
}

/// The systemd of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Systemd;

impl Manager for Systemd {
    fn systemctl(&mut self, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new("systemctl").args(arguments).output();
        let output = output.map_err(|e| format!("cannot run systemctl: {e}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said
            .trim()
            .lines()
            .next()
            .unwrap_or("it gave no reason")
            .to_owned();
        Err(format!("{said} ({})", output.status))
    }

    fn set_hostname(&mut self, name: &str) -> Result<(), String> {
        nix::unistd::sethostname(name).map_err(|e| e.to_string())
    }
}
