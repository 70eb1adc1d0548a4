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
            *seen = Seen {
                url: url.to_owned(),
                ..Seen::default()
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
            Some(first) => seen.first = seen.first.or(Some(*first)),
            None if seen.first.is_none() && seen.ended.is_none() => {
                let why =
                    "the server closed the connection without a word: does it speak TLS (https://), or not?";
                seen.ended = Some(why.to_owned());
            }
            None => {}
        });
    }

    fn failed(&self, error: &io::Error) {
        self.with(|seen| seen.ended = Some(explained(error)));
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
        )) => " (it does not accept our --cert)",
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
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}
