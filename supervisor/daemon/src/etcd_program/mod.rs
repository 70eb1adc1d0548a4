//! `corten etcd`: a member of the store alone, with etcd's flags, variables and configuration file.
//!
//! | exit code | when |
//! |---|---|
//! | 0 | stopped by SIGTERM or SIGINT; help or version printed |
//! | 1 | settings that make no sense, or a start or run that failed |
//! | 2 | a command line that cannot be read |

pub mod backup;
mod browsers;
mod config_file;
mod flags;
mod log;
pub(crate) mod proxy;
pub(crate) mod run;
mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::chain::chain;
use crate::settings::fragments::{Fragments, from_environment, merge};
use crate::settings::{Alone, SettingsError, understand_alone};
use flags::{Asked, FlagError};

/// The etcd release whose flags and answers these are.
const ETCD_VERSION: &str = "3.4.23";

/// Runs it; `args[0]` is the name it was called under.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let asked = match flags::read(args.get(1..).unwrap_or_default()) {
        Ok(asked) => asked,
        Err(error @ FlagError::Usage(_)) => {
            eprintln!("{error}\nUsage: etcd [flags]\n\n'etcd --help' shows them.");
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (given, config_file) = match asked {
        Asked::Help(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
        Asked::Version => {
            println!(
                "etcd Version: {ETCD_VERSION}\nCorten: {}",
                env!("CARGO_PKG_VERSION")
            );
            return ExitCode::SUCCESS;
        }
        Asked::Run { given, config_file } => (given, config_file),
    };
    let (alone, lines) = match prepare(given, config_file) {
        Ok(prepared) => prepared,
        Err(error) => {
            match error.downcast_ref::<SettingsError>() {
                Some(wrong) => {
                    for problem in &wrong.problems {
                        eprintln!("error verifying flags, {problem}. See 'etcd --help'.");
                    }
                }
                None => eprintln!("error verifying flags, {}. See 'etcd --help'.", chain(&error)),
            }
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = log::install(&alone.log, &alone.log_output) {
        eprintln!("etcd: {}", chain(&error));
        return ExitCode::FAILURE;
    }
    match start(alone, &lines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Puts flags, variables and file together; with the settings come lines for the log.
fn prepare(flags: Fragments, config_file: Option<String>) -> anyhow::Result<(Alone, Vec<String>)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    let environment = from_environment(std::env::vars_os().filter_map(text));
    let config_file = config_file.or_else(|| Some(environment.get("ETCD_CONFIG_FILE")?.value.clone()));
    let mut lines = Vec::new();
    let given = match config_file {
        Some(path) => {
            lines.push(format!(
                "Loading server configuration from {path:?}. Other configuration command line flags and environment \
                 variables will be ignored if provided."
            ));
            let text = std::fs::read_to_string(&path).context(format!("{path} cannot be read"))?;
            let config = config_file::read(&path, &text)?;
            lines.extend(config.warnings);
            config.given
        }
        None => {
            for name in flags.keys().filter(|name| environment.contains_key(*name)) {
                lines.push(format!(
                    "environment variable {name} is shadowed by its command-line flag"
                ));
            }
            merge(environment, flags)
        }
    };
    let (alone, warnings) = understand_alone(&given)?;
    lines.extend(warnings);
    Ok((alone, lines))
}

fn start(alone: Alone, lines: &[String]) -> anyhow::Result<()> {
    tracing::info!(
        "etcd Version: {ETCD_VERSION}, Corten {}",
        env!("CARGO_PKG_VERSION")
    );
    for line in lines {
        tracing::warn!("{line}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let outcome = runtime.block_on(run::until_a_signal(alone));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}
