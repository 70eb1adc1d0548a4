//! Who founds the cluster: the members named in the configuration, found at another etcd, or in the DNS.
//!
//! Asked once: a member that has data knows its cluster and asks nobody.

mod discovery;
mod srv;
#[cfg(test)]
mod tests;

use crate::settings::{Discovery, Etcd};

pub use discovery::DiscoveryError;
pub use srv::SrvError;

/// The founding members and what keeps their cluster apart from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// Name and peer URL; a name once per URL.
    pub members: Vec<(String, String)>,
    /// The cluster's token.
    pub token: String,
    /// They have founded it, and this machine joins them.
    pub existing: bool,
}

/// Why the founding members are not known.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The discovery service's word.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The DNS's.
    #[error(transparent)]
    Srv(#[from] SrvError),
}

/// Finds them; with a discovery URL this registers the member there and waits for the others.
///
/// # Errors
/// See [`BootstrapError`].
pub async fn find(etcd: &Etcd) -> Result<Founding, BootstrapError> {
    let given = Founding {
        members: etcd.initial_cluster.clone(),
        token: etcd.initial_cluster_token.clone(),
        existing: etcd.existing,
    };
    if corten_raft::has_data(&etcd.data_dir) {
        return Ok(given);
    }
    match &etcd.discovery {
        None => Ok(given),
        // As in etcd, the URL is the token: ids differ from one discovered cluster to the next.
        Some(Discovery::Url { url, proxy }) => {
            let joined = discovery::join(url, proxy.as_deref(), &etcd.name, &etcd.advertise_peer_urls).await;
            let full = joined == Err(DiscoveryError::Full) && etcd.stands_by_when_full;
            Ok(Founding {
                members: match full {
                    true => discovery::look(url, proxy.as_deref()).await?,
                    false => joined?,
                },
                token: url.clone(),
                existing: full || etcd.existing,
            })
        }
        Some(Discovery::Srv { domain, name }) => {
            let found = srv::find(domain, name.as_deref(), &etcd.name, &etcd.advertise_peer_urls).await?;
            if !found.has_own {
                return Err(SrvError::not_found(domain, &etcd.advertise_peer_urls).into());
            }
            Ok(Founding {
                members: found.members,
                ..given
            })
        }
    }
}

/// The founding members as one sees them who is none of them: names and peer URLs.
///
/// # Errors
/// See [`BootstrapError`].
pub async fn look(etcd: &Etcd) -> Result<Vec<(String, String)>, BootstrapError> {
    match &etcd.discovery {
        None => Ok(etcd.initial_cluster.clone()),
        Some(Discovery::Url { url, proxy }) => Ok(discovery::look(url, proxy.as_deref()).await?),
        Some(Discovery::Srv { domain, name }) => {
            Ok(srv::find(domain, name.as_deref(), &etcd.name, &[]).await?.members)
        }
    }
}
