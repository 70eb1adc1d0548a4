//! Founding the cluster: every first member does so, with equal outcome.
//!
//! An empty data directory may be a first one or a lost one. A member that has forgotten what it acknowledged must not
//! answer as the same, so it takes no part, neither votes nor appends, until a majority of the first members, itself among
//! them, does not know it. One that cannot be reached says nothing. Whoever is known was here before: it forgets who it was,
//! and joins as a new member at its next start ([`crate::join`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use tokio::time::Instant;

use crate::identity;
use crate::inner::Inner;
use crate::join::{self, Known, Silent};
use crate::peer::client::Client;
use crate::types::Peer;

/// The pause before the others are asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// Who is waited for is said again this long after the last time, if that or the reason has changed,
const SAID_WHEN_CHANGED: Duration = Duration::from_secs(10);
/// and in any case after this.
const SAID: Duration = Duration::from_secs(60);

/// Returns when this node takes part, or is of no use.
pub(crate) async fn found(inner: Arc<Inner>) {
    let config = &inner.config;
    let all = identity::initial_members(config);
    let client = Client::of_stranger(inner.identity.cluster, config.peer_tls.clone(), &inner.world);
    let mut waiting = Waiting::default();
    loop {
        match join::who_knows(config, inner.identity.member, &client).await {
            Known::By(peer) => return forget(&inner, &peer),
            Known::To { strangers, .. } if strangers + 1 > all.len() / 2 => break,
            Known::To { silent, .. } => {
                if let Some(line) = waiting.line(all.len(), &silent, Instant::now()) {
                    tracing::info!("{line}");
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    let members: BTreeMap<u64, Peer> = all
        .into_iter()
        .map(|member| (member.id, Peer::voter(&member.peer_urls)))
        .collect();
    match inner.raft.initialize(members).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
            inner.takes_part.send_replace(true);
        }
        Err(e) => {
            let why = format!("the cluster could not be founded: {e}");
            inner.forgot.send_replace(Some(why));
        }
    }
}

/// What has been said of those that are waited for.
#[derive(Default)]
struct Waiting(Option<(Instant, Vec<Silent>)>);

impl Waiting {
    /// What is to be said now, if anything.
    fn line(&mut self, all: usize, silent: &[Silent], now: Instant) -> Option<String> {
        if let Some((said, of)) = &self.0 {
            let pause = if of == silent { SAID } else { SAID_WHEN_CHANGED };
            if now.saturating_duration_since(*said) < pause {
                return None;
            }
        }
        self.0 = Some((now, silent.to_vec()));
        let missing: Vec<String> = silent
            .iter()
            .map(|Silent { name, urls, why }| format!("{name} ({urls}): {why}"))
            .collect();
        Some(format!(
            "waiting for a majority of the first members to be there: {} of {all} are, {} are needed; missing are {}",
            all - silent.len(),
            all / 2 + 1,
            missing.join("; ")
        ))
    }
}

fn forget(inner: &Inner, peer: &str) {
    let member = inner.identity.member;
    let mut why = format!(
        "member {member:x} has been part of this cluster before, says {peer}, but its data directory was empty: started \
         again, this machine joins as a new member"
    );
    if let Err(e) = identity::forget(&*inner.world.disk, &inner.config.data_dir) {
        why = format!("{why}; first remove the data directory, because {e}");
    }
    inner.forgot.send_replace(Some(why));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_said_now_and_then() {
        let silent = |name: &str, why: &str| Silent {
            name: name.to_owned(),
            urls: format!("http://{name}:2380"),
            why: why.to_owned(),
        };
        let (both, one) = (
            [silent("b", "refused"), silent("c", "no answer")],
            [silent("c", "no answer")],
        );
        let (mut waiting, begin) = (Waiting::default(), Instant::now());
        let mut lines = |silent: &[Silent], seconds: std::ops::Range<u64>| -> Vec<(u64, String)> {
            let said = seconds.filter_map(|second| {
                let line = waiting.line(5, silent, begin + Duration::from_secs(second))?;
                Some((second, line))
            });
            said.collect()
        };
        let said = lines(&both, 0..65);
        assert_eq!(said.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 60]);
        assert_eq!(
            said[0].1,
            "waiting for a majority of the first members to be there: 3 of 5 are, 3 are needed; missing are \
             b (http://b:2380): refused; c (http://c:2380): no answer"
        );
        let said = lines(&one, 65..80);
        assert_eq!(said.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [70]);
        assert!(!said[0].1.contains("b (http"), "{}", said[0].1);
    }
}
