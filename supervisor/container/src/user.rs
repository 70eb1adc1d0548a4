//! Who a container's process is: `user[:group]` against the image's own /etc/passwd and /etc/group.
//!
//! Pure but for `read_in`, which opens a file of the image without leaving it.

use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Groups besides.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// A name the image does not know. The message is Docker's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
}

/// Reads a file below `root` as the container would see it: links stay inside. Empty when it cannot be read.
pub fn read_in(root: &Path, path: &str) -> String {
    let read = || -> std::io::Result<String> {
        let root = std::fs::File::open(root)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat2(
            &root,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?;
        let mut text = Vec::new();
        std::fs::File::from(fd).take(4 << 20).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_default()
}

/// Resolves `spec` (empty: root) and additional groups against the texts of passwd and group.
pub fn resolve(spec: &str, group_add: &[String], passwd: &str, group: &str) -> Result<Identity, UserError> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, (!group.is_empty()).then_some(group)),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| {
            fields.len() >= 6 && (fields[0] == user || number.is_some() && fields[2].parse().ok() == number)
        });
    let (uid, mut gid, home, name) = match (&entry, number) {
        (Some(fields), _) => (
            fields[2].parse().map_err(|_| UserError::User(user.into()))?,
            fields[3].parse().unwrap_or(0),
            fields[5].to_owned(),
            Some(fields[0]),
        ),
        (None, Some(uid)) => (uid, 0, "/".to_owned(), None),
        (None, None) => return Err(UserError::User(user.into())),
    };
    let mut groups = Vec::new();
    match wanted_group {
        Some(wanted) => gid = group_id(wanted, group)?,
        None => groups.extend(name.into_iter().flat_map(|name| member_of(name, group))),
    }
    for extra in group_add {
        groups.push(group_id(extra, group)?);
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity {
        uid,
        gid,
        groups,
        home,
    })
}

fn group_id(wanted: &str, group: &str) -> Result<u32, UserError> {
    let by_name = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == wanted).then(|| fields.nth(1)?.parse().ok())?
    });
    by_name
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| UserError::Group(wanted.into()))
}

fn member_of(name: &str, group: &str) -> Vec<u32> {
    let member = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_member = fields.get(3)?.split(',').any(|member| member == name);
        is_member.then(|| fields[2].parse().ok())?
    };
    group.lines().filter_map(member).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:4:web,other\naudio:x:29:web\n";

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let resolve = |spec: &str| resolve(spec, &[], PASSWD, GROUP);
        let who = |uid, gid, groups: &[u32], home: &str| Identity {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.into(),
        };
        assert_eq!(resolve("").unwrap(), who(0, 0, &[], "/root"));
        assert_eq!(resolve("web").unwrap(), who(33, 34, &[4, 29], "/var/www"));
        assert_eq!(resolve("33").unwrap(), who(33, 34, &[4, 29], "/var/www"));
        assert_eq!(resolve("web:log").unwrap(), who(33, 4, &[], "/var/www"));
        assert_eq!(resolve("1000:1001").unwrap(), who(1000, 1001, &[], "/"));
        assert_eq!(resolve("nobody"), Err(UserError::User("nobody".into())));
        assert_eq!(resolve("web:none"), Err(UserError::Group("none".into())));
    }

    #[test]
    fn a_scratch_image_has_root_only() {
        assert_eq!(
            resolve("", &["5".into()], "", "").unwrap(),
            Identity {
                uid: 0,
                gid: 0,
                groups: vec![5],
                home: "/".into()
            }
        );
    }
}
