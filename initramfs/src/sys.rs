//! The ioctls that nix has no safe wrapper for: device-mapper, partition sizes, ext4 growth.
//!
//! Duty: the only module of this crate with unsafe code. Every function takes an open file and owned bytes.
//!
//! Danger: layouts are the kernel's (`linux/dm-ioctl.h`, `linux/blkpg.h`, `fs/ext4/ext4.h`), for 64-bit Linux.
#![allow(unsafe_code)]

use crate::bytes::{put, u64_at};
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::os::fd::AsRawFd;

/// `sizeof(struct dm_ioctl)`.
const DM_HEADER_BYTES: usize = 312;
/// `sizeof(struct dm_target_spec)`.
const DM_TARGET_BYTES: usize = 40;
const DM_DEV_CREATE: u8 = 3;
const DM_DEV_SUSPEND: u8 = 6;
const DM_TABLE_LOAD: u8 = 9;
const DM_READONLY_FLAG: u32 = 1;
const BLKPG: libc::c_ulong = 0x1269;
const BLKPG_ADD_PARTITION: libc::c_int = 1;
const BLKPG_RESIZE_PARTITION: libc::c_int = 3;
const BLKGETSIZE64: libc::c_ulong = 0x8008_1272;
/// `_IOW('f', 16, __u64)`
const EXT4_IOC_RESIZE_FS: libc::c_ulong = 0x4008_6610;

/// Creates the device-mapper device `name`; returns its device number.
pub fn dm_create(control: &File, name: &str, uuid: &str) -> Result<u64, Errno> {
    let mut request = dm_header(name, DM_HEADER_BYTES, 0);
    put(&mut request, 176, &uuid.as_bytes()[..uuid.len().min(128)]);
    dm_call(control, DM_DEV_CREATE, &mut request)?;
    Ok(u64_at(&request, 40))
}

/// Loads a read-only table of one target; it becomes the device's at the next [`dm_resume`].
pub fn dm_load(
    control: &File,
    name: &str,
    sectors: u64,
    target: &str,
    parameters: &str,
) -> Result<(), Errno> {
    let total = (DM_HEADER_BYTES + DM_TARGET_BYTES + parameters.len() + 1).next_multiple_of(8);
    let mut request = dm_header(name, total, DM_READONLY_FLAG);
    put(&mut request, 20, &1u32.to_le_bytes());
    put(&mut request, DM_HEADER_BYTES + 8, &sectors.to_le_bytes());
    put(
        &mut request,
        DM_HEADER_BYTES + 20,
        &((total - DM_HEADER_BYTES) as u32).to_le_bytes(),
    );
    put(
        &mut request,
        DM_HEADER_BYTES + 24,
        &target.as_bytes()[..target.len().min(15)],
    );
    put(
        &mut request,
        DM_HEADER_BYTES + DM_TARGET_BYTES,
        parameters.as_bytes(),
    );
    dm_call(control, DM_TABLE_LOAD, &mut request)
}

/// Makes the loaded table the live one.
pub fn dm_resume(control: &File, name: &str) -> Result<(), Errno> {
    dm_call(control, DM_DEV_SUSPEND, &mut dm_header(name, DM_HEADER_BYTES, 0))
}

/// A `struct dm_ioctl` of version 4.0.0 with room for what follows it.
fn dm_header(name: &str, total: usize, flags: u32) -> Vec<u8> {
    let mut request = vec![0; total];
    put(&mut request, 0, &4u32.to_le_bytes());
    put(&mut request, 12, &(total as u32).to_le_bytes());
    put(&mut request, 16, &(DM_HEADER_BYTES as u32).to_le_bytes());
    put(&mut request, 28, &flags.to_le_bytes());
    put(&mut request, 48, &name.as_bytes()[..name.len().min(127)]);
    request
}

fn dm_call(control: &File, command: u8, request: &mut [u8]) -> Result<(), Errno> {
    // _IOWR(0xfd, command, struct dm_ioctl)
    let number =
        (3 << 30) | ((DM_HEADER_BYTES as libc::c_ulong) << 16) | (0xfd << 8) | libc::c_ulong::from(command);
    // SAFETY: `request` starts with a dm_ioctl whose data_size is the slice's length; the kernel reads and writes
    // nothing beyond data_size, and keeps no pointer after the call.
    Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), number, request.as_mut_ptr()) }).map(drop)
}

/// Bytes of a block device.
pub fn size_of_device(device: &File) -> Result<u64, Errno> {
    let mut bytes = 0u64;
    // SAFETY: BLKGETSIZE64 writes one u64 through the pointer, which lives for the call.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), BLKGETSIZE64, &raw mut bytes) })?;
    Ok(bytes)
}

/// Tells the kernel of a partition that is new on a disk in use.
pub fn add_partition(disk: &File, number: u32, start_bytes: u64, length_bytes: u64) -> Result<(), Errno> {
    blkpg(disk, BLKPG_ADD_PARTITION, number, start_bytes, length_bytes)
}

/// Tells the kernel the new end of a partition in use.
pub fn resize_partition(disk: &File, number: u32, start_bytes: u64, length_bytes: u64) -> Result<(), Errno> {
    blkpg(disk, BLKPG_RESIZE_PARTITION, number, start_bytes, length_bytes)
}

/// `struct blkpg_partition`
#[repr(C)]
struct BlkpgPartition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`
#[repr(C)]
struct BlkpgRequest {
    op: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    data: *mut BlkpgPartition,
}

fn blkpg(
    disk: &File,
    op: libc::c_int,
    number: u32,
    start_bytes: u64,
    length_bytes: u64,
) -> Result<(), Errno> {
    let mut partition = BlkpgPartition {
        start: start_bytes as libc::c_longlong,
        length: length_bytes as libc::c_longlong,
        number: number as libc::c_int,
        names: [0; 128],
    };
    let length = size_of::<BlkpgPartition>() as libc::c_int;
    let mut request = BlkpgRequest {
        op,
        flags: 0,
        length,
        data: &raw mut partition,
    };
    // SAFETY: the request and the partition it points to live for the call and have the kernel's layout; the kernel
    // only reads them.
    Errno::result(unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw mut request) }).map(drop)
}

/// Grows a mounted ext4 to `blocks` of its own block size; `root` is any open file in it.
pub fn ext4_resize(root: &File, blocks: u64) -> Result<(), Errno> {
    let mut blocks = blocks;
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64 through the pointer, which lives for the call.
    Errno::result(unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_RESIZE_FS, &raw mut blocks) }).map(drop)
}
