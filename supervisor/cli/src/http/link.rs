//! One server, at most one connection to it, opened when first needed and kept for what follows.
//!
//! The danger: a kept connection may be closed by the server between two requests. A request is repeated on a new
//! connection only where that cannot do a thing twice (GET), or where the old connection was seen to be closed before
//! anything was sent.

use std::process::Stdio;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::process::Child;
use tokio::time::timeout;

use super::endpoint::{Target, join_host_port};
use super::error::{DialError, SendError};
use super::exchange::{Request, Response};
use super::overheard::{Overheard, REASON};
use super::ssh_words::ssh_advice;
use super::tls::{self, TlsSetup};

/// The time a child has to end after it closed the connection.
const CHILD_GRACE: Duration = Duration::from_secs(2);
/// ssh ends with it for a fault of its own.
const SSH_FAULT: i32 = 255;

/// How a connection is made.
#[derive(Debug, Clone)]
pub(crate) enum Dial {
    /// Straight to a server.
    To(Target, Option<TlsSetup>),
    /// Through a child program whose standard input and output are the connection.
    Through {
        /// The program and its arguments.
        argv: Vec<String>,
        /// What stands in the Host header.
        host: String,
    },
}

/// A server and our connection to it.
#[derive(Debug)]
pub(crate) struct Link {
    dial: Dial,
    dial_timeout: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// Killed when dropped.
    child: Option<Carrier>,
}

/// A child that is a connection, and what it says of it.
type Carrier = (Child, Overheard);

/// What carries bytes both ways.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Link {
    /// A link that has not been dialled yet; `dial_timeout` bounds the making of each connection.
    pub(crate) fn new(dial: Dial, dial_timeout: Duration) -> Link {
        Link {
            dial,
            dial_timeout,
            open: None,
        }
    }

    /// Sends `request` and reads the whole answer.
    pub(crate) async fn send(&mut self, request: &Request) -> Result<Response, SendError> {
        let reused = self.open.as_ref().is_some_and(|open| !open.sender.is_closed());
        match self.exchange(request).await {
            Err(SendError::Http(_)) if reused && request.is_repeatable() => {
                self.open = None;
                self.exchange(request).await
            }
            other => other,
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<Response, SendError> {
        let outgoing = request.to_hyper(&self.host())?;
        let mut open = match self.usable().await {
            Some(open) => open,
            None => self.connect().await?,
        };
        match converse(&mut open.sender, outgoing).await {
            Ok(answer) => {
                self.open = Some(open);
                Ok(answer)
            }
            Err(error) => Err(self.explain(open, error).await),
        }
    }

    /// A child that has ended tells more by its exit code than the connection it cut.
    async fn explain(&self, open: Open, error: hyper::Error) -> SendError {
        if let (Dial::Through { argv, .. }, Some((mut child, heard))) = (&self.dial, open.child)
            && let Ok(Ok(status)) = timeout(CHILD_GRACE, child.wait()).await
        {
            let program = argv.first().cloned().unwrap_or_default();
            let (code, words) = (status.code(), heard.words(REASON));
            return SendError::Tunnel {
                program,
                code,
                advice: ssh_advice(&words).filter(|_| code == Some(SSH_FAULT)),
            };
        }
        SendError::Http(error)
    }

    /// The kept connection, if the server has kept it too.
    async fn usable(&mut self) -> Option<Open> {
        let mut open = self.open.take()?;
        open.sender.ready().await.ok()?;
        Some(open)
    }

    fn host(&self) -> String {
        match &self.dial {
            Dial::To(target, _) => target.authority(),
            Dial::Through { host, .. } => host.clone(),
        }
    }

    async fn connect(&self) -> Result<Open, SendError> {
        let (wire, child) = match &self.dial {
            Dial::To(target, tls) => {
                let dialled = timeout(self.dial_timeout, dial(target, tls.as_ref())).await;
                (
                    dialled.map_err(|_| DialError::Timeout {
                        what: describe(target),
                    })??,
                    None,
                )
            }
            Dial::Through { argv, .. } => {
                let (wire, child) = spawn(argv)?;
                (wire, Some(child))
            }
        };
        let (sender, connection) = handshake(TokioIo::new(wire)).await?;
        // The task ends with the connection; its error is what the sender reports too.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Open { sender, child })
    }
}

fn describe(target: &Target) -> String {
    match target {
        Target::Unix(path) => format!("unix {}", path.display()),
        Target::Tcp { host, port, .. } => format!("tcp {}", join_host_port(host, *port)),
    }
}

/// Connects to a server, with TLS where its address says so.
pub(crate) async fn dial(target: &Target, tls: Option<&TlsSetup>) -> Result<Box<dyn Wire>, DialError> {
    match target {
        Target::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            Ok(Box::new(stream.map_err(|source| DialError::Unix {
                path: path.clone(),
                source,
            })?))
        }
        Target::Tcp {
            host,
            port,
            tls: false,
        } => Ok(Box::new(dial_tcp(host, *port).await?)),
        Target::Tcp {
            host,
            port,
            tls: true,
        } => {
            let setup = tls.cloned().unwrap_or_default();
            let stream = dial_tcp(host, *port).await?;
            Ok(Box::new(tls::wrap(stream, host, &setup).await?))
        }
    }
}

async fn dial_tcp(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let no_host = |_| DialError::Lookup {
        host: host.to_owned(),
    };
    let mut last = DialError::Lookup {
        host: host.to_owned(),
    };
    for address in lookup_host((host, port)).await.map_err(no_host)? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A failure to switch Nagle off costs time, not correctness.
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Err(source) => {
                last = DialError::Tcp {
                    address: address.to_string(),
                    source,
                }
            }
        }
    }
    Err(last)
}

fn spawn(argv: &[String]) -> Result<(Box<dyn Wire>, Carrier), DialError> {
    let program = argv.first().cloned().unwrap_or_default();
    let spawning = |source| DialError::Spawn {
        program: program.clone(),
        source,
    };
    let (heard, stderr) = Overheard::new().map_err(spawning)?;
    let mut child = tokio::process::Command::new(&program)
        .args(argv.iter().skip(1))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .map_err(spawning)?;
    let output = child
        .stdout
        .take()
        .expect("standard output was asked for as a pipe");
    let input = child
        .stdin
        .take()
        .expect("standard input was asked for as a pipe");
    Ok((Box::new(tokio::io::join(output, input)), (child, heard)))
}

async fn converse(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> Result<Response, hyper::Error> {
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}
