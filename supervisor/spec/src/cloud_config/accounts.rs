//! The four account files as text, and the two things cloud-config does to them: a new user, and a password hash.
//!
//! ```text
//! passwd(5)  name:x:uid:gid:gecos:home:shell        shadow(5)   name:hash:changed:min:max:warn:inactive:expire:
//! group(5)   name:x:gid:member,member               gshadow(5)  name:!:admins:member,member
//! ```
//! Numbers follow useradd(8) and Debian's login.defs: people from 1000, system users downwards from 999. The day of the
//! last change stays empty, which switches ageing off and needs no clock.
//!
//! Refuses to change or remove a user there is. Danger: a stray `:` or line end in a value would make another account
//! of it, so such values are errors. Lines it does not understand are kept as they are.

/// The files, each whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `/etc/passwd`
    pub passwd: String,
    /// `/etc/shadow`
    pub shadow: String,
    /// `/etc/group`
    pub group: String,
    /// `/etc/gshadow`
    pub gshadow: String,
}

/// A user to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewUser {
    /// Login name.
    pub name: String,
    /// Full name or comment.
    pub gecos: String,
    /// Home folder, absolute.
    pub home: String,
    /// Login shell, absolute.
    pub shell: String,
    /// The first group; empty: one of the user's own, or `users` where that is not wanted.
    pub primary_group: String,
    /// Further groups.
    pub groups: Vec<String>,
    /// No group of the user's own.
    pub no_user_group: bool,
    /// A number below 1000.
    pub system: bool,
    /// Make the home folder.
    pub create_home: bool,
}

/// What a passwd line says that others need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User number.
    pub uid: u32,
    /// Number of the first group.
    pub gid: u32,
    /// Home folder.
    pub home: String,
}

/// Why the files cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The name is taken.
    #[error("there is a user {0:?} already")]
    Exists(String),
    /// No such user.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// No such group.
    #[error("there is no group {0:?}")]
    NoGroup(String),
    /// A value that would break the file.
    #[error("{what} {value:?} holds a colon or a line end")]
    Value {
        /// Which value.
        what: &'static str,
        /// As given.
        value: String,
    },
    /// All numbers of the range are taken.
    #[error("no number is left for {0:?}")]
    Full(String),
}

/// The group of users who have none of their own.
const SHARED_GROUP: &str = "users";

impl Accounts {
    /// A user by name.
    pub fn user(&self, name: &str) -> Option<Account> {
        let line = fields(&self.passwd, name)?;
        let number = |index: usize| line.get(index)?.parse().ok();
        let home = line.get(5).copied().unwrap_or("/");
        Some(Account {
            uid: number(2)?,
            gid: number(3)?,
            home: home.to_owned(),
        })
    }

    /// A group's number by its name.
    pub fn group_number(&self, name: &str) -> Option<u32> {
        fields(&self.group, name)?.get(2)?.parse().ok()
    }

    /// With a user more.
    ///
    /// # Errors
    /// A name that is taken, a group there is not, a value that would break the file, no number left.
    pub fn with_user(&self, user: &NewUser) -> Result<Accounts, AccountError> {
        if fields(&self.passwd, &user.name).is_some() {
            return Err(AccountError::Exists(user.name.clone()));
        }
        for (what, value) in [
            ("name", &user.name),
            ("gecos", &user.gecos),
            ("homedir", &user.home),
            ("shell", &user.shell),
        ] {
            check(what, value)?;
        }
        let mut out = self.clone();
        let uid = self.free_number(user)?;
        let gid = out.primary_group(user, uid)?;
        let NewUser {
            name,
            gecos,
            home,
            shell,
            ..
        } = user;
        push(
            &mut out.passwd,
            &format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}"),
        );
        push(&mut out.shadow, &format!("{name}:*::0:99999:7:::"));
        for group in &user.groups {
            if out.group_number(group).is_none() {
                return Err(AccountError::NoGroup(group.clone()));
            }
            out.group = joined(&out.group, group, name);
            out.gshadow = joined(&out.gshadow, group, name);
        }
        Ok(out)
    }

    /// With a user's password hash replaced.
    ///
    /// # Errors
    /// No such user, or a hash that would break the file.
    pub fn with_password(&self, user: &str, hash: &str) -> Result<Accounts, AccountError> {
        check("passwd", hash)?;
        if fields(&self.passwd, user).is_none() {
            return Err(AccountError::NoUser(user.to_owned()));
        }
        let mut out = self.clone();
        if fields(&self.shadow, user).is_none() {
            push(&mut out.shadow, &format!("{user}:{hash}::0:99999:7:::"));
            return Ok(out);
        }
        out.shadow = changed(&self.shadow, user, |fields| fields[1] = hash.to_owned());
        Ok(out)
    }

    /// The first group's number; makes the user's own group where that is it.
    fn primary_group(&mut self, user: &NewUser, uid: u32) -> Result<u32, AccountError> {
        let wanted = match (user.primary_group.as_str(), user.no_user_group) {
            ("", false) => &user.name,
            ("", true) => SHARED_GROUP,
            (given, _) => given,
        };
        if let Some(gid) = self.group_number(wanted).or_else(|| wanted.parse().ok()) {
            return Ok(gid);
        }
        if wanted != user.name {
            return Err(AccountError::NoGroup(wanted.to_owned()));
        }
        // free_number has seen to it that no group has this number.
        push(&mut self.group, &format!("{}:x:{uid}:", user.name));
        push(&mut self.gshadow, &format!("{}:!::", user.name));
        Ok(uid)
    }

    /// A number neither a user nor a group has.
    fn free_number(&self, user: &NewUser) -> Result<u32, AccountError> {
        let taken = |text: &str, number: u32| {
            text.lines()
                .any(|line| line.split(':').nth(2).and_then(|n| n.parse().ok()) == Some(number))
        };
        let free = |number: &u32| !taken(&self.passwd, *number) && !taken(&self.group, *number);
        let found = match user.system {
            true => (201..=999).rev().find(free),
            false => (1000..=59_999).find(free),
        };
        found.ok_or_else(|| AccountError::Full(user.name.clone()))
    }
}

/// The fields of the line for `name`.
fn fields<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields[0] == name)
}

/// The text with the line for `name` changed; shorter lines are padded to four fields first.
fn changed(text: &str, name: &str, change: impl Fn(&mut Vec<String>)) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if fields[0] == name {
            fields.resize(fields.len().max(4), String::new());
            change(&mut fields);
        }
        push(&mut out, &fields.join(":"));
    }
    out
}

/// The text with `member` in the last field of `group`'s line.
fn joined(text: &str, group: &str, member: &str) -> String {
    changed(text, group, |fields| {
        let members = &mut fields[3];
        if !members.split(',').any(|m| m == member) {
            let comma = if members.is_empty() { "" } else { "," };
            *members = format!("{members}{comma}{member}");
        }
    })
}

fn push(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

fn check(what: &'static str, value: &str) -> Result<(), AccountError> {
    match value.contains([':', '\n', '\0']) {
        true => Err(AccountError::Value {
            what,
            value: value.to_owned(),
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn system() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500::/home/core:/bin/bash\nold:x:1000:1000::/:/\n".into(),
            shadow: "root:*:1::::::\ncore:*:1::::::".into(),
            group: "root:x:0:\nsudo:x:27:core\ncore:x:500:\nold:x:1000:\nusers:x:100:\nshared:x:1001:\n".into(),
            gshadow: "sudo:!::core\n".into(),
        }
    }

    fn user(name: &str) -> NewUser {
        NewUser {
            name: name.into(),
            home: format!("/home/{name}"),
            shell: "/bin/bash".into(),
            ..NewUser::default()
        }
    }

    #[test]
    fn a_new_user() {
        let asked = NewUser {
            gecos: "El Roy".into(),
            groups: vec!["sudo".into(), "users".into()],
            ..user("elroy")
        };
        let after = system().with_user(&asked).unwrap();
        assert!(
            after
                .passwd
                .ends_with("elroy:x:1002:1002:El Roy:/home/elroy:/bin/bash\n"),
            "{}",
            after.passwd
        );
        assert!(
            after.shadow.ends_with("core:*:1::::::\nelroy:*::0:99999:7:::\n"),
            "{}",
            after.shadow
        );
        assert!(
            after.group.contains("sudo:x:27:core,elroy\n") && after.group.contains("users:x:100:elroy\n")
        );
        assert!(after.group.ends_with("elroy:x:1002:\n"));
        assert_eq!(after.gshadow, "sudo:!::core,elroy\nelroy:!::\n");
        let wanted = Account {
            uid: 1002,
            gid: 1002,
            home: "/home/elroy".into(),
        };
        assert_eq!(after.user("elroy"), Some(wanted));
        assert_eq!(after.with_user(&asked), Err(AccountError::Exists("elroy".into())));
    }

    #[test]
    fn groups_and_numbers() {
        let none = NewUser {
            no_user_group: true,
            ..user("a")
        };
        assert_eq!(system().with_user(&none).unwrap().user("a").unwrap().gid, 100);
        let given = NewUser {
            primary_group: "sudo".into(),
            ..user("a")
        };
        assert_eq!(system().with_user(&given).unwrap().user("a").unwrap().gid, 27);
        let by_number = NewUser {
            primary_group: "77".into(),
            ..user("a")
        };
        assert_eq!(system().with_user(&by_number).unwrap().user("a").unwrap().gid, 77);
        assert_eq!(
            system()
                .with_user(&user("shared"))
                .unwrap()
                .user("shared")
                .unwrap()
                .gid,
            1001
        );
        let daemon = NewUser {
            system: true,
            ..user("d")
        };
        assert_eq!(system().with_user(&daemon).unwrap().user("d").unwrap().uid, 999);
        let lost = NewUser {
            primary_group: "nosuch".into(),
            ..user("a")
        };
        assert_eq!(
            system().with_user(&lost),
            Err(AccountError::NoGroup("nosuch".into()))
        );
    }

    #[test]
    fn passwords() {
        let after = system().with_password("core", "$6$h").unwrap();
        assert_eq!(after.shadow, "root:*:1::::::\ncore:$6$h:1::::::\n");
        let added = system().with_password("old", "$6$o").unwrap();
        assert!(added.shadow.ends_with("old:$6$o::0:99999:7:::\n"));
        assert_eq!(
            system().with_password("x", "h"),
            Err(AccountError::NoUser("x".into()))
        );
    }

    #[test]
    fn no_value_makes_a_second_account() {
        for bad in ["a:b", "a\nroot2:x:0:0::/:/bin/sh", "a\0"] {
            let gecos = NewUser {
                gecos: bad.into(),
                ..user("a")
            };
            assert!(matches!(
                system().with_user(&gecos),
                Err(AccountError::Value { .. })
            ));
            assert!(matches!(
                system().with_password("core", bad),
                Err(AccountError::Value { .. })
            ));
        }
    }
}
