//! /init in real machines: it starts the system, grows the state, and says why when it cannot.
//!
//! These need a built image (`just image`) and QEMU, so they are ignored unless asked for: `-- --include-ignored`.
//! One virtual machine each, without network, gone when its test ends.
#![allow(clippy::unwrap_used)]

mod common;

use common::{built, repository, run};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest a boot may take on a slow and busy machine without KVM.
const BOOT_DEADLINE: Duration = Duration::from_secs(240);
/// Said by systemd when the machine takes logins.
const UP: &str = "Started sshd.service";

struct Machine {
    qemu: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Machine {
    fn start(disk: &Path, further_words: &str) -> Self {
        let words = fs::read_to_string(built("cmdline")).unwrap();
        let words = format!(
            "{} console=ttyS0 systemd.show_status=1 {further_words}",
            words.trim().replace("quiet", "")
        );
        Self::qemu(disk, |qemu| {
            qemu.arg("-kernel")
                .arg(built("vmlinuz"))
                .arg("-initrd")
                .arg(built("initramfs"))
                .args(["-append", &words]);
        })
    }

    fn qemu(disk: &Path, boot: impl FnOnce(&mut Command)) -> Self {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-M",
            "q35,sata=off",
            "-accel",
            "tcg",
            "-m",
            "1024",
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args([
            "-serial",
            "stdio",
            "-device",
            "virtio-rng-pci",
            "-device",
            "virtio-blk-pci,drive=disk",
        ])
        .arg("-drive")
        .arg(format!(
            "file={},if=none,id=disk,format=raw,cache=unsafe",
            disk.display()
        ));
        boot(&mut qemu);
        let mut qemu = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-system-x86_64; apt-get install qemu-system-x86");
        let (send, lines) = mpsc::channel();
        let out = BufReader::new(qemu.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.split(b'\n').map_while(Result::ok) {
                let _ = send.send(plain(&String::from_utf8_lossy(&line)));
            }
        });
        Self {
            qemu,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that holds `text`.
    fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + BOOT_DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(why) => panic!(
                    "{why} waiting for {text:?} on the console:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// Waits until the machine has switched itself off.
    fn wait_for_end(&mut self) {
        while let Ok(line) = self.lines.recv_timeout(BOOT_DEADLINE) {
            self.seen.push(line);
        }
        assert!(self.qemu.wait().unwrap().success());
    }
}

/// A console line without colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.trim_end();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text += before;
        let code = after.strip_prefix('[').unwrap_or(after);
        rest = code
            .find(|c: char| c.is_ascii_alphabetic())
            .map_or("", |end| &code[end + 1..]);
    }
    text + rest
}

/// A copy of the disk of our own, in a folder that goes with the test.
fn disk_copy() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in(repository().join("out")).unwrap();
    let disk = folder.path().join("disk.raw");
    run(
        "cp",
        &[
            "--sparse=always",
            built("corten.raw").to_str().unwrap(),
            disk.to_str().unwrap(),
        ],
    );
    (folder, disk)
}

/// Byte offset and length of a partition of the disk, by its number.
fn partition(disk: &Path, number: u64) -> (u64, u64) {
    let mut entry = [0; 128];
    File::open(disk)
        .unwrap()
        .read_exact_at(&mut entry, 1024 + (number - 1) * 128)
        .unwrap();
    let number_at = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
    (number_at(32) * 512, (number_at(40) + 1 - number_at(32)) * 512)
}

fn resize(disk: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(disk).unwrap();
    file.set_len(bytes).unwrap();
}

fn flip(disk: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(disk).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
#[ignore = "boots a machine"]
fn the_state_grows_with_its_disk_and_stays() {
    let (_folder, disk) = disk_copy();
    resize(&disk, 6 << 30);
    let mut first = Machine::start(&disk, "");
    first.wait_for("partition 6 (state) now has");
    first.wait_for("file system grown from 256 to");
    first.wait_for("first boot: this machine is");
    first.wait_for(UP);
    drop(first);
    let mut second = Machine::start(&disk, "");
    second.wait_for(UP);
    let again = [
        "file system grown",
        "now has",
        "first boot",
        "Starting sshd-keygen",
    ];
    let told = second
        .seen
        .iter()
        .find(|line| again.iter().any(|text| line.contains(text)));
    assert_eq!(told, None, "the second boot did again what only the first should");
}

#[test]
#[ignore = "boots a machine"]
fn a_missing_state_is_made_anew() {
    let (_folder, disk) = disk_copy();
    let file = OpenOptions::new().write(true).open(&disk).unwrap();
    let (at, _) = partition(&disk, 6);
    file.write_all_at(&vec![0; 1 << 20], at).unwrap();
    let mut machine = Machine::start(&disk, "");
    machine.wait_for("/usr/sbin/mke2fs");
    machine.wait_for(UP);
}

#[test]
#[ignore = "boots a machine"]
fn a_changed_usr_does_not_boot_and_says_why() {
    for offset in [1024, 0] {
        let (_folder, disk) = disk_copy();
        let (at, length) = partition(&disk, 2);
        match offset {
            0 => (0..length / 65536).for_each(|n| flip(&disk, at + n * 65536 + 8192)),
            one => flip(&disk, at + one),
        }
        let mut machine = Machine::start(&disk, "");
        let line = machine.wait_for("this machine does not boot");
        assert!(
            line.contains("/usr on /dev/vda2 (usr-a) does not verify against corten.usrhash="),
            "{line}"
        );
        machine.wait_for_end();
        assert!(!machine.seen.iter().any(|line| line.contains("systemd[1]")));
    }
}

#[test]
#[ignore = "boots a machine"]
fn changed_hashes_do_not_boot_either() {
    let (_folder, disk) = disk_copy();
    let (at, _) = partition(&disk, 3);
    flip(&disk, at + 4096);
    let mut machine = Machine::start(&disk, "");
    assert!(
        machine
            .wait_for("this machine does not boot")
            .contains("does not verify")
    );
    machine.wait_for_end();
}

#[test]
#[ignore = "boots a machine"]
fn a_disk_too_small_is_named_with_both_sizes() {
    let (_folder, disk) = disk_copy();
    resize(&disk, 1 << 30);
    let mut machine = Machine::start(&disk, "");
    let line = machine.wait_for("this machine does not boot");
    assert!(
        line.contains("the disk has 1024 MiB, but its partitions need"),
        "{line}"
    );
    machine.wait_for_end();
}

#[test]
#[ignore = "boots a machine"]
fn another_kernels_disk_is_not_taken() {
    let (_folder, disk) = disk_copy();
    let words = format!("corten.usrhash={} corten.timeout=1", "ab".repeat(32));
    let mut machine = Machine::start(&disk, &words);
    let line = machine.wait_for("this machine does not boot");
    assert!(
        line.contains("no disk with the /usr partition abababab") && line.contains("vda (another"),
        "{line}"
    );
    machine.wait_for_end();
}
