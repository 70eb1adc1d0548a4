//! The command line as Go's flag package reads it, to variables: `-x v`, `--x v`, `--x=v`, switches with `=` only.
//!
//! clap does the work; one dash before a long name is made two first. What is refused is refused in Go's words, with exit
//! code 2, because scripts that start etcd look for them.

use std::ffi::OsString;

use clap::builder::styling::Styles;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use super::table::{FLAGS, Flag, Kind};
use crate::settings::fragments::{Fragments, Given};
use crate::settings::url::Url;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// The help, printed already made.
    Help(String),
    /// The version.
    Version,
    /// To run, with these variables and perhaps a configuration file.
    Run {
        /// By variable.
        given: Fragments,
        /// `--config-file`.
        config_file: Option<String>,
    },
}

/// Why the command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// In Go's words; the exit code is 2.
    #[error("{0}")]
    Usage(String),
    /// A word that is no flag; the exit code is 1.
    #[error("error verifying flags, '{0}' is not a valid flag. See 'etcd --help'.")]
    Extra(String),
}

const AFTER: &str = "Every flag may be given with one dash or two, and has a variable: --data-dir is ETCD_DATA_DIR. A flag \
beats its variable. With --config-file nothing else is read: keys are the flags' names, those of TLS stand below \
client-transport-security and peer-transport-security.

A cluster of one:
  etcd --data-dir /var/lib/etcd

The first of three, reached at 10.0.0.1:
  etcd --name n1 --initial-cluster n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380 \\
    --listen-peer-urls http://10.0.0.1:2380 --initial-advertise-peer-urls http://10.0.0.1:2380 \\
    --listen-client-urls http://10.0.0.1:2379,http://127.0.0.1:2379 --advertise-client-urls http://10.0.0.1:2379";

/// Reads the arguments behind the program's name.
///
/// # Errors
/// See [`FlagError`].
pub fn read(args: &[OsString]) -> Result<Asked, FlagError> {
    let found = command().try_get_matches_from(two_dashes(args));
    let found = match found {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Asked::Help(error.to_string())),
        Err(error) => return Err(refusal(&error)),
    };
    if found.get_flag("version") {
        return Ok(Asked::Version);
    }
    if let Some(extra) = found.get_many::<String>("extra").and_then(|mut all| all.next()) {
        return Err(FlagError::Extra(extra.clone()));
    }
    let mut given = Fragments::new();
    for flag in FLAGS {
        let Some(value) = found.get_one::<String>(flag.name) else {
            continue;
        };
        check(flag, value)?;
        // As in a variable, nothing is what is not given.
        if !value.is_empty() {
            let source = format!("--{}", flag.name);
            let value = value.clone();
            given.insert(flag.variable(), Given { value, source });
        }
    }
    Ok(Asked::Run {
        given,
        config_file: found.get_one::<String>("config-file").cloned(),
    })
}

fn command() -> Command {
    let mut command = Command::new("etcd")
        .no_binary_name(true)
        .styles(Styles::plain())
        .about("Runs a member of the store: etcd's v2 and v3 interfaces over one replicated log.")
        .override_usage(
            "etcd [flags]\n       etcd --version\n       etcd --help\n       etcd --config-file FILE",
        )
        .after_help(AFTER)
        .args_override_self(true)
        .disable_version_flag(true)
        .arg(Arg::new("extra").num_args(0..).hide(true))
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::SetTrue)
                .help("Print the version"),
        )
        .arg(text("config-file").value_name("FILE").help(
            "A YAML file with everything; flags and variables are then not read [env: ETCD_CONFIG_FILE]",
        ));
    for flag in FLAGS {
        command = command.arg(argument(flag));
    }
    command
}

fn text(name: &'static str) -> Arg {
    Arg::new(name).long(name).allow_hyphen_values(true).num_args(1)
}

fn argument(flag: &'static Flag) -> Arg {
    let help = match flag.default {
        "" => flag.help.to_owned(),
        default => format!("{} [default: {default}]", flag.help),
    };
    let argument = text(flag.name).help_heading(flag.section).help(help);
    match flag.kind {
        Kind::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL"),
        Kind::Number | Kind::Signed => argument.value_name("N"),
        Kind::Urls => argument.value_name("URLS"),
        Kind::Choice(_) | Kind::Text => argument.value_name("VALUE"),
    }
}

/// Go takes one dash for two; clap would take it for short flags. What follows a flag that wants a value is that value.
fn two_dashes(arguments: &[OsString]) -> Vec<OsString> {
    let mut is_value = false;
    let one = |argument: &OsString| {
        let text = argument.to_string_lossy();
        let name = text
            .strip_prefix("--")
            .or(text.strip_prefix('-'))
            .unwrap_or_default();
        let named = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if std::mem::take(&mut is_value) || !named || name == "h" {
            return argument.clone();
        }
        let wants = |flag: &Flag| flag.name == name && flag.kind != Kind::Switch;
        is_value = name == "config-file" || FLAGS.iter().any(wants);
        OsString::from(format!("--{name}"))
    };
    arguments.iter().map(one).collect()
}

fn check(flag: &Flag, value: &str) -> Result<(), FlagError> {
    let invalid =
        |why: &str| FlagError::Usage(format!("invalid value {value:?} for flag -{}: {why}", flag.name));
    match flag.kind {
        Kind::Text => Ok(()),
        Kind::Switch => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE" | "False" => {
                Ok(())
            }
            _ => Err(FlagError::Usage(format!(
                "invalid boolean value {value:?} for -{}: parse error",
                flag.name
            ))),
        },
        Kind::Number => value
            .parse::<u64>()
            .map(|_| ())
            .map_err(|_| invalid("parse error")),
        Kind::Signed => value
            .parse::<i64>()
            .map(|_| ())
            .map_err(|_| invalid("parse error")),
        Kind::Urls => Url::parse_list(value)
            .map(|_| ())
            .map_err(|why| invalid(&why.to_string())),
        Kind::Choice(all) if all.contains(&value) => Ok(()),
        Kind::Choice(_) => Err(invalid("invalid value")),
    }
}

/// clap's error in Go's words.
fn refusal(error: &clap::Error) -> FlagError {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let name = named
        .trim_start_matches('-')
        .split(['=', ' '])
        .next()
        .unwrap_or_default();
    let words = match error.kind() {
        ErrorKind::UnknownArgument => format!("flag provided but not defined: -{name}"),
        _ => format!("flag needs an argument: -{name}"),
    };
    FlagError::Usage(words)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::settings::variables::KNOWN;

    fn asked(line: &str) -> Result<Asked, FlagError> {
        read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn given(line: &str) -> Vec<(String, String)> {
        match asked(line).unwrap() {
            Asked::Run { given, .. } => given
                .into_iter()
                .map(|(name, given)| (name, given.value))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_dash_two_dashes_and_equals_are_the_same() {
        for line in [
            "-name a -heartbeat-interval=50",
            "--name a --heartbeat-interval 50",
            "--name=b -name=a -heartbeat-interval 50",
        ] {
            let expected = [("ETCD_HEARTBEAT_INTERVAL", "50"), ("ETCD_NAME", "a")];
            assert_eq!(
                given(line),
                expected.map(|(n, v)| (n.to_owned(), v.to_owned())),
                "{line}"
            );
        }
        assert_eq!(
            given("--client-cert-auth --name -x"),
            [
                ("ETCD_CLIENT_CERT_AUTH".to_owned(), "true".to_owned()),
                ("ETCD_NAME".to_owned(), "-x".to_owned())
            ]
        );
        assert_eq!(given("--auto-tls=false")[0].1, "false");
    }

    #[test]
    fn refusals_are_gos() {
        for (line, expected) in [
            ("--nosuch", "flag provided but not defined: -nosuch"),
            ("-nosuch=1", "flag provided but not defined: -nosuch"),
            ("--name", "flag needs an argument: -name"),
            (
                "--heartbeat-interval x",
                "invalid value \"x\" for flag -heartbeat-interval: parse error",
            ),
            (
                "--enable-v2=maybe",
                "invalid boolean value \"maybe\" for -enable-v2: parse error",
            ),
            (
                "--initial-cluster-state foo",
                "invalid value \"foo\" for flag -initial-cluster-state: invalid value",
            ),
            (
                "--proxy maybe",
                "invalid value \"maybe\" for flag -proxy: invalid value",
            ),
        ] {
            assert_eq!(asked(line), Err(FlagError::Usage(expected.to_owned())), "{line}");
        }
        assert_eq!(asked("extra"), Err(FlagError::Extra("extra".to_owned())));
        assert!(
            matches!(asked("--listen-client-urls foo"), Err(FlagError::Usage(why)) if why.contains("scheme must be http"))
        );
        assert_eq!(asked("-version"), Ok(Asked::Version));
        assert!(matches!(asked("-h"), Ok(Asked::Help(help)) if help.contains("--initial-cluster-state")));
    }

    #[test]
    fn every_flag_is_a_known_variable_and_every_variable_a_flag() {
        let flags: Vec<String> = FLAGS.iter().map(Flag::variable).collect();
        for (name, _) in KNOWN.iter().filter(|(name, _)| name.starts_with("ETCD_")) {
            assert!(
                *name == "ETCD_CONFIG_FILE" || flags.contains(&(*name).to_owned()),
                "{name} is no flag"
            );
        }
        for variable in flags {
            assert!(
                KNOWN.iter().any(|(name, _)| *name == variable),
                "{variable} is not known"
            );
        }
    }
}
