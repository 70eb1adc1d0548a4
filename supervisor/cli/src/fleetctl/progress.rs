//! One line on a terminal that tells what is being waited for, and is gone when something is printed. Where standard
//! error is no terminal, or a narrow one, it is printed when nothing else was for a while.

use std::time::{Duration, Instant};

use crate::terminal::{is_watched, say, tell, tell_over};

/// Longest text that a narrow terminal shows on one line.
const WIDTH: usize = 76;
/// What is left of it behind the seconds.
const SHOWN: usize = WIDTH - 8;
/// What takes less time than this needs no progress.
const PATIENCE: Duration = Duration::from_secs(1);
/// Who has seen nothing for so long begins to wonder.
const SILENCE: Duration = Duration::from_secs(5);

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    watched: bool,
    shown: bool,
    printed_at: Instant,
    reminded: String,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn new() -> Progress {
        Progress {
            watched: is_watched(),
            shown: false,
            printed_at: Instant::now(),
            reminded: String::new(),
        }
    }

    /// Shows `text`, after `elapsed` of waiting, where there is a terminal.
    pub(super) fn show(&mut self, text: &str, elapsed: Duration) {
        if self.watched && elapsed >= PATIENCE {
            let line = format!("{:>4} s  {text}", elapsed.as_secs());
            let line: String = line.chars().take(WIDTH).collect();
            tell_over(&line);
            self.shown = true;
        }
    }

    /// Prints what could not be shown, or not whole, when nothing was printed for a while; if it is another than the last such.
    pub(super) fn remind(&mut self, text: &str) {
        let is_seen = self.watched && text.chars().count() <= SHOWN;
        if !is_seen && self.printed_at.elapsed() >= SILENCE && self.reminded != text {
            self.tell(&format!("Waiting for {text}"));
            text.clone_into(&mut self.reminded);
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
        self.printed_at = Instant::now();
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
