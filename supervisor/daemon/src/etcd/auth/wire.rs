//! Users and roles as JSON: read the way Go's decoder reads them, written the way Go's encoder does.
//!
//! Go takes the first value of the body and nothing behind it, names of fields in any case, `null` for nothing, and passes
//! over fields it does not know.

use corten_store::keys::json::string;
use corten_store::v2auth::{Permissions, Role, User};
use serde::Deserialize;
use serde_json::Value;

/// What a PUT of a user says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UserPut {
    pub user: String,
    pub password: String,
    pub roles: Option<Vec<String>>,
    pub grant: Vec<String>,
    pub revoke: Vec<String>,
}

/// What a PUT of a role says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RolePut {
    pub role: String,
    pub permissions: Permissions,
    pub grant: Option<Permissions>,
    pub revoke: Option<Permissions>,
}

impl UserPut {
    /// `None` if it is none.
    pub fn read(body: &[u8]) -> Option<UserPut> {
        let object = first_value(body)?;
        Some(UserPut {
            user: text(field(&object, "user")?)?,
            password: text(field(&object, "password")?)?,
            roles: texts(field(&object, "roles")?)?,
            grant: texts(field(&object, "grant")?)?.unwrap_or_default(),
            revoke: texts(field(&object, "revoke")?)?.unwrap_or_default(),
        })
    }
}

impl RolePut {
    /// `None` if it is none.
    pub fn read(body: &[u8]) -> Option<RolePut> {
        let object = first_value(body)?;
        Some(RolePut {
            role: text(field(&object, "role")?)?,
            permissions: permissions(field(&object, "permissions")?)?.unwrap_or_default(),
            grant: permissions(field(&object, "grant")?)?,
            revoke: permissions(field(&object, "revoke")?)?,
        })
    }
}

fn first_value(body: &[u8]) -> Option<Value> {
    let body = String::from_utf8_lossy(body);
    Value::deserialize(&mut serde_json::Deserializer::from_str(&body)).ok()
}

const NULL: &Value = &Value::Null;

/// A field of an object, `null` where it is missing or the object is; `None` for no object.
fn field<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    match object {
        Value::Null => Some(NULL),
        Value::Object(fields) => {
            let folded = || fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            Some(
                fields
                    .get(name)
                    .or_else(|| folded().map(|(_, value)| value))
                    .unwrap_or(NULL),
            )
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn texts(value: &Value) -> Option<Option<Vec<String>>> {
    match value {
        Value::Null => Some(None),
        Value::Array(items) => items.iter().map(text).collect::<Option<_>>().map(Some),
        _ => None,
    }
}

fn permissions(value: &Value) -> Option<Option<Permissions>> {
    if value.is_null() {
        return Some(None);
    }
    let kv = field(value, "kv")?;
    Some(Some(Permissions {
        read: texts(field(kv, "read")?)?,
        write: texts(field(kv, "write")?)?,
    }))
}

/// `{"enabled":false}`
pub fn enabled(enabled: bool) -> Vec<u8> {
    format!("{{\"enabled\":{enabled}}}\n").into_bytes()
}

/// A user as a PUT answers.
pub fn user(user: &User) -> Vec<u8> {
    let mut out = named("user", &user.name);
    out.extend_from_slice(b",\"roles\":");
    write_texts(&mut out, user.roles.as_deref());
    out.extend_from_slice(b"}\n");
    out
}

/// A user with their roles in full.
pub fn user_with_roles(name: &str, roles: &[Role]) -> Vec<u8> {
    let mut out = Vec::new();
    write_user(&mut out, name, roles);
    out.push(b'\n');
    out
}

/// All users; Go writes none as `null`.
pub fn users(users: &[(String, Vec<Role>)]) -> Vec<u8> {
    let mut out = b"{\"users\":".to_vec();
    if users.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        list(&mut out, users, |out, (name, roles)| write_user(out, name, roles));
    }
    out.extend_from_slice(b"}\n");
    out
}

/// A role.
pub fn role(role: &Role) -> Vec<u8> {
    let mut out = Vec::new();
    write_role(&mut out, role);
    out.push(b'\n');
    out
}

/// All roles.
pub fn roles(roles: &[Role]) -> Vec<u8> {
    let mut out = b"{\"roles\":".to_vec();
    list(&mut out, roles, write_role);
    out.extend_from_slice(b"}\n");
    out
}

fn named(kind: &str, name: &str) -> Vec<u8> {
    let mut out = format!("{{\"{kind}\":").into_bytes();
    string(&mut out, name);
    out
}

fn write_user(out: &mut Vec<u8>, name: &str, roles: &[Role]) {
    out.extend(named("user", name));
    if !roles.is_empty() {
        out.extend_from_slice(b",\"roles\":");
        list(out, roles, write_role);
    }
    out.push(b'}');
}

fn write_role(out: &mut Vec<u8>, role: &Role) {
    out.extend(named("role", &role.name));
    out.extend_from_slice(b",\"permissions\":{\"kv\":{\"read\":");
    write_texts(out, role.permissions.read.as_deref());
    out.extend_from_slice(b",\"write\":");
    write_texts(out, role.permissions.write.as_deref());
    out.extend_from_slice(b"}}}");
}

fn write_texts(out: &mut Vec<u8>, texts: Option<&[String]>) {
    match texts {
        None => out.extend_from_slice(b"null"),
        Some(texts) => list(out, texts, |out, text| string(out, text)),
    }
}

fn list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_go_reads_them() {
        let put =
            UserPut::read(br#"{"USER":"u","password":null,"roles":["a",null],"x":1} trailing"#).unwrap();
        assert_eq!(put.user, "u");
        assert_eq!(put.roles, Some(vec!["a".to_owned(), String::new()]));
        assert_eq!(UserPut::read(b"null"), Some(UserPut::default()));
        for wrong in [
            "",
            "[]",
            "7",
            r#"{"user":7}"#,
            r#"{"user":"u","roles":"a"}"#,
            r#"{"user":"u""#,
        ] {
            assert_eq!(UserPut::read(wrong.as_bytes()), None, "{wrong}");
        }
        let put = RolePut::read(br#"{"role":"r","grant":{"kv":{"read":["/a"]}},"revoke":{}}"#).unwrap();
        assert_eq!(put.grant.unwrap().read, Some(vec!["/a".to_owned()]));
        assert_eq!(put.revoke, Some(Permissions::default()));
        assert_eq!(RolePut::read(br#"{"role":"r","grant":{"kv":[]}}"#), None);
    }
}
