//! The log of `corten etcd`: plain lines, to standard error unless told otherwise.

use std::fs::File;
use std::sync::Arc;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Installs it. `filter` is an `EnvFilter` directive list, `output` is `default`, `stderr`, `stdout` or a file's path.
///
/// # Errors
/// When the filter is none, or the file cannot be opened.
pub fn install(filter: &str, output: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context(format!("CORTEN_LOG={filter:?} is no log filter"))?;
    let writer = match output {
        "default" | "stderr" => BoxMakeWriter::new(std::io::stderr),
        "stdout" => BoxMakeWriter::new(std::io::stdout),
        path => {
            let file = File::options().create(true).append(true).open(path);
            BoxMakeWriter::new(Arc::new(
                file.context(format!("the log {path} cannot be opened"))?,
            ))
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(writer)
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging could not be set up: {error}"))
}
