//! Users, roles and alarms of the v3 face: etcd's rules and texts.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use corten_store::alarm::{self, Alarm, Kind};
use corten_store::auth::{self, Caller, Change, Permission, PermissionKind};
use corten_store::kv::{self, Compare, CompareResult, DeleteRange, Error, Op, Put, Range, Target, Txn};
use corten_store::memory::Memory;
use corten_store::{Command, Response, apply};

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn change(store: &mut Memory, caller: &Caller, change: Change) -> Result<(), Error> {
    match apply(store, 1, &Command::Auth(caller.clone(), change))
        .unwrap()
        .response
    {
        Response::Auth(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn user_add(name: &str) -> Change {
    Change::UserAdd {
        name: name.to_owned(),
        password_hash: "$2a$".to_owned(),
        no_password: false,
    }
}

fn role_add(name: &str) -> Change {
    Change::RoleAdd {
        name: name.to_owned(),
    }
}

fn grant_role(user: &str, role: &str) -> Change {
    Change::UserGrantRole {
        user: user.to_owned(),
        role: role.to_owned(),
    }
}

fn revoke_role(user: &str, role: &str) -> Change {
    Change::UserRevokeRole {
        user: user.to_owned(),
        role: role.to_owned(),
    }
}

fn grant(role: &str, kind: PermissionKind, key: &str, range_end: &str) -> Change {
    let permission = Permission {
        kind,
        key: b(key),
        range_end: b(range_end),
    };
    Change::RoleGrantPermission {
        role: role.to_owned(),
        permission,
    }
}

fn revoke(role: &str, key: &str, range_end: &str) -> Change {
    Change::RoleRevokePermission {
        role: role.to_owned(),
        key: b(key),
        range_end: b(range_end),
    }
}

/// The caller as a face makes it of a good token.
fn known(store: &Memory, name: &str) -> Caller {
    Caller::User {
        name: name.to_owned(),
        revision: auth::standing(store).unwrap().revision,
    }
}

fn kv(store: &mut Memory, caller: &Caller, command: kv::Command) -> Result<(), Error> {
    match apply(store, 1, &Command::KvAs(caller.clone(), command))
        .unwrap()
        .response
    {
        Response::Kv(answer) => answer.map(|_| ()),
        other => panic!("{other:?}"),
    }
}

fn put(key: &str) -> Put {
    Put {
        key: b(key),
        value: b("v"),
        ..Put::default()
    }
}

fn range(key: &str, range_end: &str) -> Range {
    Range {
        key: b(key),
        range_end: b(range_end),
        ..Range::default()
    }
}

fn delete(key: &str, range_end: &str, prev_kv: bool) -> DeleteRange {
    DeleteRange {
        key: b(key),
        range_end: b(range_end),
        prev_kv,
    }
}

/// Auth on; user `u` with role `r`, which may read `[a, m)` and write `[c, f)`.
fn guarded() -> Memory {
    let mut store = Memory::new();
    for step in [
        user_add("root"),
        grant_role("root", "root"),
        user_add("u"),
        role_add("r"),
        grant_role("u", "r"),
        grant("r", PermissionKind::Read, "a", "c"),
        grant("r", PermissionKind::ReadWrite, "c", "f"),
        grant("r", PermissionKind::Read, "f", "m"),
        Change::Enable,
    ] {
        change(&mut store, &Caller::Nobody, step).unwrap();
    }
    store
}

#[test]
fn changes_are_refused_with_etcds_errors() {
    let mut store = Memory::new();
    let mut refused = |step: Change, error: Error| {
        assert_eq!(
            change(&mut store, &Caller::Nobody, step.clone()),
            Err(error),
            "{step:?}"
        );
    };
    refused(Change::Enable, Error::RootUserNotExist);
    refused(user_add(""), Error::UserEmpty);
    refused(role_add(""), Error::RoleEmpty);
    refused(grant_role("u", "r"), Error::UserNotFound);
    refused(revoke_role("u", "r"), Error::UserNotFound);
    refused(Change::UserDelete { name: "u".to_owned() }, Error::UserNotFound);
    refused(Change::RoleDelete { name: "r".to_owned() }, Error::RoleNotFound);
    refused(grant("r", PermissionKind::Read, "a", ""), Error::RoleNotFound);
    refused(revoke("r", "a", ""), Error::RoleNotFound);
    let password = |name: &str| Change::UserChangePassword {
        name: name.to_owned(),
        password_hash: "new".to_owned(),
    };
    refused(password("u"), Error::UserNotFound);
    assert_eq!(auth::standing(&store).unwrap().revision, 1, "nothing changed");

    for step in [user_add("root"), user_add("u"), role_add("r"), password("u")] {
        change(&mut store, &Caller::Nobody, step).unwrap();
    }
    assert_eq!(auth::standing(&store).unwrap().revision, 5);
    assert_eq!(auth::user(&store, "u").unwrap().unwrap().password_hash, "new");
    let mut refused = |step: Change, error: Error| {
        assert_eq!(
            change(&mut store, &Caller::Nobody, step.clone()),
            Err(error),
            "{step:?}"
        );
    };
    refused(Change::Enable, Error::RootRoleNotExist);
    refused(user_add("u"), Error::UserExists);
    refused(role_add("r"), Error::RoleExists);
    refused(grant_role("u", "none"), Error::RoleNotFound);
    refused(revoke_role("u", "r"), Error::RoleNotGranted);
    refused(revoke("r", "a", ""), Error::PermissionNotGranted);
}

#[test]
fn what_root_needs_stays_while_auth_is_on() {
    let mut store = guarded();
    let root = known(&store, "root");
    for step in [
        Change::UserDelete {
            name: "root".to_owned(),
        },
        revoke_role("root", "root"),
        Change::RoleDelete {
            name: "root".to_owned(),
        },
    ] {
        assert_eq!(change(&mut store, &root, step), Err(Error::InvalidAuthManagement));
    }
    assert_eq!(change(&mut store, &root, Change::Enable), Ok(()));
    assert_eq!(change(&mut store, &root, Change::Disable), Ok(()));
    assert_eq!(change(&mut store, &Caller::Nobody, Change::Disable), Ok(()));
    assert_eq!(
        change(
            &mut store,
            &Caller::Nobody,
            Change::UserDelete {
                name: "root".to_owned()
            }
        ),
        Ok(())
    );
}

#[test]
fn only_root_changes_users() {
    let mut store = guarded();
    assert_eq!(
        change(&mut store, &Caller::Nobody, user_add("x")),
        Err(Error::UserEmpty)
    );
    let stranger = known(&store, "stranger");
    let u = known(&store, "u");
    for caller in [&stranger, &u] {
        assert_eq!(
            change(&mut store, caller, user_add("x")),
            Err(Error::PermissionDenied)
        );
    }
    let root = known(&store, "root");
    assert_eq!(change(&mut store, &root, user_add("x")), Ok(()));
    assert_eq!(auth::read_user(&store, &u, "u").unwrap(), Ok(()));
    assert_eq!(
        auth::read_user(&store, &u, "root").unwrap(),
        Err(Error::PermissionDenied)
    );
    assert_eq!(auth::read_role(&store, &u, "r").unwrap(), Ok(()));
    assert_eq!(
        auth::read_role(&store, &u, "root").unwrap(),
        Err(Error::PermissionDenied)
    );
    let names: Vec<String> = auth::users(&store)
        .unwrap()
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(names, ["root", "u", "x"]);
}

#[test]
fn the_first_token_secret_counts_until_auth_is_off() {
    let mut store = guarded();
    let secret = |byte: u8| Change::TokenSecret(vec![byte; 32].into());
    let kept = |store: &Memory| auth::token_secret(store).unwrap().map(|secret| secret[0]);
    let revision = auth::standing(&store).unwrap().revision;
    for byte in [1, 2] {
        change(&mut store, &Caller::Server, secret(byte)).unwrap();
        assert_eq!(kept(&store), Some(1));
    }
    assert_eq!(
        auth::standing(&store).unwrap().revision,
        revision,
        "no user or role was changed"
    );
    let root = known(&store, "root");
    change(&mut store, &root, Change::Disable).unwrap();
    assert_eq!(kept(&store), None);
    assert_eq!(
        change(&mut store, &Caller::Server, secret(3)),
        Err(Error::AuthNotEnabled)
    );
}

#[test]
fn roles_go_with_what_they_gave() {
    let mut store = guarded();
    let root = known(&store, "root");
    change(&mut store, &root, role_add("s")).unwrap();
    change(&mut store, &root, grant_role("u", "s")).unwrap();
    let before = auth::standing(&store).unwrap().revision;
    change(&mut store, &root, grant_role("u", "s")).unwrap();
    assert_eq!(
        auth::standing(&store).unwrap().revision,
        before,
        "granted already"
    );
    assert_eq!(auth::user(&store, "u").unwrap().unwrap().roles, ["r", "s"]);
    change(&mut store, &root, Change::RoleDelete { name: "s".to_owned() }).unwrap();
    assert_eq!(auth::user(&store, "u").unwrap().unwrap().roles, ["r"]);
    change(&mut store, &root, grant("r", PermissionKind::Write, "a", "c")).unwrap();
    let role = auth::role(&store, "r").unwrap().unwrap();
    let shown: Vec<_> = role.permissions.iter().map(|p| (p.kind, p.key.clone())).collect();
    let (read, write, both) = (
        PermissionKind::Read,
        PermissionKind::Write,
        PermissionKind::ReadWrite,
    );
    assert_eq!(shown, [(write, b("a")), (both, b("c")), (read, b("f"))]);
    change(&mut store, &root, revoke("r", "a", "c")).unwrap();
    assert_eq!(auth::role(&store, "r").unwrap().unwrap().permissions.len(), 2);
    assert_eq!(auth::roles(&store).unwrap().len(), 1);
}

#[test]
fn ranges_must_be_covered_without_a_gap() {
    let mut store = guarded();
    let u = known(&store, "u");
    for (key, end, expected) in [
        ("a", "", true),
        ("lzz", "", true),
        ("m", "", false),
        ("a", "m", true), // by three permissions together
        ("a", "m\0", false),
        ("a", "\0", false),
        ("\0", "a", false),
        ("b", "g", true),
        ("b", "a", true), // no key at all, but its first is
        ("m", "a", false),
    ] {
        let expected = if expected {
            Ok(())
        } else {
            Err(Error::PermissionDenied)
        };
        assert_eq!(
            auth::range(&store, &u, &range(key, end)).unwrap(),
            expected,
            "[{key:?}, {end:?})"
        );
    }
    let root = known(&store, "root");
    change(&mut store, &root, revoke("r", "c", "f")).unwrap();
    let u = known(&store, "u");
    assert_eq!(
        auth::range(&store, &u, &range("a", "m")).unwrap(),
        Err(Error::PermissionDenied)
    );
    assert_eq!(
        auth::range(&store, &root, &range("a", "\0")).unwrap(),
        Err(Error::AuthOldRevision)
    );
    let root = known(&store, "root");
    assert_eq!(auth::range(&store, &root, &range("\0", "\0")).unwrap(), Ok(()));
    change(&mut store, &root, grant("r", PermissionKind::Read, "m", "\0")).unwrap();
    let u = known(&store, "u");
    assert_eq!(auth::range(&store, &u, &range("x", "\0")).unwrap(), Ok(()));
}

#[test]
fn the_log_refuses_what_a_caller_may_not() {
    let mut store = guarded();
    let u = known(&store, "u");
    let denied = Err(Error::PermissionDenied);
    let with_prev = |key| Put {
        prev_kv: true,
        ..put(key)
    };
    let txn = |compare: &str, op: Op| {
        kv::Command::Txn(Txn {
            compare: vec![Compare {
                key: b(compare),
                range_end: Bytes::new(),
                result: CompareResult::Equal,
                target: Target::Version(0),
            }],
            success: vec![],
            failure: vec![Op::Txn(Txn {
                success: vec![op],
                ..Txn::default()
            })],
        })
    };
    for (command, expected) in [
        (kv::Command::Put(put("c")), Ok(())),
        (kv::Command::Put(put("a")), denied),
        (kv::Command::Put(with_prev("d")), Ok(())),
        (kv::Command::DeleteRange(delete("c", "f", true)), Ok(())),
        (kv::Command::DeleteRange(delete("c", "g", false)), denied),
        (txn("a", Op::Put(put("c"))), Ok(())),
        (txn("z", Op::Put(put("c"))), denied),
        (txn("a", Op::Put(put("a"))), denied),
        (txn("a", Op::Range(range("z", ""))), denied),
        (txn("a", Op::DeleteRange(delete("a", "", false))), denied),
        (kv::Command::LeaseGrant { id: 1, ttl_s: 5 }, Ok(())),
    ] {
        assert_eq!(kv(&mut store, &u, command.clone()), expected, "{command:?}");
    }
    let root = known(&store, "root");
    kv(
        &mut store,
        &root,
        kv::Command::Put(Put {
            lease: 1,
            ..put("secret")
        }),
    )
    .unwrap();
    assert_eq!(
        kv(&mut store, &u, kv::Command::Put(Put { lease: 1, ..put("c") })),
        denied,
        "not their lease"
    );
    assert_eq!(kv(&mut store, &u, kv::Command::LeaseRevoke { id: 1 }), denied);
    let anonymous = apply(&mut store, 1, &Command::Kv(kv::Command::LeaseRevoke { id: 1 })).unwrap();
    assert_eq!(anonymous.response, Response::Kv(Err(Error::UserEmpty)));
    assert_eq!(
        kv(&mut store, &Caller::Server, kv::Command::LeaseRevoke { id: 1 }),
        Ok(())
    );
}

#[test]
fn what_changed_holds_from_the_next_entry_on() {
    let mut store = guarded();
    let (u, root) = (known(&store, "u"), known(&store, "root"));
    kv(&mut store, &u, kv::Command::Put(put("c"))).unwrap();
    change(&mut store, &root, revoke_role("u", "r")).unwrap();
    assert_eq!(
        kv(&mut store, &u, kv::Command::Put(put("c"))),
        Err(Error::AuthOldRevision)
    );
    let u = known(&store, "u");
    assert_eq!(
        kv(&mut store, &u, kv::Command::Put(put("c"))),
        Err(Error::PermissionDenied)
    );
}

#[test]
fn alarms_stop_what_they_are_about() {
    let mut store = Memory::new();
    let set = |store: &mut Memory, change| match apply(store, 1, &Command::Alarm(change)).unwrap().response {
        Response::Alarm(alarm) => alarm,
        other => panic!("{other:?}"),
    };
    let full = Alarm {
        member: 7,
        kind: Kind::NoSpace,
    };
    let corrupt = Alarm {
        member: 2,
        kind: Kind::Corrupt,
    };
    let nested_put = Txn {
        failure: vec![Op::Put(put("a"))],
        ..Txn::default()
    };
    let nested_put = Txn {
        success: vec![Op::Txn(nested_put)],
        ..Txn::default()
    };
    let writes = [
        kv::Command::Put(put("a")),
        kv::Command::Txn(nested_put),
        kv::Command::LeaseGrant { id: 3, ttl_s: 9 },
    ];
    let others = [
        kv::Command::DeleteRange(delete("a", "", false)),
        kv::Command::Txn(Txn::default()),
    ];
    assert_eq!(set(&mut store, alarm::Change::Deactivate(full)), None);
    assert_eq!(set(&mut store, alarm::Change::Activate(full)), Some(full));
    assert_eq!(set(&mut store, alarm::Change::Activate(full)), Some(full));
    for write in &writes {
        assert_eq!(
            kv(&mut store, &Caller::Nobody, write.clone()),
            Err(Error::NoSpace)
        );
    }
    for other in &others {
        assert_eq!(kv(&mut store, &Caller::Nobody, other.clone()), Ok(()));
    }
    assert_eq!(alarm::permits_reading(&store).unwrap(), Ok(()));
    set(&mut store, alarm::Change::Activate(corrupt));
    assert_eq!(alarm::alarms(&store).unwrap(), [corrupt, full]);
    assert_eq!(alarm::permits_reading(&store).unwrap(), Err(Error::Corrupt));
    for command in writes.iter().chain(&others) {
        assert_eq!(
            kv(&mut store, &Caller::Nobody, command.clone()),
            Err(Error::Corrupt)
        );
    }
    assert_eq!(set(&mut store, alarm::Change::Deactivate(corrupt)), Some(corrupt));
    assert_eq!(set(&mut store, alarm::Change::Deactivate(full)), Some(full));
    for command in &writes {
        assert_eq!(kv(&mut store, &Caller::Nobody, command.clone()), Ok(()));
    }
}
