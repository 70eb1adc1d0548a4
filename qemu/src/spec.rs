//! What a machine is made of: plain values, to be written down and read again by a later command.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::accel::Accel;

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its name: a plain word, as it also names its folder.
    pub name: String,
    /// Virtual processors.
    pub cpus: u8,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// How it comes up.
    pub boot: Boot,
    /// Its disks, in order (`/dev/vda`, `/dev/vdb`, ...).
    pub disks: Vec<Disk>,
    /// Its cards on the switch, in order; each meets the switch at `net<n>.sock` in the machine's folder.
    pub links: Vec<Link>,
    /// A card on QEMU's own user network, for SSH from the host; it comes after `links`.
    pub user_net: Option<UserNet>,
    /// Items of QEMU's firmware configuration device.
    pub fw_cfg: Vec<FwCfg>,
    /// Whether it has a second serial port, kept in `serial1.log`.
    pub second_serial: bool,
    /// The accelerator; `None` takes the best one that works.
    pub accel: Option<Accel>,
}

/// How a machine comes up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boot {
    /// QEMU loads a Linux kernel directly.
    Kernel {
        /// The kernel image.
        kernel: PathBuf,
        /// The initramfs.
        initrd: PathBuf,
        /// The kernel's command line.
        cmdline: String,
    },
    /// UEFI firmware boots from the first disk.
    Firmware {
        /// The firmware's code, shared and read-only (`OVMF_CODE_4M.fd`).
        code: PathBuf,
        /// This machine's own copy of the variable store.
        vars: PathBuf,
    },
    /// The processor starts in a ROM of our own ([`crate::rom`]).
    Rom {
        /// The ROM, 64 KiB.
        file: PathBuf,
    },
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it lies.
    pub path: PathBuf,
    /// How it is stored.
    pub format: DiskFormat,
    /// Whether the machine can only read it.
    pub read_only: bool,
}

/// How a disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

/// A network card on the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its address, `52:54:00:xx:xx:xx`.
    pub mac: String,
}

/// A network card on QEMU's user network: closed to the outside, with one way in and named ways out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNet {
    /// Its address.
    pub mac: String,
    /// The port on the host's 127.0.0.1 that leads to the machine's port 22; 0 takes a free one and keeps it.
    pub ssh_port: u16,
    /// Services of the host that the machine reaches.
    pub forwards: Vec<GuestForward>,
}

/// One service of the host, reached by the machine at a fixed address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestForward {
    /// Address and port as the machine sees it, in the user network (10.0.2.0/24), for example `10.0.2.100:5000`.
    pub guest: String,
    /// The program that serves one connection on its standard input and output, and its arguments; see
    /// [`crate::forward`].
    pub command: Vec<String>,
}

/// An item of the firmware configuration device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwCfg {
    /// Its name; QEMU wants `opt/` and a domain for items of one's own.
    pub name: String,
    /// The file that holds it.
    pub file: PathBuf,
}
