//! Who sent a request of the v2 API, and whether they may: HTTP Basic (RFC 7617) against the users of
//! `corten_store::v2auth`. Whoever names nobody is a guest; whoever names somebody and does not know the password is refused.
//!
//! bcrypt is slow on purpose: it runs beside the event loop, few at a time and for both versions' users, so that wrong
//! passwords cost their senders time and nobody else. A password once found right is not checked again while its user's hash stays the same.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_store::StoreFault;
use corten_store::v2auth::{self, User};
use ring::hmac;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::etcd::Face;

/// What a refused client reads, in every API.
pub const INSUFFICIENT: &str = "Insufficient credentials";
/// What a password's hash costs to make and to check: 2^10 rounds, etcd's default.
const BCRYPT_COST: u32 = 10;
/// How many right passwords are remembered: a few for each user of a large installation, in 64 KiB.
const REMEMBERED: usize = 2048;

/// Passwords: made into hashes, checked, and remembered as found right.
///
/// What is remembered is a keyed hash of the name, the user's bcrypt hash and the password, under a key that is this
/// process's own: nothing in it gives a password away, and a change of user or password makes it match no more.
#[derive(Debug)]
pub struct Passwords {
    key: hmac::Key,
    right: Mutex<HashSet<Vec<u8>>>,
    /// Held while bcrypt runs, also on when nobody waits for it any more: it cannot be broken off.
    turns: Arc<Semaphore>,
}

/// bcrypt could not be run.
#[derive(Debug, thiserror::Error)]
#[error("the password could not be hashed: {0}")]
pub struct HashError(String);

impl Default for Passwords {
    fn default() -> Passwords {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords {
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            right: Mutex::default(),
            turns: Arc::new(Semaphore::new(cores)),
        }
    }
}

impl Passwords {
    /// bcrypt of a new password.
    ///
    /// # Errors
    /// When it cannot be had, which says why.
    pub async fn hash(&self, password: String) -> Result<String, HashError> {
        let turn = self.turn().await;
        let hashing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            bcrypt::hash(password, BCRYPT_COST)
        });
        match hashing.await {
            Ok(Ok(hash)) => Ok(hash),
            Ok(Err(error)) => Err(HashError(error.to_string())),
            Err(error) => Err(HashError(error.to_string())),
        }
    }

    /// Whether it is the password of the user with this name and hash.
    pub async fn is_right(&self, name: &str, hash: &str, password: String) -> bool {
        let seen = self.fingerprint(name, hash, &password);
        if self.right().contains(&seen) {
            return true;
        }
        let turn = self.turn().await;
        if self.right().contains(&seen) {
            return true; // another request of the same client has asked meanwhile
        }
        let hash = hash.to_owned();
        let checking = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            bcrypt::verify(password, &hash)
        });
        if !matches!(checking.await, Ok(Ok(true))) {
            return false;
        }
        let mut right = self.right();
        if right.len() >= REMEMBERED {
            right.clear();
        }
        right.insert(seen);
        true
    }

    /// Waits for a turn; there is none only if nobody can be let in any more.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    fn fingerprint(&self, name: &str, hash: &str, password: &str) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name, hash, password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().to_vec()
    }

    fn right(&self) -> std::sync::MutexGuard<'_, HashSet<Vec<u8>>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether credentials are required: whether it matters who sends.
///
/// # Errors
/// When the store cannot be read.
pub fn are_required(face: &Face) -> Result<bool, StoreFault> {
    face.node.read(|tx| v2auth::is_enabled(tx))
}

/// Whether the sender may change users and members: with auth on, only who has the role root.
///
/// # Errors
/// When the store cannot be read.
pub async fn is_root(face: &Face, headers: &HeaderMap) -> Result<bool, StoreFault> {
    if !are_required(face)? {
        return Ok(true);
    }
    let user = authenticated(face, headers).await?;
    Ok(user.is_some_and(|user| user.is_root()))
}

/// Whether the sender may read or write a key (decoded, and clean but for a slash at its end), and with `recursive` all
/// below it.
///
/// # Errors
/// When the store cannot be read.
pub async fn may_use_key(
    face: &Face,
    headers: &HeaderMap,
    key: &str,
    write: bool,
    recursive: bool,
) -> Result<bool, StoreFault> {
    let names_nobody = headers
        .get(header::AUTHORIZATION)
        .is_none_or(|value| value.is_empty());
    let guest_may = face.node.read(|tx| {
        if !v2auth::is_enabled(tx)? {
            return Ok(Some(true));
        }
        if !names_nobody {
            return Ok(None);
        }
        v2auth::may_use_key(tx, None, key, write, recursive).map(Some)
    })?;
    if let Some(may) = guest_may {
        return Ok(may);
    }
    match authenticated(face, headers).await? {
        Some(user) => face
            .node
            .read(|tx| v2auth::may_use_key(tx, Some(&user), key, write, recursive)),
        None => Ok(false),
    }
}

/// The user whose name and password the sender knows.
async fn authenticated(face: &Face, headers: &HeaderMap) -> Result<Option<User>, StoreFault> {
    let Some((name, password)) = basic(headers) else {
        return Ok(None);
    };
    let Ok(user) = face.node.read(|tx| v2auth::user(tx, &name))? else {
        return Ok(None);
    };
    let right = face
        .passwords
        .is_right(&user.name, &user.password_hash, password)
        .await;
    Ok(right.then_some(user))
}

/// Name and password of `Authorization: Basic ...`.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::testing::until;

    #[test]
    fn basic_credentials() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            basic(&headers)
        };
        let some = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(read("Basic cm9vdDpwdw=="), some("root", "pw"));
        assert_eq!(read("bAsIc OmE6Yg=="), some("", "a:b"));
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic cm9vdA==",
            "Basic !",
            "Bearer cm9vdDpwdw==",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(basic(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_until_the_hash_changes() {
        let passwords = Passwords::default();
        let hash = bcrypt::hash("pw", 4).unwrap();
        assert!(!passwords.is_right("ann", &hash, "no".to_owned()).await);
        assert!(passwords.right().is_empty());
        for _ in 0..2 {
            assert!(passwords.is_right("ann", &hash, "pw".to_owned()).await);
            assert_eq!(passwords.right().len(), 1);
        }
        let hash = bcrypt::hash("other", 4).unwrap();
        assert!(!passwords.is_right("ann", &hash, "pw".to_owned()).await);
    }

    #[tokio::test]
    async fn who_asks_and_goes_frees_no_turn_before_bcrypt_has_ended() {
        let passwords = Passwords::default();
        let all = passwords.turns.available_permits();
        for _ in 0..all {
            assert!(passwords.hash("pw".to_owned()).now_or_never().is_none());
        }
        // A hash takes some 50 ms; on a busy machine one may have ended by now, but not all of them.
        assert!(passwords.turns.available_permits() < all);
        until("they end", async || {
            (passwords.turns.available_permits() == all).then_some(())
        })
        .await;
    }
}
