//! Where log lines go: the journal with their fields when systemd runs us, standard error otherwise.

use std::os::linux::fs::MetadataExt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Installs the process's log. `filter` is an `EnvFilter` directive list; one that cannot be parsed falls back to
/// `info` and is reported.
pub fn install(filter: &str) {
    let (filter_layer, problem) = match EnvFilter::try_new(filter) {
        Ok(layer) => (layer, None),
        Err(error) => (EnvFilter::new("info"), Some(error.to_string())),
    };
    let registry = tracing_subscriber::registry().with(filter_layer);
    let journal = stderr_is_the_journal()
        .then(|| tracing_journald::layer().ok())
        .flatten();
    let installed = match journal {
        Some(layer) => registry
            .with(layer.with_syslog_identifier("corten".to_owned()))
            .try_init(),
        None => registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
            .try_init(),
    };
    if let Err(error) = installed {
        eprintln!("corten: logging could not be set up: {error}");
    }
    if let Some(problem) = problem {
        tracing::warn!("CORTEN_LOG={filter:?} is no log filter ({problem}): logging at info");
    }
}

/// JOURNAL_STREAM names the device and inode of the stream systemd gave us (systemd.exec(5)); if standard error still
/// is that stream, talking to the journal directly says the same with more fields.
fn stderr_is_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    named == format!("{}:{}", stderr.st_dev(), stderr.st_ino())
}
