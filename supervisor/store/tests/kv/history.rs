//! What becomes of keys and of what they were: leases, compaction, hashes.

use super::*;

#[test]
fn leases_hold_keys_and_take_them_along() {
    let mut store = Memory::new();
    let grant = |id, ttl_s| Command::LeaseGrant { id, ttl_s };
    assert_eq!(run(&mut store, grant(0, 5)), Err(Error::LeaseNotFound));
    assert_eq!(
        run(&mut store, grant(1, MAX_LEASE_TTL_S + 1)),
        Err(Error::LeaseTtlTooLarge)
    );
    assert_eq!(
        run(&mut store, grant(1, 5)),
        Ok(Answer::LeaseGrant {
            revision: 1,
            id: 1,
            ttl_s: 5
        })
    );
    assert_eq!(run(&mut store, grant(1, 5)), Err(Error::LeaseExists));
    run(&mut store, grant(2, 7)).unwrap();
    assert_eq!(
        run(&mut store, Command::Put(on_lease("a", 3))),
        Err(Error::LeaseNotFound)
    );
    for key in ["c", "a", "b", "moved", "deleted"] {
        run(&mut store, Command::Put(on_lease(key, 1))).unwrap();
    }
    run(&mut store, Command::Put(on_lease("moved", 2))).unwrap();
    run(&mut store, Command::DeleteRange(delete("deleted", ""))).unwrap();
    assert_eq!(lease_keys(&store, 1).unwrap(), [b("a"), b("b"), b("c")]);
    assert_eq!(lease_keys(&store, 2).unwrap(), [b("moved")]);
    assert_eq!(leases(&store).unwrap(), [(1, 5), (2, 7)]);
    let gone = events(&mut store, Command::LeaseRevoke { id: 1 });
    assert_eq!(
        gone,
        ["a", "b", "c"].map(|key| (Action::Delete, key.to_owned(), 9))
    );
    assert_eq!(
        (lease(&store, 1).unwrap(), lease(&store, 2).unwrap()),
        (None, Some(7))
    );
    assert_eq!(
        run(&mut store, Command::LeaseRevoke { id: 1 }),
        Err(Error::LeaseNotFound)
    );
    run(&mut store, grant(3, 1)).unwrap();
    assert_eq!(
        run(&mut store, Command::LeaseRevoke { id: 3 }),
        Ok(Answer::LeaseRevoke { revision: 9 })
    );
}

#[test]
fn compaction_refuses_what_is_past_and_to_come() {
    let mut store = with(&[("a", "1"), ("a", "2"), ("a", "3")]);
    assert_eq!(compact_revision(&store).unwrap(), -1);
    let compact = |revision| Command::Compact { revision };
    assert_eq!(run(&mut store, compact(-1)), Err(Error::Compacted));
    assert_eq!(
        run(&mut store, compact(0)),
        Ok(Answer::Compact { revision: 4 }),
        "once, as in etcd"
    );
    assert_eq!(run(&mut store, compact(0)), Err(Error::Compacted));
    assert_eq!(run(&mut store, compact(5)), Err(Error::FutureRevision));
    assert_eq!(run(&mut store, compact(3)), Ok(Answer::Compact { revision: 4 }));
    assert_eq!(run(&mut store, compact(3)), Err(Error::Compacted));
    let at = |revision| Range { revision, ..all() };
    assert_eq!(
        read(&store, &at(2)),
        "etcdserver: mvcc: required revision has been compacted"
    );
    assert_eq!(read(&store, &at(3)), "a=2:2/3/2 @4 of 1");
    assert_eq!(run(&mut store, compact(4)), Ok(Answer::Compact { revision: 4 }));
    assert_eq!(read(&store, &at(0)), "a=3:2/4/3 @4 of 1");
}

#[test]
fn a_watch_may_begin_at_the_compacted_revision() {
    let mut store = with(&[("a", "1"), ("b", "1")]);
    run(&mut store, Command::DeleteRange(delete("a", "\0"))).unwrap(); // revision 4
    run(&mut store, Command::Put(put("a", "2"))).unwrap();
    run(&mut store, Command::Compact { revision: 4 }).unwrap();
    assert_eq!(events_from(&store, 3, 10).unwrap(), Err(Error::Compacted));
    let page = events_from(&store, 4, 1).unwrap().unwrap();
    assert_eq!(page.next, 5);
    assert_eq!(page.revisions.len(), 1, "a revision is never split");
    assert_eq!(page.revisions[0].changes.len(), 2);
    assert!(
        page.revisions[0]
            .changes
            .iter()
            .all(|change| change.action == Action::Delete)
    );
    assert_eq!(
        previous(&store, &page.revisions[0].changes[0]).unwrap(),
        None,
        "compacted away"
    );
    let page = events_from(&store, 5, 1).unwrap().unwrap();
    assert_eq!((page.revisions.len(), page.next), (1, 6));
    let change = &page.revisions[0].changes[0];
    assert_eq!(
        (change.kv.version, change.prev),
        (1, None),
        "made anew after a deletion"
    );
    let nothing = events_from(&store, 6, 1).unwrap().unwrap();
    assert_eq!((nothing.revisions.len(), nothing.next), (0, 6));
    let later = events_from(&store, 9, 1).unwrap().unwrap();
    assert_eq!((later.revisions.len(), later.next), (0, 9));
}

#[test]
fn hashes_tell_contents_and_refuse_what_etcd_refuses() {
    let mut store = with(&[("a", "1"), ("b", "1")]);
    let at_3 = hash(&store, 0).unwrap().unwrap();
    assert_eq!((at_3.revision, at_3.compact_revision), (3, -1));
    run(&mut store, Command::Put(put("c", "1"))).unwrap();
    assert_eq!(hash(&store, 3).unwrap().unwrap().hash, at_3.hash);
    assert_ne!(hash(&store, 4).unwrap().unwrap().hash, at_3.hash);
    assert_ne!(
        hash(&with(&[("a", "1"), ("b", "2")]), 0).unwrap().unwrap().hash,
        at_3.hash
    );
    assert_eq!(hash(&store, 5).unwrap(), Err(Error::FutureRevision));
    run(&mut store, Command::Compact { revision: 3 }).unwrap();
    assert_eq!(hash(&store, 3).unwrap(), Err(Error::Compacted));
}
