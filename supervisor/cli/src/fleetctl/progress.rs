//! One line on a terminal that tells what is being waited for, and is gone when something is printed. Where standard
//! error is no terminal there is none.

use std::time::Duration;

use crate::terminal::{is_watched, say, tell, tell_over};

/// Longest text that a narrow terminal shows on one line.
const WIDTH: usize = 76;
/// What takes less time than this needs no progress.
const PATIENCE: Duration = Duration::from_secs(1);

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    watched: bool,
    shown: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn new() -> Progress {
        Progress {
            watched: is_watched(),
            shown: false,
        }
    }

    /// Shows `text`, after `elapsed` of waiting.
    pub(super) fn show(&mut self, text: &str, elapsed: Duration) {
        if self.watched && elapsed >= PATIENCE {
            let text: String = format!("{:>4} s  {text}", elapsed.as_secs())
                .chars()
                .take(WIDTH)
                .collect();
            tell_over(&text);
            self.shown = true;
        }
    }

    /// Prints a line on standard output.
    pub(super) fn say(&mut self, text: &str) {
        self.clear();
        say(text);
    }

    /// Prints a line on standard error.
    pub(super) fn tell(&mut self, text: &str) {
        self.clear();
        tell(text);
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            tell_over("");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
