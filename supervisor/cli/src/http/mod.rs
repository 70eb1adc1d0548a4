//! A small HTTP/1.1 client over anything that carries bytes: TCP, TLS, a unix socket, a child's standard input and
//! output (an SSH tunnel).
//!
//! Refuses to do: connection pools, redirects, proxies, retries of what may have been carried out. One [`Link`] holds
//! at most one connection and reuses it. Errors speak as Go's net package does, because the tools whose place we take
//! printed those texts and scripts look for them.

mod endpoint;
mod error;
mod exchange;
mod link;
mod overheard;
mod ssh_words;
mod tls;

pub(crate) use endpoint::{EndpointError, Target};
pub(crate) use error::{SendError, go_words};
pub(crate) use exchange::{Request, Response};
pub(crate) use link::{Dial, Link, Wire, dial};
pub(crate) use overheard::{Overheard, REASON, REST};
pub(crate) use ssh_words::ssh_advice;
pub(crate) use tls::{TlsFiles, TlsSetup};
