//! `corten cloud-init`: finds this machine's user-data and carries out what `corten_spec::cloud_config` decides about it.
//!
//! ```text
//! apply                 at every boot, before sysinit.target: what is on this machine (files, fw_cfg, config drive)
//! apply --late SOURCE   once the network is up (url), or when a drive shows up after all (config-drive)
//! commands [PASS]       the unit commands a pass has left behind, one after the other
//! validate FILE         the validation report; exit status 1 if there is anything to say
//! ```
//! Every error goes to the journal with file, line and reason, costs what it names and nothing else, and makes the exit
//! status 1; no unit requires these services, so the machine boots on.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use corten_spec::cloud_config::{cmdline, encoding};

mod accounts;
mod commands;
mod drive;
mod facts;
mod fetch;
mod files;
mod iso9660;
mod options;
mod pass;
mod say;
mod sources;
mod steps;
mod system;

use pass::Pass;
use say::Say;
use system::Systemd;

const USAGE: &str = "usage: corten cloud-init apply [--late url|config-drive]\n       \
                     corten cloud-init commands [PASS]\n       corten cloud-init validate FILE";

/// What `cloud_config_url` starts.
const URL_UNIT: &str = "corten-cloudinit-url.service";

/// Runs the program; `args` are those after `cloud-init`.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let words: Vec<&str> = args
        .iter()
        .map(|arg| arg.to_str().unwrap_or("\u{fffd}"))
        .collect();
    let say = Say::for_this_process();
    let good = match words.as_slice() {
        ["apply"] => apply(&say),
        ["apply", "--late", "url"] => apply_late(&say, "url"),
        ["apply", "--late", "config-drive"] => apply_late(&say, "config-drive"),
        ["commands"] => commands::run(&say, "boot", &mut Systemd),
        ["commands", pass] => commands::run(&say, pass, &mut Systemd),
        ["validate", _] => return validate(Path::new(&args[1])),
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            true
        }
        _ => {
            eprintln!("corten cloud-init: {words:?} is not understood\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The pass of early boot.
fn apply(say: &Say) -> bool {
    let root = Path::new("/");
    let (sources, found) = sources::local(root, say);
    let mut pass = Pass::new(root, "boot", say, Systemd);
    let mut good = found;
    for source in sources {
        good &= pass.source(&source);
    }
    good &= pass.finish();
    let line = cmdline::parse(&files::text(Path::new("/proc/cmdline")));
    if line.valueless {
        say.warning("kernel command line: cloud-config-url= has no value and is passed over");
    }
    if line.url.is_some() {
        // Nobody waits for the network who does not need it: the unit is started only here. Jobs that come after it
        // (corten.service) are still waiting for sysinit.target, so its ordering holds for them.
        good &= pass.start(URL_UNIT);
    }
    good
}

/// A pass for a source that was not there in early boot.
fn apply_late(say: &Say, name: &str) -> bool {
    let root = Path::new("/");
    let found = match name {
        "url" => sources::from_command_line(say),
        _ => sources::from_late_drive(root, say),
    };
    let Some(source) = found else { return false };
    let mut pass = Pass::new(root, name, say, Systemd).late();
    let good = pass.source(&source);
    pass.finish() && good
}

/// Prints the report on a file.
fn validate(file: &Path) -> ExitCode {
    let text = std::fs::read(file)
        .map_err(|e| e.to_string())
        .and_then(|bytes| encoding::unpacked(bytes).map_err(|e| e.to_string()))
        .and_then(|bytes| String::from_utf8(bytes).map_err(|e| format!("not UTF-8: {e}")));
    match text {
        Ok(text) => {
            let report = options::report(&text);
            print!("{report}");
            if report.entries.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            eprintln!("corten cloud-init: cannot read {}: {why}", file.display());
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
#[path = "cloud_config/tests.rs"]
mod tests;
