//! One line of the log for a request that took too long, with where the time went; many of them become one line.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use corten_store::Command;

use crate::ProposeError;
use crate::observe::Spent;

/// After a line, the next one comes this much later at the earliest.
const PAUSE: Duration = Duration::from_secs(10);

/// Says which requests are slow.
#[derive(Debug)]
pub(crate) struct Slow {
    limit: Duration,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    /// How many were slow since, and the slowest of them.
    unsaid: u64,
    slowest: Duration,
}

impl Slow {
    pub fn new(limit: Duration) -> Slow {
        Slow {
            limit,
            said: Mutex::default(),
        }
    }

    /// Says how a proposal went, if it took too long.
    pub fn proposal(&self, command: &Command, took: Duration, went: Result<Spent, &ProposeError>) {
        if took < self.limit {
            return;
        }
        let Some(more) = self.may_say(took, Instant::now()) else {
            return;
        };
        match went {
            Ok(spent) => {
                let Spent {
                    waiting,
                    log_sync,
                    replication,
                    apply,
                } = spent;
                let rest = took.saturating_sub(waiting + log_sync + replication + apply);
                tracing::warn!(
                    "{command} took too long ({took:.1?}): waited {waiting:.1?} for a place, log sync {log_sync:.1?}, \
                     replication {replication:.1?}, apply {apply:.1?}, on the way {rest:.1?}{more}"
                );
            }
            Err(error) => tracing::warn!("{command} took too long ({took:.1?}) and failed: {error}{more}"),
        }
    }

    /// Says how a linearizable read went, if it took too long: until the leader had proven that it leads, and until this
    /// node had applied what that asks for.
    pub fn read(&self, took: Duration, confirmed: Result<Duration, &ProposeError>) {
        if took < self.limit {
            return;
        }
        let Some(more) = self.may_say(took, Instant::now()) else {
            return;
        };
        match confirmed {
            Ok(confirmed) => tracing::warn!(
                "a linearizable read took too long ({took:.1?}): the leader's word {confirmed:.1?}, apply {:.1?}{more}",
                took.saturating_sub(confirmed)
            ),
            Err(error) => {
                tracing::warn!("a linearizable read took too long ({took:.1?}) and failed: {error}{more}")
            }
        }
    }

    /// Whether a line may be said now, and what stands at its end.
    fn may_say(&self, took: Duration, now: Instant) -> Option<More> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < PAUSE)
        {
            said.unsaid += 1;
            said.slowest = said.slowest.max(took);
            return None;
        }
        let more = More(said.unsaid, said.slowest);
        *said = Said {
            at: Some(now),
            ..Said::default()
        };
        Some(more)
    }
}

/// What was not said before.
#[derive(Debug, PartialEq, Eq)]
struct More(u64, Duration);

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            More(0, _) => Ok(()),
            More(count, slowest) => write!(f, "; {count} more since the last such line, up to {slowest:.1?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_become_one_line() {
        let slow = Slow::new(Duration::from_millis(100));
        let (begun, ms) = (Instant::now(), Duration::from_millis);
        let first = slow.may_say(ms(150), begun);
        assert_eq!(first.map(|more| more.to_string()), Some(String::new()));
        assert_eq!(slow.may_say(ms(900), begun + ms(1)), None);
        assert_eq!(slow.may_say(ms(200), begun + ms(9_999)), None);
        let next = slow.may_say(ms(150), begun + PAUSE);
        assert_eq!(
            next.map(|more| more.to_string()).as_deref(),
            Some("; 2 more since the last such line, up to 900.0ms")
        );
        assert_eq!(slow.may_say(ms(150), begun + PAUSE), None);
    }
}
