//! The client's side of TLS: what a connection to an `https` URL is made with, and the stream both sides speak over.
//!
//! Refuses to read certificates: who starts a node gives a source, asked for every new connection, so that replaced files
//! are used without a restart. Peers' URLs decide: `http` is plain, `https` is TLS or nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tower::Service;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A connection over which nothing has come for so long is asked whether it is alive,
const KEEPALIVE: Duration = Duration::from_secs(2);
/// this often,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// and is broken, with all that waits for an answer on it, when the other side has confirmed nothing for this long: a machine
/// that lost its power, or a cut link, says nothing by itself.
const DEAD: Duration = Duration::from_secs(5);

/// Gives the TLS settings of the next connection, or says which file is wrong.
type Source = dyn Fn() -> Result<Arc<rustls::ClientConfig>, String> + Send + Sync;

/// Where TLS settings for connections come from; clones share it.
#[derive(Clone)]
pub struct ClientTls(Arc<Source>);

impl ClientTls {
    /// From a function that is asked for every connection.
    pub fn new(
        source: impl Fn() -> Result<Arc<rustls::ClientConfig>, String> + Send + Sync + 'static,
    ) -> ClientTls {
        ClientTls(Arc::new(source))
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls")
    }
}

/// A TCP connection, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// Without.
    Plain(TcpStream),
    /// With, of either side.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Connects hyper's client to `http` and `https` URLs.
#[derive(Debug, Clone)]
pub struct Connector {
    tcp: HttpConnector,
    tls: Option<ClientTls>,
}

impl Connector {
    /// Connections are given up after `timeout`; `https` needs `tls`.
    pub fn new(timeout: Duration, tls: Option<ClientTls>) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_tcp_user_timeout(Some(DEAD));
        tcp.enforce_http(false);
        Connector { tcp, tls }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(cx).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, tls) = (self.tcp.call(uri.clone()), self.tls.clone());
        Box::pin(async move {
            let tcp = connecting.await.map_err(io::Error::other)?.into_inner();
            if uri.scheme_str() != Some("https") {
                return Ok(TokioIo::new(Stream::Plain(tcp)));
            }
            let tls = tls.ok_or_else(|| io::Error::other("the URL is https, but TLS is not set up here"))?;
            let config = (tls.0)().map_err(io::Error::other)?;
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let shaking = TlsConnector::from(config).connect(name, tcp);
            let stream = tokio::time::timeout(HANDSHAKE, shaking)
                .await
                .map_err(|_| io::Error::other(format!("no TLS handshake within {HANDSHAKE:?}")))??;
            Ok(TokioIo::new(Stream::Tls(Box::new(TlsStream::Client(stream)))))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use nix::sys::socket::{getsockopt, sockopt};

    use super::*;

    #[tokio::test]
    async fn connections_notice_that_the_other_side_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut connector = Connector::new(DEAD, None);
        let stream = connector.call(url.parse().unwrap()).await.unwrap().into_inner();
        let Stream::Plain(stream) = stream else {
            panic!("http is plain")
        };
        assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
        assert_eq!(getsockopt(&stream, sockopt::TcpKeepIdle).unwrap(), 2);
        assert_eq!(getsockopt(&stream, sockopt::TcpKeepInterval).unwrap(), 1);
        assert_eq!(getsockopt(&stream, sockopt::TcpUserTimeout).unwrap(), 5000);
    }
}
