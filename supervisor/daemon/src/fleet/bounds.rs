//! What fleet's API takes on at a time, so that no client costs more than a bounded memory, or keeps others from being
//! served for longer than it takes to find out.
//!
//! | bound | beyond it |
//! |---|---|
//! | connections | they wait in the kernel |
//! | time in which a connection brings no request | it is closed |
//! | requests under way, until their answers are on their way | 503 |
//! | bodies being read | they wait their turn; 503 when it does not come |
//! | a body's length, and the time it takes to come | 400; it is read to its end, so that the answer is heard |
//! | lists being made | they wait their turn |
//! | memory of answers that are being read | further answers wait |
//! | time in which nothing of an answer is read | the connection is closed |
//!
//! fleet had none of these. The answers are its own errors in form.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use bytes::{Bytes, BytesMut};
use corten_spec::unit_file::SIZE_MAX;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::answer::Refusal;
use crate::http::Limits;

/// The longest body that is kept: the longest unit, and what JSON adds to it.
const BODY_LIMIT: usize = 4 << 20;
/// The longest that is read to its end.
const DRAIN_LIMIT: usize = 64 << 20;
/// In such pieces an answer goes to its connection, and its memory is counted.
const PIECE: usize = 64 << 10;

/// The numbers.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// Connections.
    pub connections: usize,
    /// Time for a request's head to come, and between requests of a connection.
    pub head: Duration,
    /// Requests under way.
    pub requests: usize,
    /// Bodies being read.
    pub bodies: usize,
    /// Time for a body to come, and for its turn to be read.
    pub body: Duration,
    /// Lists being made, each a copy of all units.
    pub lists: usize,
    /// Pieces of answers that are being read.
    pub pieces: u32,
    /// Time without anything of an answer being read.
    pub stall: Duration,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers {
            connections: 512,
            head: Duration::from_secs(30),
            requests: 256,
            bodies: 16,
            body: Duration::from_secs(30),
            lists: 4,
            // 64 MiB
            pieces: 1024,
            stall: Duration::from_secs(60),
        }
    }
}

/// The places there are.
#[derive(Clone)]
pub struct Bounds {
    numbers: Numbers,
    requests: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    pieces: Arc<Semaphore>,
}

impl Bounds {
    /// All of them free.
    pub fn new(numbers: Numbers) -> Bounds {
        let places = |count| Arc::new(Semaphore::new(count));
        Bounds {
            numbers,
            requests: places(numbers.requests),
            bodies: places(numbers.bodies),
            lists: places(numbers.lists),
            pieces: places(numbers.pieces as usize),
        }
    }

    /// What the listener keeps to.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.numbers.connections,
            stall: Some(self.numbers.stall),
            head: self.numbers.head,
            // fleet's server had HTTP/1 only, in which an answer that is not read stalls its connection.
            http1_only: true,
        }
    }

    /// A place for a request.
    ///
    /// # Errors
    /// 503 if there is none.
    pub fn request(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.requests)
            .try_acquire_owned()
            .map_err(|_| self.full())
    }

    fn full(&self) -> Refusal {
        let message = format!("too many requests at once, at most {}", self.numbers.requests);
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// A turn to make a list.
    pub async fn list(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes it.
        Arc::clone(&self.lists).acquire_owned().await.ok()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// 400 for one that is too long or does not come, 503 if others' are in the way.
    pub async fn body(&self, body: Body) -> Result<Bytes, Refusal> {
        let limit = self.numbers.body;
        let turn = timeout(limit, self.bodies.acquire()).await;
        let _turn = turn.map_err(|_| self.full())?;
        timeout(limit, collect(body)).await.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(undecodable(format!("it did not come within {seconds} s")))
        })
    }

    /// The answer, in memory that is counted until it is on its way.
    pub async fn keep(&self, answer: Response<Body>, place: OwnedSemaphorePermit) -> Response<Body> {
        let (head, body) = answer.into_parts();
        // It is in memory already.
        let rest = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let pieces = u32::try_from(rest.len().div_ceil(PIECE))
            .unwrap_or(u32::MAX)
            .min(self.numbers.pieces);
        let memory = Arc::clone(&self.pieces).acquire_many_owned(pieces).await.ok();
        let kept = Kept {
            rest,
            _places: (place, memory),
        };
        Response::from_parts(head, Body::new(kept))
    }
}

fn undecodable(why: impl std::fmt::Display) -> Refusal {
    Refusal::bad_request(format!("unable to decode body: {why}"))
}

/// What is too long is read too, or its client would write on and not hear why.
async fn collect(mut body: Body) -> Result<Bytes, Refusal> {
    let mut kept = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(undecodable)?.into_data() else {
            continue;
        };
        length += data.len();
        if length <= BODY_LIMIT {
            kept.extend_from_slice(&data);
        } else if length <= DRAIN_LIMIT {
            kept = BytesMut::new();
        } else {
            break;
        }
    }
    if length > BODY_LIMIT {
        return Err(undecodable(format!(
            "it is longer than {BODY_LIMIT} bytes; a unit file has at most {SIZE_MAX}"
        )));
    }
    Ok(kept.freeze())
}

/// An answer's body, and its places.
struct Kept {
    rest: Bytes,
    _places: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl hyper::body::Body for Kept {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
