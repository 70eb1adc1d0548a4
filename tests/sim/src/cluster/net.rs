//! The network between the nodes: each request and each answer has a fate drawn from the seed. What TCP does not do to a
//! connection, this does not do to a forwarded proposal: it is never doubled.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use corten_raft::AskError;
use hyper::{Request, Response};

use super::machine::Reply;
use crate::rng::Rng;

/// The shortest way, in ms: nothing sent within a step arrives in it.
pub const FASTEST_MS: u64 = 2;
/// How long a connection may take to be made.
const CONNECT_MS: u64 = 2_000;
/// After so long a connection is broken whose other side confirms nothing: TCP's retransmissions, keepalive, user timeout.
const DEAD_MS: u64 = 5_000;

/// How messages fare now.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Of 100, how many are lost.
    pub lost: u64,
    /// Of 100, how many requests come twice.
    pub doubled: u64,
    /// Of 100, how many take long.
    pub late: u64,
    /// How long that is at most.
    pub late_ms: u64,
    /// Who does not reach whom.
    pub cut: BTreeSet<(usize, usize)>,
}

/// What happens to a message.
#[derive(Debug)]
pub enum Arrival {
    /// A request arrives.
    Request { to: usize, ticket: u64 },
    /// An answer arrives.
    Answer(u64, Result<Response<Bytes>, AskError>),
}

/// A request under way.
#[derive(Debug)]
struct UnderWay {
    since_ms: u64,
    from: usize,
    to: usize,
    url: String,
    request: Request<Bytes>,
    reply: Option<Reply>,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    pub weather: Weather,
    rng: Rng,
    next: u64,
    under_way: BTreeMap<u64, UnderWay>,
}

fn unreachable(url: &str, cause: &str) -> AskError {
    AskError::Unreachable {
        url: url.to_owned(),
        cause: cause.to_owned(),
    }
}

fn broken(url: &str, cause: &str) -> AskError {
    AskError::Broken {
        url: url.to_owned(),
        cause: cause.to_owned(),
    }
}

/// How a request's end of the connection came about.
#[derive(Debug)]
pub enum Served {
    /// With an answer.
    Answer(Response<Bytes>),
    /// The process died: the system closed its connections.
    Reset,
    /// The machine went off: nothing more comes from there.
    Silence,
}

impl Net {
    /// A network without faults.
    pub fn new(rng: Rng) -> Net {
        Net {
            weather: Weather::default(),
            rng,
            next: 0,
            under_way: BTreeMap::new(),
        }
    }

    fn takes_ms(&mut self) -> u64 {
        if self.rng.chance(self.weather.late) {
            FASTEST_MS + self.rng.range(0, self.weather.late_ms.max(1))
        } else {
            FASTEST_MS + self.rng.range(0, 3)
        }
    }

    /// Sends a request; what arrives of it, and when.
    pub fn ask(
        &mut self,
        at_ms: u64,
        from: usize,
        to: usize,
        request: Request<Bytes>,
        reply: Reply,
    ) -> Vec<(u64, Arrival)> {
        let ticket = self.next;
        self.next += 1;
        let path = request.uri().path();
        let may_double = !path.ends_with("/propose") && !path.ends_with("/members");
        let url = request.uri().to_string();
        let mut arrivals = Vec::new();
        if self.weather.cut.contains(&(from, to)) {
            // A connection that was there stays silent, and no new one is made.
            let gone = match self.rng.chance(50) {
                true => (CONNECT_MS, unreachable(&url, "connection timed out")),
                false => (DEAD_MS, broken(&url, "connection timed out")),
            };
            arrivals.push((at_ms + gone.0, Arrival::Answer(ticket, Err(gone.1))));
        } else if self.rng.chance(self.weather.lost) {
            arrivals.push(self.lost(ticket, at_ms, &url));
        } else {
            let times = 1 + u64::from(may_double && self.rng.chance(self.weather.doubled));
            for _ in 0..times {
                arrivals.push((at_ms + self.takes_ms(), Arrival::Request { to, ticket }));
            }
        }
        let reply = Some(reply);
        let under_way = UnderWay {
            since_ms: at_ms,
            from,
            to,
            url,
            request,
            reply,
        };
        self.under_way.insert(ticket, under_way);
        arrivals
    }

    /// The request that arrives.
    pub fn request(&self, ticket: u64) -> Option<Request<Bytes>> {
        self.under_way
            .get(&ticket)
            .map(|under_way| under_way.request.clone())
    }

    /// Nobody listens there.
    pub fn refuse(&mut self, ticket: u64, now_ms: u64) -> Option<(u64, Arrival)> {
        let url = self.under_way.get(&ticket)?.url.clone();
        let refused = Err(unreachable(&url, "connection refused"));
        Some((now_ms + self.takes_ms(), Arrival::Answer(ticket, refused)))
    }

    /// The message is lost with its connection, which shows sooner or later.
    fn lost(&mut self, ticket: u64, at_ms: u64, url: &str) -> (u64, Arrival) {
        let shows_ms = self.rng.range(FASTEST_MS, DEAD_MS);
        (
            at_ms + shows_ms,
            Arrival::Answer(ticket, Err(broken(url, "connection timed out"))),
        )
    }

    /// Sends back what became of a request.
    pub fn answer(&mut self, ticket: u64, at_ms: u64, served: Served) -> Option<(u64, Arrival)> {
        let under_way = self.under_way.get(&ticket)?;
        let (from, to, url) = (under_way.from, under_way.to, under_way.url.clone());
        let cut = self.weather.cut.contains(&(to, from));
        let answer = match served {
            Served::Silence => {
                let gone = Err(broken(&url, "connection timed out"));
                return Some((at_ms + DEAD_MS, Arrival::Answer(ticket, gone)));
            }
            _ if cut || self.rng.chance(self.weather.lost) => return Some(self.lost(ticket, at_ms, &url)),
            Served::Reset => Err(broken(&url, "connection reset")),
            Served::Answer(answer) => Ok(answer),
        };
        Some((at_ms + self.takes_ms(), Arrival::Answer(ticket, answer)))
    }

    /// An answer is there: the first one counts.
    pub fn arrived(&mut self, ticket: u64, answer: Result<Response<Bytes>, AskError>) {
        if let Some(mut under_way) = self.under_way.remove(&ticket)
            && let Some(reply) = under_way.reply.take()
        {
            let _ = reply.send(answer); // it may have been given up
        }
    }

    /// Forgets what nobody waits for any more.
    pub fn tidy(&mut self, now_ms: u64) {
        self.under_way.retain(|_, under_way| {
            // It may still arrive although nobody waits for the answer.
            now_ms < under_way.since_ms + CONNECT_MS
                || under_way.reply.as_ref().is_some_and(|reply| !reply.is_closed())
        });
    }
}
