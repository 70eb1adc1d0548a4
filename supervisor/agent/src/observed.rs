//! What is observed of one unit on this machine.

use corten_spec::unit_name::{UnitKind, UnitName};
use corten_spec::x_fleet::Requirements;

/// A unit file of ours on this machine, and what we did with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// [`corten_spec::unit_file::UnitFile::hash`] of its content.
    pub hash: String,
    /// What it asks of its neighbours.
    pub requirements: Requirements,
    /// It has an [Install] section, for which systemd may have made links.
    pub has_install: bool,
    /// We asked systemd to start it and not to stop it since: true from `Start` to `Stop` or `Remove`, whatever came of
    /// the start. The shell keeps this beside the file, so that it outlives the supervisor and ends with the boot.
    pub launched: bool,
    /// Why that start came to nothing, in systemd's words; empty if it did not. Kept like `launched`.
    pub start_error: String,
}

/// A unit that is to be on this machine, and could not be loaded: the disk or systemd refused its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLoaded {
    /// Of the content that it was to have.
    pub hash: String,
    /// In the words of who refused it.
    pub why: String,
}

impl NotLoaded {
    /// As what is on the disk would be reported.
    pub(crate) fn as_on_disk(&self) -> OnDisk {
        OnDisk {
            hash: self.hash.clone(),
            start_error: self.why.clone(),
            ..OnDisk::default()
        }
    }
}

/// What the disk and systemd say of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Our file, if we put one there.
    pub on_disk: Option<OnDisk>,
    /// systemd's LoadState, empty if unknown.
    pub load: String,
    /// systemd's ActiveState, empty if unknown.
    pub active: String,
    /// systemd's SubState, empty if unknown.
    pub sub: String,
}

impl Observed {
    /// Has systemd been asked for it, and found no file?
    pub(crate) fn is_unheard_of(&self) -> bool {
        self.load == "not-found"
    }

    /// Does it run, or is it on its way up or down?
    pub fn is_busy(&self) -> bool {
        !matches!(self.active.as_str(), "" | "inactive" | "failed")
    }

    /// Does it run, and can that be ended? Devices come and go with the hardware only.
    pub(crate) fn can_end(&self, name: &UnitName) -> bool {
        self.is_busy() && name.kind() != UnitKind::Device
    }

    /// Must it be stopped, and have stopped, before its file may go? So must one that was started and is not seen to run: it
    /// may be about to.
    pub(crate) fn must_stop(&self, name: &UnitName) -> bool {
        let was_started = self.on_disk.as_ref().is_some_and(|on_disk| on_disk.launched);
        (self.is_busy() || was_started) && name.kind() != UnitKind::Device
    }
}
