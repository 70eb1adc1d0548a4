//! Progress for whoever watches: each step with its time, and on failure which step it was.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Prints steps with the time since the first.
#[derive(Debug)]
pub struct Steps {
    start: Instant,
    logs: String,
}

impl Steps {
    /// Begins; a failed step names `logs`, where the logs lie.
    pub fn new(logs: &Path) -> Steps {
        Steps {
            start: Instant::now(),
            logs: logs.display().to_string(),
        }
    }

    /// Does one step, saying so before and after. Gives back what it gives, and how long it took.
    pub fn step<T>(&self, name: &str, work: impl FnOnce(&Steps) -> Result<T>) -> Result<(T, Duration)> {
        self.line(format_args!("== {name}"));
        let begun = Instant::now();
        let value =
            work(self).with_context(|| format!("the step «{name}» failed; logs are in {}", self.logs))?;
        Ok((value, begun.elapsed()))
    }

    /// Prints one line with the time.
    pub fn line(&self, text: impl Display) {
        println!("[{:6.1} s] {text}", self.start.elapsed().as_secs_f64());
    }

    /// Prints what a command printed, indented.
    pub fn show(&self, command: &str, output: &str) {
        self.line(format_args!("$ {command}"));
        for line in output.lines() {
            println!("           {line}");
        }
    }
}
