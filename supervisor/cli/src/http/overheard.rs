//! A child's standard error: passed on to ours as it comes, and the end of it kept.
//!
//! Two dangers. A child may leave another behind that keeps its standard error open (ssh's ControlPersist), so the end of what
//! is said is not waited for once nothing has come for a while. And ours may be read slowly, or not for now: what has come is
//! passed on whole, however long that takes.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are kept: more than a client says before it gives up.
const KEPT: usize = 16 << 10;
/// Time for more to come after a child has ended that had a reason to give.
pub(crate) const REASON: Duration = Duration::from_millis(500);
/// The same after one that had none: what it has said is in the pipe.
pub(crate) const REST: Duration = Duration::from_millis(50);

/// What a child has left behind may go on to speak: so long it is listened to, in all.
const LONGEST: Duration = Duration::from_secs(2);

/// What was said so far.
#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    /// Of it something is not yet passed on.
    writing: bool,
    /// Pieces that have come.
    pieces: u64,
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
            pass_on(reader, to, &filled);
            tell(&filled, |said| said.ended = true);
        });
        Ok((Overheard(shared), writer))
    }

    /// The end of what a child has said that has ended itself. Returns when all is passed on and no more comes for `grace`, or
    /// has come from others for [`LONGEST`].
    pub(crate) fn words(&self, grace: Duration) -> String {
        let (said, changed) = &*self.0;
        let mut said = lock(said);
        let mut listened = Duration::ZERO;
        loop {
            let (pieces, listens, since) = (said.pieces, !said.writing, Instant::now());
            let waits = |said: &mut Said| !said.ended && (said.writing || said.pieces == pieces);
            let waited = changed.wait_timeout_while(said, grace, waits);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            said = now;
            listened += if listens { since.elapsed() } else { Duration::ZERO };
            let is_enough = timeout.timed_out() || listened >= LONGEST;
            if said.ended || (is_enough && !said.writing) {
                return String::from_utf8_lossy(&said.bytes).into_owned();
            }
        }
    }
}

fn tell((said, changed): &(Mutex<Said>, Condvar), news: impl FnOnce(&mut Said)) {
    news(&mut lock(said));
    changed.notify_all();
}

fn lock(said: &Mutex<Said>) -> std::sync::MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass_on(mut from: PipeReader, mut to: impl Write, said: &(Mutex<Said>, Condvar)) {
    let mut piece = [0; 4096];
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => &piece[..read],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        tell(said, |said| {
            said.writing = true;
            said.bytes.extend_from_slice(read);
            let over = said.bytes.len().saturating_sub(KEPT);
            said.bytes.drain(..over);
        });
        // Where nobody can read our standard error any more the child must not stall.
        to.write_all(read).ok();
        tell(said, |said| {
            said.writing = false;
            said.pieces += 1;
        });
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
        heard.words(REASON)
    }

    #[test]
    fn the_end_of_it_is_kept() {
        assert_eq!(heard("echo a >&2; echo b; echo c >&2"), "a\nc\n");
        let long = heard("head -c 100000 /dev/zero | tr '\\0' x >&2; echo end >&2");
        assert!(long.len() == KEPT && long.ends_with("xend\n"), "{}", long.len());
    }

    /// Takes its time, longer than anybody waits for more to come.
    struct Slow(std::sync::mpsc::Sender<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            std::thread::sleep(REST * 4);
            self.0.send(bytes[0]).map_err(io::Error::other)?;
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_has_come_is_passed_on_however_slowly_it_is_read() {
        let (to, read) = std::sync::mpsc::channel();
        let (heard, writer) = Overheard::passed_to(Slow(to)).unwrap();
        let kept = writer.try_clone().unwrap();
        let script = "printf a >&2; sleep 0.02; printf bc >&2";
        let status = Command::new("sh").args(["-c", script]).stderr(writer).status();
        assert!(status.unwrap().success());
        // Somebody keeps it open, and it is not the end that is waited for.
        assert_eq!(heard.words(REST), "abc");
        assert_eq!(read.try_iter().collect::<Vec<u8>>(), b"abc");
        drop(kept);
    }

    #[test]
    fn what_a_child_leaves_behind_is_not_listened_to_for_ever() {
        let (heard, stderr) = Overheard::passed_to(io::sink()).unwrap();
        let script = "while printf x >&2; do sleep 0.01; done";
        let mut left = Command::new("sh")
            .args(["-c", script])
            .stderr(stderr)
            .spawn()
            .unwrap();
        assert!(heard.words(REASON).len() > 1);
        left.kill().unwrap();
        left.wait().unwrap();
    }

    #[test]
    fn what_a_child_leaves_behind_is_not_waited_for() {
        // It reads from a pipe that this test holds open.
        let (reader, writer) = io::pipe().unwrap();
        let (heard, stderr) = Overheard::new().unwrap();
        let mut left = Command::new("cat").stdin(reader).stderr(stderr).spawn().unwrap();
        assert_eq!(heard.words(REST), "");
        drop(writer);
        assert!(left.wait().unwrap().success());
    }
}
