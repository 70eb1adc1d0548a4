//! How a command fails: its exit status, and its words on standard error.

use std::process::ExitCode;

/// A command's exit status, or why it failed.
pub(super) type Outcome = Result<u8, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    text: String,
    engine: bool,
}

impl Failure {
    /// Words that stand as they are.
    pub(super) fn plain(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            engine: false,
        }
    }

    /// What the engine said; Docker's users and scripts know it as the daemon's answer.
    pub(super) fn engine(error: impl std::fmt::Display) -> Self {
        Self {
            code: 1,
            text: error.to_string(),
            engine: true,
        }
    }

    /// The same with another exit status.
    pub(super) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The line for standard error.
    pub(super) fn line(&self) -> String {
        if self.engine {
            format!("Error response from daemon: {}", self.text)
        } else {
            self.text.clone()
        }
    }

    /// Says it and gives the exit status.
    pub(super) fn report(&self, command: &str) -> ExitCode {
        let silent = self.text.is_empty();
        if matches!(command, "run" | "create" | "exec") && self.code >= 125 && !silent {
            eprintln!(
                "docker: {}\n\nRun 'docker {command} --help' for more information",
                self.line()
            );
        } else if !silent {
            eprintln!("{}", self.line());
        }
        ExitCode::from(self.code)
    }
}

/// Does `work` for every name, saying what fails and going on, as Docker does; status 1 when anything failed.
pub(super) fn for_each<'a>(
    names: impl Iterator<Item = &'a String>,
    mut work: impl FnMut(&str) -> Result<(), Failure>,
) -> Outcome {
    let mut code = 0;
    for name in names {
        match work(name) {
            Ok(()) => {}
            Err(failure) => {
                eprintln!("{}", failure.line());
                code = 1;
            }
        }
    }
    Ok(code)
}
