//! A snapshot becomes the data directories of a new cluster.

use std::io::Read;

use crate::common::{Cluster, put, set, until, value};
use corten_raft::{RestoreError, inspect, restore};
use corten_store::auth::{self, Caller, Change};
use corten_store::{Command, Response, kv, meta};

/// Puts a v3 key.
fn put_v3(key: &str) -> Command {
    Command::Kv(kv::Command::Put(kv::Put {
        key: key.to_owned().into(),
        value: "v".into(),
        ..kv::Put::default()
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_begins_with_the_old_ones_keys() {
    let mut old = Cluster::started(1, |_| {}).await;
    for at in 0..20 {
        put(old.node(0), &format!("/k{at}"), "v2").await;
        old.node(0).propose(put_v3(&format!("k{at}"))).await.unwrap();
    }
    let (was, v2_index) = (old.node(0).cluster_id(), old.node(0).status().etcd_index);
    let revision = old.node(0).read(|tx| kv::revision(tx)).unwrap();
    let mut snapshot = Vec::new();
    old.node(0).export().unwrap().read_to_end(&mut snapshot).unwrap();
    old.stop_all().await;

    let found = inspect(&mut snapshot.as_slice()).unwrap();
    assert_eq!(
        (found.cluster_id, found.revision, found.etcd_index),
        (was, revision, v2_index)
    );
    let mut new = Cluster::new(3, |config| config.initial_cluster_token = "new".to_owned()).await;
    let torn = &snapshot[..snapshot.len() - 20];
    assert!(inspect(&mut { torn }).is_err());
    let refused = restore(&mut { torn }, &new.config(0)).unwrap_err();
    assert!(matches!(refused, RestoreError::Damaged(_)), "{refused}");
    assert!(!new.data_dir(0).exists(), "nothing is left behind");
    for at in 0..3 {
        let (_, cluster) = restore(&mut snapshot.as_slice(), &new.config(at)).unwrap();
        assert_ne!(cluster, was);
    }
    let again = restore(&mut snapshot.as_slice(), &new.config(0)).unwrap_err();
    assert!(matches!(again, RestoreError::Exists(_)), "{again}");

    for at in 0..3 {
        new.start(at).await.unwrap();
    }
    let leader = new.leader().await;
    let node = new.node(leader);
    assert_eq!(node.read(|tx| kv::revision(tx)).unwrap(), revision);
    assert_eq!(value(node, "/k7").as_deref(), Some("v2"));
    let put = node.propose(put_v3("after")).await.unwrap();
    let Response::Kv(Ok(kv::Answer::Put(put))) = put.response else {
        panic!("{put:?}")
    };
    assert_eq!(put.revision, revision + 1);
    let next = node.propose(set("/after", "v")).await.unwrap();
    assert!(next.etcd_index > v2_index);
    until("all have the writes", || {
        new.running().all(|(_, node)| value(node, "/after").is_some())
    })
    .await;
    let names = || {
        node.members()
            .into_iter()
            .map(|member| member.name)
            .collect::<Vec<_>>()
    };
    until("the members are the new ones", || {
        let mut names = names();
        names.sort();
        names == ["n0", "n1", "n2"]
    })
    .await;
    let decided = node.read(|tx| Ok(meta::read(tx)?.version)).unwrap();
    assert_eq!(decided.as_deref(), Some("3.4.0"));
    new.stop_all().await;
    new.start(leader).await.unwrap();
    assert_eq!(value(new.node(leader), "/after").as_deref(), Some("v"));
    new.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tokens_are_made_with_stays_with_the_members() {
    let mut old = Cluster::started(1, |_| {}).await;
    let secret = b"known to the members and to nobody else";
    let root = || "root".to_owned();
    for change in [
        Change::UserAdd {
            name: root(),
            password_hash: "$2a$".to_owned(),
            no_password: false,
        },
        Change::UserGrantRole {
            user: root(),
            role: root(),
        },
        Change::Enable,
        Change::TokenSecret(secret.to_vec().into()),
    ] {
        let done = old.node(0).propose(Command::Auth(Caller::Server, change)).await;
        assert_eq!(done.unwrap().response, Response::Auth(Ok(())));
    }
    let has = |file: &[u8]| file.windows(secret.len()).any(|part| part == secret);
    let mut backup = Vec::new();
    old.node(0).export().unwrap().read_to_end(&mut backup).unwrap();
    assert!(!has(&backup));

    // A member that lags gets it, in the snapshot by which it catches up.
    old.node(0).snapshot().await.unwrap();
    let folder = old.data_dir(0).join("snap");
    let built = || {
        let mut files = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().path());
        let snapshot = files.find(|path| path.extension().is_some_and(|ending| ending == "snap"))?;
        std::fs::read(snapshot).ok()
    };
    until("a snapshot is built", || built().is_some()).await;
    let built = built().unwrap();
    assert!(has(&built));
    old.stop_all().await;

    // A new cluster makes its own, even one that was made from the members' file.
    let mut new = Cluster::new(1, |config| config.initial_cluster_token = "new".to_owned()).await;
    restore(&mut built.as_slice(), &new.config(0)).unwrap();
    new.start(0).await.unwrap();
    let found = new
        .node(0)
        .read(|tx| Ok((auth::standing(tx)?.enabled, auth::token_secret(tx)?)));
    assert_eq!(found.unwrap(), (true, None));
    new.stop_all().await;
}
