//! `verify`: checked signatures once, which fleet has given up, and says so. Of a `.container` file it shows the service
//! that the file stands for; no cluster is asked.

use std::path::Path;

use clap::ArgMatches;
use corten_spec::container;
use corten_spec::unit_name::UnitName;

use super::fault::Failure;
use super::{SIGNED, arguments_of, local};
use crate::terminal::{print, say};

/// Runs the command.
pub(super) fn run(matches: &ArgMatches) -> Result<u8, Failure> {
    let arguments = arguments_of(matches);
    let is_container = |argument: &&str| container::service_of(argument).is_some();
    if arguments.is_empty() || !arguments.iter().all(is_container) {
        return Err(Failure {
            text: SIGNED.to_owned(),
            code: 2,
        });
    }
    for (number, argument) in arguments.into_iter().enumerate() {
        let service = service(argument).map_err(Failure::new)?;
        if number > 0 {
            say("");
        }
        print(service);
    }
    Ok(0)
}

fn service(argument: &str) -> Result<String, String> {
    local::check(argument)?;
    let (_, file) =
        local::read(Path::new(argument), true)?.ok_or_else(|| format!("there is no file {argument}"))?;
    local::approve(&UnitName::complete(argument), &file)?;
    Ok(file.to_string())
}
