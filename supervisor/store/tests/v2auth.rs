//! Users and roles of the v2 face: etcd's rules, texts, statuses and indexes.
#![allow(clippy::unwrap_used)]

use corten_store::memory::Memory;
use corten_store::v2auth::{self, Change, Done, Permissions, Role};
use corten_store::{Command, Response, apply, meta};

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn permissions(read: &[&str], write: &[&str]) -> Permissions {
    Permissions {
        read: Some(strings(read)),
        write: Some(strings(write)),
    }
}

fn put(name: &str) -> Change {
    Change::UserPut {
        name: name.to_owned(),
        password_hash: Some("$2a$".to_owned()),
        roles: None,
    }
}

fn user_update(name: &str, grant: &[&str], revoke: &[&str]) -> Change {
    let (grant, revoke) = (strings(grant), strings(revoke));
    Change::UserUpdate {
        name: name.to_owned(),
        password_hash: None,
        grant,
        revoke,
    }
}

fn role(name: &str, read: &[&str], write: &[&str]) -> Change {
    Change::RoleCreate(Role {
        name: name.to_owned(),
        permissions: permissions(read, write),
    })
}

fn role_update(name: &str, grant: Option<Permissions>, revoke: Option<Permissions>) -> Change {
    Change::RoleUpdate {
        name: name.to_owned(),
        grant,
        revoke,
    }
}

/// What it gave, in short, and the v2 index after it.
fn change(store: &mut Memory, change: Change) -> (String, u64) {
    let outcome = apply(store, 1, &Command::V2Auth(change)).unwrap();
    let Response::V2Auth(answer) = outcome.response else {
        panic!("{:?}", outcome.response)
    };
    let shown = match answer {
        Ok(Done::Changed) => "changed".to_owned(),
        Ok(Done::User { user, created }) => {
            format!(
                "{}{} {}",
                if created { "+" } else { "" },
                user.name,
                user.roles.map_or("null".to_owned(), |roles| roles.join(","))
            )
        }
        Ok(Done::Role(role)) => {
            format!(
                "{} r={} w={}",
                role.name,
                role.permissions.read.unwrap().join(","),
                role.permissions.write.unwrap().join(",")
            )
        }
        Err(error) => format!("{} {error}", error.status),
    };
    assert_eq!(outcome.etcd_index, meta::etcd_index(store).unwrap());
    (shown, outcome.etcd_index)
}

#[test]
fn changes_answer_and_count_as_in_etcd() {
    let mut store = Memory::new();
    let no_password = |name: &str| Change::UserPut {
        name: name.to_owned(),
        password_hash: None,
        roles: None,
    };
    let create = |name: &str, roles: &[&str]| Change::UserCreate {
        name: name.to_owned(),
        password_hash: Some("$2a$".to_owned()),
        roles: Some(strings(roles)),
    };
    for (step, expected, index) in [
        (Change::Disable, "409 auth: already disabled", 0),
        (
            Change::Enable,
            "409 auth: No root user available, please create one",
            0,
        ),
        (
            no_password("u"),
            "400 auth: Cannot create user u with an empty password",
            0,
        ),
        (
            user_update("u", &["r"], &[]),
            "404 auth: User u does not exist.",
            0,
        ),
        (
            role_update("r", None, None),
            "404 auth: Role r does not exist.",
            0,
        ),
        (
            role("root", &[], &[]),
            "403 auth: Cannot modify role root: is root role.",
            0,
        ),
        // the first write makes etcd's hidden directory
        (
            Change::UserDelete { name: "u".to_owned() },
            "404 auth: User u does not exist",
            4,
        ),
        (put("u"), "+u null", 5),
        (create("u", &["x"]), "409 auth: User u already exists.", 5),
        (create("v", &["z", "y"]), "v z,y", 6),
        (no_password("u"), "u ", 7), // null becomes a list
        (
            no_password("u"),
            "400 auth: User not updated. Use grant/revoke/password to update the user.",
            7,
        ),
        (user_update("u", &["s", "r"], &[]), "u r,s", 8),
        (
            user_update("u", &["s"], &[]),
            "409 auth: Granting duplicate role s for user u",
            8,
        ),
        (
            user_update("u", &[], &["q"]),
            "409 auth: Revoking ungranted role q for user u",
            8,
        ),
        (user_update("u", &[], &["s"]), "u r", 9),
        (role("r", &["/a"], &["/b/*"]), "r r=/a w=/b/*", 10),
        (role("r", &[], &[]), "409 auth: Role r already exists.", 10),
        (
            role_update("r", Some(permissions(&["/a"], &[])), None),
            "409 auth: Granting duplicate read permission /a",
            10,
        ),
        (
            role_update("r", None, Some(permissions(&["/none"], &[]))),
            "400 auth: Role not updated. Use grant/revoke to update the role.",
            10,
        ),
        (
            role_update(
                "r",
                Some(permissions(&["/0"], &["/w"])),
                Some(permissions(&["/a"], &[])),
            ),
            "r r=/0 w=/b/*,/w",
            11,
        ),
        (put("root"), "+root root", 12),
        (Change::Enable, "changed", 14), // with a guest
        (Change::Enable, "409 auth: already enabled", 14),
        (
            Change::UserDelete {
                name: "root".to_owned(),
            },
            "403 auth: Cannot delete root user while auth is enabled.",
            14,
        ),
        (Change::RoleDelete { name: "r".to_owned() }, "changed", 15),
        (
            Change::RoleDelete { name: "r".to_owned() },
            "404 auth: Role r doesn't exist.",
            15,
        ),
        (Change::Disable, "changed", 16),
        (
            Change::UserDelete {
                name: "root".to_owned(),
            },
            "changed",
            17,
        ),
    ] {
        assert_eq!(
            change(&mut store, step.clone()),
            (expected.to_owned(), index),
            "{step:?}"
        );
    }
    let users: Vec<String> = v2auth::users(&store)
        .unwrap()
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(users, ["u", "v"]);
    let roles: Vec<String> = v2auth::roles(&store)
        .unwrap()
        .into_iter()
        .map(|role| role.name)
        .collect();
    assert_eq!(roles, ["guest", "root"]);
    let stats = meta::read(&store).unwrap().stats;
    assert_eq!((stats.create_success, stats.create_fail), (9, 2));
    assert_eq!(
        (stats.update_success, stats.delete_success, stats.delete_fail),
        (6, 2, 2)
    );
}

#[test]
fn patterns_are_keys_or_prefixes() {
    let mut store = Memory::new();
    change(&mut store, put("root"));
    change(&mut store, put("u"));
    change(&mut store, role("r", &["/a", "/d/*"], &["/d/w*"]));
    change(&mut store, user_update("u", &["r", "missing"], &[]));
    change(&mut store, role("guest", &["/open", "/public/*"], &[]));
    change(&mut store, Change::Enable);
    assert!(v2auth::is_enabled(&store).unwrap());
    let user = v2auth::user(&store, "u").unwrap().unwrap();
    let root = v2auth::user(&store, "root").unwrap().unwrap();
    assert!(root.is_root() && !user.is_root());
    let (read, write) = (false, true);
    for (who, key, what, recursive, expected) in [
        (Some(&user), "/a", read, false, true),
        (Some(&user), "/a", read, true, false),
        (Some(&user), "/a", write, false, false),
        (Some(&user), "/a/b", read, false, false),
        (Some(&user), "/d/x", read, true, true),
        (Some(&user), "/d", read, true, false),
        (Some(&user), "/d/www", write, false, true),
        (Some(&user), "/d/x", write, false, false),
        (Some(&user), "/open", read, false, false),
        (Some(&root), "/anything", write, true, true),
        (None, "/open", read, false, true),
        (None, "/open", read, true, true), // etcd does not ask guests for more
        (None, "/public/x", read, true, true),
        (None, "/public/x", write, false, false),
    ] {
        let may = v2auth::may_use_key(&store, who, key, what, recursive).unwrap();
        assert_eq!(may, expected, "{who:?} {key} write={what} recursive={recursive}");
    }
}
