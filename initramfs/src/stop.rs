//! The ends of a machine that does not go on to systemd.
//!
//! Danger: none of these return; what is unwritten is synced first.

use crate::cmdline::OnFail;
use crate::kmsg;
use nix::sys::reboot::{RebootMode, reboot};
use std::thread;
use std::time::Duration;

/// Time for a person to read the reason before the screen goes dark.
const READ_PAUSE: Duration = Duration::from_secs(3);

/// Switches the machine off at once.
pub fn power_off() -> ! {
    end(RebootMode::RB_POWER_OFF)
}

/// After the reason is printed: power off, restart, or stand still.
pub fn after_failure(how: OnFail) -> ! {
    match how {
        OnFail::Halt => kmsg::error("halted (corten.onfail=halt)"),
        OnFail::PowerOff => kmsg::error("powering off (corten.onfail=reboot or halt would do otherwise)"),
        OnFail::Reboot => kmsg::error("restarting (corten.onfail=reboot)"),
    }
    thread::sleep(READ_PAUSE);
    end(match how {
        OnFail::PowerOff => RebootMode::RB_POWER_OFF,
        OnFail::Reboot => RebootMode::RB_AUTOBOOT,
        OnFail::Halt => RebootMode::RB_HALT_SYSTEM,
    })
}

fn end(mode: RebootMode) -> ! {
    nix::unistd::sync();
    let _ = reboot(mode);
    loop {
        thread::park();
    }
}
