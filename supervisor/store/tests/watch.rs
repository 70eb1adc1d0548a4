//! Watches: live matches, the history window with its quirks, and the transcript's watch answers.
#![allow(clippy::unwrap_used)]

use corten_store::keys::history::{self, Found};
use corten_store::keys::{Notice, Op, Watch, Write};
use corten_store::memory::Memory;
use corten_store::{Command, Event, apply, keys, meta};

fn write(store: &mut Memory, key: &str, op: Op) -> Vec<Notice> {
    let command = Command::Keys(Write {
        key: key.to_owned(),
        op,
        now_ms: 1000,
    });
    let events = apply(store, 1, &command).unwrap().events;
    events
        .into_iter()
        .map(|event| {
            if let Event::Key(notice) = event {
                notice
            } else {
                panic!()
            }
        })
        .collect()
}

fn set(value: &str) -> Op {
    Op::Set {
        dir: false,
        value: value.to_owned(),
        expire_ms: None,
        refresh: false,
    }
}

fn delete() -> Op {
    Op::Delete {
        dir: true,
        recursive: true,
    }
}

fn watch(key: &str, recursive: bool, since: u64) -> Watch {
    Watch {
        key: key.to_owned(),
        recursive,
        stream: false,
        since,
    }
}

#[test]
fn live_watchers_get_what_etcd_gives_them() {
    let mut store = Memory::new();
    // (write, watched key, recursive) -> matches
    let mut seen = |key: &str, op: Op, watched: &str, recursive: bool| {
        let notices = write(&mut store, key, op);
        notices
            .iter()
            .any(|notice| watch(watched, recursive, 0).matches(notice))
    };
    assert!(seen("/a/b", set("1"), "/a/b", false));
    assert!(seen("/a/b", set("1"), "/a", true));
    assert!(seen("/a/b", set("1"), "/", true));
    assert!(
        !seen("/a/b", set("1"), "/a", false),
        "a plain watch on a directory sees only the directory"
    );
    assert!(!seen("/a/b", set("1"), "/a/bc", true));
    assert!(!seen("/ab", set("1"), "/a", true), "names are whole");
    assert!(!seen("/a/_h", set("1"), "/a", true), "hidden from above");
    assert!(!seen("/_d/x", set("1"), "/", true));
    assert!(seen("/_d/x", set("1"), "/_d", true), "not from beside");
    assert!(seen("/a/_h", set("1"), "/a/_h", false));
    seen("/d/e/f", set("1"), "/", false);
    assert!(
        seen("/d", delete(), "/d/e/f", false),
        "the watcher of a key that went with its directory"
    );
    seen("/d/e/f", set("1"), "/", false);
    assert!(seen("/d", delete(), "/d/e", true));
    seen("/d/e/f", set("1"), "/", false);
    assert!(
        !seen("/d", delete(), "/d/never", true),
        "a key that was not there has not gone"
    );
    let refresh = Op::Update {
        value: String::new(),
        expire_ms: Some(9000),
        refresh: true,
    };
    assert!(!seen("/ab", refresh, "/ab", true), "a refresh wakes nobody");
    let later = watch("/ab", false, 1000);
    assert!(
        !write(&mut store, "/ab", set("1"))
            .iter()
            .any(|notice| later.matches(notice)),
        "not yet"
    );
}

#[test]
fn the_window_holds_a_thousand_events() {
    let mut store = Memory::new();
    for n in 1..=1130 {
        write(&mut store, if n == 26 { "/w" } else { "/h" }, set("1"));
    }
    assert_eq!(meta::etcd_index(&store).unwrap(), 1130);
    let scan = |watch: &Watch| history::scan(&store, watch).unwrap();
    let cleared = scan(&watch("/w", false, 1)).unwrap_err();
    assert_eq!(
        String::from_utf8(cleared.to_json()).unwrap(),
        "{\"errorCode\":401,\"message\":\"The event in requested index is outdated and cleared\",\
         \"cause\":\"the requested history has been cleared [131/1]\",\"index\":1130}\n"
    );
    scan(&watch("/w", false, 130)).unwrap_err();
    let (found, index) = scan(&watch("/h", false, 131)).unwrap();
    let Found::Event(event) = found else {
        panic!("the event at the window's start is served")
    };
    assert_eq!((event.index(), index), (131, 1130));
    let Found::Event(event) = scan(&watch("/h", false, 200)).unwrap().0 else {
        panic!()
    };
    assert_eq!(
        String::from_utf8(event.to_json()).unwrap(),
        "{\"action\":\"set\",\"node\":{\"key\":\"/h\",\"value\":\"1\",\"modifiedIndex\":200,\"createdIndex\":200},\
         \"prevNode\":{\"key\":\"/h\",\"value\":\"1\",\"modifiedIndex\":199,\"createdIndex\":199}}\n"
    );
    assert_eq!(scan(&watch("/h", false, 0)).unwrap().0, Found::WaitFrom(1131));
    assert_eq!(
        scan(&watch("/h", false, 100_000)).unwrap().0,
        Found::WaitFrom(100_000)
    );
    assert_eq!(scan(&watch("/w", false, 200)).unwrap().0, Found::WaitFrom(200));
}

#[test]
fn the_scan_has_etcds_own_idea_of_a_match() {
    let mut store = Memory::new();
    assert_eq!(
        history::scan(&store, &watch("/x", false, 0)).unwrap().unwrap(),
        (Found::WaitFrom(1), 0)
    );
    write(&mut store, "/fo/_h", set("1")); // 1
    write(&mut store, "/ttl", set("1")); // 2
    write(
        &mut store,
        "/ttl",
        Op::Update {
            value: String::new(),
            expire_ms: Some(9000),
            refresh: true,
        },
    ); // 3
    write(&mut store, "/fo", delete()); // 4
    let index =
        |watched: &str, recursive, since| match history::scan(&store, &watch(watched, recursive, since)) {
            Ok(Ok((Found::Event(event), _))) => event.index(),
            Ok(Ok((Found::WaitFrom(_), _))) => 0,
            other => panic!("{other:?}"),
        };
    assert_eq!(index("/", true, 1), 1, "the past hides nothing");
    assert_eq!(index("/ttl", false, 2), 2);
    assert_eq!(index("/ttl", false, 3), 0, "a refresh is skipped");
    assert_eq!(index("/fo/x", false, 2), 4, "the directory's deletion");
    assert_eq!(index("/foo", false, 2), 4, "by plain prefix");
}

#[test]
fn expiry_takes_the_earliest_first_and_directories_whole() {
    let mut store = Memory::new();
    let until = |ms| Op::Set {
        dir: false,
        value: "v".to_owned(),
        expire_ms: Some(ms),
        refresh: false,
    };
    write(&mut store, "/late", until(3000));
    write(&mut store, "/d/inner", until(2500));
    let dir = Op::Update {
        value: String::new(),
        expire_ms: Some(2000),
        refresh: false,
    };
    write(&mut store, "/d", dir);
    write(&mut store, "/early", until(1500));
    write(&mut store, "/early", set("for ever"));
    assert_eq!(
        keys::next_expiry(&store).unwrap(),
        Some(2000),
        "a key that was set anew no longer expires"
    );
    let outcome = apply(&mut store, 9, &Command::ExpireKeys { now_ms: 3000 }).unwrap();
    let expired: Vec<_> = outcome
        .events
        .iter()
        .map(|event| {
            if let Event::Key(notice) = event {
                notice
            } else {
                panic!()
            }
        })
        .map(|notice| {
            (
                notice.event.node.key.as_str(),
                notice.event.node.dir,
                notice.removed.clone(),
            )
        })
        .collect();
    assert_eq!(
        expired,
        [
            ("/d", true, vec!["/d/inner".to_owned()]),
            ("/late", false, vec![])
        ]
    );
    assert_eq!(keys::next_expiry(&store).unwrap(), None);
    assert_eq!(outcome.etcd_index, 7);
}

#[test]
fn names_of_any_length_are_kept() {
    let mut store = Memory::new();
    let long = |tail: &str| format!("/dir/{}{tail}", "n".repeat(5000));
    for key in [long("b"), long("a"), "/dir/z".to_owned(), "/dir/a".to_owned()] {
        write(&mut store, &key, set(&key[key.len() - 1..]));
    }
    let get = keys::request::Get {
        key: "/dir".to_owned(),
        recursive: true,
        sorted: true,
        quorum: false,
    };
    let listed = keys::get(&store, &get, 0).unwrap().unwrap().node.nodes;
    let names: Vec<_> = listed.iter().map(|node| node.key.clone()).collect();
    assert_eq!(
        names,
        ["/dir/a".to_owned(), long("a"), long("b"), "/dir/z".to_owned()]
    );
    assert!(store.rows().all(|(_, key, _)| key.len() < 511), "LMDB's limit");
    write(&mut store, "/dir", delete());
    assert!(keys::get(&store, &get, 0).unwrap().is_err());
}

#[test]
fn the_window_is_as_long_as_the_cluster_decides() {
    let mut store = Memory::new();
    for index in 1..=10 {
        write(&mut store, "/a", set(&index.to_string()));
    }
    let resize = |store: &mut Memory, events| drop(apply(store, 1, &Command::History(events)).unwrap());
    let first = |store: &Memory| {
        let refused = history::scan(store, &watch("/b", false, 1)).unwrap();
        match refused {
            Ok(_) => 1,
            Err(error) => error
                .cause
                .split(['[', '/'])
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap(),
        }
    };
    resize(&mut store, 4);
    assert_eq!(first(&store), 7, "the older ones are gone at once");
    write(&mut store, "/a", set("11"));
    assert_eq!(first(&store), 8);
    resize(&mut store, 6);
    assert_eq!(first(&store), 8, "what is gone does not come back");
    for (index, begin) in [(12, 8), (13, 8), (14, 9)] {
        write(&mut store, "/a", set(&index.to_string()));
        assert_eq!(first(&store), begin, "{index}");
    }
    let (found, last) = history::scan(&store, &watch("/a", false, 9)).unwrap().unwrap();
    let Found::Event(event) = found else { panic!() };
    assert_eq!((event.node.modified_index, last), (9, 14));
    assert_eq!(meta::read(&store).unwrap().history, 6);
}
