//! How a pull is shown: lines as Docker prints them, redrawn in place on a terminal.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use corten_container::registry::Progress;

/// Prints a pull's progress to standard output or, below `docker run`, to standard error.
pub(super) struct Shown {
    quiet: bool,
    to_stderr: bool,
    redraw: bool,
    layers: Mutex<Layers>,
}

#[derive(Default)]
struct Layers {
    order: Vec<String>,
    status: BTreeMap<String, String>,
}

impl Shown {
    /// `quiet` shows nothing.
    pub(super) fn new(quiet: bool, to_stderr: bool) -> Self {
        let terminal = if to_stderr {
            std::io::stderr().is_terminal()
        } else {
            std::io::stdout().is_terminal()
        };
        Self {
            quiet,
            to_stderr,
            redraw: terminal,
            layers: Mutex::default(),
        }
    }

    /// A line of its own.
    pub(super) fn line(&self, text: &str) {
        if !self.quiet {
            self.write(&format!("{text}\n"));
        }
    }

    fn write(&self, text: &str) {
        // Nobody reading the progress must not stop the pull.
        let _ = if self.to_stderr {
            std::io::stderr().write_all(text.as_bytes())
        } else {
            std::io::stdout()
                .write_all(text.as_bytes())
                .and_then(|()| std::io::stdout().flush())
        };
    }

    fn update(&self, id: &str, status: &str) {
        let Ok(mut layers) = self.layers.lock() else {
            return;
        };
        let known = layers.order.iter().position(|each| each == id);
        layers.status.insert(id.to_owned(), status.to_owned());
        match known {
            Some(at) if self.redraw => {
                let up = layers.order.len() - at;
                self.write(&format!("\x1b[{up}A\r\x1b[2K{id}: {status}\x1b[{up}B\r"));
            }
            _ => {
                if known.is_none() {
                    layers.order.push(id.to_owned());
                }
                self.write(&format!("{id}: {status}\n"));
            }
        }
    }
}

impl Progress for Shown {
    fn layer(&self, id: &str, status: &str) {
        if !self.quiet {
            self.update(id, status);
        }
    }

    fn bytes(&self, id: &str, done: u64, total: u64) {
        if !self.quiet && self.redraw {
            self.update(id, &format!("Downloading  {}", bar(done, total)));
        }
    }
}

/// `[=====>      ]  1.2MB/3.4MB`.
fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 50;
    let filled = (done * WIDTH).checked_div(total).unwrap_or(0).min(WIDTH) as usize;
    let head = if filled < WIDTH as usize { ">" } else { "" };
    let line = format!("{}{head}", "=".repeat(filled));
    format!(
        "[{line:<50}]  {}/{}",
        super::shown::size(done),
        super::shown::size(total)
    )
}
