//! Keeping leases: the leader knows in memory until when each lasts, and proposes the end of those that run out. Signs
//! of life go to the leader and never into the log; every member passes on those of its clients.
//!
//! A lease never ends early: deadlines start when the leader has seen the grant applied, a new leader begins with all of
//! them full, and a leader believes a sign of life, or its absence, only after it has proven that it still leads.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use corten_raft::{AppliedBatch, Leader, Node, PeerError, ProposeError};
use corten_store::auth::Caller;
use corten_store::{Command, Event, kv};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::deadlines::Deadlines;
use crate::pulse::{BEAT, Pulse};
use crate::stop::Stop;

/// Where the leader is asked.
const PATH: &str = "/corten/v1/lease";
/// How long a question may wait for a leader: etcd's request timeout.
const TIMEOUT: Duration = Duration::from_secs(7);
/// The pause before the leader is asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the proof of leading may take.
const PROOF: Duration = Duration::from_secs(1);
/// After the end of a lease could not be written.
const RETRY: Duration = Duration::from_millis(500);
/// Ends of leases under way at once.
const ENDING: usize = 64;
/// Signs of life that may wait.
const WAITING: usize = 8192;

/// What the leader is asked.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Question {
    /// The owner of this lease lives.
    Renew(i64),
    /// How long does it last?
    Left(i64),
}

/// Seconds: the TTL of a renewed lease, or what is left of it; `None`: there is no such lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Answer(Option<i64>);

/// The leases of this node's clients. Clones are handles to the same.
#[derive(Clone)]
pub struct Lessor {
    node: Node,
    /// `None` while another node leads.
    deadlines: Arc<Mutex<Option<Deadlines>>>,
    renewals: mpsc::Sender<Renewal>,
    min_ttl_s: i64,
}

/// A sign of life on its way to the loop.
#[derive(Debug)]
pub struct Renewal {
    id: i64,
    answer: oneshot::Sender<Answer>,
}

impl Lessor {
    /// A lessor on `node`; the receiver belongs to [`run`]. The shortest lease lasts one and a half elections, as with
    /// etcd, in whole seconds.
    pub fn new(node: Node, election_ms: u64) -> (Lessor, mpsc::Receiver<Renewal>) {
        let (renewals, waiting) = mpsc::channel(WAITING);
        let min_ttl_s = i64::try_from((election_ms * 3 / 2).div_ceil(1000)).unwrap_or(i64::MAX);
        let lessor = Lessor {
            node,
            deadlines: Arc::default(),
            renewals,
            min_ttl_s,
        };
        (lessor, waiting)
    }

    /// The TTL that is granted when `ttl_s` is asked for.
    pub fn granted(&self, ttl_s: i64) -> i64 {
        ttl_s.max(self.min_ttl_s)
    }

    /// Renews a lease, wherever the leader is; its TTL in seconds, `None` if there is no such lease.
    ///
    /// # Errors
    /// When no leader could be reached.
    pub async fn renew(&self, id: i64) -> Result<Option<i64>, ProposeError> {
        self.ask(Question::Renew(id)).await
    }

    /// How many seconds a lease lasts; `None` if there is no such lease.
    ///
    /// # Errors
    /// When no leader could be reached.
    pub async fn left(&self, id: i64) -> Result<Option<i64>, ProposeError> {
        self.ask(Question::Left(id)).await
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
                let left = self.lock().as_ref()?.left(id, Instant::now());
                let whole = |left: Duration| i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
                match left {
                    Some(left) => Some(Answer(Some(whole(left)))),
                    // It may have been granted a moment ago.
                    None => self.ttl(id).map(Answer),
                }
            }
        }
    }

    /// The TTL of a lease as the store has it.
    fn ttl(&self, id: i64) -> Option<Option<i64>> {
        self.node.read(|tx| kv::lease(tx, id)).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Deadlines>> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the deadlines, while this node leads.
    fn with<T>(&self, f: impl FnOnce(&mut Deadlines) -> T) -> Option<T> {
        self.lock().as_mut().map(f)
    }
}

/// The route, for the peer listener.
pub fn peer_router(lessor: Lessor) -> Router {
    Router::new().route(PATH, post(asked)).with_state(lessor)
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

/// Runs for the supervisor's life; acts while this node leads.
pub async fn run(lessor: Lessor, mut renewals: mpsc::Receiver<Renewal>, pulse: Pulse, mut stop: Stop) {
    let mut leader = lessor.node.leader();
    loop {
        pulse.beat();
        if leads(&leader) {
            let mut changes = leader.clone();
            tokio::select! {
                () = lead(&lessor, &mut renewals, &mut changes, &pulse) => {}
                () = stop.stopped() => break,
            }
            *lessor.lock() = None;
        }
        tokio::select! {
            changed = leader.changed() => if changed.is_err() { break },
            // Dropped: the asker looks for the leader again.
            _ = renewals.recv() => {}
            () = tokio::time::sleep(BEAT) => {}
            () = stop.stopped() => break,
        }
    }
    *lessor.lock() = None;
}

fn leads(leader: &watch::Receiver<Option<Leader>>) -> bool {
    leader.borrow().as_ref().is_some_and(|leader| leader.is_me)
}

/// One term of leading.
async fn lead(
    lessor: &Lessor,
    renewals: &mut mpsc::Receiver<Renewal>,
    leader: &mut watch::Receiver<Option<Leader>>,
    pulse: &Pulse,
) {
    let mut events = lessor.node.events();
    // Every lease earlier leaders granted must be known before the first deadline.
    while !matches!(
        tokio::time::timeout(BEAT, lessor.node.linearize()).await,
        Ok(Ok(()))
    ) {
        pulse.beat();
        tokio::time::sleep(PAUSE).await;
        if !leads(leader) {
            return;
        }
    }
    if !begin(lessor) {
        return;
    }
    let mut ends = JoinSet::new();
    // Until when nothing ends, because this node could not prove that it leads.
    let mut hold = Instant::now();
    while leads(leader) {
        pulse.beat();
        let next = |lessor: &Lessor| lessor.with(|leases| leases.next()).flatten();
        let is_due = |at: Instant| at.max(hold) <= Instant::now();
        if ends.len() < ENDING && next(lessor).is_some_and(is_due) {
            // Whoever has spoken up by now shall be heard first.
            if let Ok(first) = renewals.try_recv() {
                renew(lessor, first, renewals).await;
            }
            if !end_due(lessor, &mut ends).await {
                hold = Instant::now() + RETRY;
            }
        }
        let wait = match next(lessor) {
            Some(at) if ends.len() < ENDING => at.max(hold).saturating_duration_since(Instant::now()),
            _ => BEAT,
        };
        tokio::select! {
            first = renewals.recv() => match first {
                Some(first) => renew(lessor, first, renewals).await,
                None => return,
            },
            batch = events.recv() => if !note(lessor, batch) { return },
            Some(ended) = ends.join_next() => if let Ok((id, false)) = ended {
                lessor.with(|leases| leases.try_again(id, Instant::now() + RETRY));
            },
            _ = leader.changed() => {}
            () = tokio::time::sleep(wait.min(BEAT)) => {}
        }
    }
}

/// All leases, full; false when they cannot be read.
fn begin(lessor: &Lessor) -> bool {
    match lessor.node.read(|tx| kv::leases(tx)) {
        Ok(leases) => {
            let (mut deadlines, now) = (Deadlines::default(), Instant::now());
            for (id, ttl_s) in leases {
                deadlines.present(id, Some(ttl_s), now);
            }
            *lessor.lock() = Some(deadlines);
            true
        }
        Err(error) => {
            tracing::error!(%error, "the leases cannot be read");
            false
        }
    }
}

/// Takes note of leases that were granted or revoked; false when the deadlines must be made anew.
fn note(lessor: &Lessor, batch: Result<Arc<AppliedBatch>, RecvError>) -> bool {
    let batch = match batch {
        Ok(batch) if !batch.reset => batch,
        Err(RecvError::Closed) => return false,
        // Leases that are known keep their deadlines; what was missed is read.
        _ => return take_all(lessor),
    };
    for event in &batch.events {
        if let Event::Lease(id) = event
            && let Some(ttl_s) = lessor.ttl(*id)
        {
            lessor.with(|leases| leases.present(*id, ttl_s, Instant::now()));
        }
    }
    true
}

fn take_all(lessor: &Lessor) -> bool {
    let Ok(leases) = lessor.node.read(|tx| kv::leases(tx)) else {
        return false;
    };
    let (now, known) = (
        Instant::now(),
        leases.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>(),
    );
    lessor.with(|deadlines| {
        deadlines.keep_only(|id| known.contains(&id));
        for (id, ttl_s) in leases {
            deadlines.present(id, Some(ttl_s), now);
        }
    });
    true
}

/// Renews all leases whose owners wait, with one proof that this node leads. Without it nobody is answered: the askers
/// look for the leader again.
async fn renew(lessor: &Lessor, first: Renewal, renewals: &mut mpsc::Receiver<Renewal>) {
    let mut waiting = vec![first];
    while waiting.len() < WAITING
        && let Ok(next) = renewals.try_recv()
    {
        waiting.push(next);
    }
    if !proven(lessor).await {
        return;
    }
    let now = Instant::now();
    for Renewal { id, answer } in waiting {
        // It may have been granted a moment ago.
        let known = lessor.with(|leases| leases.knows(id)).unwrap_or(false);
        if !known && let Some(ttl_s) = lessor.ttl(id) {
            lessor.with(|leases| leases.present(id, ttl_s, now));
        }
        if let Some(renewed) = lessor.with(|leases| leases.renew(id, now)) {
            // The asker may have gone.
            let _ = answer.send(Answer(renewed));
        }
    }
}

async fn proven(lessor: &Lessor) -> bool {
    matches!(
        tokio::time::timeout(PROOF, lessor.node.proves_to_lead()).await,
        Ok(true)
    )
}

/// Proposes the end of leases that have run out; false if this node could not prove that it leads.
async fn end_due(lessor: &Lessor, ends: &mut JoinSet<(i64, bool)>) -> bool {
    let is_due = |leases: &mut Deadlines| leases.next().is_some_and(|at| at <= Instant::now());
    if !lessor.with(is_due).unwrap_or(false) {
        return true;
    }
    if !proven(lessor).await {
        return false;
    }
    let room = ENDING - ends.len();
    let due = lessor.with(|leases| leases.take_due(Instant::now(), room));
    for id in due.unwrap_or_default() {
        tracing::debug!("lease {id:x} has run out");
        let node = lessor.node.clone();
        ends.spawn(async move {
            let revoke = Command::KvAs(Caller::Server, kv::Command::LeaseRevoke { id });
            (id, node.propose_leading(&revoke).await.is_ok())
        });
    }
    true
}
