//! The static `/init` of Corten's initramfs.
//!
//! Duty: from the kernel's first process to systemd, in the order of this file: kernel file systems, modules, the disk
//! that holds our /usr, dm-verity over it, the state partition (made or grown) as the root, /etc as an overlay,
//! `switch_root`.
//!
//! Refuses: everything else. It reads no configuration but the kernel command line, and it never starts a /usr that
//! does not verify against `corten.usrhash=`.
//!
//! Danger: it is process 1; when it returns the kernel panics. So every error ends in one printed reason and an
//! ordered stop ([`stop`]).

mod bytes;
mod cmdline;
mod disk;
mod gpt;
mod kmsg;
mod modules;
mod root;
mod state;
mod stop;
mod sys;
mod usr;
mod verity;

use cmdline::{Mode, Settings};
use modules::Modules;
use std::fs;
use std::time::Instant;

/// Why the machine does not boot. Each says what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("{0}")]
    Settings(#[from] cmdline::CmdlineError),
    #[error("{0}")]
    Disk(#[from] disk::DiskError),
    #[error("{0}")]
    Usr(#[from] usr::UsrError),
    #[error("{0}")]
    State(#[from] state::StateError),
    #[error("{0}")]
    Root(#[from] root::RootError),
}

fn main() {
    let started = Instant::now();
    root::mount_kernel_filesystems();
    let text = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let settings = Settings::parse(&text);
    if matches!(
        settings,
        Ok(Settings {
            mode: Mode::PowerOff,
            ..
        })
    ) {
        stop::power_off();
    }
    let on_fail = cmdline::on_fail(&text);
    let Err(error) = settings.map_err(BootError::from).and_then(|s| boot(&s, started));
    kmsg::error(&format!("this machine does not boot: {error}"));
    stop::after_failure(on_fail);
}

/// Brings the system up to the point where systemd takes over; returns only with the reason why it could not.
fn boot(settings: &Settings, started: Instant) -> Result<std::convert::Infallible, BootError> {
    let mut modules = Modules::load_always();
    let mut disk = disk::wait_for(settings, &mut modules)?;
    modules::note_time("disk", started);
    let usr = usr::open(settings, &disk)?;
    modules::note_time("verity", started);
    let state = state::prepare(&mut disk)?;
    root::assemble(&usr, &state)?;
    usr::seal(&usr)?;
    modules::note_time("root", started);
    kmsg::info(&format!(
        "{} is up after {} ms in /init",
        settings.usr_hash_text(),
        started.elapsed().as_millis()
    ));
    Ok(root::switch()?)
}
