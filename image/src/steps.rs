//! Steps of a build: progress on standard error, and results kept in the cache under the digest of their inputs.
//!
//! Duty: a step's result is a folder `CACHE/STEP-DIGEST`, made under another name and renamed when whole, so that a
//! build cut off anywhere leaves nothing half-made behind. Of each step the two newest results stay.

use crate::digest::Digest;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// Results kept per step: the one in use and the one before, for switching between two branches.
const KEEP: usize = 2;

/// The cache and the clock of one build.
#[derive(Debug)]
pub struct Steps {
    cache: PathBuf,
    started: Instant,
}

impl Steps {
    /// Uses `cache`, making it where needed.
    pub fn new(cache: &Path) -> Result<Self> {
        fs::create_dir_all(cache).with_context(|| format!("making the cache {}", cache.display()))?;
        Ok(Self {
            cache: cache.canonicalize()?,
            started: Instant::now(),
        })
    }

    /// Does a step that is not cached, telling how long it took.
    pub fn always<T>(&self, name: &str, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        self.tell(name, &format!("{what} ..."));
        let value = work().with_context(|| format!("step `{name}` ({what})"))?;
        self.tell(name, &format!("done in {:.1} s", begin.elapsed().as_secs_f64()));
        Ok(value)
    }

    /// The cached result of a step, made now when it is not there: `work` fills the folder it is given.
    pub fn cached(
        &self,
        name: &str,
        what: &str,
        digest: &Digest,
        work: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.cache.join(format!("{name}-{}", digest.short()));
        if done.is_dir() {
            self.tell(name, &format!("unchanged ({})", digest.short()));
            let now = fs::FileTimes::new().set_modified(SystemTime::now());
            fs::File::open(&done)
                .and_then(|f| f.set_times(now))
                .context("marking a cached step as used")?;
            return Ok(done);
        }
        let making = self.cache.join(format!(".making-{name}"));
        self.always(name, what, || {
            remove(&making)?;
            fs::create_dir(&making)?;
            work(&making)?;
            fs::rename(&making, &done).with_context(|| format!("keeping {}", done.display()))
        })?;
        self.forget_old(name, &done)?;
        Ok(done)
    }

    /// A line of progress.
    pub fn tell(&self, name: &str, text: &str) {
        eprintln!(
            "[{:6.1} s] {name:<9} {text}",
            self.started.elapsed().as_secs_f64()
        );
    }

    fn forget_old(&self, name: &str, current: &Path) -> Result<()> {
        let mut others: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.cache)?
            .flatten()
            .filter(|e| is_result_of(name, &e.file_name().to_string_lossy()) && e.path() != current)
            .map(|e| {
                (
                    e.metadata()
                        .and_then(|m| m.modified())
                        .unwrap_or(SystemTime::UNIX_EPOCH),
                    e.path(),
                )
            })
            .collect();
        others.sort();
        others
            .iter()
            .rev()
            .skip(KEEP - 1)
            .try_for_each(|(_, path)| remove(path))
    }
}

/// `name-` and sixteen hexadecimal digits.
fn is_result_of(name: &str, entry: &str) -> bool {
    entry
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|d| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Removes a folder that may not be there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_made_once_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let steps = Steps::new(folder.path()).unwrap();
        let made = std::cell::Cell::new(0);
        let run = |version| {
            let work = |dir: &Path| {
                made.set(made.get() + 1);
                Ok(fs::write(dir.join("x"), "y")?)
            };
            steps
                .cached("one", "making", &Digest::of("one", version), work)
                .unwrap()
        };
        let first = run(1);
        assert_eq!(run(1), first);
        assert_eq!(made.get(), 1);
        assert!(first.join("x").is_file());
        // Folders made within one tick of the kernel's clock are of equal age.
        let hour_ago = SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::File::open(&first).unwrap().set_modified(hour_ago).unwrap();
        run(2);
        run(3);
        assert!(!first.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEEP);
    }

    #[test]
    fn a_failed_step_leaves_no_result() {
        let folder = tempfile::tempdir().unwrap();
        let steps = Steps::new(folder.path()).unwrap();
        let d = Digest::of("bad", 1);
        let error = steps
            .cached("bad", "failing", &d, |_| anyhow::bail!("no"))
            .unwrap_err();
        assert_eq!(format!("{error:#}"), "step `bad` (failing): no");
        assert!(steps.cached("bad", "working", &d, |_| Ok(())).is_ok());
    }
}
