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
    /// Whether we show a certificate.
    shows: bool,
    /// With whom.
    url: String,
    /// Anything that came.
    first: Option<u8>,
    /// Why no more comes.
    ended: Option<String>,
}

impl Trace {
    /// Nothing was seen yet; `shows_certificate`: whether the server is shown one of ours.
    pub(super) fn new(shows_certificate: bool) -> Trace {
        let trace = Trace::default();
        trace.with(|seen| seen.shows = shows_certificate);
        trace
    }

    /// Looks at what comes over a new connection from here on.
    pub(super) fn watch(&self, url: &str, wire: Box<dyn Wire>) -> Traced {
        self.with(|seen| {
            // Why the last one to the same server broke counts until this one brings something.
            let ended = seen.ended.take().filter(|_| seen.url == url);
            *seen = Seen {
                shows: seen.shows,
                url: url.to_owned(),
                first: None,
                ended,
            };
        });
        Traced {
            wire,
            trace: self.clone(),
            unwritable: None,
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
                false => explained(error, seen.shows),
            });
        });
    }
}

/// An error of the connection, with what to do about it where the server does not like the certificate it was shown, or that
/// it was shown none.
fn explained(error: &io::Error, shows: bool) -> String {
    use rustls::AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateUnknown,
        HandshakeFailure, UnknownCA,
    };
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let advice = match tls {
        Some(rustls::Error::AlertReceived(
            AccessDenied | BadCertificate | CertificateExpired | CertificateRequired | CertificateUnknown
            | HandshakeFailure | UnknownCA,
        )) => match shows {
            true => " (it wants another --cert and --key than it got)",
            false => " (it asks for --cert and --key)",
        },
        Some(_) => "",
        None => return go_words(error),
    };
    format!("tls: {error}{advice}")
}

/// A connection that is looked at.
pub(super) struct Traced {
    wire: Box<dyn Wire>,
    trace: Trace,
    /// Why nothing can be written any more, until it is told.
    unwritable: Option<io::Error>,
}

impl Traced {
    /// What could not be written had been refused before: the reason lies there to be read, or is about to. So the failure is
    /// told only when reading has come to its end, too; whoever is told earlier drops the connection with the reason in it.
    ///
    /// A socket that cannot be written to any more ends for its reader as well, so this wait is short.
    fn poll_last_words(&mut self, context: &mut Context<'_>, unwritable: io::Error) -> Poll<io::Error> {
        let mut bytes = [0; 256];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *self).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(unwritable),
                Poll::Pending => {
                    self.unwritable = Some(unwritable);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes with `write`, unless that has failed before.
    fn poll_writing<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Box<dyn Wire>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let unwritable = match self.unwritable.take() {
            Some(error) => error,
            None => match write(Pin::new(&mut self.wire), context) {
                Poll::Ready(Err(error)) => error,
                written => return written,
            },
        };
        self.poll_last_words(context, unwritable).map(Err)
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
        self.poll_writing(context, |wire, context| wire.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writing(context, |wire, context| wire.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A server that has hung up: nothing can be written, and why comes only when the system has told of it.
    struct Refusing {
        told: bool,
        why: fn() -> io::Error,
    }

    impl AsyncRead for Refusing {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if std::mem::replace(&mut self.told, true) {
                return Poll::Ready(Err((self.why)()));
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    impl AsyncWrite for Refusing {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn who_cannot_write_waits_for_the_reason() {
        let alert = || {
            let alert = rustls::AlertDescription::BadCertificate;
            io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert))
        };
        let reset = || io::ErrorKind::ConnectionReset.into();
        let refused = "tls: received fatal alert: BadCertificate (it asks for --cert and --key)";
        for (why, expected) in [(alert as fn() -> io::Error, refused), (reset, WORDLESS)] {
            let trace = Trace::new(false);
            let mut writing = trace.watch("https://a", Box::new(Refusing { told: false, why }));
            let error = writing.write_all(b"PRI").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            assert_eq!(trace.reason().as_deref(), Some(expected));
            let mut flushing = trace.watch("https://b", Box::new(Refusing { told: false, why }));
            flushing.flush().await.unwrap_err();
            assert_eq!(trace.reason().as_deref(), Some(expected));
        }
    }
}
