//! What is to be said about a file, and on which line: the validation report of coreos-cloudinit, whose lines read
//! `line 3: warning: unrecognized key "x"`.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The value is not used.
    Error,
    /// The value is used, or ignored, but probably not as meant.
    Warning,
    /// Worth knowing.
    Info,
}

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// How bad.
    #[serde(rename = "kind")]
    pub severity: Severity,
    /// What.
    pub message: String,
    /// Where, from 1.
    pub line: usize,
}

/// All remarks about one text, in the order of its lines once [`Report::sorted`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The remarks.
    pub entries: Vec<Entry>,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.severity, self.message)
    }
}

impl Report {
    /// Adds an error.
    pub fn error(&mut self, line: usize, message: impl Into<String>) {
        self.add(Severity::Error, line, message);
    }

    /// Adds a warning.
    pub fn warning(&mut self, line: usize, message: impl Into<String>) {
        self.add(Severity::Warning, line, message);
    }

    /// Adds something worth knowing.
    pub fn info(&mut self, line: usize, message: impl Into<String>) {
        self.add(Severity::Info, line, message);
    }

    fn add(&mut self, severity: Severity, line: usize, message: impl Into<String>) {
        self.entries.push(Entry {
            severity,
            message: message.into(),
            line,
        });
    }

    /// The report in the order of lines, each remark once.
    #[must_use]
    pub fn sorted(mut self) -> Report {
        self.entries.sort_by_key(|entry| entry.line);
        let mut seen: Vec<Entry> = Vec::new();
        for entry in self.entries {
            if !seen.contains(&entry) {
                seen.push(entry);
            }
        }
        Report { entries: seen }
    }

    /// Is there any error?
    pub fn has_errors(&self) -> bool {
        self.entries.iter().any(|entry| entry.severity == Severity::Error)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}
