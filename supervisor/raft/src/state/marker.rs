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

use std::io;
use std::path::Path;

use crate::disk;
use crate::world::World;

const CLEAN: &str = "clean";

/// Whether the state beside the marker `path` is whole.
pub(super) fn is_trusted(world: &World, path: &Path) -> bool {
    let Ok(bytes) = world.disk.read(path) else {
        return false;
    };
    let text = String::from_utf8_lossy(&bytes);
    text.trim() == CLEAN || world.boot_id().is_some_and(|id| id == text.trim())
}

/// Says, durably and before the first change, that the state is being written under this boot.
pub(super) fn mark_in_use(world: &World, path: &Path) -> io::Result<()> {
    write(
        world,
        path,
        &world.boot_id().unwrap_or_else(|| "unknown".to_owned()),
    )
}

/// Says, durably, that the state is synced and closed.
pub(super) fn mark_clean(world: &World, path: &Path) -> io::Result<()> {
    write(world, path, CLEAN)
}

fn write(world: &World, path: &Path, text: &str) -> io::Result<()> {
    disk::write_whole(&*world.disk, path, format!("{text}\n").as_bytes()).map(drop)
}
