//! Where a container's standard streams go.
//!
//! Duty: pipes from the container, pumped to the launcher's own output and to the journal. A pipe rather than the
//! journal's socket, because programs open `/dev/stdout` anew, which no socket allows.
//! Without a launcher that stays (`Plan::HandOver`) the streams are the journal's sockets themselves.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use nix::unistd::{Gid, Uid, fchown};

use crate::journal::{self, Source};
use crate::record::Record;

/// The container's ends of its streams; `None` means libcontainer leaves the launcher's own in place.
#[derive(Debug, Default)]
pub struct Streams {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
    pumps: Vec<(OwnedFd, Source)>,
}

/// The sinks of one stream.
struct Sinks {
    /// The launcher's own standard output or error.
    own: Option<File>,
    journal: Option<std::os::unix::net::UnixStream>,
}

impl Streams {
    /// Our own output, and `stdin` or our own input.
    pub fn with_input(stdin: Option<OwnedFd>) -> Self {
        Self {
            stdin,
            ..Self::default()
        }
    }

    /// Streams whose output this process pumps.
    pub fn piped(record: &Record, uid: u32, gid: u32) -> io::Result<Self> {
        let mut streams = Self {
            stdin: Some(stdin(record)?),
            ..Self::default()
        };
        for source in [Source::Stdout, Source::Stderr] {
            let (reader, writer) = io::pipe()?;
            // The program may open /dev/stdout again under its own user.
            fchown(&writer, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            streams.pumps.push((reader.into(), source));
            match source {
                Source::Stdout => streams.stdout = Some(writer.into()),
                Source::Stderr => streams.stderr = Some(writer.into()),
            }
        }
        Ok(streams)
    }

    /// Streams that need nobody to stay: the journal's sockets where our own output is the journal, else our own.
    pub fn handed_over(record: &Record) -> io::Result<Self> {
        let mut streams = Self {
            stdin: Some(stdin(record)?),
            ..Self::default()
        };
        if record.host.log_driver == "none" {
            let null = || File::options().write(true).open("/dev/null").map(OwnedFd::from);
            (streams.stdout, streams.stderr) = (Some(null()?), Some(null()?));
        } else if journal::is_our_output() {
            streams.stdout = journal::stream_fd(&record.log_tag, Source::Stdout).ok();
            streams.stderr = journal::stream_fd(&record.log_tag, Source::Stderr).ok();
        }
        Ok(streams)
    }

    /// Closes the container's ends and starts pumping. Call it after the last clone: it makes threads.
    pub fn pump(self, record: &Record) -> Vec<JoinHandle<()>> {
        drop((self.stdin, self.stdout, self.stderr));
        self.pumps
            .into_iter()
            .map(|(reader, source)| {
                let sinks = Sinks::of(record, source);
                std::thread::spawn(move || copy(File::from(reader), sinks))
            })
            .collect()
    }
}

fn stdin(record: &Record) -> io::Result<OwnedFd> {
    if record.config.open_stdin {
        return io::stdin().as_fd().try_clone_to_owned();
    }
    Ok(File::open("/dev/null")?.into())
}

impl Sinks {
    fn of(record: &Record, source: Source) -> Self {
        let silent = record.host.log_driver == "none";
        let journal = if silent {
            None
        } else {
            journal::stream(&record.log_tag, source).ok()
        };
        // What goes to the journal under its own tag need not go there under ours too.
        let doubled = journal::is_our_output() && (silent || journal.is_some());
        let own = match source {
            Source::Stdout => io::stdout().as_fd().try_clone_to_owned(),
            Source::Stderr => io::stderr().as_fd().try_clone_to_owned(),
        };
        Self {
            own: if doubled { None } else { own.ok().map(File::from) },
            journal,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        // A reader that went away must not stop the container, nor the other sink.
        if self.own.as_mut().is_some_and(|own| own.write_all(bytes).is_err()) {
            self.own = None;
        }
        if self
            .journal
            .as_mut()
            .is_some_and(|journal| journal.write_all(bytes).is_err())
        {
            self.journal = None;
        }
    }
}

fn copy(mut from: File, mut sinks: Sinks) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => sinks.write(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal's master end answers EIO when the last program has closed the other one.
            Err(_) => return,
        }
    }
}

/// Pumps a terminal's master end to our standard output and the journal.
pub fn pump_terminal(master: File, record: &Record) -> JoinHandle<()> {
    let sinks = Sinks::of(record, Source::Stdout);
    std::thread::spawn(move || copy(master, sinks))
}

/// Copies our standard input into a terminal's master end until either ends. The thread is left behind at exit.
pub fn feed_terminal(mut master: File) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut stdin = io::stdin().lock();
        while let Ok(n) = stdin.read(&mut buffer) {
            if n == 0 || master.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    });
}

/// Pumps a terminal's master end to our standard output only.
pub fn pump_own(master: File) -> JoinHandle<()> {
    let own = io::stdout().as_fd().try_clone_to_owned().ok().map(File::from);
    std::thread::spawn(move || copy(master, Sinks { own, journal: None }))
}
