//! The unit commands of a pass: left in a file by the pass, run one after the other by a service nobody waits for.
//!
//! Each is waited for before the next, as coreos-cloudinit does, but for the supervisor's own units. The difference: it
//! ran them inside the boot's own transaction, where a unit ordered after it stopped the machine for good; here the
//! boot goes on meanwhile. One that fails is an error in the journal and in the service's status, and the next is run.

use std::fs;
use std::io;
use std::path::Path;

use corten_spec::cloud_config::plan::Command;

use super::files::{Wanted, below, replace};
use super::say::Say;
use super::system::Manager;

fn path(pass: &str) -> String {
    format!("/run/corten/cloud-init/commands-{pass}.json")
}

/// Leaves `commands` for [`run`].
///
/// # Errors
/// The file cannot be written.
pub fn leave(root: &Path, pass: &str, commands: &[Command]) -> io::Result<()> {
    let content = serde_json::to_vec(commands).map_err(io::Error::other)?;
    let wanted = Wanted {
        content: &content,
        mode: 0o600,
        owner: None,
    };
    replace(&below(root, &path(pass)), wanted).map(|_| ())
}

/// Runs what the pass has left behind, once; false if any of it failed.
pub fn run(say: &Say, pass: &str, manager: &mut impl Manager) -> bool {
    run_below(Path::new("/"), say, pass, manager)
}

fn run_below(root: &Path, say: &Say, pass: &str, manager: &mut impl Manager) -> bool {
    let file = below(root, &path(pass));
    let commands: Vec<Command> =
        match fs::read(&file).and_then(|b| serde_json::from_slice(&b).map_err(io::Error::other)) {
            Ok(commands) => commands,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                say.info(format!("no unit commands of pass {pass:?}"));
                return true;
            }
            Err(e) => {
                say.error(format!("{}: {e}", file.display()));
                return false;
            }
        };
    // Away before they run, so that a restart of the service does not run them twice.
    let _ = fs::remove_file(&file);
    let mut good = true;
    for Command {
        origin,
        verb,
        unit,
        wait,
    } in commands
    {
        let block: &[&str] = if wait { &[] } else { &["--no-block"] };
        match manager.systemctl(&[block, &[&verb, "--", &unit]].concat()) {
            Ok(()) => say.info(format!("{origin}: {verb} {unit}: done")),
            Err(why) => {
                say.error(format!("{origin}: {verb} {unit}: {why}"));
                good = false;
            }
        }
    }
    good
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::Recorder;
    use super::*;

    #[test]
    fn runs_each_once_and_goes_on_after_a_failure() {
        let root = tempfile::tempdir().unwrap();
        let command = |unit: &str| Command {
            origin: "url line 3".into(),
            verb: "start".into(),
            unit: unit.into(),
            wait: unit != "good.service",
        };
        leave(
            root.path(),
            "boot",
            &[command("bad.service"), command("good.service")],
        )
        .unwrap();
        let (say, mut manager) = (Say::to_list(), Recorder::refusing("bad.service"));
        assert!(!run_below(root.path(), &say, "boot", &mut manager));
        assert_eq!(
            manager.asked(),
            ["start -- bad.service", "--no-block start -- good.service"]
        );
        assert!(
            say.said()
                .contains("error: url line 3: start bad.service: refused"),
            "{}",
            say.said()
        );
        assert!(
            run_below(root.path(), &say, "boot", &mut manager),
            "the second time there is nothing to do"
        );
        assert_eq!(manager.asked().len(), 2);
    }
}
