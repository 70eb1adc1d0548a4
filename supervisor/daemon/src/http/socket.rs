//! A TCP socket with TLS or without. Handshakes run beside each other: a slow one delays nobody.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use corten_raft::seldom::{Seldom, left_out};
use corten_raft::tls::Stream;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::tls::Acceptor;

/// Handshakes under way at once; further connections wait in the kernel.
const HANDSHAKES: usize = 512;

/// The socket.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpListener,
    tls: Option<Acceptor>,
    shaking: JoinSet<Option<(Stream, SocketAddr)>>,
    /// Whose handshakes failed.
    rejected: Arc<Seldom>,
}

impl Socket {
    /// Without TLS if there is no acceptor.
    pub fn new(tcp: TcpListener, tls: Option<Acceptor>) -> Socket {
        Socket {
            tcp,
            tls,
            shaking: JoinSet::new(),
            rejected: Arc::default(),
        }
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl From<TcpListener> for Socket {
    fn from(tcp: TcpListener) -> Socket {
        Socket::new(tcp, None)
    }
}

impl Listener for Socket {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            let room = self.shaking.len() < HANDSHAKES;
            tokio::select! {
                (stream, from) = Listener::accept(&mut self.tcp), if room => {
                    // Answers are small and waited for.
                    let _ = stream.set_nodelay(true);
                    let Some(tls) = self.tls.clone() else {
                        return (Stream::Plain(stream), from);
                    };
                    let rejected = Arc::clone(&self.rejected);
                    self.shaking.spawn(async move {
                        match tls.accept(stream).await {
                            Ok(stream) => Some((stream, from)),
                            Err(error) => {
                                say_rejected(&rejected, from, &error);
                                None
                            }
                        }
                    });
                }
                Some(done) = self.shaking.join_next(), if !self.shaking.is_empty() => {
                    if let Ok(Some(accepted)) = done {
                        return accepted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Says whose handshake failed; who fails tries again, often at once.
fn say_rejected(rejected: &Seldom, from: SocketAddr, error: &std::io::Error) {
    let subject = format!("{} {error}", from.ip());
    if let Some(times) = rejected.speaks_of(&subject, Instant::now()) {
        tracing::warn!(
            "rejected connection from {from} (error {error}){}",
            left_out(times)
        );
    }
}
