//! Whether the state on disk may be trusted: a file with the boot id under which it was written.
//!
//! The state is committed without syncs, because the log already is on disk: a second sync per write would double the
//! cost of each. What that risks:
//!
//! * the process dies: nothing. What it wrote is in the kernel's page cache and whole.
//! * the machine dies: pages may be on disk in any mixture. The boot id has changed then, the state is thrown away unread
//!   and made anew from the latest snapshot (which is synced) and the log (which is purged only up to that snapshot).
//!
//! A clean shutdown syncs the state and says so, so that an orderly reboot rebuilds nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

const CLEAN: &str = "clean";

/// The running kernel's boot id; `None` where the kernel tells none.
fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Whether the state beside the marker `path` is whole.
pub(super) fn is_trusted(path: &Path) -> bool {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim() == CLEAN || boot_id().is_some_and(|id| id == text.trim()),
        Err(_) => false,
    }
}

/// Says, durably and before the first change, that the state is being written under this boot.
pub(super) fn mark_in_use(path: &Path) -> io::Result<()> {
    write(path, &boot_id().unwrap_or_else(|| "unknown".to_owned()))
}

/// Says, durably, that the state is synced and closed.
pub(super) fn mark_clean(path: &Path) -> io::Result<()> {
    write(path, CLEAN)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), crate::log::sync_dir)
}
