//! Whether systemd answers. A machine on which it has not for longer than a lease lasts can run nothing, and says so to the
//! cluster until it does. Only a question counts: while it reads its files again, which may take minutes, it is asked none.
//!
//! An agent that has nothing to ask asks all the same once per TTL: what a machine is given that has noticed nothing would wait
//! there.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::systemd::SystemdError;

/// What is asked about when nothing is to be known: PID 1, which every systemd has among its units.
pub const ITSELF: &str = "init.scope";

/// Whether this machine can run units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Able {
    /// systemd could not be asked yet.
    NotYet,
    /// systemd answers.
    Well,
    /// systemd has not answered for longer than a lease lasts, or for a second to a supervisor that found units of ours.
    Blind,
}

/// What came of the questions to systemd.
#[derive(Debug)]
pub struct Answers {
    able: watch::Sender<Able>,
    ttl: Duration,
    /// The last one.
    last: Instant,
    /// When the first question was asked that stands without one.
    missing: Option<Instant>,
}

impl Answers {
    /// None yet; a lease lasts for `ttl`.
    pub fn new(able: watch::Sender<Able>, ttl: Duration) -> Answers {
        Answers {
            able,
            ttl,
            last: Instant::now(),
            missing: None,
        }
    }

    /// Is the last one so old that it says nothing of today?
    pub fn are_old(&self) -> bool {
        self.last.elapsed() >= self.ttl
    }

    /// Waits for one.
    pub async fn wait_for<T>(
        &mut self,
        question: impl Future<Output = Result<T, SystemdError>>,
    ) -> Result<T, SystemdError> {
        let late = *self.missing.get_or_insert_with(Instant::now) + self.ttl;
        let mut question = pin!(question);
        let answer = tokio::select! {
            biased;
            answer = &mut question => answer,
            () = sleep_until(late) => {
                self.say(Able::Blind);
                question.await
            }
        };
        if answer.is_ok() {
            self.came();
        } else if late <= Instant::now() {
            self.say(Able::Blind);
        }
        answer
    }

    /// None is waited for: this machine can run nothing, and says so at once.
    pub fn give_up(&self) {
        self.say(Able::Blind);
    }

    /// One has come.
    pub fn came(&mut self) {
        self.last = Instant::now();
        self.missing = None;
        self.say(Able::Well);
    }

    fn say(&self, now: Able) {
        let before = *self.able.borrow();
        if before == now {
            return;
        }
        match now {
            Able::Blind => {
                tracing::error!("systemd does not answer: this machine takes no units until it does")
            }
            _ if before == Able::Blind => tracing::info!("systemd answers again"),
            _ => {}
        }
        self.able.send_replace(now);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn blind_is_who_has_waited_longer_than_a_lease_lasts() {
        let (able, seen) = watch::channel(Able::NotYet);
        let mut answers = Answers::new(able, TTL);
        answers.came();
        assert_eq!(*seen.borrow(), Able::Well);
        let slow = async {
            tokio::time::sleep(TTL * 2).await;
            Ok(*seen.borrow())
        };
        assert_eq!(answers.wait_for(slow).await.unwrap(), Able::Blind);
        assert_eq!(*seen.borrow(), Able::Well);
        let quick = async {
            tokio::time::sleep(TTL / 2).await;
            Ok(*seen.borrow())
        };
        assert_eq!(answers.wait_for(quick).await.unwrap(), Able::Well);
    }
}
