//! The unit file parser, with the habits of the one fleet used (go-systemd/unit), so that the same text gives the same
//! options and the same hash on both sides of the wire:
//!
//! - text before the first section is skipped; `#` and `;` begin a comment line, which a trailing `\` continues;
//! - a section header is `[name]`, alone on its line;
//! - an option is `name=value`; blanks around both are dropped;
//! - a line that ends in `\` continues the value, kept verbatim with its newline;
//! - a line of 2048 bytes or more is refused, because systemd used to cut it silently.
//!
//! Refuses to do: judge option names or values; that is systemd's.

use crate::unit_file::{UnitFile, UnitOption};

/// First length in bytes at which a line is too long, without its line break.
pub const LINE_MAX: usize = 2048;

/// Why a text is not a unit file. `line` counts from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitFileError {
    /// A line of [`LINE_MAX`] bytes or more; the text is fleet's.
    #[error("line too long (max {LINE_MAX} bytes)")]
    LineTooLong {
        /// Where.
        line: usize,
    },
    /// `[` without `]`.
    #[error("line {line}: unable to find end of section")]
    SectionEnd {
        /// Where.
        line: usize,
    },
    /// Text after `]`.
    #[error("line {line}: found garbage after section name {section}: {garbage}")]
    Garbage {
        /// Where.
        line: usize,
        /// The section's name.
        section: String,
        /// The text that does not belong there.
        garbage: String,
    },
    /// A line in a section that is neither option, comment nor header.
    #[error("line {line}: unexpected newline encountered while parsing option name (no \"=\" in {text:?})")]
    NoEquals {
        /// Where.
        line: usize,
        /// The line.
        text: String,
    },
}

impl UnitFileError {
    /// The line at fault, counted from 1.
    pub fn line(&self) -> usize {
        match self {
            UnitFileError::LineTooLong { line }
            | UnitFileError::SectionEnd { line }
            | UnitFileError::Garbage { line, .. }
            | UnitFileError::NoEquals { line, .. } => *line,
        }
    }
}

/// Parses the text of a unit file; see [`UnitFile::parse`].
pub(crate) fn parse(text: &str) -> Result<UnitFile, UnitFileError> {
    let options = parse_lines(text)?.into_iter().map(|(_, option)| option).collect();
    Ok(UnitFile { options })
}

/// The same, each option with the line it begins on, counted from 1.
pub(crate) fn parse_lines(text: &str) -> Result<Vec<(usize, UnitOption)>, UnitFileError> {
    let lines: Vec<&str> = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    if let Some(at) = lines.iter().position(|line| line.len() >= LINE_MAX) {
        return Err(UnitFileError::LineTooLong { line: at + 1 });
    }
    let mut options = Vec::new();
    let mut section: Option<String> = None;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_start();
        if line.is_empty() {
            at += 1;
        } else if line.starts_with(['#', ';']) {
            at = after_comment(&lines, at);
        } else if let Some(header) = line.strip_prefix('[') {
            section = Some(section_name(header, at + 1)?);
            at += 1;
        } else if let Some(section) = &section {
            let (option, next) = option(section, &lines, at)?;
            options.push((at + 1, option));
            at = next;
        } else {
            at += 1;
        }
    }
    Ok(options)
}

/// The first line after a comment and its continuations.
fn after_comment(lines: &[&str], mut at: usize) -> usize {
    while at < lines.len() && lines[at].strip_suffix(' ').unwrap_or(lines[at]).ends_with('\\') {
        at += 1;
    }
    at + 1
}

fn section_name(header: &str, line: usize) -> Result<String, UnitFileError> {
    let (name, rest) = header.split_once(']').ok_or(UnitFileError::SectionEnd { line })?;
    let garbage = rest.trim();
    if !garbage.is_empty() {
        let (section, garbage) = (name.to_owned(), garbage.to_owned());
        return Err(UnitFileError::Garbage {
            line,
            section,
            garbage,
        });
    }
    Ok(name.to_owned())
}

/// Reads the option that begins on line `at`; answers with the number of the line after it.
fn option(section: &str, lines: &[&str], mut at: usize) -> Result<(UnitOption, usize), UnitFileError> {
    let text = lines[at];
    let Some((name, first)) = text.split_once('=') else {
        return Err(UnitFileError::NoEquals {
            line: at + 1,
            text: text.trim().to_owned(),
        });
    };
    let mut value = first.to_owned();
    at += 1;
    while value.ends_with('\\') && at < lines.len() {
        value.push('\n');
        if lines[at].trim().is_empty() {
            break;
        }
        value.push_str(lines[at]);
        at += 1;
    }
    let option = UnitOption {
        section: section.to_owned(),
        name: name.trim().to_owned(),
        value: trim_value(&value),
    };
    Ok((option, at))
}

/// Trims, but gives a value that ends in a backslash a newline of its own: without it the next line printed would be
/// swallowed. (go-systemd does so for a continuation that leads to a blank line, not for `\` before blanks or at the end.)
fn trim_value(value: &str) -> String {
    let trimmed = value.trim();
    if value.ends_with('\n') || trimmed.ends_with('\\') {
        format!("{trimmed}\n")
    } else {
        trimmed.to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(text: &str) -> Vec<(String, String, String)> {
        let file = UnitFile::parse(text).unwrap();
        file.options
            .into_iter()
            .map(|o| (o.section, o.name, o.value))
            .collect()
    }

    fn own(table: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        table
            .iter()
            .map(|(s, n, v)| ((*s).to_owned(), (*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    #[allow(clippy::type_complexity)]
    fn reads_what_fleet_reads() {
        let table: &[(&str, &[(&str, &str, &str)])] = &[
            ("", &[]),
            ("junk\nmore=junk\n[A]\nb=c", &[("A", "b", "c")]),
            (
                "[A]\n b = c d  \n\n  # x\n;y\nempty=\n",
                &[("A", "b", "c d"), ("A", "empty", "")],
            ),
            ("[A]\r\nb=c\r\n", &[("A", "b", "c")]),
            ("[A]\n# comment \\\nstill=comment\nb=c", &[("A", "b", "c")]),
            (
                "[A]\nb=one \\\n  two\nc=d",
                &[("A", "b", "one \\\n  two"), ("A", "c", "d")],
            ),
            (
                "[A]\nb=one \\\n# two\nc=d",
                &[("A", "b", "one \\\n# two"), ("A", "c", "d")],
            ),
            ("[A]\nb=one \\\n\nc=d", &[("A", "b", "one \\\n"), ("A", "c", "d")]),
            ("[A]\nb=end\\", &[("A", "b", "end\\\n")]),
            (
                "[A]\nb=x=y\n[B]\nc=\"q\"",
                &[("A", "b", "x=y"), ("B", "c", "\"q\"")],
            ),
        ];
        for (text, want) in table {
            assert_eq!(options(text), own(want), "{text:?}");
        }
    }

    #[test]
    fn refuses_with_line_and_reason() {
        let table = [
            ("[A\nb=c", 1, "unable to find end of section"),
            ("[A] x\nb=c", 1, "found garbage after section name A: x"),
            ("[A]\n\nnonsense\n", 3, "no \"=\" in \"nonsense\""),
        ];
        for (text, line, reason) in table {
            let error = UnitFile::parse(text).unwrap_err();
            assert_eq!(error.line(), line);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn refuses_long_lines_with_fleets_words() {
        let longest = format!("[A]\nb={}", "x".repeat(LINE_MAX - 3));
        assert!(UnitFile::parse(&longest).is_ok());
        let error = UnitFile::parse(&format!("{longest}x\nc=d")).unwrap_err();
        assert_eq!(error.to_string(), "line too long (max 2048 bytes)");
        assert_eq!(error.line(), 2);
    }

    fn any_text() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            "\\[[A-Za-z-]{0,8}\\] ?",
            "[A-Za-z-]{0,8} ?= ?[ -~]{0,12}",
            "[A-Za-z]{1,4}=[a-z ]{0,6}\\\\ {0,1}",
            "[#;][ -~]{0,8}",
            "[ \t]{0,3}",
            "[ -~äß]{0,10}",
        ];
        prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_printed_is_read_again(text in any_text()) {
            let Ok(file) = UnitFile::parse(&text) else { return Ok(()) };
            let printed = file.to_string();
            let again = UnitFile::parse(&printed).map_err(|e| TestCaseError::fail(format!("{e} in {printed:?}")))?;
            prop_assert_eq!(again.to_string(), printed);
            let grouped = |file: &UnitFile| {
                let mut options = file.options.clone();
                let sections: Vec<String> = file.sections().into_iter().map(str::to_owned).collect();
                options.sort_by_key(|o| sections.iter().position(|s| *s == o.section));
                options
            };
            prop_assert_eq!(grouped(&again), grouped(&file));
            prop_assert_eq!(again.hash(), file.hash());
        }
    }
}
