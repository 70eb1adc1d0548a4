//! Where user-data comes from, in the order it is applied; what comes later wins where two say the same.
//!
//! ```text
//! oem             /usr/share/oem/cloud-config.yml
//! install         /var/lib/coreos-install/user_data
//! config-drive    a volume labelled config-2: openstack/latest/{user_data,meta_data.json,network_data.json}
//! fw_cfg          QEMU's opt/org.corten/user_data, where there is no config drive
//! url             cloud-config-url= on the kernel command line; needs the network, so it comes in a pass of its own
//! ```
//! Finds and reads; understands nothing of what it reads.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use corten_spec::cloud_config::cmdline;

use super::drive;
use super::fetch;
use super::files::{below, text};
use super::say::Say;

/// What a source has to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// One of the names above.
    pub name: &'static str,
    /// File, device or URL of the user-data, for messages.
    pub place: String,
    /// The user-data, as it came.
    pub user_data: Option<Vec<u8>>,
    /// `meta_data.json`
    pub meta_data: Option<String>,
    /// `network_data.json`
    pub network_data: Option<String>,
}

const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.corten/user_data/raw";

/// Holds the name of the device a config drive was read from in this boot.
pub const DRIVE_SEEN: &str = "/run/corten/cloud-init/config-drive";

/// Everything that is on this machine; the flag is false where something is there and cannot be read.
pub fn local(root: &Path, say: &Say) -> (Vec<Source>, bool) {
    let mut out = Vec::new();
    let mut good = true;
    let mut keep = |found: Result<Option<Source>, String>| match found {
        Ok(Some(source)) => {
            out.push(source);
            true
        }
        Ok(None) => false,
        Err(why) => {
            say.error(why);
            good = false;
            true
        }
    };
    keep(from_file(root, "oem", "/usr/share/oem/cloud-config.yml"));
    keep(from_file(root, "install", "/var/lib/coreos-install/user_data"));
    if !keep(from_drive(root)) {
        keep(from_file(root, "fw_cfg", FW_CFG));
    }
    if out.is_empty() {
        say.info("no user-data on this machine");
    }
    (out, good)
}

/// The config drive, if udev has found it after early boot had passed; `None`, with a word, where it cannot be read.
pub fn from_late_drive(root: &Path, say: &Say) -> Option<Source> {
    match from_drive(root) {
        Ok(Some(source)) => Some(source),
        Ok(None) => {
            say.error("no volume labelled config-2 is to be found");
            None
        }
        Err(why) => {
            say.error(why);
            None
        }
    }
}

/// What the kernel command line points to; `None`, with a word, where it cannot be had.
pub fn from_command_line(say: &Say) -> Option<Source> {
    let Some(url) = cmdline::parse(&text(Path::new("/proc/cmdline"))).url else {
        say.error("the kernel command line has no cloud-config-url=");
        return None;
    };
    match fetch::fetch(&url, say) {
        Ok(bytes) => Some(Source {
            name: "url",
            place: url,
            user_data: Some(bytes),
            ..Source::default()
        }),
        Err(why) => {
            say.error(format!("{url}: {why}"));
            None
        }
    }
}

fn from_file(root: &Path, name: &'static str, path: &str) -> Result<Option<Source>, String> {
    match fs::read(below(root, path)) {
        Ok(bytes) => {
            let place = path.to_owned();
            Ok(Some(Source {
                name,
                place,
                user_data: Some(bytes),
                ..Source::default()
            }))
        }
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(format!("{path}: {e}")),
    }
}

fn from_drive(root: &Path) -> Result<Option<Source>, String> {
    let Some(found) = drive::find(&below(root, "/sys/class/block"), &below(root, "/dev"))? else {
        return Ok(None);
    };
    let seen = below(root, DRIVE_SEEN);
    if let Some(folder) = seen.parent() {
        let made = fs::create_dir_all(folder).and_then(|()| fs::write(&seen, &found.device));
        made.map_err(|e| format!("{DRIVE_SEEN}: {e}"))?;
    }
    let as_text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Some(Source {
        name: "config-drive",
        place: format!("{}:openstack/latest/user_data", found.device),
        user_data: found.user_data,
        meta_data: found.meta_data.map(as_text),
        network_data: found.network_data.map(as_text),
    }))
}
