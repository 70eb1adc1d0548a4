//! Tokens of users who gave their password: a name, when it was given out, and a keyed hash (HMAC-SHA256) of both.
//!
//! The key is a secret that the members share, and the hash of the user's password: any member knows the token again, and it
//! ends when the password changes, the user goes or auth is switched off. The secret is random, made with the first token
//! after auth was switched on, and leaves the members in no backup: the hashes, which a backup has, make no token. What its
//! owner may do is looked up anew for every request.
//!
//! It ends by itself, too, as etcd's simple tokens do: at a member that has not seen it for a while. So each member keeps
//! in memory when it last saw which; one that starts anew knows only when a token was given out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use corten_store::StoreFault;
use corten_store::auth::User;
use ring::hmac;

/// A token for a user with a password, given out now, in seconds since the Unix epoch; `secret` is
/// [`corten_store::auth::token_secret`].
pub fn mint(user: &User, secret: &[u8], now_s: u64) -> String {
    let content = format!("{}.{now_s:x}", URL_SAFE_NO_PAD.encode(&user.name));
    let tag = hmac::sign(&key(user, secret), content.as_bytes());
    format!("{content}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The tokens that this member has seen of late.
#[derive(Debug)]
pub struct Tokens {
    ttl_s: u64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    last_s: HashMap<Box<str>, u64>,
    /// When those that have run out were last taken out.
    swept_s: u64,
}

impl Tokens {
    /// None yet; each holds for `ttl_s` seconds after it was given out or seen.
    pub fn new(ttl_s: u64) -> Tokens {
        Tokens {
            ttl_s,
            seen: Mutex::default(),
        }
    }

    /// Whose token it is; `None` if it is nobody's (any more). If it is somebody's, it holds the longer.
    ///
    /// # Errors
    /// What `user` returns.
    pub fn owner(
        &self,
        token: &str,
        secret: &[u8],
        now_s: u64,
        user: impl FnOnce(&str) -> Result<Option<User>, StoreFault>,
    ) -> Result<Option<String>, StoreFault> {
        let Some((content, tag, name, given_s)) = parts(token) else {
            return Ok(None);
        };
        let Some(user) = user(&name)? else {
            return Ok(None);
        };
        let is_whole = hmac::verify(&key(&user, secret), content.as_bytes(), &tag).is_ok();
        let holds = is_whole && !user.password_hash.is_empty() && self.holds(token, given_s, now_s);
        Ok(holds.then_some(name))
    }

    fn holds(&self, token: &str, given_s: u64, now_s: u64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last_s = seen.last_s.get_mut(token);
        let until_s = last_s
            .as_deref()
            .map_or(given_s, |last_s| given_s.max(*last_s))
            .saturating_add(self.ttl_s);
        if now_s >= until_s {
            return false;
        }
        if let Some(last_s) = last_s {
            *last_s = now_s;
        } else {
            seen.sweep(now_s, self.ttl_s);
            seen.last_s.insert(token.into(), now_s);
        }
        true
    }
}

impl Seen {
    /// So that there are never more than were seen in twice the time that a token holds.
    fn sweep(&mut self, now_s: u64, ttl_s: u64) {
        if now_s.saturating_sub(self.swept_s) >= ttl_s {
            self.last_s
                .retain(|_, last_s| now_s < last_s.saturating_add(ttl_s));
            self.swept_s = now_s;
        }
    }
}

fn parts(token: &str) -> Option<(&str, Vec<u8>, String, u64)> {
    let (content, tag) = token.rsplit_once('.')?;
    let (name, given_s) = content.split_once('.')?;
    let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    Some((content, tag, name, u64::from_str_radix(given_s, 16).ok()?))
}

fn key(user: &User, secret: &[u8]) -> hmac::Key {
    let key = [secret, user.password_hash.as_bytes()].concat();
    hmac::Key::new(hmac::HMAC_SHA256, &key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &[u8] = &[5; 32];

    fn ann() -> User {
        User {
            name: "ann".into(),
            password_hash: "$2b$10$abc".into(),
            ..User::default()
        }
    }

    fn owner_at(tokens: &Tokens, token: &str, now_s: u64, user: &User) -> Option<String> {
        let known = |name: &str| Ok((name == user.name).then(|| user.clone()));
        tokens.owner(token, SECRET, now_s, known).unwrap()
    }

    #[test]
    fn a_token_is_known_again_and_no_other() {
        let user = ann();
        let fresh = |token: &str, user: &User| owner_at(&Tokens::new(10), token, 101, user);
        let token = mint(&user, SECRET, 100);
        assert_eq!(fresh(&token, &user), Some("ann".to_owned()));
        let later = token.replacen(".64.", ".65.", 1);
        assert!(later != token && fresh(&later, &user).is_none(), "forged");
        assert_eq!(
            fresh(&mint(&user, &[4; 32], 100), &user),
            None,
            "from before auth was switched on, or from who has no secret"
        );
        let other = User {
            password_hash: "$2b$10$def".into(),
            ..user.clone()
        };
        assert_eq!(fresh(&token, &other), None, "another password");
        let without = User {
            password_hash: String::new(),
            ..user.clone()
        };
        assert_eq!(
            fresh(&mint(&without, SECRET, 100), &without),
            None,
            "no password, no token"
        );
        for nonsense in ["", ".", "..", "a.b.c", "ann.64.x"] {
            assert_eq!(fresh(nonsense, &user), None);
        }
    }

    #[test]
    fn a_token_holds_as_long_as_it_is_used() {
        let (user, tokens) = (ann(), Tokens::new(10));
        let token = mint(&user, SECRET, 100);
        for (now_s, holds) in [(109, true), (118, true), (127, true), (137, false), (138, false)] {
            assert_eq!(
                owner_at(&tokens, &token, now_s, &user).is_some(),
                holds,
                "{now_s}"
            );
        }
        let unused = mint(&user, SECRET, 100);
        assert_eq!(owner_at(&Tokens::new(10), &unused, 110, &user), None);
        for now_s in (200..300).step_by(5) {
            assert!(owner_at(&tokens, &mint(&user, SECRET, now_s), now_s, &user).is_some());
        }
        let kept = tokens.seen.lock().unwrap().last_s.len();
        assert!(kept <= 4, "{kept} are kept");
    }
}
