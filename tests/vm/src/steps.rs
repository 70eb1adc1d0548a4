//! Progress for whoever watches: each step with its time, and on failure which step it was.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::layout::Layout;

/// Prints steps with the time since the first.
#[derive(Debug)]
pub struct Steps {
    start: Instant,
    logs: PathBuf,
}

impl Steps {
    /// Begins; a failed step names `logs`, the cluster's folder, once there are logs in it.
    pub fn new(logs: &Path) -> Steps {
        Steps {
            start: Instant::now(),
            logs: logs.to_owned(),
        }
    }

    /// Does one step, saying so before and after. Gives back what it gives, and how long it took.
    pub fn step<T>(&self, name: &str, work: impl FnOnce(&Steps) -> Result<T>) -> Result<(T, Duration)> {
        self.line(format_args!("== {name}"));
        let begun = Instant::now();
        let value = work(self).with_context(|| self.failed(name))?;
        Ok((value, begun.elapsed()))
    }

    fn failed(&self, name: &str) -> String {
        let logs = match Layout::new(&self.logs) {
            Ok(layout) if layout.is_ours() => format!("; logs are in {}", self.logs.display()),
            _ => String::new(),
        };
        format!("the step «{name}» failed{logs}")
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_named_once_there_are_some() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("cluster");
        let steps = Steps::new(&dir);
        let fail = || format!("{:#}", steps.step::<()>("a", |_| anyhow::bail!("b")).unwrap_err());
        assert_eq!(fail(), "the step «a» failed: b");
        Layout::new(&dir).unwrap().prepare().unwrap();
        assert_eq!(
            fail(),
            format!("the step «a» failed; logs are in {}: b", dir.display())
        );
    }
}
