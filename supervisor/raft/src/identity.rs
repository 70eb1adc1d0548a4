//! Who this node is: member id and cluster id, as etcd computes them, and the file that remembers them.
//!
//! ```text
//! <data dir>/identity     two lines: member <hex>, cluster <hex>; a third, joined, if the configuration cannot know them
//! <data dir>/lock         held while a process uses the directory
//! ```

use std::fs::File;
use std::path::Path;

use sha1::{Digest, Sha1};

use crate::disk::{self, Disk, RealDisk};
use crate::{Config, Member, StartError};

/// Who a node is, and how it came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Established {
    /// Who.
    pub identity: Identity,
    /// Its directory was empty.
    pub new: bool,
    /// It joined a running cluster, which the configuration need not say.
    pub joined: bool,
}

/// The line of a member that joined a running cluster.
const JOINED: &str = "joined";

/// What an etcd has in its data directory, and we have not.
const OF_ETCD: &str = "member";

/// Member and cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// This member.
    pub member: u64,
    /// Its cluster.
    pub cluster: u64,
}

/// A member's id: the first eight bytes of the SHA-1 of its sorted peer URLs and the cluster's token.
pub fn member_id(peer_urls: &[String], token: &str) -> u64 {
    let mut urls = peer_urls.to_vec();
    urls.sort_unstable();
    first_eight(&[urls.concat().as_bytes(), token.as_bytes()].concat())
}

/// The cluster's id: the first eight bytes of the SHA-1 of its first members' sorted ids.
pub fn cluster_id(members: &[u64]) -> u64 {
    let mut members = members.to_vec();
    members.sort_unstable();
    first_eight(&members.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<_>>())
}

fn first_eight(bytes: &[u8]) -> u64 {
    let digest = Sha1::digest(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// The first members of the configured cluster, by id.
pub fn initial_members(config: &Config) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for (name, url) in &config.initial_cluster {
        match members.iter_mut().find(|member| member.name == *name) {
            Some(member) => member.peer_urls.push(url.clone()),
            None => members.push(Member {
                id: 0,
                name: name.clone(),
                peer_urls: vec![url.clone()],
                client_urls: Vec::new(),
                learner: false,
            }),
        }
    }
    for member in &mut members {
        member.peer_urls.sort_unstable();
        member.id = member_id(&member.peer_urls, &config.initial_cluster_token);
    }
    members.sort_by_key(|member| member.id);
    members
}

/// Who the configuration says this node is.
pub(crate) fn configured(config: &Config) -> Option<Identity> {
    let members = initial_members(config);
    let me = members.iter().find(|member| member.name == config.name)?;
    let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
    Some(Identity {
        member: me.id,
        cluster: cluster_id(&ids),
    })
}

/// Whether a node has lived in this data directory: what forms a cluster is then no longer asked for.
pub fn has_data(data_dir: &Path) -> bool {
    has_data_on(&RealDisk, data_dir)
}

pub(crate) fn has_data_on(disk: &dyn Disk, data_dir: &Path) -> bool {
    disk.exists(&data_dir.join("identity"))
}

/// Who this node is: what the data directory says, else what `learnt` or the configuration says. A node that
/// joined a running cluster has an identity the configuration cannot know.
///
/// # Errors
/// When neither says it, or they contradict each other.
pub(crate) fn establish(
    disk: &dyn Disk,
    config: &Config,
    learnt: Option<Identity>,
) -> Result<Established, StartError> {
    let path = config.data_dir.join("identity");
    let io = |what| {
        let path = path.clone();
        move |source| StartError::Io { path, what, source }
    };
    let joined = learnt.is_some();
    let configured = learnt.or_else(|| configured(config).filter(|_| !config.existing));
    if disk.exists(&path) {
        let bytes = disk.read(&path).map_err(io("read who this node is"))?;
        let text = String::from_utf8_lossy(&bytes);
        let found = parse(&text).ok_or_else(|| StartError::Io {
            path: path.clone(),
            what: "understand who this node is",
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, "not an identity file"),
        })?;
        let joined = text.lines().nth(2) == Some(JOINED);
        // The list of first members may have grown since; who this one is has not changed by that.
        let says = configured.filter(|configured| configured.member != found.member && !joined);
        if let Some(configured) = says {
            return Err(StartError::OtherCluster {
                path,
                found_member: found.member,
                found_cluster: found.cluster,
                member: configured.member,
                cluster: configured.cluster,
            });
        }
        return Ok(Established {
            identity: found,
            new: false,
            joined,
        });
    }
    if disk.exists(&config.data_dir.join(OF_ETCD)) {
        return Err(StartError::OfEtcd(config.data_dir.clone()));
    }
    let identity = configured.ok_or_else(|| StartError::NotInCluster {
        name: config.name.clone(),
        cluster: config
            .initial_cluster
            .iter()
            .map(|(n, url)| format!("{n}={url}"))
            .collect::<Vec<_>>()
            .join(","),
    })?;
    remember(disk, &config.data_dir, identity, joined).map_err(io("write who this node is"))?;
    Ok(Established {
        identity,
        new: true,
        joined,
    })
}

/// Who this node is is no longer known.
///
/// # Errors
/// When the file cannot be removed.
pub(crate) fn forget(disk: &dyn Disk, data_dir: &Path) -> Result<(), StartError> {
    let path = data_dir.join("identity");
    let removed = disk.remove(&path).and_then(|()| disk.sync_dir(data_dir));
    removed.map_err(|source| StartError::Io {
        path,
        what: "forget who this node was",
        source,
    })
}

/// Writes down, durably, who this node is, and whether it joined a running cluster.
pub(crate) fn remember(
    disk: &dyn Disk,
    data_dir: &Path,
    identity: Identity,
    joined: bool,
) -> std::io::Result<()> {
    let mark = if joined { "joined\n" } else { "" };
    let text = format!(
        "member {:x}\ncluster {:x}\n{mark}",
        identity.member, identity.cluster
    );
    disk::write_whole(disk, &data_dir.join("identity"), text.as_bytes()).map(drop)
}

fn parse(text: &str) -> Option<Identity> {
    let mut lines = text.lines();
    let member = u64::from_str_radix(lines.next()?.strip_prefix("member ")?, 16).ok()?;
    let cluster = u64::from_str_radix(lines.next()?.strip_prefix("cluster ")?, 16).ok()?;
    Some(Identity { member, cluster })
}

/// Makes the data directory and locks it; the lock holds while the file is open.
///
/// # Errors
/// When it cannot be made, or another process uses it.
pub fn lock(data_dir: &Path) -> Result<File, StartError> {
    let path = data_dir.join("lock");
    let io = |what| {
        let path = path.clone();
        move |source| StartError::Io { path, what, source }
    };
    std::fs::create_dir_all(data_dir).map_err(io("make the data directory"))?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io("open the lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::InUse(data_dir.to_path_buf())),
        Err(std::fs::TryLockError::Error(source)) => Err(io("lock")(source)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// From the transcript of a real etcd 3.4.23 with the default token.
    #[test]
    fn ids_are_etcds() {
        let id = member_id(&["http://127.0.0.1:24012".to_owned()], "etcd-cluster");
        assert_eq!(format!("{id:x}"), "bfb38348b1f5c11d");
        assert_eq!(format!("{:x}", cluster_id(&[id])), "cc25c5aa8e9c0386");
    }

    #[test]
    fn one_that_joined_is_who_its_directory_says_whatever_is_configured() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("a", dir.path());
        config.initial_cluster = vec![("a".to_owned(), "http://127.0.0.1:1".to_owned())];
        let learnt = Identity {
            member: 7,
            cluster: 8,
        };
        let first = establish(&RealDisk, &config, Some(learnt)).unwrap();
        assert_eq!((first.identity, first.new, first.joined), (learnt, true, true));
        let again = establish(&RealDisk, &config, None).unwrap();
        assert_eq!((again.identity, again.new, again.joined), (learnt, false, true));
    }

    #[test]
    fn a_data_directory_of_another_cluster_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("a", dir.path());
        assert!(matches!(
            establish(&RealDisk, &config, None),
            Err(StartError::NotInCluster { .. })
        ));
        config.initial_cluster = vec![("a".to_owned(), "http://127.0.0.1:1".to_owned())];
        let known = |config: &Config| {
            let found = establish(&RealDisk, config, None).unwrap();
            assert!(!found.new);
            (found.identity, found.joined)
        };
        let Established {
            identity,
            new,
            joined,
        } = establish(&RealDisk, &config, None).unwrap();
        assert!(new && !joined);
        assert_eq!(known(&config), (identity, false));
        config
            .initial_cluster
            .push(("b".to_owned(), "http://127.0.0.1:2".to_owned()));
        assert_eq!(known(&config), (identity, false), "it has grown since");
        config.initial_cluster[0].1 = "http://127.0.0.1:3".to_owned();
        assert!(matches!(
            establish(&RealDisk, &config, None),
            Err(StartError::OtherCluster { .. })
        ));
        config.initial_cluster.clear(); // the data directory wins
        assert_eq!(known(&config), (identity, false));
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(StartError::InUse(_))));
        drop(held);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn an_etcds_data_directory_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("member/wal")).unwrap();
        let mut config = Config::new("a", dir.path());
        config.initial_cluster = vec![("a".to_owned(), "http://127.0.0.1:1".to_owned())];
        let refused = establish(&RealDisk, &config, None);
        assert!(matches!(refused, Err(StartError::OfEtcd(_))));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
