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

use crate::identity;
use crate::inner::Inner;
use crate::join::{self, Known};
use crate::peer::client::Client;
use crate::types::Peer;

/// The pause before the others are asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Returns when this node takes part, or is of no use.
pub(crate) async fn found(inner: Arc<Inner>) {
    let config = &inner.config;
    let all = identity::initial_members(config);
    let client = Client::of_stranger(inner.identity.cluster, config.peer_tls.clone(), &inner.world);
    let mut waits = false;
    loop {
        match join::who_knows(config, inner.identity.member, &client).await {
            Known::By(peer) => return forget(&inner, &peer),
            Known::To(strangers) if strangers + 1 > all.len() / 2 => break,
            Known::To(_) if !waits => {
                waits = true;
                tracing::info!("waiting for a majority of the first members to be there");
            }
            Known::To(_) => {}
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
