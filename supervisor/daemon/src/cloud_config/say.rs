//! Messages, one per line. Under systemd they carry the journal's priority (`<3>`, sd-daemon(3)); on a terminal a word.

use std::cell::RefCell;
use std::io::Write;

use corten_spec::cloud_config::report::{Entry, Severity};

/// Where messages go.
#[derive(Debug)]
pub struct Say {
    to: To,
}

#[derive(Debug)]
enum To {
    /// Standard error, with priorities for the journal.
    Journal,
    /// Standard error, with words for a person.
    Terminal,
    /// A list, for tests.
    #[cfg_attr(not(test), allow(dead_code))]
    List(RefCell<Vec<String>>),
}

impl Say {
    /// To the journal if standard error leads there (`JOURNAL_STREAM`, systemd.exec(5)), else to a person.
    pub fn for_this_process() -> Say {
        let to = if std::env::var_os("JOURNAL_STREAM").is_some() {
            To::Journal
        } else {
            To::Terminal
        };
        Say { to }
    }

    /// Something is not done.
    pub fn error(&self, message: impl AsRef<str>) {
        self.say(Severity::Error, message.as_ref());
    }

    /// Something may not be as meant.
    pub fn warning(&self, message: impl AsRef<str>) {
        self.say(Severity::Warning, message.as_ref());
    }

    /// Something is done.
    pub fn info(&self, message: impl AsRef<str>) {
        self.say(Severity::Info, message.as_ref());
    }

    /// A remark about a line of the text at `place`.
    pub fn entry(&self, place: &str, entry: &Entry) {
        self.say(
            entry.severity,
            &format!("{place}: line {}: {}", entry.line, entry.message),
        );
    }

    fn say(&self, severity: Severity, message: &str) {
        let priority = match severity {
            Severity::Error => 3,
            Severity::Warning => 4,
            Severity::Info => 6,
        };
        for line in message.lines() {
            match &self.to {
                To::Journal => {
                    eprintln!("<{priority}>{line}");
                    if severity == Severity::Error {
                        on_the_console(line);
                    }
                }
                To::Terminal => eprintln!("{severity}: {line}"),
                To::List(list) => list.borrow_mut().push(format!("{severity}: {line}")),
            }
        }
    }
}

/// A machine whose cloud-config could not be read may let nobody in to read the journal.
fn on_the_console(line: &str) {
    if let Ok(mut console) = std::fs::OpenOptions::new().write(true).open("/dev/console") {
        let _ = write!(console, "cloud-config: {line}\r\n");
    }
}

#[cfg(test)]
impl Say {
    /// Messages are kept.
    pub fn to_list() -> Say {
        Say {
            to: To::List(RefCell::default()),
        }
    }

    /// The messages so far, one per line.
    pub fn said(&self) -> String {
        match &self.to {
            To::List(list) => list.borrow().join("\n"),
            _ => String::new(),
        }
    }
}
