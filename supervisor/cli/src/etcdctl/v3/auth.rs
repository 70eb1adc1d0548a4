//! `user`, `role`, `auth`.

use authpb::permission::Type;
use clap::ArgMatches;
use corten_etcd_api::{authpb, etcdserverpb as pb};

use super::connection::Etcd;
use super::fault::{ERROR, Failure};
use super::key_value::{Span, prefix_end};
use super::print::Format;
use super::{switch, text, words};
use crate::etcdctl::password;
use crate::terminal::say;

/// Runs `auth <verb>`. Enabling gives the user root the role root, where only that is missing.
pub(super) async fn auth(etcd: &Etcd, verb: &str) -> Result<(), Failure> {
    if verb == "disable" {
        let _: pb::AuthDisableResponse = etcd
            .call("/etcdserverpb.Auth/AuthDisable", pb::AuthDisableRequest {})
            .await?;
        say("Authentication Disabled");
        return Ok(());
    }
    let path = "/etcdserverpb.Auth/AuthEnable";
    let enabled: Result<pb::AuthEnableResponse, _> = etcd.call(path, pb::AuthEnableRequest {}).await;
    match enabled {
        Err(failure) if failure.text == "etcdserver: root user does not have root role" => {
            let role = pb::AuthRoleAddRequest {
                name: "root".to_owned(),
            };
            let _: pb::AuthRoleAddResponse = etcd.call("/etcdserverpb.Auth/RoleAdd", role).await?;
            let grant = pb::AuthUserGrantRoleRequest {
                user: "root".to_owned(),
                role: "root".to_owned(),
            };
            let _: pb::AuthUserGrantRoleResponse =
                etcd.call("/etcdserverpb.Auth/UserGrantRole", grant).await?;
            let _: pb::AuthEnableResponse = etcd.call(path, pb::AuthEnableRequest {}).await?;
        }
        enabled => {
            enabled?;
        }
    }
    say("Authentication Enabled");
    Ok(())
}

/// Runs `user <verb>`.
pub(super) async fn user(
    etcd: &Etcd,
    format: Format,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let words = words(matches);
    match (verb, &words[..]) {
        ("list", []) => {
            let answer: pb::AuthUserListResponse = etcd
                .call("/etcdserverpb.Auth/UserList", pb::AuthUserListRequest {})
                .await?;
            format.show("etcdserverpb.AuthUserListResponse", &answer, || {
                answer.users.iter().for_each(say);
            });
            Ok(())
        }
        ("list", _) => Err(Failure::args("user list command requires no arguments")),
        ("add", [user]) => add(etcd, format, user, matches).await,
        ("get", [user]) => get(etcd, format, user, switch(matches, "detail")).await,
        ("delete", [user]) => {
            let request = pb::AuthUserDeleteRequest {
                name: (*user).to_owned(),
            };
            let answer: pb::AuthUserDeleteResponse =
                etcd.call("/etcdserverpb.Auth/UserDelete", request).await?;
            format.show("etcdserverpb.AuthUserDeleteResponse", &answer, || {
                say(format!("User {user} deleted"));
            });
            Ok(())
        }
        ("passwd", [user]) => {
            let password = new_password(user, matches).await?;
            let request = pb::AuthUserChangePasswordRequest {
                name: (*user).to_owned(),
                password,
                ..pb::AuthUserChangePasswordRequest::default()
            };
            let answer: pb::AuthUserChangePasswordResponse = etcd
                .call("/etcdserverpb.Auth/UserChangePassword", request)
                .await?;
            format.show("etcdserverpb.AuthUserChangePasswordResponse", &answer, || {
                say("Password updated");
            });
            Ok(())
        }
        ("grant-role", [user, role]) => {
            let request = pb::AuthUserGrantRoleRequest {
                user: (*user).to_owned(),
                role: (*role).to_owned(),
            };
            let answer: pb::AuthUserGrantRoleResponse =
                etcd.call("/etcdserverpb.Auth/UserGrantRole", request).await?;
            format.show("etcdserverpb.AuthUserGrantRoleResponse", &answer, || {
                say(format!("Role {role} is granted to user {user}"));
            });
            Ok(())
        }
        ("revoke-role", [user, role]) => {
            let request = pb::AuthUserRevokeRoleRequest {
                name: (*user).to_owned(),
                role: (*role).to_owned(),
            };
            let answer: pb::AuthUserRevokeRoleResponse =
                etcd.call("/etcdserverpb.Auth/UserRevokeRole", request).await?;
            format.show("etcdserverpb.AuthUserRevokeRoleResponse", &answer, || {
                say(format!("Role {role} is revoked from user {user}"));
            });
            Ok(())
        }
        ("grant-role", _) => Err(Failure::args(
            "user grant command requires user name and role name as its argument",
        )),
        ("revoke-role", _) => Err(Failure::args(
            "user revoke-role requires user name and role name as its argument",
        )),
        (verb, _) => Err(Failure::args(format!(
            "user {verb} command requires user name as its argument"
        ))),
    }
}

async fn add(etcd: &Etcd, format: Format, user: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let no_password = switch(matches, "no-password");
    let given = text(matches, "new-user-password").filter(|password| !password.is_empty());
    let (user, password) = match (given, user.split_once(':')) {
        _ if no_password => (user, String::new()),
        (Some(password), _) => (user, password.to_owned()),
        (None, Some((user, password))) => (user, password.to_owned()),
        (None, None) => (user, new_password(user, matches).await?),
    };
    if user.is_empty() {
        return Err(Failure::args("empty user name is not allowed"));
    }
    let request = pb::AuthUserAddRequest {
        name: user.to_owned(),
        password,
        options: Some(authpb::UserAddOptions { no_password }),
        ..pb::AuthUserAddRequest::default()
    };
    let answer: pb::AuthUserAddResponse = etcd.call("/etcdserverpb.Auth/UserAdd", request).await?;
    format.show("etcdserverpb.AuthUserAddResponse", &answer, || {
        say(format!("User {user} created"));
    });
    Ok(())
}

/// Asked twice at a terminal, a line of standard input with `--interactive=false`.
async fn new_password(user: &str, matches: &ArgMatches) -> Result<String, Failure> {
    let ask = async |prompt: String| {
        let asked = password::ask(&prompt).await;
        asked.map_err(|failure| Failure::args(failure.text))
    };
    if !switch(matches, "interactive") {
        return password::read_line().map_err(|error| Failure::args(error.to_string()));
    }
    let first = ask(format!("Password of {user}: ")).await?;
    let second = ask(format!("Type password of {user} again for confirmation: ")).await?;
    if first == second {
        Ok(first)
    } else {
        Err(Failure::args("given passwords are different."))
    }
}

async fn get(etcd: &Etcd, format: Format, user: &str, detail: bool) -> Result<(), Failure> {
    let request = pb::AuthUserGetRequest {
        name: user.to_owned(),
    };
    let answer: pb::AuthUserGetResponse = etcd.call("/etcdserverpb.Auth/UserGet", request).await?;
    if detail && format != Format::Json {
        say(format!("User: {user}"));
        for role in &answer.roles {
            say("");
            show_role(role, &role_of(etcd, role).await?);
        }
        return Ok(());
    }
    format.show("etcdserverpb.AuthUserGetResponse", &answer, || {
        let roles: String = answer.roles.iter().map(|role| format!(" {role}")).collect();
        say(format!("User: {user}\nRoles:{roles}"));
    });
    Ok(())
}

async fn role_of(etcd: &Etcd, role: &str) -> Result<pb::AuthRoleGetResponse, Failure> {
    let request = pb::AuthRoleGetRequest {
        role: role.to_owned(),
    };
    etcd.call("/etcdserverpb.Auth/RoleGet", request).await
}

/// Runs `role <verb>`.
pub(super) async fn role(
    etcd: &Etcd,
    format: Format,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let words = words(matches);
    let (prefix, from_key) = (switch(matches, "prefix"), switch(matches, "from-key"));
    match (verb, &words[..]) {
        ("list", []) => {
            let answer: pb::AuthRoleListResponse = etcd
                .call("/etcdserverpb.Auth/RoleList", pb::AuthRoleListRequest {})
                .await?;
            format.show("etcdserverpb.AuthRoleListResponse", &answer, || {
                answer.roles.iter().for_each(say);
            });
        }
        ("list", _) => return Err(Failure::args("role list command requires no arguments")),
        ("add", [role]) => {
            let request = pb::AuthRoleAddRequest {
                name: (*role).to_owned(),
            };
            let answer: pb::AuthRoleAddResponse = etcd.call("/etcdserverpb.Auth/RoleAdd", request).await?;
            format.show("etcdserverpb.AuthRoleAddResponse", &answer, || {
                say(format!("Role {role} created"));
            });
        }
        ("get", [role]) => {
            let answer = role_of(etcd, role).await?;
            format.show("etcdserverpb.AuthRoleGetResponse", &answer, || {
                show_role(role, &answer)
            });
        }
        ("delete", [role]) => {
            let request = pb::AuthRoleDeleteRequest {
                role: (*role).to_owned(),
            };
            let answer: pb::AuthRoleDeleteResponse =
                etcd.call("/etcdserverpb.Auth/RoleDelete", request).await?;
            format.show("etcdserverpb.AuthRoleDeleteResponse", &answer, || {
                say(format!("Role {role} deleted"));
            });
        }
        ("grant-permission", [role, kind, key, end @ ..]) if end.len() < 2 => {
            let perm_type = Type::from_str_name(&kind.to_uppercase())
                .ok_or_else(|| Failure::args(format!("invalid permission type: {kind}")))?;
            let span = span(key, end, prefix, from_key)?;
            let request = pb::AuthRoleGrantPermissionRequest {
                name: (*role).to_owned(),
                perm: Some(authpb::Permission {
                    perm_type: perm_type.into(),
                    key: span.key.into(),
                    range_end: span.end.into(),
                }),
            };
            let answer: pb::AuthRoleGrantPermissionResponse = etcd
                .call("/etcdserverpb.Auth/RoleGrantPermission", request)
                .await?;
            format.show("etcdserverpb.AuthRoleGrantPermissionResponse", &answer, || {
                say(format!("Role {role} updated"));
            });
        }
        ("revoke-permission", [role, key, end @ ..]) if end.len() < 2 => {
            let span = span(key, end, prefix, from_key)?;
            let request = pb::AuthRoleRevokePermissionRequest {
                role: (*role).to_owned(),
                key: span.key.clone().into(),
                range_end: span.end.clone().into(),
            };
            let answer: pb::AuthRoleRevokePermissionResponse = etcd
                .call("/etcdserverpb.Auth/RoleRevokePermission", request)
                .await?;
            format.show("etcdserverpb.AuthRoleRevokePermissionResponse", &answer, || {
                let key = String::from_utf8_lossy(&span.key);
                say(match span.end.as_slice() {
                    b"" => format!("Permission of key {key} is revoked from role {role}"),
                    b"\0" => format!("Permission of range [{key}, <open ended> is revoked from role {role}"),
                    end => format!(
                        "Permission of range [{key}, {}) is revoked from role {role}",
                        String::from_utf8_lossy(end)
                    ),
                });
            });
        }
        ("grant-permission", _) => {
            return Err(Failure::args(
                "role grant command requires role name, permission type, and key [endkey] as its argument",
            ));
        }
        ("revoke-permission", _) => {
            return Err(Failure::args(
                "role revoke-permission command requires role name and key [endkey] as its argument",
            ));
        }
        (verb, _) => {
            return Err(Failure::new(
                super::fault::BAD_ARGS,
                format!("role {verb} command requires role name as its argument"),
            ));
        }
    }
    Ok(())
}

fn span(key: &str, end: &[&str], prefix: bool, from_key: bool) -> Result<Span, Failure> {
    if prefix && from_key {
        return Err(Failure::new(
            ERROR,
            "--from-key and --prefix flags are mutually exclusive",
        ));
    }
    if !end.is_empty() && (prefix || from_key) {
        let flag = if prefix { "--prefix" } else { "--from-key" };
        return Err(Failure::args(format!(
            "unexpected endkey argument with {flag} flag"
        )));
    }
    Ok(Span::of(key, end.first().copied(), prefix, from_key))
}

fn show_role(name: &str, role: &pb::AuthRoleGetResponse) {
    say(format!("Role {name}"));
    for (title, other) in [("KV Read:", Type::Write), ("KV Write:", Type::Read)] {
        say(title);
        for permission in role.perm.iter().filter(|perm| perm.perm_type() != other) {
            let key = String::from_utf8_lossy(&permission.key);
            let end = String::from_utf8_lossy(&permission.range_end);
            let range = match &permission.range_end[..] {
                b"" => format!("\t{key}"),
                b"\0" => format!("\t[{key}, <open ended>"),
                _ => format!("\t[{key}, {end})"),
            };
            let is_prefix = !permission.range_end.is_empty()
                && !key.is_empty()
                && prefix_end(&permission.key) == permission.range_end[..];
            let prefix = if is_prefix {
                format!(" (prefix {key})")
            } else {
                String::new()
            };
            say(range + &prefix);
        }
    }
}
