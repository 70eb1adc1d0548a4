//! The command line's grammar, by clap's builder, with what Go's flag packages do differently put on top.
//!
//! Duty: every command and its options; `docker container x` and `docker image x` as `docker x`; flag errors in Docker's
//! words and with its status 125. Pure but for `explain`, which prints.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, Command};

use super::options;

/// Brings management commands (`docker container ls`) into the form of the plain ones (`docker ps`).
pub(super) fn normalize(mut args: Vec<OsString>) -> Vec<OsString> {
    if let Some(name) = args.first_mut() {
        *name = "docker".into();
    }
    let word = |index: usize| args.get(index).and_then(|arg| arg.to_str()).unwrap_or_default();
    let plain = match (word(1), word(2)) {
        ("container", "ls" | "list" | "ps") => "ps",
        ("container", "remove") => "rm",
        ("image", "ls" | "list") => "images",
        ("image", "rm" | "remove") => "rmi",
        ("image", verb @ ("pull" | "load" | "tag" | "inspect" | "build")) => verb,
        ("container", verb) if !verb.is_empty() && !verb.starts_with('-') => verb,
        ("system", "info") => "info",
        _ => return args,
    };
    let plain = OsString::from(plain);
    args.splice(1..3, [plain]);
    args
}

/// A switch that also takes `=true` and `=false`.
pub(super) fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(clap::builder::BoolishValueParser::new())
        .hide_default_value(true)
        .hide_possible_values(true)
        .overrides_with(name);
    short.into_iter().fold(arg, Arg::short)
}

/// An option with one value; the last one given counts.
pub(super) fn value(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .help(help)
        .allow_hyphen_values(true)
        .overrides_with(name);
    short.into_iter().fold(arg, Arg::short)
}

/// An option that may be given several times.
pub(super) fn list(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Append)
        .allow_hyphen_values(true);
    short.into_iter().fold(arg, Arg::short)
}

fn names(what: &'static str) -> Arg {
    Arg::new("names").value_name(what).num_args(1..).required(true)
}

fn name(what: &'static str) -> Arg {
    Arg::new("name").value_name(what).required(true)
}

/// The whole grammar.
pub(super) fn command() -> Command {
    let sub =
        |name: &'static str, about: &'static str| Command::new(name).about(about).disable_version_flag(true);
    let format = || value("format", Some('f'), "Go template, 'json' or 'table TEMPLATE'");
    Command::new("docker")
        .about("Containers on this machine, as Docker's command line has them")
        // Clap prints the two with a space between them.
        .display_name("Docker")
        .version(concat!("version ", env!("CARGO_PKG_VERSION")))
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .short('v')
                .help("Print version information and quit")
                .action(ArgAction::Version),
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .arg(Arg::new("root").long("root").value_name("DIR").hide(true))
        .arg(Arg::new("run-root").long("run-root").value_name("DIR").hide(true))
        .arg(value("host", Some('H'), "Ignored: there is no daemon").hide(true))
        .arg(value("log-level", Some('l'), "Ignored").hide(true))
        .arg(switch("debug", Some('D'), "Ignored").hide(true))
        .subcommands([
            options::with_container_options(sub("run", "Create and run a new container from an image")),
            options::with_container_options(sub("create", "Create a new container")),
            sub("exec", "Execute a command in a running container")
                .arg(switch("detach", Some('d'), "Do not wait for the command"))
                .arg(list("env", Some('e'), "Set an environment variable"))
                .arg(list("env-file", None, "Read environment variables from a file"))
                .arg(switch("interactive", Some('i'), "Keep standard input open"))
                .arg(switch("privileged", None, "Give all privileges to the command"))
                .arg(switch("tty", Some('t'), "Give it a terminal"))
                .arg(value("user", Some('u'), "user[:group]"))
                .arg(value("workdir", Some('w'), "Working directory"))
                .arg(
                    Arg::new("args")
                        .value_name("CONTAINER COMMAND [ARG...]")
                        .num_args(1..)
                        .trailing_var_arg(true)
                        .required(true),
                ),
            sub("ps", "List containers")
                .arg(switch("all", Some('a'), "Also those that do not run"))
                .arg(list(
                    "filter",
                    Some('f'),
                    "name=, id=, status=, label=, ancestor=, exited=, publish=",
                ))
                .arg(value("format", None, "Go template, 'json' or 'table TEMPLATE'"))
                .arg(
                    value("last", Some('n'), "Only so many last created ones")
                        .value_parser(clap::value_parser!(i64)),
                )
                .arg(switch("latest", Some('l'), "Only the last created one"))
                .arg(switch("no-trunc", None, "Do not shorten"))
                .arg(switch("quiet", Some('q'), "Only ids"))
                .arg(switch("size", Some('s'), "Ignored")),
            sub("rm", "Remove containers")
                .arg(switch("force", Some('f'), "Kill a running one first"))
                .arg(switch("volumes", Some('v'), "With its anonymous volumes"))
                .arg(switch("link", Some('l'), "Ignored").hide(true))
                .arg(names("CONTAINER")),
            sub("stop", "Stop running containers")
                .arg(
                    value("time", Some('t'), "Seconds before it is killed")
                        .visible_alias("timeout")
                        .value_parser(clap::value_parser!(i64)),
                )
                .arg(value("signal", Some('s'), "Signal to send"))
                .arg(names("CONTAINER")),
            sub("restart", "Restart containers")
                .arg(
                    value("time", Some('t'), "Seconds before it is killed")
                        .visible_alias("timeout")
                        .value_parser(clap::value_parser!(i64)),
                )
                .arg(value("signal", Some('s'), "Signal to send"))
                .arg(names("CONTAINER")),
            sub("start", "Start stopped containers")
                .arg(switch("attach", Some('a'), "Stay with it"))
                .arg(switch("interactive", Some('i'), "Keep standard input open"))
                .arg(names("CONTAINER")),
            sub("kill", "Kill running containers")
                .arg(value("signal", Some('s'), "Signal to send"))
                .arg(names("CONTAINER")),
            sub("wait", "Wait for containers to end, and print their exit codes").arg(names("CONTAINER")),
            sub("rename", "Rename a container")
                .arg(name("CONTAINER"))
                .arg(Arg::new("new").value_name("NEW_NAME").required(true)),
            sub("logs", "Show what a container has written")
                .arg(switch("follow", Some('f'), "Go on with what comes"))
                .arg(value("since", None, "From a time (RFC 3339, seconds, or 10m)"))
                .arg(value("until", None, "Up to a time"))
                .arg(value("tail", Some('n'), "Only so many last lines").default_value("all"))
                .arg(switch("timestamps", Some('t'), "With times"))
                .arg(switch("details", None, "Ignored"))
                .arg(name("CONTAINER")),
            sub("attach", "Follow what a container writes")
                .arg(switch("no-stdin", None, "Ignored"))
                .arg(switch("sig-proxy", None, "Ignored"))
                .arg(name("CONTAINER")),
            sub("inspect", "Everything known of containers and images, as JSON")
                .arg(format())
                .arg(value("type", None, "container or image"))
                .arg(switch("size", Some('s'), "Ignored"))
                .arg(names("NAME|ID")),
            sub("port", "List published ports")
                .arg(name("CONTAINER"))
                .arg(Arg::new("port").value_name("PRIVATE_PORT[/PROTO]")),
            sub("top", "Show a container's processes")
                .arg(name("CONTAINER"))
                .arg(
                    Arg::new("ps")
                        .value_name("ps OPTIONS")
                        .num_args(0..)
                        .trailing_var_arg(true)
                        .allow_hyphen_values(true),
                ),
            sub("pull", "Fetch an image from a registry")
                .arg(switch("quiet", Some('q'), "Only the name at the end"))
                .arg(switch("all-tags", Some('a'), "Not supported").hide(true))
                .arg(value("platform", None, "os/architecture[/variant]"))
                .arg(switch("disable-content-trust", None, "Ignored").hide(true))
                .arg(name("NAME[:TAG|@DIGEST]")),
            sub("images", "List images")
                .arg(switch(
                    "all",
                    Some('a'),
                    "Ignored: there are no intermediate ones",
                ))
                .arg(switch("digests", None, "With digests"))
                .arg(list("filter", Some('f'), "reference=, dangling=, label="))
                .arg(value("format", None, "Go template, 'json' or 'table TEMPLATE'"))
                .arg(switch("no-trunc", None, "Do not shorten"))
                .arg(switch("quiet", Some('q'), "Only ids"))
                .arg(Arg::new("name").value_name("REPOSITORY[:TAG]")),
            sub("rmi", "Remove images")
                .arg(switch(
                    "force",
                    Some('f'),
                    "Also when several names or containers use it",
                ))
                .arg(switch("no-prune", None, "Ignored").hide(true))
                .arg(names("IMAGE")),
            sub("tag", "Give an image another name")
                .arg(name("SOURCE_IMAGE[:TAG]"))
                .arg(Arg::new("new").value_name("TARGET_IMAGE[:TAG]").required(true)),
            sub(
                "load",
                "Load images from a tar archive (docker-archive or oci-archive)",
            )
            .arg(value("input", Some('i'), "File instead of standard input"))
            .arg(switch("quiet", Some('q'), "No progress")),
            sub("version", "Show the version").arg(format()),
            crate::shell::completion_command().disable_version_flag(true),
            sub("info", "Show what the engine holds").arg(format()),
            sub("build", "Not supported").hide(true).arg(
                Arg::new("any")
                    .num_args(0..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true),
            ),
            sub("cp", "Not supported yet").hide(true).arg(
                Arg::new("any")
                    .num_args(0..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true),
            ),
            sub("launch", "Start a created container here; used by docker itself")
                .hide(true)
                .arg(switch("unit", None, "This is the container's own unit"))
                .arg(switch("tidy", None, "Clean up after it has ended"))
                .arg(switch("hand-over", None, "Give the process to systemd"))
                .arg(name("CONTAINER")),
        ])
}

/// Prints clap's error in Docker's words and gives Docker's status: 125 for flags, 1 for missing or surplus arguments.
pub(super) fn explain(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let verb = args
        .iter()
        .skip(1)
        .filter_map(|arg| arg.to_str())
        .find(|arg| !arg.starts_with('-'))
        .unwrap_or_default();
    let see = if verb.is_empty() {
        "See 'docker --help'.".to_owned()
    } else {
        format!("See 'docker {verb} --help'.")
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            crate::terminal::answer(error);
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            crate::terminal::answer(error);
            return ExitCode::FAILURE;
        }
        ErrorKind::InvalidSubcommand => {
            eprintln!(
                "docker: '{}' is not a docker command.\nSee 'docker --help'",
                context(ContextKind::InvalidSubcommand)
            );
            return ExitCode::FAILURE;
        }
        ErrorKind::MissingRequiredArgument => {
            eprintln!("\"docker {verb}\" requires at least 1 argument.\n{see}");
            return ExitCode::FAILURE;
        }
        ErrorKind::UnknownArgument => {
            let given = context(ContextKind::InvalidArg);
            match given.strip_prefix("--") {
                Some(long) => eprintln!(
                    "unknown flag: --{}\n{see}",
                    long.split('=').next().unwrap_or(long)
                ),
                None if given.starts_with('-') => {
                    eprintln!(
                        "unknown shorthand flag: '{}' in {given}\n{see}",
                        given.trim_start_matches('-').chars().take(1).collect::<String>()
                    );
                }
                None => {
                    eprintln!("\"docker {verb}\" does not take the argument \"{given}\".\n{see}");
                    return ExitCode::FAILURE;
                }
            }
        }
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            let flag = context(ContextKind::InvalidArg);
            eprintln!(
                "flag needs an argument: {}\n{see}",
                flag.split(' ').next().unwrap_or(&flag)
            );
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let flag = context(ContextKind::InvalidArg);
            let flag = flag.split([' ', '=', '[']).next().unwrap_or(&flag);
            eprintln!(
                "invalid argument \"{}\" for \"{flag}\" flag\n{see}",
                context(ContextKind::InvalidValue)
            );
        }
        _ => {
            crate::terminal::answer(error);
        }
    }
    ExitCode::from(125)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> clap::ArgMatches {
        let args = std::iter::once("docker")
            .chain(line.split_whitespace())
            .map(OsString::from)
            .collect();
        command().try_get_matches_from(normalize(args)).unwrap()
    }

    #[test]
    fn the_grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_version_is_one_line_in_dockers_words() {
        for flag in ["-v", "--version"] {
            let shown = command().try_get_matches_from(["docker", flag]).unwrap_err();
            assert_eq!(shown.kind(), ErrorKind::DisplayVersion);
            assert_eq!(
                shown.to_string(),
                concat!("Docker version ", env!("CARGO_PKG_VERSION"), "\n")
            );
        }
        assert!(command().render_usage().to_string().contains("docker"));
    }

    #[test]
    fn flags_end_at_the_image_and_switches_take_values() {
        let matches = parse("run --rm=true -itd -p80:80 --name=x -e A=1 -e B img -c --rm -- x");
        let (_, run) = matches.subcommand().unwrap();
        for (flag, on) in [
            ("rm", true),
            ("interactive", true),
            ("tty", true),
            ("detach", true),
            ("privileged", false),
        ] {
            assert_eq!(run.get_one::<bool>(flag), Some(&on), "{flag}");
        }
        let all = |name: &str| run.get_many::<String>(name).unwrap().cloned().collect::<Vec<_>>();
        assert_eq!(all("args"), ["img", "-c", "--rm", "--", "x"]);
        assert_eq!(all("publish"), ["80:80"]);
        assert_eq!(all("env"), ["A=1", "B"]);
    }

    #[test]
    fn management_commands_are_the_plain_ones() {
        for (line, name) in [
            ("container ls -a", "ps"),
            ("image ls", "images"),
            ("container stop x", "stop"),
            ("image rm x", "rmi"),
        ] {
            assert_eq!(parse(line).subcommand_name(), Some(name), "{line}");
        }
    }
}
