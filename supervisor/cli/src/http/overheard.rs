//! A child's standard error: passed on to ours as it comes, and the end of it kept.
//!
//! The danger: a child may leave another behind that keeps its standard error open (ssh's ControlPersist), so the end of
//! what is said is waited for no longer than [`GRACE`].

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Bytes that are kept: more than a client says before it gives up.
const KEPT: usize = 16 << 10;
/// Time for the end to come after the child has ended.
const GRACE: Duration = Duration::from_millis(500);

/// What was said so far.
#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    ended: bool,
}

/// A child's standard error.
#[derive(Debug)]
pub(crate) struct Overheard(Arc<(Mutex<Said>, Condvar)>);

impl Overheard {
    /// Itself, and what is to be the child's standard error.
    ///
    /// # Errors
    /// The system has no pipe for us.
    pub(crate) fn new() -> io::Result<(Overheard, PipeWriter)> {
        Overheard::passed_to(io::stderr())
    }

    fn passed_to(to: impl Write + Send + 'static) -> io::Result<(Overheard, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let shared = Arc::<(Mutex<Said>, Condvar)>::default();
        let filled = Arc::clone(&shared);
        std::thread::spawn(move || {
            pass_on(reader, to, &filled.0);
            lock(&filled.0).ended = true;
            filled.1.notify_all();
        });
        Ok((Overheard(shared), writer))
    }

    /// The end of what a child has said that has ended itself.
    pub(crate) fn words(&self) -> String {
        let (said, changed) = &*self.0;
        let waited = changed.wait_timeout_while(lock(said), GRACE, |said| !said.ended);
        let (said, _) = waited.unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said.bytes).into_owned()
    }
}

fn lock(said: &Mutex<Said>) -> std::sync::MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass_on(mut from: PipeReader, mut to: impl Write, said: &Mutex<Said>) {
    let mut piece = [0; 4096];
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => &piece[..read],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        // Where nobody reads our standard error the child must not stall.
        to.write_all(read).ok();
        let bytes = &mut lock(said).bytes;
        bytes.extend_from_slice(read);
        let over = bytes.len().saturating_sub(KEPT);
        bytes.drain(..over);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;

    fn heard(script: &str) -> String {
        let (heard, writer) = Overheard::passed_to(io::sink()).unwrap();
        let status = Command::new("sh").args(["-c", script]).stderr(writer).status();
        assert!(status.unwrap().success());
        heard.words()
    }

    #[test]
    fn the_end_of_it_is_kept() {
        assert_eq!(heard("echo a >&2; echo b; echo c >&2"), "a\nc\n");
        let long = heard("head -c 100000 /dev/zero | tr '\\0' x >&2; echo end >&2");
        assert!(long.len() == KEPT && long.ends_with("xend\n"), "{}", long.len());
    }

    #[test]
    fn what_a_child_leaves_behind_is_not_waited_for() {
        // It reads from a pipe that this test holds open.
        let (reader, writer) = io::pipe().unwrap();
        let (heard, stderr) = Overheard::new().unwrap();
        let mut left = Command::new("cat").stdin(reader).stderr(stderr).spawn().unwrap();
        assert_eq!(heard.words(), "");
        drop(writer);
        assert!(left.wait().unwrap().success());
    }
}
