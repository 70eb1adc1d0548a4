//! Clients that send a URL where HTTP/2 wants an authority are understood.
//!
//! grpc-go before 1.41 sends what it dialled as `:authority`, so Debian's etcdctl 3.4 sends `http://127.0.0.1:2379` for
//! `endpoint status`. Go's servers take it; `h2` resets the stream, since RFC 9113 section 8.3.1 wants the authority alone.
//! So what a client sends is looked at before `h2` reads it, up to its first request. When that one's authority is right,
//! which is every client but these, nothing is looked at again and no byte was changed. Else each header block is rewritten
//! on its way, for as long as the connection lasts.
//!
//! Nothing is refused here: what cannot be read is handed on as it came, for `h2` to say what is wrong with it.

mod block;
mod frames;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use frames::Frames;

/// A connection, its client's requests with an authority that `h2` takes.
pub struct Mended<S> {
    stream: S,
    frames: Frames,
    /// Looked at, not yet read.
    ready: BytesMut,
}

impl<S> Mended<S> {
    /// `stream` from its first byte on, HTTP/1 or HTTP/2.
    pub fn new(stream: S) -> Mended<S> {
        Mended {
            stream,
            frames: Frames::default(),
            ready: BytesMut::new(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready.is_empty() && buf.remaining() > 0 {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            if this.frames.are_over() {
                return Poll::Ready(Ok(()));
            }
            let came = &buf.filled()[before..];
            let is_end = came.is_empty();
            if is_end {
                this.frames.end(&mut this.ready);
            } else {
                this.frames.push(came, &mut this.ready);
            }
            buf.set_filled(before);
            if is_end {
                break;
            }
        }
        let count = buf.remaining().min(this.ready.len());
        buf.put_slice(&this.ready[..count]);
        this.ready.advance(count);
        if this.ready.is_empty() && this.frames.are_over() {
            this.ready = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
