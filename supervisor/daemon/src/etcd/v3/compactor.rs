//! Compaction by itself: revisions that are old, or too many, go. Every member watches, the leader proposes.
//!
//! | mode | what goes |
//! |---|---|
//! | periodic | what was superseded longer ago than the retention; looked at ten times in it, so at most a tenth late |
//! | revision | all but the last so many; looked at every five minutes, as etcd does |

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use corten_raft::Node;
use corten_store::{Command, Response, kv};

use crate::pulse::{BEAT, Pulse};
use crate::settings::AutoCompaction;
use crate::stop::Stop;

/// etcd's, with the mode `revision`.
const REVISIONS_EVERY: Duration = Duration::from_secs(300);
/// With the mode `periodic` the revision is remembered so many times in the retention.
const LOOKS: u32 = 10;

/// Runs for the member's life.
pub async fn run(node: Node, mode: AutoCompaction, pulse: Pulse, mut stop: Stop) {
    let mut rule = Rule::new(mode);
    loop {
        pulse.beat();
        let standing = node.read(|tx| Ok((kv::revision(tx)?, kv::compact_revision(tx)?)));
        if let Ok((revision, compacted)) = standing
            && let Some(upto) = rule.due(Instant::now(), revision)
            && upto > compacted
            && let Some(term) = node.leading_term()
        {
            let compact = Command::Kv(kv::Command::Compact { revision: upto });
            match node.propose_leading(term, &compact).await {
                Ok(Response::Kv(Ok(_))) => tracing::info!("revisions before {upto} are compacted"),
                other => tracing::debug!(?other, "nothing could be compacted yet"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT.min(rule.every)) => {}
            () = stop.stopped() => return,
        }
    }
}

/// What shall go, and when it is looked at.
#[derive(Debug)]
struct Rule {
    mode: AutoCompaction,
    every: Duration,
    looked: Option<Instant>,
    /// Revisions as of some times.
    seen: VecDeque<(Instant, i64)>,
}

impl Rule {
    fn new(mode: AutoCompaction) -> Rule {
        let every = match mode {
            AutoCompaction::Off => Duration::MAX,
            AutoCompaction::Periodic(retention) => (retention / LOOKS).max(Duration::from_millis(1)),
            AutoCompaction::Revision(_) => REVISIONS_EVERY,
        };
        Rule {
            mode,
            every,
            looked: None,
            seen: VecDeque::new(),
        }
    }

    /// Up to where to compact now, the store being at `revision`.
    fn due(&mut self, now: Instant, revision: i64) -> Option<i64> {
        if self
            .looked
            .is_some_and(|at| now.saturating_duration_since(at) < self.every)
        {
            return None;
        }
        self.looked = Some(now);
        match self.mode {
            AutoCompaction::Off => None,
            AutoCompaction::Revision(kept) => {
                let upto = revision.saturating_sub(i64::try_from(kept).unwrap_or(i64::MAX));
                (upto > 0).then_some(upto)
            }
            AutoCompaction::Periodic(retention) => {
                self.seen.push_back((now, revision));
                let old = |seen: &(Instant, i64)| now.saturating_duration_since(seen.0) >= retention;
                let mut upto = None;
                while self.seen.front().is_some_and(old) {
                    upto = self.seen.pop_front().map(|(_, revision)| revision);
                }
                upto
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_retention_goes() {
        let (mut rule, begun) = (
            Rule::new(AutoCompaction::Periodic(Duration::from_secs(100))),
            Instant::now(),
        );
        let at = |s| begun + Duration::from_secs(s);
        for second in 0..100 {
            let revision = 1 + i64::try_from(second).unwrap_or(0);
            assert_eq!(rule.due(at(second), revision), None, "{second}");
        }
        assert_eq!(rule.due(at(100), 101), Some(1));
        assert_eq!(rule.due(at(105), 106), None);
        assert_eq!(rule.due(at(110), 111), Some(11));
        // After a pause, everything that is old enough goes at once.
        assert_eq!(rule.due(at(205), 112), Some(101));
    }

    #[test]
    fn the_last_revisions_stay() {
        let (mut rule, begun) = (Rule::new(AutoCompaction::Revision(10)), Instant::now());
        assert_eq!(rule.due(begun, 9), None);
        assert_eq!(rule.due(begun + Duration::from_secs(10), 100), None);
        assert_eq!(rule.due(begun + REVISIONS_EVERY, 100), Some(90));
        assert_eq!(Rule::new(AutoCompaction::Off).due(begun, 100), None);
    }
}
