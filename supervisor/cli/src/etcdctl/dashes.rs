//! Go's flag package takes `-recursive` for `--recursive`, and the scripts of ten years say it so. clap takes it for seven
//! short options, so the missing dash is put there before clap reads the line.
//!
//! The danger: a word that only looks like an option. What stands behind `--`, is the value of an option, or belongs to the
//! program that `exec-watch` runs stays as it is.

use std::ffi::OsString;

use clap::{Arg, Command};

/// The line with two dashes where one was meant as two.
pub(super) fn doubled(command: &Command, line: Vec<OsString>) -> Vec<OsString> {
    let mut at = command;
    let (mut is_value, mut is_over) = (false, false);
    let mut first = true;
    line.into_iter()
        .map(|word| {
            let Some(text) = word.to_str() else {
                return word;
            };
            if std::mem::take(&mut first) || is_over || std::mem::take(&mut is_value) {
                return word;
            }
            if text == "--" {
                is_over = true;
                return word;
            }
            let Some(name) = text.strip_prefix('-').filter(|name| !name.is_empty()) else {
                match at.find_subcommand(text) {
                    Some(below) => at = below,
                    // The first word of these is a key; a program is behind it.
                    None => is_over = at.get_arguments().any(Arg::is_trailing_var_arg_set),
                }
                return word;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, given) = name
                .split_once('=')
                .map_or((name, false), |(name, _)| (name, true));
            let Some(option) = find(at, command, name) else {
                return word;
            };
            is_value = !given && option.get_action().takes_values() && !option.is_require_equals_set();
            let is_short = name.chars().count() == 1;
            if text.starts_with("--") || is_short {
                return word;
            }
            let mut longer = OsString::from("-");
            longer.push(&word);
            longer
        })
        .collect()
}

/// An option of the command or of all commands, by its long name, or its short one.
fn find<'c>(command: &'c Command, all: &'c Command, name: &str) -> Option<&'c Arg> {
    let is_it = |option: &&Arg| {
        let mut letters = name.chars();
        let letter = letters.next().filter(|_| letters.next().is_none());
        let aliases = option.get_all_aliases().unwrap_or_default();
        let is_long = option.get_long() == Some(name) || aliases.contains(&name);
        is_long || (letter.is_some() && option.get_short() == letter)
    };
    command
        .get_arguments()
        .find(is_it)
        .or_else(|| all.get_arguments().find(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_becomes_two_where_an_option_was_meant() {
        for (line, read) in [
            ("set -ttl 5 k v", "set --ttl 5 k v"),
            ("set -ttl=5 k -- -ttl", "set --ttl=5 k -- -ttl"),
            (
                "-endpoints http://a get -quorum k",
                "--endpoints http://a get --quorum k",
            ),
            ("set --swap-with-value -ttl k v", "set --swap-with-value -ttl k v"),
            ("-o json ls -recursive -p", "-o json ls --recursive -p"),
            ("-o -debug ls", "-o -debug ls"),
            ("ls -rp", "ls -rp"),
            ("ls -nosuch", "ls -nosuch"),
            (
                "exec-watch -after-index 1 -recursive /k grep -recursive",
                "exec-watch --after-index 1 --recursive /k grep -recursive",
            ),
            ("role grant -path /x -rw r", "role grant --path /x --rw r"),
        ] {
            let words = |line: &str| -> Vec<OsString> {
                ["etcdctl"]
                    .into_iter()
                    .chain(line.split(' '))
                    .map(OsString::from)
                    .collect()
            };
            let command = super::super::arguments::command();
            assert_eq!(doubled(&command, words(line)), words(read));
        }
    }
}
