//! Keeping v3's leases: the leader knows in memory until when each lasts, and proposes the end of those that run out. Signs
//! of life go to the leader and never into the log; every member passes on those of its clients.
//!
//! What ends, and when, is decided in [`corten_store::lessor`]. What that relies on is done here: a leader begins when it
//! has applied all that earlier ones were told, and it believes a sign of life, or its absence, only after a majority has
//! confirmed that it leads in the same term still.

mod term;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use corten_store::kv::{self, LeaseId};
use corten_store::lessor::{self, Deadlines};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::{Node, PeerError, ProposeError};

/// Where the leader is asked.
const PATH: &str = "/corten/v1/lease";
/// How long a question may wait for a leader: etcd's request timeout.
const TIMEOUT: Duration = Duration::from_secs(7);
/// The pause before the leader is asked again, and before a term is begun again.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest the loop goes without a turn.
const TURN: Duration = Duration::from_secs(2);
/// Signs of life that may wait.
const WAITING: usize = 8192;

/// What the leader is asked.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Question {
    /// The owner of this lease lives.
    Renew(LeaseId),
    /// How long does it last?
    Left(LeaseId),
}

/// Seconds: the TTL of a renewed lease, or what is left of it; `None`: there is no such lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Answer(Option<i64>);

/// The leases of a node's clients. Clones are handles to the same.
#[derive(Clone)]
pub struct Lessor {
    node: Node,
    /// Where the clock of the deadlines begins.
    origin: Instant,
    /// `None` while another node leads.
    deadlines: Arc<Mutex<Option<Deadlines>>>,
    renewals: mpsc::Sender<Renewal>,
}

/// A sign of life on its way to the loop.
struct Renewal {
    id: LeaseId,
    answer: oneshot::Sender<Answer>,
}

/// Signs of life, for [`run`].
pub struct Renewals(mpsc::Receiver<Renewal>);

impl Lessor {
    /// The lessor of a node; the signs of life belong to [`run`].
    pub fn new(node: Node) -> (Lessor, Renewals) {
        let (renewals, waiting) = mpsc::channel(WAITING);
        let lessor = Lessor {
            node,
            origin: Instant::now(),
            deadlines: Arc::default(),
            renewals,
        };
        (lessor, Renewals(waiting))
    }

    /// The TTL that is granted when `ttl_s` is asked for, in seconds.
    pub fn granted(&self, ttl_s: i64) -> i64 {
        lessor::granted(ttl_s, self.node.inner.config.election_ms)
    }

    /// Renews a lease, wherever the leader is; its TTL in seconds, `None` if there is no such lease.
    ///
    /// # Errors
    /// When no leader could be reached.
    pub async fn renew(&self, id: LeaseId) -> Result<Option<i64>, ProposeError> {
        self.ask(Question::Renew(id)).await
    }

    /// How many seconds a lease lasts; `None` if there is no such lease. What was acknowledged before this call is then in
    /// this node's state, too.
    ///
    /// # Errors
    /// When no leader could be reached.
    pub async fn left(&self, id: LeaseId) -> Result<Option<i64>, ProposeError> {
        // Whoever leads no more, and has not noticed, knows nothing of the leases its successor granted.
        self.node.linearize().await?;
        self.ask(Question::Left(id)).await
    }

    /// The route, for the peer listener.
    pub fn peer_router(&self) -> Router {
        Router::new().route(PATH, post(asked)).with_state(self.clone())
    }

    async fn ask(&self, question: Question) -> Result<Option<i64>, ProposeError> {
        let asking = async {
            loop {
                if let Some(Answer(seconds)) = self.ask_once(question).await {
                    return seconds;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let answered = tokio::time::timeout(TIMEOUT, asking).await;
        answered.map_err(|_| ProposeError::Timeout)
    }

    async fn ask_once(&self, question: Question) -> Option<Answer> {
        if let Some(answer) = self.answer(question).await {
            return Some(answer);
        }
        let body = serde_json::to_vec(&question).ok()?;
        match self.node.post_to_leader(PATH, body).await {
            Ok(answer) => serde_json::from_slice(&answer).ok(),
            Err(PeerError::IsMe | PeerError::NoLeader) => None,
            Err(error) => {
                tracing::debug!(%error, "the leader was not asked about a lease");
                None
            }
        }
    }

    /// As the leader; `None` while another node leads.
    async fn answer(&self, question: Question) -> Option<Answer> {
        match question {
            Question::Renew(id) => {
                self.lock().as_ref()?;
                let (answer, answered) = oneshot::channel();
                self.renewals.send(Renewal { id, answer }).await.ok()?;
                answered.await.ok()
            }
            Question::Left(id) => {
                let left = self.with(|leases| leases.left(id, self.now()))?;
                let whole = |left: Duration| i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
                match left {
                    Some(left) => Some(Answer(Some(whole(left)))),
                    // It may have been granted a moment ago.
                    None => self.node.read(|tx| kv::lease(tx, id)).ok().map(Answer),
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Deadlines>> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the deadlines, while this node leads.
    fn with<T>(&self, f: impl FnOnce(&mut Deadlines) -> T) -> Option<T> {
        self.lock().as_mut().map(f)
    }
}

async fn asked(
    State(lessor): State<Lessor>,
    question: Bytes,
) -> Result<Json<Answer>, (StatusCode, &'static str)> {
    let question = serde_json::from_slice(&question)
        .map_err(|_| (StatusCode::BAD_REQUEST, "this is no question about a lease\n"))?;
    let answer = lessor.answer(question).await;
    answer
        .map(Json)
        .ok_or((StatusCode::MISDIRECTED_REQUEST, "this node does not lead\n"))
}

/// Runs for the node's life, or until it is dropped; acts while this node leads. `turn` is called at each turn of the loop,
/// at least every three seconds.
pub async fn run(lessor: Lessor, renewals: Renewals, turn: impl Fn() + Send + Sync) {
    let Renewals(mut renewals) = renewals;
    let mut leader = lessor.node.leader();
    loop {
        turn();
        leader.mark_unchanged();
        let term = lessor.node.leading_term();
        if let Some(term) = term {
            term::lead(&lessor, &mut renewals, term, &turn).await;
        }
        tokio::select! {
            changed = leader.changed() => if changed.is_err() { return },
            // Dropped: the asker looks for the leader again.
            _ = renewals.recv() => {}
            () = tokio::time::sleep(if term.is_some() { PAUSE } else { TURN }) => {}
        }
    }
}
