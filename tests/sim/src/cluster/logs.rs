//! What the nodes log, on stderr under the simulation's time, for whoever replays a seed with `RUST_LOG` set.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

static NOW_MS: AtomicU64 = AtomicU64::new(0);

struct SimTime;

impl FormatTime for SimTime {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        write!(out, "{:>6}", NOW_MS.load(Ordering::Relaxed))
    }
}

/// Begins to log, if it is asked for.
pub fn begin() {
    if let Ok(filter) = EnvFilter::try_from_default_env() {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_timer(SimTime);
        let _ = lines.with_ansi(false).with_writer(std::io::stderr).try_init(); // there may be a run before this one
    }
}

/// Says what time it is.
pub fn now_is(now_ms: u64) {
    NOW_MS.store(now_ms, Ordering::Relaxed);
}
