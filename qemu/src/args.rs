//! A machine's specification as QEMU's command line. Pure.
//!
//! QEMU runs in the machine's folder, so its sockets and logs are named relative to it (a socket's address is at most
//! 107 bytes). Disks that the guest flushes are flushed: after a power cut it finds what it was promised, no more.

use std::path::Path;

use crate::accel::Accel;
use crate::spec::{Boot, Disk, DiskFormat, GuestForward, Spec};

/// The console's file in the machine's folder.
pub const CONSOLE: &str = "console.log";
/// The second serial port's file in the machine's folder.
pub const SECOND_SERIAL: &str = "serial1.log";
/// The monitor's socket in the machine's folder.
pub const QMP_SOCKET: &str = "qmp.sock";

/// The socket in the machine's folder at which the switch serves a link.
pub fn link_socket(link: usize) -> String {
    format!("net{link}.sock")
}

/// QEMU's arguments for a machine.
pub fn command_line(spec: &Spec, accel: Accel) -> Vec<String> {
    let mut args = Args(Vec::new());
    args.all(&[
        "-name",
        &escaped(&spec.name),
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
    ]);
    args.all(&["-machine", "q35,smm=off,vmport=off,hpet=off"]);
    args.all(&accel.args());
    args.all(&[
        "-smp",
        &spec.cpus.to_string(),
        "-m",
        &format!("{}M", spec.memory_mib),
    ]);
    args.all(&["-rtc", "base=utc,clock=host"]);
    args.all(&[
        "-object",
        "rng-random,id=rng0,filename=/dev/urandom",
        "-device",
        "virtio-rng-pci,rng=rng0",
    ]);
    args.all(&["-qmp", &format!("unix:{QMP_SOCKET},server=on,wait=off")]);
    args.serial("serial0", CONSOLE);
    if spec.second_serial {
        args.serial("serial1", SECOND_SERIAL);
    }
    args.boot(&spec.boot);
    for (number, disk) in spec.disks.iter().enumerate() {
        args.disk(number, disk);
    }
    args.network(spec);
    for item in &spec.fw_cfg {
        args.all(&[
            "-fw_cfg",
            &format!("name={},file={}", item.name, path(&item.file)),
        ]);
    }
    args.0
}

struct Args(Vec<String>);

impl Args {
    fn all<S: AsRef<str>>(&mut self, words: &[S]) {
        self.0.extend(words.iter().map(|word| word.as_ref().to_owned()));
    }

    fn serial(&mut self, id: &str, file: &str) {
        self.all(&[
            "-chardev",
            &format!("file,id={id},path={file},append=on"),
            "-serial",
            &format!("chardev:{id}"),
        ]);
    }

    fn boot(&mut self, boot: &Boot) {
        match boot {
            Boot::Kernel {
                kernel,
                initrd,
                cmdline,
            } => {
                let (kernel, initrd) = (kernel.display().to_string(), initrd.display().to_string());
                self.all(&["-kernel", &kernel, "-initrd", &initrd, "-append", cmdline]);
            }
            Boot::Firmware { code, vars } => {
                let unit = |number, file: &Path, more| {
                    format!("if=pflash,unit={number},format=raw,file={}{more}", path(file))
                };
                self.all(&[
                    "-drive",
                    &unit(0, code, ",readonly=on"),
                    "-drive",
                    &unit(1, vars, ""),
                ]);
            }
            Boot::Rom { file } => self.all(&["-bios", &file.display().to_string()]),
        }
    }

    fn disk(&mut self, number: usize, disk: &Disk) {
        let format = match disk.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        };
        let read_only = if disk.read_only { "on" } else { "off" };
        let drive = format!(
            "if=none,id=disk{number},format={format},read-only={read_only},discard=unmap,file={}",
            path(&disk.path)
        );
        self.all(&[
            "-drive",
            &drive,
            "-device",
            &format!("virtio-blk-pci,drive=disk{number},bootindex={}", number + 1),
        ]);
    }

    fn network(&mut self, spec: &Spec) {
        for (number, link) in spec.links.iter().enumerate() {
            let socket = link_socket(number);
            let netdev = format!("stream,id=net{number},server=off,addr.type=unix,addr.path={socket}");
            self.all(&["-netdev", &netdev, "-device", &card(number, &link.mac)]);
        }
        if let Some(user) = &spec.user_net {
            let number = spec.links.len();
            let mut netdev = format!(
                "user,id=net{number},restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{}-:22",
                user.ssh_port
            );
            for forward in &user.forwards {
                netdev += &format!(",guestfwd={}", guest_forward(forward));
            }
            self.all(&["-netdev", &netdev, "-device", &card(number, &user.mac)]);
        }
    }
}

/// A card without a boot ROM: nothing here boots from the network.
fn card(number: usize, mac: &str) -> String {
    format!("virtio-net-pci,netdev=net{number},mac={mac},romfile=")
}

/// The user network splits the command as a shell would (g_shell_parse_argv), so each word is quoted.
fn guest_forward(forward: &GuestForward) -> String {
    let words: Vec<String> = forward
        .command
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    escaped(&format!("tcp:{}-cmd:{}", forward.guest, words.join(" ")))
}

fn path(path: &Path) -> String {
    escaped(&path.display().to_string())
}

/// A comma separates options; a double one is a comma.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::spec::{FwCfg, Link, UserNet};

    fn spec() -> Spec {
        Spec {
            name: "node1".into(),
            cpus: 2,
            memory_mib: 512,
            boot: Boot::Kernel {
                kernel: "/k".into(),
                initrd: "/i".into(),
                cmdline: "quiet a,b".into(),
            },
            disks: vec![Disk {
                path: "/d,1".into(),
                format: DiskFormat::Qcow2,
                read_only: false,
            }],
            links: vec![Link {
                mac: "52:54:00:00:00:01".into(),
            }],
            user_net: Some(UserNet {
                mac: "52:54:00:00:00:02".into(),
                ssh_port: 2201,
                forwards: vec![GuestForward {
                    guest: "10.0.2.100:5000".into(),
                    command: vec!["/opt/it's here/prog".into(), "forward".into()],
                }],
            }),
            fw_cfg: vec![FwCfg {
                name: "opt/org.example/data".into(),
                file: "/f".into(),
            }],
            second_serial: true,
            accel: None,
        }
    }

    fn has(args: &[String], option: &str, value: &str) -> bool {
        args.windows(2)
            .any(|pair| pair[0] == option && pair[1].contains(value))
    }

    #[test]
    fn every_part_is_on_the_command_line() {
        let args = command_line(&spec(), Accel::Tcg);
        for (option, value) in [
            ("-smp", "2"),
            ("-m", "512M"),
            ("-append", "quiet a,b"),
            ("-drive", "format=qcow2,read-only=off,discard=unmap,file=/d,,1"),
            (
                "-netdev",
                "stream,id=net0,server=off,addr.type=unix,addr.path=net0.sock",
            ),
            (
                "-netdev",
                "user,id=net1,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:2201-:22",
            ),
            (
                "-netdev",
                r"guestfwd=tcp:10.0.2.100:5000-cmd:'/opt/it'\''s here/prog' 'forward'",
            ),
            (
                "-device",
                "virtio-net-pci,netdev=net1,mac=52:54:00:00:00:02,romfile=",
            ),
            ("-fw_cfg", "name=opt/org.example/data,file=/f"),
            ("-chardev", "file,id=serial0,path=console.log,append=on"),
            ("-serial", "chardev:serial1"),
        ] {
            assert!(has(&args, option, value), "{option} {value} in {args:?}");
        }
    }

    #[test]
    fn firmware_gets_its_variables() {
        let mut spec = spec();
        spec.boot = Boot::Firmware {
            code: "/code".into(),
            vars: "/vars".into(),
        };
        let args = command_line(&spec, Accel::Kvm);
        assert!(has(
            &args,
            "-drive",
            "if=pflash,unit=0,format=raw,file=/code,readonly=on"
        ));
        assert!(has(&args, "-drive", "if=pflash,unit=1,format=raw,file=/vars"));
        assert!(!args.contains(&"-kernel".to_owned()));
        assert!(has(&args, "-accel", "kvm"));
    }
}
