//! A connection whose other end must read: one that takes nothing of what is written for too long is given up, so that
//! what it was to get is not kept for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The connection.
pub struct Patient<S> {
    stream: S,
    /// None waits for ever.
    limit: Option<Duration>,
    /// Runs while a write gets nowhere.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// `stream`, given up when nothing of a write is taken within `limit`.
    pub fn new(stream: S, limit: Option<Duration>) -> Patient<S> {
        Patient {
            stream,
            limit,
            stalled: None,
        }
    }

    fn judge(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Some(limit) = self.limit.filter(|_| written.is_pending()) else {
            self.stalled = None;
            return written;
        };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(cx).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing is read at the other end",
            ))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_waited_for_and_who_does_not_is_given_up() {
        let second = Duration::from_secs(1);
        let (near, mut far) = duplex(4);
        let mut near = Patient::new(near, Some(second * 10));
        let slow = async {
            let mut got = [0; 4];
            for _ in 0..5 {
                sleep(second * 9).await;
                far.read_exact(&mut got).await.unwrap();
            }
            far
        };
        let (written, far) = tokio::join!(near.write_all(&[0; 24]), slow);
        written.unwrap();
        let begun = tokio::time::Instant::now();
        let error = near.write_all(&[0; 24]).await.unwrap_err();
        assert_eq!(
            (error.kind(), begun.elapsed().as_secs()),
            (io::ErrorKind::TimedOut, 10)
        );
        drop(far);

        let (near, _far) = duplex(4);
        let mut endless = Patient::new(near, None);
        let written = tokio::time::timeout(second * 1000, endless.write_all(&[0; 24])).await;
        assert!(written.is_err(), "without a limit nobody is given up");
    }
}
