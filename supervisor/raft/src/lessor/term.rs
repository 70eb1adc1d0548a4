//! One term of leading.

use std::sync::Arc;
use std::time::Duration;

use corten_store::auth::Caller;
use corten_store::kv::{self, LeaseId};
use corten_store::lessor::Deadlines;
use corten_store::{Command, Event, Response};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

use super::{Answer, Lessor, PAUSE, Renewal, TURN, WAITING};
use crate::AppliedBatch;

/// How long the proof of leading may take.
const PROOF: Duration = Duration::from_secs(1);

/// Ends of leases under way, and whether each is written.
type Ends = JoinSet<(LeaseId, bool)>;

/// Whether the state machine's answer to the end of a lease means that there is no such lease any more. It may refuse:
/// while there is an alarm that the data is corrupt it changes nothing.
fn is_gone(id: LeaseId, answer: &Response) -> bool {
    match answer {
        Response::Kv(Ok(_) | Err(kv::Error::LeaseNotFound)) => true,
        refused => {
            tracing::debug!(?refused, "lease {id:x} could not end yet");
            false
        }
    }
}

/// A term of this node's.
struct Term<'l> {
    lessor: &'l Lessor,
    number: u64,
    events: broadcast::Receiver<Arc<AppliedBatch>>,
}

impl Drop for Term<'_> {
    fn drop(&mut self) {
        *self.lessor.lock() = None;
    }
}

/// Leads for as long as this node does in `term`, or until the deadlines must be made anew.
pub(super) async fn lead(
    lessor: &Lessor,
    renewals: &mut mpsc::Receiver<Renewal>,
    term: u64,
    turn: &(impl Fn() + Send + Sync),
) {
    let mut term = Term {
        lessor,
        number: term,
        events: lessor.node.events(),
    };
    if !term.begins(turn).await {
        return;
    }
    let mut leader = lessor.node.leader();
    let mut ends = Ends::new();
    while term.goes_on() {
        turn();
        if lessor.with(|leases| leases.is_due(lessor.now())) == Some(true) {
            // Whoever has spoken up by now shall be heard first.
            if let Ok(first) = renewals.try_recv()
                && !term.renew(first, renewals).await
            {
                return;
            }
            term.end_due(&mut ends).await;
        }
        let next = lessor.with(|leases| leases.next()).flatten();
        let wait = next.map_or(TURN, |at| at.saturating_sub(lessor.now()));
        tokio::select! {
            first = renewals.recv() => match first {
                Some(first) => if !term.renew(first, renewals).await { return },
                None => return,
            },
            batch = term.events.recv() => if !term.note(batch) { return },
            Some(ended) = ends.join_next() => if let Ok((id, written)) = ended {
                lessor.with(|leases| leases.ended(id, written, lessor.now()));
            },
            _ = leader.changed() => {}
            () = tokio::time::sleep(wait.min(TURN)) => {}
        }
    }
}

impl Term<'_> {
    /// Makes the deadlines; false when this node leads no more, or the leases cannot be read.
    async fn begins(&self, turn: &(impl Fn() + Send + Sync)) -> bool {
        let node = &self.lessor.node;
        // Every lease earlier leaders granted must be known before the first deadline.
        while !matches!(tokio::time::timeout(TURN, node.linearize()).await, Ok(Ok(()))) {
            turn();
            tokio::time::sleep(PAUSE).await;
            if !self.goes_on() {
                return false;
            }
        }
        match node.read(|tx| kv::leases(tx)) {
            Ok(leases) => {
                *self.lessor.lock() = Some(Deadlines::begin(leases, self.lessor.now()));
                true
            }
            Err(error) => {
                tracing::error!(%error, "the leases cannot be read");
                false
            }
        }
    }

    fn goes_on(&self) -> bool {
        self.lessor.node.inner.leads_in(self.number)
    }

    /// Takes note of leases that were granted or revoked; false when some of that was missed.
    fn note(&self, batch: Result<Arc<AppliedBatch>, RecvError>) -> bool {
        let Some(batch) = batch.ok().filter(|batch| !batch.reset) else {
            return false;
        };
        for event in &batch.events {
            if let Event::Lease(id, ttl_s) = event {
                self.lessor
                    .with(|leases| leases.note(*id, *ttl_s, self.lessor.now()));
            }
        }
        true
    }

    /// Renews all leases whose owners wait, with one proof that this node leads. Without it nobody is answered: the askers
    /// look for the leader again, and nothing ends before they can have found it. False when the deadlines must be made anew.
    async fn renew(&mut self, first: Renewal, renewals: &mut mpsc::Receiver<Renewal>) -> bool {
        let mut waiting = vec![first];
        while waiting.len() < WAITING
            && let Ok(next) = renewals.try_recv()
        {
            waiting.push(next);
        }
        if !self.is_proven().await {
            self.lessor.with(|leases| leases.unproven(self.lessor.now()));
            return true;
        }
        // What was granted or revoked before the owners spoke up is among these.
        loop {
            match self.events.try_recv() {
                Ok(batch) => {
                    if !self.note(Ok(batch)) {
                        return false;
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(_) => return false,
            }
        }
        let now = self.lessor.now();
        for Renewal { id, answer } in waiting {
            if let Some(renewed) = self.lessor.with(|leases| leases.renew(id, now)) {
                let _ = answer.send(Answer(renewed)); // the asker may have gone
            }
        }
        true
    }

    /// Proposes the end of leases that have run out.
    async fn end_due(&self, ends: &mut Ends) {
        let lessor = self.lessor;
        // Whoever was heard a moment ago lives, or will be heard again.
        if lessor.with(|leases| leases.is_due(lessor.now())) != Some(true) {
            return;
        }
        if !self.is_proven().await {
            lessor.with(|leases| leases.unproven(lessor.now()));
            return;
        }
        let due = lessor.with(|leases| leases.end_due(lessor.now()));
        for id in due.unwrap_or_default() {
            tracing::debug!("lease {id:x} has run out");
            let (node, term) = (lessor.node.clone(), self.number);
            ends.spawn(async move {
                let revoke = Command::KvAs(Caller::Server, kv::Command::LeaseRevoke { id });
                let answer = node.propose_leading(term, &revoke).await;
                (id, answer.is_ok_and(|answer| is_gone(id, &answer)))
            });
        }
    }

    /// Whether this node has led in this term until now, or until after this was called.
    async fn is_proven(&self) -> bool {
        let proof = self.lessor.node.proves_to_lead();
        tokio::time::timeout(PROOF, proof).await == Ok(true) && self.goes_on()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use corten_store::kv;
    use tokio::sync::oneshot;

    use super::*;
    use crate::lessor::Renewals;
    use crate::{Config, Node};

    #[tokio::test(flavor = "multi_thread")]
    async fn an_owner_who_is_heard_while_there_is_no_proof_does_not_lose_its_lease() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new("n0", folder.path());
        config.initial_cluster = vec![("n0".to_owned(), "http://127.0.0.1:1".to_owned())];
        let node = Node::start(config).await.unwrap();
        let grant = Command::Kv(kv::Command::LeaseGrant { id: 7, ttl_s: 1 });
        node.propose(grant).await.unwrap();
        let (lessor, Renewals(mut renewals)) = Lessor::new(node.clone());
        let mut term = Term {
            lessor: &lessor,
            number: node.leading_term().unwrap(),
            events: node.events(),
        };
        assert!(term.begins(&|| {}).await);
        let due = lessor.with(|leases| leases.next()).flatten().unwrap();
        tokio::time::sleep_until(lessor.origin + due).await;

        // It hands over, and so proves nothing; a moment later it leads on.
        node.inner.change_silence(|reasons| reasons.hands_over = true);
        let (answer, answered) = oneshot::channel();
        assert!(term.renew(Renewal { id: 7, answer }, &mut renewals).await);
        assert!(answered.await.is_err(), "nobody says that it is renewed");
        node.inner.change_silence(|reasons| reasons.hands_over = false);
        let mut ends = Ends::new();
        term.end_due(&mut ends).await;
        assert!(ends.is_empty(), "the lease ends beside its owner's sign of life");

        // The owner asks again.
        let (answer, answered) = oneshot::channel();
        assert!(term.renew(Renewal { id: 7, answer }, &mut renewals).await);
        assert_eq!(answered.await, Ok(Answer(Some(1))));
        node.shutdown().await;
    }
}
