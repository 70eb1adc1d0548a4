//! The config drive: a block device whose volume is labelled `config-2` (in either case), with FAT or ISO 9660 on it.
//!
//! The volume is read by this program itself, never mounted: no kernel module is loaded, nothing is left to unmount,
//! and what a stranger wrote on it is parsed by code that cannot corrupt the kernel. Other volumes are only asked for
//! their label.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use corten_spec::cloud_config::encoding::UNPACKED_MAX;
use fatfs::{FileSystem, FsOptions};
use nix::libc::{O_CLOEXEC, O_NONBLOCK};

use super::iso9660::Iso9660;

/// What a config drive holds of what we look for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drive {
    /// `/dev/…`
    pub device: String,
    /// `openstack/latest/user_data`
    pub user_data: Option<Vec<u8>>,
    /// `openstack/latest/meta_data.json`
    pub meta_data: Option<Vec<u8>>,
    /// `openstack/latest/network_data.json`
    pub network_data: Option<Vec<u8>>,
}

const LABEL: &str = "config-2";

/// Devices that cannot be a config drive, by the beginning of their names: made by the machine itself.
const OTHERS: [&str; 6] = ["loop", "ram", "zram", "dm-", "md", "nbd"];

/// A volume that can give out files.
enum Volume {
    Fat(Box<FileSystem<File>>),
    Iso(Iso9660<File>),
}

/// The first config drive, by the devices' names.
///
/// # Errors
/// A volume with the label that cannot be read.
pub fn find(class: &Path, dev: &Path) -> Result<Option<Drive>, String> {
    let Ok(entries) = fs::read_dir(class) else {
        return Ok(None);
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.retain(|name| !OTHERS.iter().any(|other| name.starts_with(other)));
    names.sort();
    for name in names {
        let path = dev.join(&name);
        let device = format!("/dev/{name}");
        let unreadable = |e: io::Error| format!("{device}: the volume {LABEL} cannot be read: {e}");
        let volume = match open(&path) {
            Ok(Some(volume)) => volume,
            Err(e) if claims_label(&path) => return Err(unreadable(e)),
            // An empty drive or one that went away is no config drive.
            Ok(None) | Err(_) => continue,
        };
        let drive = read(volume).map_err(unreadable)?;
        return Ok(Some(Drive { device, ..drive }));
    }
    Ok(None)
}

/// The volume on a device, if it is labelled as ours.
fn open(path: &Path) -> io::Result<Option<Volume>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(O_CLOEXEC | O_NONBLOCK)
        .open(path)?;
    let mut head = [0; 512];
    file.read_exact(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    if is_fat(&head) {
        let volume = FileSystem::new(file, FsOptions::new())?;
        let inside = volume.read_volume_label_from_root_dir()?;
        let ours = is_label(&volume.volume_label()) || inside.is_some_and(|label| is_label(&label));
        return Ok(ours.then(|| Volume::Fat(Box::new(volume))));
    }
    let volume = Iso9660::open(file)?;
    Ok(volume.filter(|volume| is_label(volume.label())).map(Volume::Iso))
}

/// A boot sector's end mark, and the words mkfs.fat(8) and its kin write where the kind of FAT stands.
fn is_fat(head: &[u8; 512]) -> bool {
    head[510..] == [0x55, 0xaa] && (head[54..].starts_with(b"FAT") || head[82..].starts_with(b"FAT"))
}

/// Does the label stand where FAT12 and 16, FAT32 or ISO 9660 have it, whatever else is wrong with the volume?
fn claims_label(path: &Path) -> bool {
    const PLACES: [u64; 3] = [43, 71, 16 * 2048 + 40];
    let Ok(mut file) = OpenOptions::new()
        .read(true)
        .custom_flags(O_CLOEXEC | O_NONBLOCK)
        .open(path)
    else {
        return false;
    };
    PLACES.iter().any(|place| {
        let mut label = [0; 11];
        let read = file
            .seek(SeekFrom::Start(*place))
            .and_then(|_| file.read_exact(&mut label));
        read.is_ok() && std::str::from_utf8(&label).is_ok_and(is_label)
    })
}

fn is_label(label: &str) -> bool {
    label.trim_end().eq_ignore_ascii_case(LABEL)
}

fn read(mut volume: Volume) -> io::Result<Drive> {
    let mut file = |name: &str| volume.read(&["openstack", "latest", name]);
    Ok(Drive {
        device: String::new(),
        user_data: file("user_data")?,
        meta_data: file("meta_data.json")?,
        network_data: file("network_data.json")?,
    })
}

impl Volume {
    /// A file's bytes; `None` where there is no such file.
    fn read(&mut self, path: &[&str]) -> io::Result<Option<Vec<u8>>> {
        match self {
            Volume::Iso(iso) => iso.read(path, UNPACKED_MAX),
            Volume::Fat(fat) => {
                let mut bytes = Vec::new();
                match fat.root_dir().open_file(&path.join("/")) {
                    Ok(file) => file.take(UNPACKED_MAX + 1).read_to_end(&mut bytes)?,
                    Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                    Err(e) => return Err(e),
                };
                match bytes.len() as u64 > UNPACKED_MAX {
                    true => Err(io::Error::other(format!("{} is too large", path.join("/")))),
                    false => Ok(Some(bytes)),
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use fatfs::FormatVolumeOptions;
    use std::io::Write;

    /// A machine with devices of these names and contents.
    fn machine(devices: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in devices {
            for folder in ["class", "dev"] {
                fs::create_dir_all(root.path().join(folder)).unwrap();
                fs::write(root.path().join(folder).join(name), content).unwrap();
            }
        }
        root
    }

    fn fat(label: &[u8; 11], files: &[(&str, &str)]) -> Vec<u8> {
        let mut disk = io::Cursor::new(vec![0; 1 << 20]);
        fatfs::format_volume(&mut disk, FormatVolumeOptions::new().volume_label(*label)).unwrap();
        let volume = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
        let folder = volume
            .root_dir()
            .create_dir("openstack")
            .unwrap()
            .create_dir("latest")
            .unwrap();
        for (name, content) in files {
            folder
                .create_file(name)
                .unwrap()
                .write_all(content.as_bytes())
                .unwrap();
        }
        drop(folder);
        volume.unmount().unwrap();
        disk.into_inner()
    }

    fn found(root: &tempfile::TempDir) -> Result<Option<Drive>, String> {
        find(&root.path().join("class"), &root.path().join("dev"))
    }

    #[test]
    fn reads_fat_by_its_label() {
        let ours = fat(
            b"config-2   ",
            &[("user_data", "#cloud-config\n"), ("meta_data.json", "{}")],
        );
        let other = fat(b"EFI-SYSTEM ", &[("user_data", "no")]);
        let root = machine(&[
            ("loop0", &ours),
            ("vda", &[0; 1024]),
            ("vda1", &other),
            ("vdb", &ours),
            ("vdc", b"short"),
        ]);
        let drive = found(&root).unwrap().unwrap();
        assert_eq!(drive.device, "/dev/vdb");
        assert_eq!(drive.user_data.as_deref(), Some(&b"#cloud-config\n"[..]));
        assert_eq!(drive.meta_data.as_deref(), Some(&b"{}"[..]));
        assert_eq!(drive.network_data, None);
    }

    #[test]
    fn upper_case_labels_count() {
        let root = machine(&[("sda", &fat(b"CONFIG-2   ", &[]))]);
        assert_eq!(found(&root).unwrap().unwrap().user_data, None);
    }

    #[test]
    fn nothing_is_nothing() {
        let root = machine(&[("vda", &[0x55; 40960])]);
        assert_eq!(found(&root), Ok(None));
        assert_eq!(
            find(Path::new("/nonexistent"), Path::new("/nonexistent")),
            Ok(None)
        );
    }

    #[test]
    fn a_damaged_volume_of_ours_is_told() {
        let mut damaged = fat(b"config-2   ", &[("user_data", "x")]);
        damaged[11] = 7; // bytes per sector
        let said = found(&machine(&[("vdb", &damaged)])).unwrap_err();
        assert!(
            said.starts_with("/dev/vdb: the volume config-2 cannot be read: "),
            "{said}"
        );
        let mut other = fat(b"DATA       ", &[]);
        other[11] = 7;
        assert_eq!(found(&machine(&[("vdb", &other)])), Ok(None));
    }

    #[test]
    fn a_torn_volume_is_no_panic() {
        let whole = fat(b"config-2   ", &[("user_data", &"x".repeat(5000))]);
        for length in [512, 1024, 2048, 4096, 8192, 65536] {
            let mut torn = whole[..length].to_vec();
            torn.resize(1 << 20, 0xff);
            let root = machine(&[("vdb", &torn)]);
            let _ = found(&root);
        }
    }
}
