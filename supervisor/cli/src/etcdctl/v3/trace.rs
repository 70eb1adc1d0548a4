//! What a connection's own bytes tell of why it broke.
//!
//! A gRPC call that loses its connection says "transport error" at best: with TLS 1.3 a server refuses our certificate only
//! when the handshake is over for us, and a server that speaks TLS to one that does not is noise. So the bytes are looked
//! at where they come in: the error of the first read that failed, what they began with, and whether any came at all.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::{Wire, go_words};

/// The type of the record a server speaking TLS says no with (RFC 8446, section 5.1: alert).
const TLS_ALERT: u8 = 21;

/// What is said of a server that hangs up before it has said anything.
const WORDLESS: &str =
    "the server closed the connection without a word: does it speak TLS (https://), or not?";

/// What was seen last; shared by a connection and who asks about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// With whom.
    url: String,
    /// Anything that came.
    first: Option<u8>,
    /// Why no more comes.
    ended: Option<String>,
}

impl Trace {
    /// Looks at what comes over a new connection from here on.
    pub(super) fn watch(&self, url: &str, wire: Box<dyn Wire>) -> Traced {
        self.with(|seen| {
            // Why the last one to the same server broke counts until this one brings something.
            let ended = seen.ended.take().filter(|_| seen.url == url);
            *seen = Seen {
                url: url.to_owned(),
                first: None,
                ended,
            };
        });
        Traced {
            wire,
            trace: self.clone(),
        }
    }

    /// With whom the last connection was.
    pub(super) fn url(&self) -> String {
        self.with(|seen| seen.url.clone())
    }

    /// Why the connection broke, if its bytes tell.
    pub(super) fn reason(&self) -> Option<String> {
        self.with(|seen| match (seen.first, &seen.ended) {
            (Some(TLS_ALERT), _) => Some("the server speaks TLS: write https://".to_owned()),
            (_, Some(why)) => Some(why.clone()),
            (_, None) => None,
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        // Nobody who holds it can leave it half done.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, bytes: &[u8]) {
        self.with(|seen| match bytes.first() {
            Some(first) => {
                seen.first = seen.first.or(Some(*first));
                seen.ended = None;
            }
            None if seen.first.is_none() && seen.ended.is_none() => seen.ended = Some(WORDLESS.to_owned()),
            None => {}
        });
    }

    fn failed(&self, error: &io::Error) {
        self.with(|seen| {
            let is_wordless = seen.first.is_none() && error.kind() == io::ErrorKind::ConnectionReset;
            seen.ended = Some(match is_wordless {
                true => WORDLESS.to_owned(),
                false => explained(error),
            });
        });
    }
}

/// An error of the connection, with what to do about it where the server's certificates are the matter.
fn explained(error: &io::Error) -> String {
    use rustls::AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateUnknown,
        HandshakeFailure, UnknownCA,
    };
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let advice = match tls {
        Some(rustls::Error::AlertReceived(CertificateRequired)) => " (it asks for --cert and --key)",
        Some(rustls::Error::AlertReceived(
            AccessDenied | BadCertificate | CertificateExpired | CertificateUnknown | HandshakeFailure
            | UnknownCA,
        )) => " (it wants another --cert and --key than it got)",
        Some(_) => "",
        None => return go_words(error),
    };
    format!("tls: {error}{advice}")
}

/// A connection that is looked at.
pub(super) struct Traced {
    wire: Box<dyn Wire>,
    trace: Trace,
}

impl Traced {
    /// What could not be written has been refused before: the reason lies there to be read.
    fn read_the_reason(&mut self, context: &mut Context<'_>) {
        let mut bytes = [0; 256];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *self).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                _ => return,
            }
        }
    }
}

impl AsyncRead for Traced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.wire).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) => self.trace.read(&buffer.filled()[before..]),
            Poll::Ready(Err(error)) => self.trace.failed(error),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for Traced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.wire).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Err(_))) {
            self.read_the_reason(context);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.wire).poll_flush(context);
        if matches!(flushed, Poll::Ready(Err(_))) {
            self.read_the_reason(context);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}
