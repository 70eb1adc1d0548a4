//! Tokens of users who gave their password: a name, until when it holds, and a keyed hash (HMAC-SHA256) of both.
//!
//! The key is the hash of the user's password and when auth was switched on, which every member has and nobody else: any
//! member knows the token again, none need keep it, and it ends when the password changes, the user goes or auth is
//! switched off. What its owner may do is looked up anew
//! for every request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use corten_store::StoreFault;
use corten_store::auth::User;
use ring::hmac;

/// How long a token holds, in seconds: long enough for clients that never ask for another.
pub const TOKEN_S: u64 = 24 * 60 * 60;

/// A token for a user with a password, until a time in seconds since the Unix epoch; `since` is
/// [`corten_store::auth::Standing::since`].
pub fn mint(user: &User, since: u64, until_s: u64) -> String {
    let content = format!("{}.{until_s:x}", URL_SAFE_NO_PAD.encode(&user.name));
    let tag = hmac::sign(&key(user, since), content.as_bytes());
    format!("{content}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Whose token it is; `None` if it is nobody's (any more).
///
/// # Errors
/// What `user` returns.
pub fn owner(
    token: &str,
    since: u64,
    now_s: u64,
    user: impl FnOnce(&str) -> Result<Option<User>, StoreFault>,
) -> Result<Option<String>, StoreFault> {
    let Some((content, tag, name, until_s)) = parts(token) else {
        return Ok(None);
    };
    let Some(user) = user(&name)? else {
        return Ok(None);
    };
    let is_whole = hmac::verify(&key(&user, since), content.as_bytes(), &tag).is_ok();
    let holds = is_whole && now_s < until_s && !user.password_hash.is_empty();
    Ok(holds.then_some(name))
}

fn parts(token: &str) -> Option<(&str, Vec<u8>, String, u64)> {
    let (content, tag) = token.rsplit_once('.')?;
    let (name, until_s) = content.split_once('.')?;
    let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    Some((content, tag, name, u64::from_str_radix(until_s, 16).ok()?))
}

fn key(user: &User, since: u64) -> hmac::Key {
    let key = [user.password_hash.as_bytes(), &since.to_be_bytes()].concat();
    hmac::Key::new(hmac::HMAC_SHA256, &key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_again_and_no_other() {
        let user = User {
            name: "ann".into(),
            password_hash: "$2b$10$abc".into(),
            ..User::default()
        };
        let owner_at = |token: &str, now_s, user: &User| {
            owner(token, 5, now_s, |name| {
                Ok((name == user.name).then(|| user.clone()))
            })
            .unwrap()
        };
        let token = mint(&user, 5, 100);
        assert_eq!(owner_at(&token, 99, &user), Some("ann".to_owned()));
        assert_eq!(owner_at(&token, 100, &user), None, "it has run out");
        let later = token.replacen(".64.", ".65.", 1);
        assert!(later != token && owner_at(&later, 99, &user).is_none(), "forged");
        assert_eq!(
            owner_at(&mint(&user, 4, 100), 99, &user),
            None,
            "from before auth was switched on"
        );
        let other = User {
            password_hash: "$2b$10$def".into(),
            ..user.clone()
        };
        assert_eq!(owner_at(&token, 99, &other), None, "another password");
        let without = User {
            password_hash: String::new(),
            ..user.clone()
        };
        assert_eq!(
            owner_at(&mint(&without, 5, 100), 99, &without),
            None,
            "no password, no token"
        );
        for nonsense in ["", ".", "..", "a.b.c", "ann.64.x"] {
            assert_eq!(owner_at(nonsense, 0, &user), None);
        }
    }
}
