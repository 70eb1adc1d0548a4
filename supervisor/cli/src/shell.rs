//! What a command line tells besides its help: completions for shells, manual pages. Both follow from clap's grammar.

use std::io;
use std::path::Path;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

/// The command `completion SHELL`.
pub(crate) fn completion_command() -> Command {
    Command::new("completion")
        .about("Print what makes a shell complete commands and options")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("The shell"),
        )
}

/// Runs it for the grammar `of` a program.
pub(crate) fn completion(mut of: Command, matches: &ArgMatches) -> String {
    let shell = *matches.get_one::<Shell>("shell").expect("clap asks for it");
    let name = of.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut of, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes `NAME.1` and `NAME-COMMAND.1` for each command into `folder`.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn man(of: Command, folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(of, folder)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn program() -> Command {
        Command::new("prog")
            .about("does things")
            .subcommand(
                Command::new("do")
                    .about("does one")
                    .arg(Arg::new("now").long("now")),
            )
            .subcommand(completion_command())
    }

    #[test]
    fn shells_learn_every_command() {
        for shell in ["bash", "zsh", "fish"] {
            let matches = program().get_matches_from(["prog", "completion", shell]);
            let script = completion(program(), matches.subcommand().unwrap().1);
            assert!(script.contains("prog") && script.contains("now"), "{script}");
        }
        assert!(
            program()
                .try_get_matches_from(["prog", "completion", "dos"])
                .is_err()
        );
    }

    #[test]
    fn each_command_has_its_page() {
        let folder = tempfile::tempdir().unwrap();
        man(program(), folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("prog-do.1")).unwrap();
        assert!(page.contains("does one") && page.contains("\\-\\-now"), "{page}");
        assert!(folder.path().join("prog.1").exists());
        assert!(man(program(), &folder.path().join("nowhere")).is_err());
    }
}
