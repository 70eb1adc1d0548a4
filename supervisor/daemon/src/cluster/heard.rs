//! When a leader heard this machine last, kept beside the unit files so that it outlives the supervisor:
//!
//! ```text
//! /run/fleet/units/.heard    ms since the machine booted, in decimal digits
//! ```
//!
//! It lies on tmpfs: it ends with the boot, as what runs does. The danger is a supervisor that begins to count anew: it would
//! let run what the cluster has started elsewhere by then. So what is not there, cannot be read, or is yet to come means "never".

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::since_boot;

/// The file and what is in it.
#[derive(Debug)]
pub struct LastHeard {
    file: PathBuf,
    at: watch::Sender<Option<Duration>>,
}

impl LastHeard {
    /// What an earlier life of the supervisor left in the folder `units`.
    pub fn open(units: &Path) -> LastHeard {
        let file = units.join(".heard");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        LastHeard {
            at: watch::Sender::new(parse(&text).filter(|at| *at <= since_boot())),
            file,
        }
    }

    /// A leader has heard what this machine sent then, counted from its boot.
    pub fn note(&self, at: Duration) {
        let newer = self.at.send_if_modified(|last| {
            let newer = Some(at) > *last;
            *last = (*last).max(Some(at));
            newer
        });
        if newer && let Err(error) = self.write(at) {
            let path = self.file.display();
            tracing::warn!(
                "{path}: cannot be written: {error}: the next supervisor stops units with OnPartition=stop"
            );
        }
    }

    /// To be told of it.
    pub fn subscribe(&self) -> watch::Receiver<Option<Duration>> {
        self.at.subscribe()
    }

    /// Whole or not at all.
    fn write(&self, at: Duration) -> std::io::Result<()> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, at.as_millis().to_string())?;
        std::fs::rename(&new, &self.file)
    }
}

fn parse(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_outlives_the_supervisor_and_only_grows() {
        let folder = tempfile::tempdir().unwrap();
        let ms = Duration::from_millis;
        let heard = LastHeard::open(folder.path());
        assert_eq!(*heard.subscribe().borrow(), None);
        for (at, last) in [(20, 20), (30, 30), (10, 30)] {
            heard.note(ms(at));
            assert_eq!(*heard.subscribe().borrow(), Some(ms(last)));
            let next = LastHeard::open(folder.path());
            assert_eq!(*next.subscribe().borrow(), Some(ms(last)));
        }
    }

    #[test]
    fn what_cannot_be_read_or_is_yet_to_come_means_never() {
        let folder = tempfile::tempdir().unwrap();
        let later = (since_boot() + Duration::from_secs(60)).as_millis().to_string();
        for text in ["", "soon", "-1", "10 ", &later] {
            std::fs::write(folder.path().join(".heard"), text).unwrap();
            assert_eq!(
                *LastHeard::open(folder.path()).subscribe().borrow(),
                None,
                "{text:?}"
            );
        }
    }
}
