//! Picks the program by the name it is called under: `fleetctl`, `etcdctl`, `docker`, `etcd`, `etcdutl`, or `corten` with a word.
//!
//! Starts no runtime and no thread before the program is picked: docker's launcher forks.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use corten_cli::{docker, etcdctl, fleetctl, terminal};
use corten_daemon::{cloud_config, etcd_program, run};

const USAGE: &str = "usage: corten WORD [ARGUMENT...]

  corten supervisor                        run this machine's supervisor (systemd does: corten.service)
  corten cloud-init apply|commands         apply this machine's cloud-config
  corten cloud-init validate FILE          say what is wrong with a cloud-config
  corten etcd [FLAG...]                    run the store alone, with etcd's flags; also found under that name
  corten etcdutl snapshot restore|status   make a data directory from a snapshot, or look into it; also a name
  corten fleetctl|etcdctl|docker ...       the clients, also found under these names
  corten version
";

/// Programs that outlive whoever reads their output.
const SERVING: [&str; 2] = ["supervisor", "etcd"];

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let name = args.first().map_or(OsStr::new("corten"), |arg| {
        Path::new(arg).file_name().unwrap_or(arg)
    });
    let serves = |word: &OsStr| SERVING.iter().any(|serving| word == *serving);
    if !serves(name) && !args.get(1).is_some_and(|word| serves(word)) {
        terminal::end_with_the_reader();
    }
    if let Some(program) = named(name) {
        return program(args);
    }
    let word = args.get(1).cloned().unwrap_or_default();
    if let Some(program) = named(&word) {
        args.remove(0);
        return program(args);
    }
    match word.to_str() {
        Some("supervisor") => run::main(&args[2..]),
        Some("cloud-init") => cloud_config::main(args.split_off(2)),
        Some("version" | "--version" | "-V") => {
            println!("corten {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some("") => {
            eprint!("corten: say what to do\n\n{USAGE}");
            ExitCode::from(2)
        }
        _ => {
            eprint!("corten: {} is nothing it can do\n\n{USAGE}", word.display());
            ExitCode::from(2)
        }
    }
}

/// A whole program; `args[0]` is the name it was called under.
type Program = fn(Vec<OsString>) -> ExitCode;

fn named(name: &OsStr) -> Option<Program> {
    match name.to_str()? {
        "fleetctl" => Some(fleetctl::main),
        "etcdctl" => Some(etcdctl::main),
        "docker" => Some(docker::main),
        "etcd" => Some(etcd_program::main),
        "etcdutl" => Some(etcd_program::backup::main),
        _ => None,
    }
}
